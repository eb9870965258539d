"""What is odd about days, by their records: each thing alone, and the known gaps of the archive."""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.events.series import between
from mirror.model import Record
from mirror.report.anomaly import Anomaly, Kind, Severity, runs, span
from mirror.report.detection import ReportInput, find_anomalies
from tests.making import at, day, days
from tests.report.inventories import findings, held
from tests.report.test_dips import lower, real_counts, season

Records = dict[date, Record]


def look(records: Mapping[date, Record], **more: object) -> tuple[Anomaly, ...]:
    given = {"records": records, "final": frozenset(records)} | more
    return find_anomalies(ReportInput(**given))  # type: ignore[arg-type] # fields by name, as tests give them


def stretches(odd: Iterable[Anomaly]) -> list[tuple[str, str, str]]:
    return [(one.kind.value, str(one.first), str(one.last)) for one in odd]


def change(records: Records, one: str, **changes: object) -> None:
    records[day(one)] = replace(records[day(one)], **changes)


@pytest.fixture
def records() -> Records:
    """A quiet half year."""
    return held(season("2024-01-08", "2024-06-30"))


def test_consecutive_days_are_one_run() -> None:
    apart = [day(one) for one in ("2024-02-29", "2024-03-01", "2024-02-27", "2024-02-28")]

    assert list(runs(dict.fromkeys(apart, "a") | {day("2024-03-02"): "b"})) == [
        (day("2024-02-27"), day("2024-03-01"), "a"),
        (day("2024-03-02"), day("2024-03-02"), "b"),
    ]
    assert list(runs(dict.fromkeys([*apart, day("2024-03-03")]))) == [
        (day("2024-02-27"), day("2024-03-01"), None),
        (day("2024-03-03"), day("2024-03-03"), None),
    ]
    assert list(runs({})) == []
    assert list(between(day("2024-02-28"), day("2024-03-01"))) == sorted(apart)[1:]
    assert span(day("2024-02-28"), day("2024-02-28")) == "2024-02-28"


def test_a_quiet_half_year_has_nothing_odd(records: Records) -> None:
    assert look(records) == ()
    assert look({}) == ()


def test_the_real_index_misses_no_day_and_raises_no_alarm(real_data: Path) -> None:
    records = held(real_counts(real_data))

    assert len(records) == 997
    assert look(records, listed=frozenset(records)) == ()


def test_each_known_gap_is_named_with_its_dates() -> None:
    counts = season("2022-01-01", "2025-09-01")
    counts |= dict(
        zip(days("2025-01-09", "2025-01-16"), (5216, 3489, 865, 799, 1310, 0, 28, 0), strict=True)
    )
    records = held(counts)
    for name, stretch in (
        ("gke.mybinder.org", days("2022-10-20", "2022-11-23")),
        ("gesis.mybinder.org", days("2023-04-01", "2023-04-30")),
    ):
        for one in stretch:
            known = records[one].findings
            assert known is not None
            origins = {host: count for host, count in known.origins.items() if host != name}
            lines = sum(origins.values())
            records[one] = replace(
                records[one], lines=lines, index_count=lines, findings=findings(lines, origins)
            )

    odd = look(records)

    assert stretches(odd) == [
        ("few", "2022-10-20", "2022-11-23"),
        ("silent", "2022-10-20", "2022-11-23"),
        ("silent", "2023-04-01", "2023-04-30"),
        ("few", "2025-01-09", "2025-01-16"),
        ("empty", "2025-01-14", "2025-01-14"),
        ("empty", "2025-01-16", "2025-01-16"),
    ]
    assert [one.subject for one in odd if one.subject] == ["gke.mybinder.org", "gesis.mybinder.org"]
    assert odd[3].actual == 11707
    assert "11,707 events where " in odd[3].message


def test_a_cluster_whose_days_were_never_published_is_missing() -> None:
    records = held(season("2022-01-01", "2023-06-30"))
    for one in days("2022-10-20", "2022-11-23"):
        del records[one]

    (odd,) = look(records)

    assert stretches([odd]) == [("missing", "2022-10-20", "2022-11-23")]
    assert (odd.severity, odd.days) == (Severity.SERIOUS, 35)
    assert odd.message == "no file, and upstream lists none"


def test_a_missing_day_that_upstream_lists_is_told_apart(records: Records) -> None:
    listed = frozenset(records) | {day("2024-07-01")}
    for one in days("2024-03-01", "2024-03-04"):
        del records[one]

    odd = look(records, listed=listed - {day("2024-03-02")})

    assert stretches(odd) == [
        ("missing", "2024-03-01", "2024-03-01"),
        ("missing", "2024-03-02", "2024-03-02"),
        ("missing", "2024-03-03", "2024-03-04"),
        ("missing", "2024-07-01", "2024-07-01"),
    ]
    assert ["sync" in one.message for one in odd] == [True, False, True, True]


def test_a_day_that_goes_on_is_neither_empty_nor_low(records: Records) -> None:
    change(records, "2024-06-30", lines=0, index_count=0, findings=findings(0))
    final = frozenset(records) - {day("2024-06-30")}

    assert look(records, final=final) == ()
    assert stretches(look(records)) == [
        ("empty", "2024-06-30", "2024-06-30"),
        ("few", "2024-06-30", "2024-06-30"),
    ]


def test_a_loss_at_the_end_goes_on_and_a_lasting_one_is_a_level() -> None:
    counts = season("2024-01-08", "2024-12-15")
    (ending,) = look(held(lower(counts, "2024-12-10", "2024-12-15", 0.2)))
    (lasting,) = look(held(lower(counts, "2024-03-04", "2024-12-15", 0.2)))

    assert (ending.kind, ending.goes_on) == (Kind.FEW, True)
    assert (lasting.kind, lasting.severity, lasting.goes_on) == (
        Kind.LEVEL,
        Severity.WARNING,
        False,
    )
    assert str(lasting.first) == "2024-03-04"


def test_one_silent_day_is_a_note_and_a_newcomer_is_named(records: Records) -> None:
    for one in days("2024-03-04", "2024-06-30"):
        known = records[one].findings
        assert known is not None
        origins = dict(known.origins)
        origins["notebooks.gesis.org"] = origins.pop("gesis.mybinder.org")
        if one == day("2024-05-06"):
            del origins["ovh.mybinder.org"]
        records[one] = replace(records[one], findings=findings(records[one].lines, origins))

    gone, brief = look(records)

    assert gone.severity is Severity.NOTE
    assert gone.goes_on
    assert gone.message == (
        "gesis.mybinder.org has been silent since, while others go on; "
        "notebooks.gesis.org appeared at about that time"
    )
    assert stretches([brief]) == [("silent", "2024-05-06", "2024-05-06")]
    assert brief.severity is Severity.NOTE


def test_days_copied_byte_for_byte_are_one_with_what_they_are_copies_of(records: Records) -> None:
    for one in days("2024-03-05", "2024-03-07"):
        source = records[one - timedelta(days=50)]
        records[one] = replace(
            records[one],
            sha256=source.sha256,
            lines=source.lines,
            index_count=source.lines,
            size=source.size,
        )

    (odd,) = look(records)

    assert stretches([odd]) == [("duplicate", "2024-03-05", "2024-03-07")]
    assert odd.message == "the same as 2024-01-15 to 2024-01-17, byte for byte"
    assert odd.actual == sum(records[one].lines for one in days("2024-03-05", "2024-03-07"))


def test_empty_files_are_no_copies_of_each_other(records: Records) -> None:
    for one in ("2024-03-05", "2024-04-17"):
        change(records, one, lines=0, index_count=0, sha256="e3b0", size=0, findings=findings(0))

    assert {one.kind for one in look(records)} == {Kind.EMPTY, Kind.FEW}


@pytest.mark.parametrize(("length", "severity"), [(1, Severity.NOTE), (3, Severity.WARNING)])
def test_days_copied_and_dated_anew_are_alike(
    records: Records, length: int, severity: Severity
) -> None:
    first = day("2024-03-05")
    for one in between(first, first + timedelta(days=length - 1)):
        source = records[one - timedelta(days=7)]
        records[one] = replace(
            records[one],
            lines=source.lines,
            index_count=source.lines,
            size=source.size,
            findings=source.findings,
        )

    (odd,) = look(records)

    assert (odd.kind, odd.severity, odd.days) == (Kind.ALIKE, severity, length)


def test_a_day_that_had_more_events_once_has_shrunk(records: Records) -> None:
    lines = records[day("2024-03-05")].lines
    before = {day("2024-03-05"): lines + 40, day("2024-03-06"): 5, day("2020-01-01"): 9}

    (odd,) = look(records, predecessors=before)

    assert stretches([odd]) == [("shrunk", "2024-03-05", "2024-03-05")]
    assert (odd.actual, odd.expected) == (lines, lines + 40)
    assert odd.message == "40 events fewer than a version in history has"


def test_a_day_with_fewer_events_than_the_index_says_is_behind(records: Records) -> None:
    lines = records[day("2024-03-05")].lines
    change(records, "2024-03-05", index_count=lines + 1)
    change(records, "2024-03-06", index_count=1)
    change(records, "2024-03-07", index_count=None)

    (odd,) = look(records)

    assert stretches([odd]) == [("behind", "2024-03-05", "2024-03-05")]
    assert odd.message == "1 event fewer than upstream's index says"


@pytest.mark.parametrize(
    ("field", "kind", "sentence"),
    [
        ("not_objects", Kind.NOT_OBJECTS, "7 lines: not a JSON object"),
        ("unknown_schema", Kind.UNKNOWN_SCHEMA, "7 events: unknown schema"),
        ("unknown_version", Kind.UNKNOWN_VERSION, "7 events: unknown version"),
        ("bad_fields", Kind.BAD_FIELDS, "7 events: no usable timestamp, provider or spec"),
        ("unknown_provider", Kind.UNKNOWN_PROVIDER, "7 events: unknown provider"),
        ("other_day", Kind.OTHER_DAY, "7 events: timestamp of another day"),
        (
            "disordered",
            Kind.DISORDERED,
            "7 lines: timestamp earlier than that of the line before",
        ),
        (
            "missing_fields",
            Kind.MISSING_FIELDS,
            "7 events: a field of the version is missing, null or of another type",
        ),
    ],
)
def test_odd_content_is_counted_over_consecutive_days(
    records: Records, field: str, kind: Kind, sentence: str
) -> None:
    for one, count in (("2024-03-05", 3), ("2024-03-06", 4), ("2024-03-09", 1)):
        lines = records[day(one)].lines
        change(records, one, findings=findings(lines, **{field: count}))

    both, single = look(records)

    assert stretches([both, single]) == [
        (kind.value, "2024-03-05", "2024-03-06"),
        (kind.value, "2024-03-09", "2024-03-09"),
    ]
    assert both.message == sentence
    assert both.actual == 7
    assert single.message.startswith("1 ")


def test_days_of_two_versions_are_noted(records: Records) -> None:
    for one, versions in (
        ("2024-03-05", {"5": 10, "6": 10}),
        ("2024-03-06", {"6": 10, "5": 1}),
        ("2024-03-07", {"6": 10, "\x1b[2J": 1}),
    ):
        change(records, one, findings=findings(records[day(one)].lines, versions=versions))

    first, second = look(records)

    assert stretches([first, second]) == [
        ("versions", "2024-03-05", "2024-03-06"),
        ("versions", "2024-03-07", "2024-03-07"),
    ]
    assert first.message == "launch versions 5 and 6 in one day"
    assert second.message == r"launch versions \x1b[2J and 6 in one day"


def test_days_written_long_after_are_noted(records: Records) -> None:
    written = datetime(2024, 4, 17, 5, tzinfo=UTC)
    for one in days("2024-03-05", "2024-03-15"):
        change(records, str(one), last_modified=written)
    change(records, "2024-03-20", last_modified=at("2024-03-21 07:00"))

    (odd,) = look(records)

    assert stretches([odd]) == [("late", "2024-03-05", "2024-03-15")]
    assert odd.message == "written by upstream on 2024-04-17, 43 days after"


def test_days_that_vanished_upstream_are_noted(records: Records) -> None:
    odd = look(records, vanished=frozenset({day("2024-03-05"), day("2019-01-01")}))

    assert stretches(odd) == [("vanished", "2024-03-05", "2024-03-05")]


def test_what_upstream_calls_its_origins_cannot_control_a_terminal(records: Records) -> None:
    origin = "\x1b]0;gone\x07"
    for one in days("2024-01-08", "2024-03-01"):
        lines = records[one].lines
        parts = {"gke.mybinder.org": lines // 2, origin: lines - lines // 2}
        change(records, str(one), findings=findings(lines, parts))

    (odd,) = look(records)

    assert odd.subject == r"\x1b]0;gone\x07"
    assert odd.message.isprintable()


def without_findings(records: Records, first: str, last: str) -> None:
    for one in days(first, last):
        records[one] = replace(records[one], findings=None)


def test_days_with_pending_findings_are_unknown_and_not_silent(records: Records) -> None:
    without_findings(records, "2024-03-04", "2024-03-17")
    without_findings(records, "2024-06-20", "2024-06-30")

    assert look(records) == ()
    without_findings(records, "2024-01-08", "2024-06-30")
    assert look(records) == ()


def test_a_silence_reaches_over_days_with_pending_findings(records: Records) -> None:
    for one in days("2024-05-06", "2024-05-19"):
        known = records[one].findings
        assert known is not None
        origins = {name: n for name, n in known.origins.items() if name != "ovh.mybinder.org"}
        change(records, str(one), findings=findings(records[one].lines, origins))
    without_findings(records, "2024-05-10", "2024-05-12")

    (odd,) = look(records)

    assert stretches([odd]) == [("silent", "2024-05-06", "2024-05-19")]
    assert not odd.goes_on


def test_an_origin_is_a_newcomer_only_where_the_day_before_it_is_known(records: Records) -> None:
    for one in days("2024-03-10", "2024-06-30"):
        known = records[one].findings
        assert known is not None
        origins = {name: n for name, n in known.origins.items() if name != "ovh.mybinder.org"}
        change(records, str(one), findings=findings(records[one].lines, origins))
    without_findings(records, "2024-01-08", "2024-03-03")

    (odd,) = look(records)

    assert stretches([odd]) == [("silent", "2024-03-10", "2024-06-30")]
    assert odd.message == "ovh.mybinder.org has been silent since, while others go on"
