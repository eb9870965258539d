"""The reading API: all that is held and nothing else, by what the inventory says."""

import doctest
import gc
import json
import os
import subprocess
import sys
import tracemalloc
import warnings
from collections import Counter
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

import mirror
from mirror import Archive, Launch
from mirror.errors import ConfigError, SpecError, UnknownSchemaError, UnrecordedError
from mirror.events import spec as specs
from mirror.events.decoder import MAX_LINE_BYTES, Oddity, OddLine
from mirror.reading import reader
from mirror.reading.days import DayCount
from mirror.reading.reader import PartialDayWarning
from mirror.store.journal import Journal
from tests.command import ROOT
from tests.mirrors import DAYS, NOW, make_mirror, publish, three_days
from tests.upstream.launches import make_day

OLD, MIXED = date(2019, 6, 11), date(2019, 6, 12)


def open_archive(root: Path, now: datetime = NOW) -> Archive:
    return Archive(root, now=lambda: now)


@pytest.fixture
def archive(tmp_path: Path) -> Archive:
    make_mirror(tmp_path / "data", three_days())
    return open_archive(tmp_path / "data")


def lines_of(*days: date) -> list[dict[str, object]]:
    return [json.loads(line) for day in days for line in three_days()[day].splitlines()]


# what is given


def test_every_event_is_given_once_and_in_order(archive):
    given = list(archive.events())
    assert all(type(launch) is Launch for launch in given)
    assert [(one.timestamp.isoformat(), one.spec, one.ref) for one in given] == [
        (line["timestamp"], line["spec"], line["ref"]) for line in lines_of(*DAYS)
    ]


def test_events_may_be_gone_through_again(archive):
    events = archive.events()
    assert list(events) == list(events)


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, DAYS),
        (DAYS[1], None, DAYS[1:]),
        (None, DAYS[1], DAYS[:2]),
        (DAYS[1], DAYS[1], DAYS[1:2]),
        (DAYS[2], DAYS[0], []),
        (date(1, 1, 1), date(9999, 12, 31), DAYS),
    ],
)
def test_a_range_has_both_its_ends(archive, since, until, expected):
    assert [day.date for day in archive.days(since, until)] == expected
    assert [day.date for day in archive.events(since, until).days] == expected
    assert sum(1 for _ in archive.events(since, until)) == len(lines_of(*expected))


@pytest.mark.parametrize("value", ["Gist", ["Git", "Zenodo"], {"GitHub"}, (), "github"])
def test_only_some_providers(archive, value):
    wanted = [value] if isinstance(value, str) else list(value)
    expected = [line["spec"] for line in lines_of(*DAYS) if line["provider"] in wanted]
    assert [launch.spec for launch in archive.events(provider=value)] == expected


def test_only_some_origins(archive):
    origins = Counter(line["origin"] for line in lines_of(*DAYS))
    for origin, count in origins.items():
        assert sum(1 for _ in archive.events(origin=origin)) == count
    assert sum(1 for _ in archive.events(origin=set(origins))) == origins.total()
    assert list(archive.events(origin="mybinder.org")) == []


@pytest.mark.parametrize(
    "name",
    [
        "qiskit/qiskit-tutorial",
        "QISKit/qiskit-tutorial.git",
        "https://github.com/Qiskit/qiskit-tutorial",
        "github.com/qiskit/qiskit-tutorial",
        "git@github.com:Qiskit/qiskit-tutorial.git",
    ],
)
def test_a_repository_is_found_in_every_spelling(archive, name):
    found = [launch.spec.lower() for launch in archive.events(repo=name)]
    expected = [line for line in lines_of(*DAYS) if "qiskit-tutorial" in str(line["spec"])]
    assert len(found) == len(expected) > 0
    assert {spec.rpartition("/")[0] for spec in found} == {"qiskit/qiskit-tutorial"}


def test_the_short_name_beside_gitlab_is_gitlabs(tmp_path):
    event = json.loads(make_day(DAYS[0], 1)) | {"provider": "GitLab", "spec": "team%2Fcourse/HEAD"}
    make_mirror(tmp_path, {DAYS[0]: json.dumps(event).encode() + b"\n"})
    gitlab = open_archive(tmp_path)
    assert len(list(gitlab.events(provider="GitLab", repo="team/course"))) == 1
    assert list(gitlab.events(repo="team/course")) == []


def test_filters_work_together(archive):
    origin = archive.days() and next(iter(archive.events())).origin
    given = list(archive.events(DAYS[0], DAYS[1], provider="GitHub", origin=origin))
    assert given
    assert {(one.provider, one.origin) for one in given} == {("GitHub", origin)}


def test_what_names_no_repository_is_refused(archive):
    with pytest.raises(SpecError, match="https"):
        archive.events(repo="https://")


@pytest.mark.parametrize("given", ["2024-03-01", 1, datetime(2024, 3, 1, tzinfo=UTC)])
@pytest.mark.parametrize("ask", ["events", "days", "problems", "launches_per_day"])
def test_what_is_no_date_is_refused_in_words(archive, ask, given):
    with pytest.raises(TypeError, match=r"since must be a date such as date\(2024, 3, 1\), not"):
        getattr(archive, ask)(given)
    with pytest.raises(TypeError, match="until must be a date"):
        getattr(archive, ask)(until=given)


def test_a_choice_that_does_not_exist_is_refused(archive):
    with pytest.raises(ValueError, match="raise"):
        archive.events(unknown="ignore")
    with pytest.raises(TypeError, match="providers"):
        archive.events(providers="GitHub")


def test_the_origin_that_was_meant(tmp_path):
    make_mirror(tmp_path, {day: make_day(day, 200) for day in (OLD, MIXED)})
    archive = open_archive(tmp_path)
    assert {launch.origin for launch in archive.events(OLD, OLD)} == {None}
    assert {one.origin for one in archive.events(OLD, OLD, fill_origin=True)} == {"mybinder.org"}
    filled = list(archive.events(fill_origin=True, origin="mybinder.org"))
    assert len(filled) == 200
    # which one is meant on the day of the change is not said
    assert None in {launch.origin for launch in archive.events(MIXED, fill_origin=True)}


def test_launches_per_day(archive):
    counts = [len(lines_of(day)) for day in DAYS]
    assert archive.launches_per_day() == [
        DayCount(day, count, is_final=True) for day, count in zip(DAYS, counts, strict=True)
    ]
    gists = archive.launches_per_day(provider="Gist")
    assert [day.date for day in gists] == DAYS
    assert sum(day.launches for day in gists) < sum(counts)
    assert archive.launches_per_day(DAYS[2])[0].launches == counts[2]


def test_an_empty_day_is_a_day(tmp_path):
    make_mirror(tmp_path, {DAYS[0]: b""})
    archive = open_archive(tmp_path)
    assert archive.launches_per_day() == [DayCount(DAYS[0], 0, is_final=True)]
    assert list(archive.events()) == []
    assert list(archive.events().lines()) == []


def test_the_lines_are_upstreams_bytes(archive):
    bodies = three_days()
    assert b"".join(archive.events().lines()) == b"".join(bodies.values())
    gists = [
        line
        for body in bodies.values()
        for line in body.splitlines(keepends=True)
        if b'"provider": "Gist"' in line
    ]
    assert b"".join(archive.events(provider="Gist").lines()) == b"".join(gists)


# what is no launch


ODD_BODY = (
    make_day(DAYS[0], 2)
    + b'{"schema": "binderhub.jupyter.org/stop", "version": 1}\n'
    + make_day(DAYS[0], 3)
    + b"\n"
    + b'{"schema": "binderhub.jupyter.org/launch", "version": 99}\nno JSON\n'
    + make_day(DAYS[0], 4)[:-1]
)


@pytest.fixture
def odd(tmp_path: Path) -> Archive:
    make_mirror(tmp_path / "odd", {DAYS[0]: ODD_BODY, DAYS[1]: three_days()[DAYS[1]]})
    return open_archive(tmp_path / "odd")


def collect(source: Iterable[Any], taken: list[Any]) -> None:
    """Take one after the other, so that what came before an error is there."""
    for one in source:
        taken.append(one)  # noqa: PERF402 - `extend` would do, but not as plainly


def test_an_unknown_schema_stops_the_reading_after_all_before_it(odd):
    taken: list[object] = []
    with pytest.raises(
        UnknownSchemaError, match=r"events-2024-03-01.jsonl, line 3: schema"
    ) as caught:
        collect(odd.events(), taken)
    assert len(taken) == 2
    assert "skip" in caught.value.hint
    lines: list[bytes] = []
    with pytest.raises(UnknownSchemaError):
        collect(odd.events().lines(), lines)
    assert b"".join(lines) == make_day(DAYS[0], 2)


def test_unknown_lines_are_skipped_by_choice_and_counted(odd):
    events = odd.events(unknown="skip")
    assert sum(1 for _ in events) == 9 + len(lines_of(DAYS[1]))
    assert events.odd == {"unknown-schema": 1, "unknown-version": 1, "not-an-object": 1}
    list(events)
    assert events.odd.total() == 3
    expected = [line for line in ODD_BODY.split(b"\n") if b'"provider"' in line]
    assert b"".join(odd.events(DAYS[0], DAYS[0], unknown="skip").lines()) == b"".join(
        line + b"\n" for line in expected
    )


def test_unknown_lines_are_given_raw_by_choice_and_counted(odd):
    events = odd.events(DAYS[0], DAYS[0], unknown="raw")
    raw = [one for one in events if isinstance(one, OddLine)]
    assert [(one.file, one.line, one.kind) for one in raw] == [
        ("events-2024-03-01.jsonl", 3, Oddity.UNKNOWN_SCHEMA),
        ("events-2024-03-01.jsonl", 8, Oddity.UNKNOWN_VERSION),
        ("events-2024-03-01.jsonl", 9, Oddity.NOT_AN_OBJECT),
    ]
    assert raw[2].data == b"no JSON"
    assert events.odd.total() == 3
    whole = b"\n".join(line for line in ODD_BODY.split(b"\n") if line) + b"\n"
    assert b"".join(events.lines()) == whole


@pytest.mark.parametrize("size", [MAX_LINE_BYTES - 9, MAX_LINE_BYTES + 1, 3 * MAX_LINE_BYTES])
@pytest.mark.parametrize("newline", [b"\n", b""])
def test_a_line_too_long_to_be_kept_costs_no_neighbour(tmp_path, size, newline):
    neighbours = make_day(DAYS[0], 2), (make_day(DAYS[0], 3) if newline else b"")
    body = neighbours[0] + b"x" * size + newline + neighbours[1]
    make_mirror(tmp_path, {DAYS[0]: body, DAYS[1]: three_days()[DAYS[1]]})
    archive = open_archive(tmp_path)
    expected = len((b"".join(neighbours)).splitlines()) + len(lines_of(DAYS[1]))
    assert sum(1 for _ in archive.events(unknown="skip")) == expected
    events = archive.events(DAYS[0], DAYS[0], unknown="raw")
    odd_lines = [one for one in events if isinstance(one, OddLine)]
    assert [(one.line, one.kind) for one in odd_lines] == [(3, Oddity.NOT_AN_OBJECT)]
    raw = b"".join(events.lines())
    assert raw.startswith(neighbours[0] + b"x" * min(size, MAX_LINE_BYTES))
    assert raw.endswith(b"x\n" + neighbours[1])


def test_tables_and_counts_leave_out_what_is_no_launch(odd):
    options = {"unknown": "raw"}
    assert [one.launches for one in odd.launches_per_day(**options)] == [9, len(lines_of(DAYS[1]))]
    assert odd.to_arrow(**options).num_rows == 9 + len(lines_of(DAYS[1]))


# days that are still open


def test_an_open_day_is_told_and_can_be_left_out(tmp_path):
    make_mirror(tmp_path, three_days())
    archive = open_archive(tmp_path, NOW - timedelta(days=1))
    assert [day.is_final for day in archive.days()] == [True, True, False]
    with pytest.warns(PartialDayWarning, match="2024-03-03: not final yet"):
        given = archive.events()
    assert [day.date for day in given.days] == DAYS
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert [day.date for day in archive.events(open_days=True).days] == DAYS
        assert [day.date for day in archive.events(open_days=False).days] == DAYS[:2]
        assert [day.date for day in archive.events(until=DAYS[1]).days] == DAYS[:2]
    assert "still open: 2024-03-03" in repr(archive)
    assert [one.is_final for one in archive.launches_per_day(open_days=True)] == [True, True, False]


def test_a_day_is_open_as_long_as_the_settings_say(tmp_path):
    make_mirror(tmp_path, three_days())
    late = Archive(tmp_path, final_after=timedelta(hours=13), now=lambda: NOW)
    assert not late.days()[-1].is_final


# files and inventory


def test_no_mirror_is_told(tmp_path):
    with pytest.raises(ConfigError, match="no mirror"):
        Archive(tmp_path)


def test_a_changed_file_is_an_error_and_never_an_answer(archive):
    path = archive.data.archive / f"events-{DAYS[1]}.jsonl"
    path.write_bytes(path.read_bytes() + make_day(DAYS[1], 1))
    with pytest.raises(UnrecordedError, match=r"2024-03-02 has a file that is not the one"):
        archive.events()
    assert len(list(archive.events(DAYS[2]))) == len(lines_of(DAYS[2]))
    assert archive.problems() == ["2024-03-02 has a file that is not the one on record"]
    assert "2 days" in repr(archive)
    assert repr(archive).endswith("; 1 day not readable)")


def test_a_file_that_changed_under_its_own_time_is_found_by_its_lines(archive):
    path = archive.data.archive / f"events-{DAYS[1]}.jsonl"
    stats = path.stat()
    body = path.read_bytes()
    first = body.index(b"\n")
    path.write_bytes(body[:first] + b" " + body[first + 1 :])
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    with pytest.raises((UnrecordedError, UnknownSchemaError)):
        list(archive.events(DAYS[1], DAYS[1]))
    with pytest.raises(UnrecordedError, match="on record"):
        list(archive.events(DAYS[1], DAYS[1], unknown="skip"))


def test_a_file_that_is_gone_is_told(archive):
    (archive.data.archive / f"events-{DAYS[0]}.jsonl").unlink()
    with pytest.raises(UnrecordedError, match=r"2024-03-01 is on record, but its file is gone"):
        archive.events()


def test_a_link_in_a_files_place_is_not_followed(archive, tmp_path):
    path = archive.data.archive / f"events-{DAYS[0]}.jsonl"
    path.rename(tmp_path / "elsewhere")
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(UnrecordedError, match="something other than a file"):
        archive.events()


def test_a_file_replaced_while_it_is_read_is_read_to_its_end_as_it_was(tmp_path):
    body = make_day(DAYS[0], 5000)
    data = make_mirror(tmp_path, {DAYS[0]: body, DAYS[1]: body})
    events = iter(open_archive(tmp_path).events())
    given = [next(events)]
    for day in DAYS[:2]:
        Journal(data).note(publish(data, day, make_day(day, 6000)), durably=False)
    given += events
    # the first as it was, the second, which had not been opened, as it is now
    assert len(given) == 5000 + 6000


COUNT_OPENS = """
import sys
opened = []
sys.addaudithook(lambda event, args: event == "open" and opened.append(str(args[0])))
from mirror import Archive
print(sum(1 for _ in Archive(sys.argv[1]).events(open_days=True)))
print(sum(name.endswith(("manifest.jsonl", "manifest.journal.jsonl")) for name in opened))
"""


def test_the_manifest_is_read_as_often_for_many_days_as_for_few(tmp_path):
    counts = []
    for days in (2, 300):
        root = tmp_path / str(days)
        first = date(2020, 1, 1)
        make_mirror(root, {first + timedelta(days=n): make_day(first, 1) for n in range(days)})
        command = [sys.executable, "-c", COUNT_OPENS, root]
        ran = subprocess.run(command, check=True, capture_output=True, text=True, cwd=ROOT)
        launches, opens = map(int, ran.stdout.split())
        assert launches == days
        counts.append(opens)
    assert counts[0] == counts[1] > 0


def test_what_a_poll_publishes_meanwhile_is_seen(archive):
    day = DAYS[2] + timedelta(days=1)
    Journal(archive.data).note(publish(archive.data, day, make_day(day, 50)), durably=False)
    assert [one.date for one in archive.days()] == [*DAYS, day]
    assert sum(1 for _ in archive.events(day, open_days=True)) == 50


def test_a_read_only_copy_can_be_read(archive):
    before = sorted(path for path in archive.data.root.rglob("*"))
    list(archive.events())
    assert sorted(path for path in archive.data.root.rglob("*")) == before


def test_memory_stays_flat(tmp_path):
    body = make_day(DAYS[0], 20_000)
    make_mirror(tmp_path, dict.fromkeys(DAYS, body))
    events = open_archive(tmp_path).events()
    next(iter(events))
    gc.collect()
    tracemalloc.start()
    for _ in events:
        pass
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 3_000_000 < 3 * len(body)


# the package


def test_import_mirror_stays_light():
    code = (
        "import sys, mirror; before = set(sys.modules); mirror.Archive; "
        "heavy = {'msgspec', 'rich', 'pandas', 'pyarrow', 'polars', 'duckdb', 'aiohttp'};"
        "print(sorted(heavy & before), sorted((heavy - {'msgspec'}) & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout == "[] []\n"


def test_the_names_of_the_package():
    assert mirror.Archive is reader.Archive
    assert mirror.parse_spec is specs.parse_spec
    with pytest.raises(AttributeError, match="no attribute 'Nothing'"):
        mirror.Nothing  # noqa: B018 - the attribute's absence is the point


@pytest.mark.parametrize("module", [reader, specs], ids=lambda module: module.__name__)
def test_the_examples_in_the_docstrings(module, tmp_path, monkeypatch):
    make_mirror(tmp_path / "demo-data", three_days())
    monkeypatch.chdir(tmp_path)
    result = doctest.testmod(module)
    assert result.attempted > 0
    assert result.failed == 0


def test_what_an_archive_is_called_is_fit_to_show(tmp_path):
    make_mirror(tmp_path / "<b>\x1b[31m", {})
    archive = open_archive(tmp_path / "<b>\x1b[31m")
    assert repr(archive).isprintable()
    assert "no days" in repr(archive)
    assert repr(archive.events(provider="x", repo="a/b")) == (
        "Events(no days, provider x, repo github.com/a/b)"
    )
