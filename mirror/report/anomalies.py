"""All that is odd about the days held, from their records alone. Pure; no daily file is read."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta

from msgspec import Struct
from msgspec.structs import replace

from mirror.model import Findings, Record
from mirror.report.anomaly import Anomaly, Kind, Severity, between, runs, span
from mirror.report.dips import LASTING_DAYS, find_dips
from mirror.report.silence import Silence, find_silences
from mirror.text import plural, shown

_LATE = timedelta(days=3)
"""A file written later than this after its day was written out of turn."""
_ALIKE_DAYS = 7
_ALIKE_LINES = 20
_NEWCOMER = timedelta(days=7)

_CONTENT: tuple[tuple[Kind, Severity, str, str, str], ...] = (
    (
        Kind.NOT_OBJECTS,
        Severity.WARNING,
        "not_objects",
        "line is no JSON object",
        "lines are no JSON objects",
    ),
    (
        Kind.UNKNOWN_SCHEMA,
        Severity.WARNING,
        "unknown_schema",
        "event is of an unknown schema",
        "events are of an unknown schema",
    ),
    (
        Kind.UNKNOWN_VERSION,
        Severity.WARNING,
        "unknown_version",
        "event is of an unknown version",
        "events are of an unknown version",
    ),
    (
        Kind.UNKNOWN_PROVIDER,
        Severity.WARNING,
        "unknown_provider",
        "event is of an unknown provider",
        "events are of an unknown provider",
    ),
    (
        Kind.MISSING_FIELDS,
        Severity.WARNING,
        "missing_fields",
        "event lacks a field of its version, or has it as another type",
        "events lack a field of their version, or have it as another type",
    ),
    (
        Kind.OTHER_DAY,
        Severity.NOTE,
        "other_day",
        "event is of another day",
        "events are of another day",
    ),
    (
        Kind.DISORDERED,
        Severity.NOTE,
        "disordered",
        "line is earlier than the one before it",
        "lines are earlier than the one before them",
    ),
)
"""What findings count, how much it matters, and how one and how many of it are told."""


class Held(Struct, frozen=True):
    """What is known of the days, as the search for anomalies wants it."""

    records: Mapping[date, Record]
    """The days held."""
    whole: frozenset[date]
    """Those of them that are over: the count of a day that goes on says nothing yet."""
    listed: frozenset[date] = frozenset()
    """The days that upstream lists."""
    vanished: frozenset[date] = frozenset()
    """The days held that no listing of upstream's has any more."""
    predecessors: Mapping[date, int] = {}
    """By day: the most lines that a body in history has."""


def find_anomalies(held: Held) -> tuple[Anomaly, ...]:
    """Return all that is odd, ascending by first day; consecutive days are one."""
    found = [
        *_missing(held),
        *_empty(held),
        *_few(held),
        *_silent(held),
        *_duplicate(held),
        *_alike(held),
        *_shrunk(held),
        *_behind(held),
        *_content(held),
        *_versions(held),
        *_late(held),
        *_vanished(held),
    ]
    return tuple(sorted(found, key=lambda one: (one.first, one.last, one.kind)))


def _missing(held: Held) -> Iterator[Anomaly]:
    known = held.records.keys() | held.listed
    if not known:
        return
    absent = set(between(min(known), max(known))) - held.records.keys()
    for days, told in (
        (absent & held.listed, "listed by upstream and not held: `binder-mirror sync` asks for it"),
        (absent - held.listed, "no file, and upstream lists none"),
    ):
        for first, last in runs(days):
            yield Anomaly(Kind.MISSING, Severity.SERIOUS, first, last, told)


def _empty(held: Held) -> Iterator[Anomaly]:
    for first, last in runs(day for day in held.whole if not held.records[day].lines):
        yield Anomaly(Kind.EMPTY, Severity.SERIOUS, first, last, "a file without events", actual=0)


def _few(held: Held) -> Iterator[Anomaly]:
    newest = max(held.whole, default=None)
    for dip in find_dips({day: held.records[day].lines for day in held.whole}):
        share = 100 * dip.actual / max(1, dip.expected)
        told = f"{dip.actual:,} events where {dip.expected:,} were to be expected ({share:.0f} %)"
        goes_on = dip.last == newest and not dip.has_ended
        kind, severity = Kind.FEW, Severity.SERIOUS
        if dip.is_lasting:
            kind, severity, goes_on = Kind.LEVEL, Severity.WARNING, False
            told = f"events fell to {share:.0f} % and were still there {LASTING_DAYS} days later"
        elif goes_on:
            told += "; it goes on"
        yield Anomaly(
            kind, severity, dip.first, dip.last, told, dip.actual, dip.expected, goes_on=goes_on
        )


def _silent(held: Held) -> Iterator[Anomaly]:
    origins = {
        day: findings.origins
        for day in held.whole
        if (findings := held.records[day].findings) is not None
    }
    begun: dict[str, date] = {}
    for day in sorted(origins):
        for name in origins[day]:
            begun.setdefault(name, day)
    for silence in find_silences(origins):
        yield _tell_silence(silence, begun)


def _tell_silence(silence: Silence, begun: Mapping[str, date]) -> Anomaly:
    name = shown(silence.origin, 60)
    length = (silence.last - silence.first).days + 1
    told = f"{name} is silent while others go on: some {silence.expected:,} launches"
    told += " would be its part" if silence.actual == 0 else f" would be its {silence.actual:,}"
    if not silence.has_ended:
        told = f"{name} has been silent since, while others go on"
    new = [
        shown(other, 60)
        for other, day in begun.items()
        if abs(day - silence.first) <= _NEWCOMER and other != silence.origin
    ]
    # a member that left long ago is no news
    left = not silence.has_ended and length > LASTING_DAYS
    if new:
        told += f"; {', '.join(new[:3])} appeared about then"
    severity = Severity.NOTE if left or length == 1 else Severity.WARNING
    return Anomaly(
        Kind.SILENT,
        severity,
        silence.first,
        silence.last,
        told,
        silence.actual,
        silence.expected,
        name,
        not silence.has_ended,
    )


def _duplicate(held: Held) -> Iterator[Anomaly]:
    by_digest: dict[str, list[date]] = defaultdict(list)
    for day, record in sorted(held.records.items()):
        if record.lines:
            by_digest[record.sha256].append(day)
    pairs = [(days[0], day) for days in by_digest.values() for day in days[1:]]
    yield from _copies(pairs, held, Kind.DUPLICATE, Severity.SERIOUS, "byte for byte")


def _alike(held: Held) -> Iterator[Anomaly]:
    """Find days that were copied and only dated anew: by chance, no stretch of days is so alike."""
    pairs = []
    ordered = sorted(held.records.items())
    for number, (day, record) in enumerate(ordered):
        for other, before in ordered[max(0, number - _ALIKE_DAYS) : number]:
            if day - other <= timedelta(days=_ALIKE_DAYS) and _is_copy(before, record):
                pairs.append((other, day))
                break
    for one in _copies(pairs, held, Kind.ALIKE, Severity.WARNING, "in size and all counts"):
        # one day may be so by chance, where few things are counted
        yield one if one.days > 1 else replace(one, severity=Severity.NOTE)


def _is_copy(one: Record, other: Record) -> bool:
    return (
        one.lines >= _ALIKE_LINES
        and one.lines == other.lines
        and one.size == other.size
        and one.sha256 != other.sha256
        and one.findings is not None
        and other.findings is not None
        and bool(one.findings.providers)
        and one.findings.providers == other.findings.providers
        and one.findings.origins == other.findings.origins
    )


def _copies(
    pairs: Iterable[tuple[date, date]], held: Held, kind: Kind, severity: Severity, how: str
) -> Iterator[Anomaly]:
    by_distance: dict[timedelta, list[date]] = defaultdict(list)
    for day, copy in pairs:
        by_distance[copy - day].append(copy)
    for distance, copies in by_distance.items():
        for first, last in runs(copies):
            told = f"the same as {span(first - distance, last - distance)}, {how}"
            lines = sum(held.records[day].lines for day in between(first, last))
            yield Anomaly(kind, severity, first, last, told, lines)


def _shrunk(held: Held) -> Iterator[Anomaly]:
    lost = {
        day: most - held.records[day].lines
        for day, most in held.predecessors.items()
        if day in held.records and most > held.records[day].lines
    }
    yield from _joined(
        held,
        lost,
        lambda count: f"{plural(count, 'event')} fewer than a predecessor in history has",
        (Kind.SHRUNK, Severity.SERIOUS),
    )


def _behind(held: Held) -> Iterator[Anomaly]:
    lacking = {
        day: record.index_count - record.lines
        for day, record in held.records.items()
        if day in held.whole and record.index_count is not None
    }
    yield from _joined(
        held,
        {day: count for day, count in lacking.items() if count > 0},
        lambda count: f"{plural(count, 'event')} fewer than upstream's index says",
        (Kind.BEHIND, Severity.WARNING),
    )


def _joined(
    held: Held,
    counts: Mapping[date, int],
    told: Callable[[int], str],
    what: tuple[Kind, Severity],
) -> Iterator[Anomaly]:
    """Join days that lack events; what is held and what was to be are told."""
    for first, last in runs(counts):
        days = list(between(first, last))
        lacking = sum(counts[day] for day in days)
        lines = sum(held.records[day].lines for day in days)
        yield Anomaly(*what, first, last, told(lacking), lines, lines + lacking)


def _content(held: Held) -> Iterator[Anomaly]:
    found = {day: one.findings for day, one in held.records.items() if one.findings is not None}
    for kind, severity, field, one, many in _CONTENT:
        counts = {day: int(getattr(findings, field)) for day, findings in found.items()}
        for first, last in runs(day for day, count in counts.items() if count):
            count = sum(counts[day] for day in between(first, last))
            told = f"{count:,} {one if count == 1 else many}"
            yield Anomaly(kind, severity, first, last, told, count)


def _versions(held: Held) -> Iterator[Anomaly]:
    mixed: dict[tuple[str, ...], list[date]] = defaultdict(list)
    for day, record in held.records.items():
        findings: Findings | None = record.findings
        if findings is not None and len(findings.versions) > 1:
            mixed[tuple(sorted(findings.versions))].append(day)
    for versions, days in mixed.items():
        told = "launch versions " + " and ".join(shown(one, 20) for one in versions) + " in one day"
        for first, last in runs(days):
            yield Anomaly(Kind.VERSIONS, Severity.NOTE, first, last, told)


def _late(held: Held) -> Iterator[Anomaly]:
    written: dict[date, list[date]] = defaultdict(list)
    for day, record in held.records.items():
        if record.last_modified is not None:
            at = record.last_modified.date()
            if at - day > _LATE:
                written[at].append(day)
    for at, days in written.items():
        for first, last in runs(days):
            told = f"written by upstream on {at} only, {plural((at - first).days, 'day')} after"
            yield Anomaly(Kind.LATE, Severity.NOTE, first, last, told)


def _vanished(held: Held) -> Iterator[Anomaly]:
    for first, last in runs(held.vanished & held.records.keys()):
        told = "held, and no longer listed by upstream"
        yield Anomaly(Kind.VANISHED, Severity.NOTE, first, last, told)
