"""Launches as tables: Arrow, pandas and polars, with the columns and rows that there are to be."""

import io
import json
import os
from contextlib import suppress
from datetime import date, datetime
from pathlib import Path
from typing import Any

import pytest

from mirror import Archive
from mirror.errors import UnknownSchemaError, UnrecordedError
from mirror.events.decoder import decode_line
from mirror.events.launch import COLUMNS, Launch
from mirror.events.repeats import KNOWN_BYTES
from mirror.reading.sinks import make_cell, write_csv
from mirror.reading.tables import make_arrow
from tests.mirrors import DAYS, NOW, make_mirror, of_all_eras
from tests.upstream.launches import make_day

MIXED = date(2019, 6, 12)
NAMES = [column.name for column in COLUMNS]


def open_archive(root: Path, now: datetime = NOW) -> Archive:
    return Archive(root, now=lambda: now)


@pytest.fixture
def eras(tmp_path: Path) -> Archive:
    """An archive whose first lines know nothing of the later columns."""
    days = [date(2018, 11, 3), MIXED, date(2020, 6, 18), date(2021, 7, 2), date(2026, 3, 2)]
    data = make_mirror(tmp_path / "eras", {day: make_day(day, 150) for day in days})
    return open_archive(data.root, datetime.fromisoformat("2027-01-01T00:00:00+00:00"))


def rows_of(archive: Archive) -> list[tuple[object, ...]]:
    return [tuple(getattr(launch, name) for name in NAMES) for launch in archive.events()]


def test_arrow_has_every_column_and_type_whatever_comes_first(eras):
    table = eras.to_arrow()
    assert table.column_names == NAMES
    assert [str(field.type) for field in table.schema] == [
        *("timestamp[us, tz=UTC]", "string", "int16", "string", "string", "string"),
        *("string", "string", "bool", "string"),
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows_of(eras)
    assert eras.to_arrow(until=date(2018, 11, 3)).schema == table.schema
    assert eras.to_arrow(provider="nobody").schema == table.schema
    assert eras.to_arrow(provider="nobody").num_rows == 0


def test_pandas_has_every_column_and_type_whatever_comes_first(eras):
    frame = eras.to_pandas()
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert types == {
        **dict.fromkeys(NAMES, "string"),
        "timestamp": "datetime64[us, UTC]",
        "version": "int16",
        "build_token": "boolean",
    }
    plain = frame.astype(object).where(frame.notna(), None)
    assert list(plain.itertuples(index=False, name=None)) == rows_of(eras)
    assert list(frame.index) == list(range(len(frame)))
    empty = eras.to_pandas(provider="nobody")
    assert list(empty.columns) == NAMES
    assert {name: str(kind) for name, kind in empty.dtypes.items()} == types


def test_polars_has_every_column_and_type_whatever_comes_first(eras):
    frame = eras.to_polars()
    assert frame.columns == NAMES
    assert [str(kind) for kind in frame.dtypes] == [
        "Datetime(time_unit='us', time_zone='UTC')",
        *("String", "Int16", "String", "String", "String"),
        *("String", "String", "Boolean", "String"),
    ]
    assert frame.rows() == rows_of(eras)
    assert eras.to_polars(provider="nobody").schema == frame.schema


def test_tables_of_many_blocks_have_each_launch_once_and_in_order(tmp_path):
    make_mirror(tmp_path, {DAYS[0]: make_day(DAYS[0], 20_000), DAYS[1]: make_day(DAYS[1], 10)})
    archive = open_archive(tmp_path)
    refs = [launch.ref for launch in archive.events()]
    assert len(refs) == 20_010
    assert archive.to_arrow()["ref"].to_pylist() == refs
    assert archive.to_pandas()["ref"].to_list() == refs
    assert archive.to_polars()["ref"].to_list() == refs


def test_sums_are_equal_whichever_way(eras):
    total = sum(day.events for day in eras.days())
    assert total == 750
    assert sum(1 for _ in eras.events()) == total
    assert sum(one.launches for one in eras.launches_per_day()) == total
    assert sum(map(len, eras.events().launch_blocks())) == total
    assert b"".join(eras.events().lines()).count(b"\n") == total
    assert len(eras.to_arrow()) == len(eras.to_pandas()) == len(eras.to_polars()) == total


# the same launches, however they are read


@pytest.fixture(scope="module")
def mixed(tmp_path_factory: pytest.TempPathFactory) -> Archive:
    """An archive of all eras with lines of every kind: few blocks can be taken in one way alone."""
    bodies = {day: body * 3 for day, body in of_all_eras(100).items()}
    old, late = min(bodies), max(bodies)
    named = json.loads(bodies[late].splitlines()[0])
    odd = [
        # of no origin, long after each had one; of one, long before
        {name: value for name, value in named.items() if name != "origin"},
        json.loads(bodies[old].splitlines()[0]) | {"origin": "gke.mybinder.org"},
        # in the file of another day, and before the origins
        json.loads(bodies[old].splitlines()[0]) | {"timestamp": "2019-06-11T23:59:59.5+00:00"},
        json.loads(bodies[old].splitlines()[0]) | {"timestamp": "2019-06-12T02:00:00+02:00"},
        named | {"provider": "GitHub", "spec": '=a/b,c\n"d"/HEAD', "ref": None, "status": ""},
        named | {"build_token": "yes", "version": 5.0},
        named | {"version": 99},
    ]
    text = b"".join(json.dumps(one).encode() + b"\n" for one in odd) + b"\nno JSON\n"
    for day, body in bodies.items():
        lines = body.splitlines(keepends=True)
        middle = len(lines) // 2
        bodies[day] = b"".join([*lines[:middle], text, *lines[middle:]])
    # blocks of their own, all of whose lines repeat
    bodies[date(2024, 3, 3)] = make_day(date(2024, 3, 3), 1000) * 2
    data = make_mirror(tmp_path_factory.mktemp("mixed") / "data", bodies)
    return open_archive(data.root, datetime.fromisoformat("2027-01-01T00:00:00+00:00"))


GIVE_NOTHING: list[dict[str, Any]] = [
    {"provider": "nobody"},
    {"origin": "mybinder.org"},
]
CHOICES = [
    *GIVE_NOTHING,
    {},
    {"provider": "GitHub"},
    {"provider": ["Gist", "Git"], "fill_origin": True},
    {"origin": "mybinder.org", "fill_origin": True},
    {"origin": "gke.mybinder.org", "fill_origin": True, "until": date(2019, 6, 12)},
    {"fill_origin": True},
    {"repo": "ipython/ipython-in-depth"},
    {"since": date(2024, 1, 1), "until": date(2024, 12, 31)},
]


@pytest.mark.parametrize("choice", CHOICES, ids=str)
def test_tables_and_csv_have_what_going_through_the_events_gives(mixed, choice):
    events = mixed.events(**choice, unknown="skip")
    rows = [tuple(getattr(launch, name) for name in NAMES) for launch in events]
    found = events.given, dict(events.odd)
    assert found[0] == len(rows)
    assert (found[0] > 0) == (choice not in GIVE_NOTHING)
    assert events.to_polars().rows() == rows
    assert (events.given, dict(events.odd)) == found
    assert [tuple(row.values()) for row in events.to_arrow().to_pylist()] == rows
    frame = events.to_pandas()
    plain = frame.astype(object).where(frame.notna(), None)
    assert list(plain.itertuples(index=False, name=None)) == rows
    sink = io.BytesIO()
    write_csv(events, sink)
    lines = [",".join(NAMES), *(",".join(map(make_cell, row)) for row in rows)]
    assert sink.getvalue().decode() == "".join(f"{line}\r\n" for line in lines)
    assert (events.given, dict(events.odd)) == found


def test_an_unknown_line_stops_a_table_and_csv_after_all_before_it(mixed):
    sink = io.BytesIO()
    for read in (mixed.to_polars, lambda: write_csv(mixed.events(), sink)):
        with pytest.raises(UnknownSchemaError, match=r"line [0-9]+: version 99"):
            read()
    taken = []
    with suppress(UnknownSchemaError):
        for launch in mixed.events():
            taken.append([getattr(launch, name) for name in NAMES])  # noqa: PERF401 - up to there
    lines = sink.getvalue().decode().split("\r\n")
    assert lines[1:-1] == [",".join(map(make_cell, row)) for row in taken]


def test_a_file_of_other_lines_than_on_record_makes_no_table(tmp_path):
    data = make_mirror(tmp_path, {DAYS[0]: make_day(DAYS[0], 100)})
    path = data.archive / f"events-{DAYS[0]}.jsonl"
    before, last = path.stat(), path.read_bytes().splitlines()[-1]
    path.write_bytes(path.read_bytes().replace(last, b" " * len(last)))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    with pytest.raises(UnrecordedError, match="99 lines"):
        open_archive(tmp_path).to_arrow()


def test_more_distinct_launches_than_are_remembered(tmp_path):
    line = make_day(DAYS[0], 1)
    cut = line.index(b'"spec": "') + len(b'"spec": "')
    count = KNOWN_BYTES // 1000
    body = b"".join(line[:cut] + b"%d" % i + b"x" * 2000 + line[cut:] for i in [*range(count)] * 2)
    make_mirror(tmp_path, {DAYS[0]: body})
    specs = [launch.spec for launch in open_archive(tmp_path).events()]
    assert len(set(specs)) == count
    assert open_archive(tmp_path).to_polars()["spec"].to_list() == specs


def test_no_chunk_of_an_arrow_table_is_too_long_for_its_texts():
    launch = decode_line(make_day(DAYS[0], 1))
    assert isinstance(launch, Launch)

    def pairs(of_moment, of_launch):
        yield [(of_moment(launch.timestamp), of_launch(launch))] * 2_200_000

    table = make_arrow(pairs)
    assert [len(batch) for batch in table.to_batches()] == [1_000_000, 1_000_000, 200_000]
    assert table["timestamp"][-1].as_py() == launch.timestamp
