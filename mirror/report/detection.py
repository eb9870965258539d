"""Finds what is odd about the days held and about upstream's index. Pure: no daily file is read.

Days are judged by their records alone, each in several ways, one function for each. A day without
findings is judged by its count and its dates, and by nothing that only its contents can say.

The index is judged by the log of polls, each of which records its state. One that stands still is
*unchanged* at first and *stale* after a while, so a standstill begins with the last poll that found
it fresh. The log is bounded: the state of upstream knows when a trouble that goes on began.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.upstream import Upstream
from mirror.events.findings import ODDITIES
from mirror.model import Findings, IndexState, PollReport, Record
from mirror.report.anomaly import Anomaly, Kind, Severity, between, in_order, runs, span
from mirror.report.losses import LASTING_DAYS, Loss, find_dips, find_silences
from mirror.text import plural, shown

_DAY = timedelta(days=1)
_LATE = timedelta(days=3)
"""A file written later than this after its day is worth a note."""
_ALIKE_DAYS = 7
_ALIKE_LINES = 20
_NEWCOMER = timedelta(days=7)
_LASTING_KINDS = {
    IndexState.SHRUNK: Kind.INDEX_SHRUNK,
    IndexState.STALE: Kind.INDEX_FROZEN,
}
"""The kind of an index's trouble, by its state; "unchanged" alone is none."""
_INDEX_KINDS = {**_LASTING_KINDS, IndexState.UNCHANGED: Kind.INDEX_FROZEN}


class ReportInput(Struct, frozen=True):
    """What is known of the days, for the search for anomalies."""

    records: Mapping[date, Record]
    """The days held."""
    final: frozenset[date]
    """The days held that are final: the count of an open day says nothing yet."""
    listed: frozenset[date] = frozenset()
    """The days that upstream lists."""
    vanished: frozenset[date] = frozenset()
    """The days held that upstream no longer lists."""
    predecessors: Mapping[date, int] = {}
    """By day: the most lines that a version in history has."""
    pending: frozenset[date] = frozenset()
    """The days held whose contents are still to be counted, or counted again."""

    @property
    def findings(self) -> dict[date, Findings]:
        """What the days contain, ascending; without the days that are not counted yet."""
        found = ((day, record.findings) for day, record in sorted(self.records.items()))
        return {day: findings for day, findings in found if findings is not None}

    def lines(self, first: date, last: date) -> int:
        """Return the lines of all days from the first to the last."""
        return sum(self.records[day].lines for day in between(first, last))


def find_anomalies(given: ReportInput) -> tuple[Anomaly, ...]:
    """Return everything odd, ascending by first day; consecutive days are one anomaly."""
    by_count = (_missing, _empty, _dips, _fewer, _duplicate, _alike)
    by_content = (_silent, _content, _versions)
    by_date = (_late, _vanished)
    return in_order(one for search in (*by_count, *by_content, *by_date) for one in search(given))


def _missing(given: ReportInput) -> Iterator[Anomaly]:
    known = given.records.keys() | given.listed
    if not known:
        return
    absent = set(between(min(known), max(known))) - given.records.keys()
    listed = "listed by upstream and not held: `binder-mirror sync` fetches it"
    yield from _each_run(Kind.MISSING, absent & given.listed, listed)
    yield from _each_run(Kind.MISSING, absent - given.listed, "no file, and upstream lists none")


def _each_run(
    kind: Kind, days: Iterable[date], message: str, actual: int | None = None
) -> Iterator[Anomaly]:
    severity = kind.severity
    return (Anomaly(kind, severity, first, last, message, actual) for first, last in runs(days))


def _empty(given: ReportInput) -> Iterator[Anomaly]:
    empty = (day for day in given.final if not given.records[day].lines)
    return _each_run(Kind.EMPTY, empty, "a file without events", 0)


def _dips(given: ReportInput) -> Iterator[Anomaly]:
    for dip in find_dips({day: given.records[day].lines for day in given.final}):
        share = 100 * dip.actual / max(1, dip.expected)
        goes_on = not dip.has_ended and not dip.is_lasting
        kind = Kind.LEVEL if dip.is_lasting else Kind.FEW
        message = f"{dip.actual:,} events where {dip.expected:,} were expected ({share:.0f} %)"
        if dip.is_lasting:
            message = f"events fell to {share:.0f} %, for more than {LASTING_DAYS} days"
        elif goes_on:
            message += "; it goes on"
        anomaly = Anomaly(kind, kind.severity, dip.first, dip.last, message)
        yield replace(anomaly, actual=dip.actual, expected=dip.expected, goes_on=goes_on)


def _silent(given: ReportInput) -> Iterator[Anomaly]:
    found = given.findings
    origins = {day: found[day].origins for day in found if day in given.final}
    begun = _newcomers(origins)
    for silence in find_silences(origins):
        days = (silence.last - silence.first).days + 1
        # a member that left long ago is no news
        has_left = not silence.has_ended and days > LASTING_DAYS
        yield Anomaly(
            Kind.SILENT,
            Severity.NOTE if has_left or days == 1 else Severity.WARNING,
            silence.first,
            silence.last,
            _describe_silence(silence, begun),
            silence.actual,
            silence.expected,
            shown(silence.origin, 60),
            not silence.has_ended,
        )


def _newcomers(origins: Mapping[date, Mapping[str, int]]) -> dict[str, date]:
    """Return the first days of origins that the day before is known to be without."""
    begun: dict[str, date] = {}
    seen: set[str] = set()
    before = None
    for day, counts in origins.items():
        if before is not None and day - before == _DAY and origins[before]:
            begun |= dict.fromkeys(counts.keys() - seen, day)
        seen |= counts.keys()
        before = day
    return begun


def _describe_silence(silence: Loss, begun: Mapping[str, date]) -> str:
    message = shown(silence.origin, 60)
    if silence.has_ended:
        message += " is silent while others go on: "
        message += f"{silence.actual:,} launches where {silence.expected:,} were expected"
    else:
        message += " has been silent since, while others go on"
    new = [
        shown(name, 60)
        for name, day in begun.items()
        if abs(day - silence.first) <= _NEWCOMER and name != silence.origin
    ]
    return f"{message}; {', '.join(new[:3])} appeared at about that time" if new else message


def _duplicate(given: ReportInput) -> Iterator[Anomaly]:
    by_digest: dict[str, list[date]] = defaultdict(list)
    for day, record in sorted(given.records.items()):
        if record.lines:
            by_digest[record.sha256].append(day)
    pairs = [(days[0], day) for days in by_digest.values() for day in days[1:]]
    yield from _copies(pairs, given, Kind.DUPLICATE, "byte for byte")


def _alike(given: ReportInput) -> Iterator[Anomaly]:
    """Find days that were copied and given new dates: no run of days is so alike by chance."""
    pairs = []
    ordered = sorted(given.records.items())
    for number, (day, record) in enumerate(ordered):
        for other, before in ordered[max(0, number - _ALIKE_DAYS) : number]:
            if day - other <= timedelta(days=_ALIKE_DAYS) and _is_copy(before, record):
                pairs.append((other, day))
                break
    for one in _copies(pairs, given, Kind.ALIKE, "in size and all counts"):
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
    pairs: Iterable[tuple[date, date]], given: ReportInput, kind: Kind, how: str
) -> Iterator[Anomaly]:
    by_distance: dict[timedelta, list[date]] = defaultdict(list)
    for day, copy in pairs:
        by_distance[copy - day].append(copy)
    for distance, copies in by_distance.items():
        for first, last in runs(copies):
            message = f"the same as {span(first - distance, last - distance)}, {how}"
            yield Anomaly(kind, kind.severity, first, last, message, given.lines(first, last))


def _fewer(given: ReportInput) -> Iterator[Anomaly]:
    """Find the days that have fewer events than another source says."""
    said = {day: given.records[day].index_count for day in given.final}
    for kind, counts, than in (
        (Kind.SHRUNK, given.predecessors, "a version in history has"),
        (Kind.BEHIND, said, "upstream's index says"),
    ):
        lacking = {
            day: count - given.records[day].lines
            for day, count in counts.items()
            if count is not None and day in given.records
        }
        for first, last in runs(day for day, count in lacking.items() if count > 0):
            count = sum(lacking[day] for day in between(first, last))
            lines = given.lines(first, last)
            message = f"{plural(count, 'event')} fewer than {than}"
            yield Anomaly(kind, kind.severity, first, last, message, lines, lines + count)


def _content(given: ReportInput) -> Iterator[Anomaly]:
    found = given.findings
    for name, what in ODDITIES.items():
        kind = Kind[name.upper()]
        noun = "line" if kind in (Kind.NOT_OBJECTS, Kind.DISORDERED) else "event"
        counts = {day: int(getattr(one, name)) for day, one in found.items()}
        for first, last in runs(day for day, count in counts.items() if count):
            count = sum(counts[day] for day in between(first, last))
            message = f"{plural(count, noun)}: {what}"
            yield Anomaly(kind, kind.severity, first, last, message, count)


def _versions(given: ReportInput) -> Iterator[Anomaly]:
    mixed: dict[tuple[str, ...], list[date]] = defaultdict(list)
    for day, findings in given.findings.items():
        if len(findings.versions) > 1:
            mixed[tuple(sorted(findings.versions))].append(day)
    for versions, days in mixed.items():
        names = " and ".join(shown(one, 20) for one in versions)
        yield from _each_run(Kind.VERSIONS, days, f"launch versions {names} in one day")


def _late(given: ReportInput) -> Iterator[Anomaly]:
    written: dict[date, list[date]] = defaultdict(list)
    for day, record in given.records.items():
        if record.last_modified is not None and record.last_modified.date() - day > _LATE:
            written[record.last_modified.date()].append(day)
    for at, days in written.items():
        for first, last in runs(days):
            message = f"written by upstream on {at}, {plural((at - first).days, 'day')} after"
            yield Anomaly(Kind.LATE, Kind.LATE.severity, first, last, message)


def _vanished(given: ReportInput) -> Iterator[Anomaly]:
    gone = given.vanished & given.records.keys()
    return _each_run(Kind.VANISHED, gone, "held, but no longer listed by upstream")


class _Trouble(Struct, frozen=True):
    """Consecutive polls that found the index in the same trouble."""

    kind: Kind
    first: datetime
    last: datetime
    begins_before: bool = False
    """Whether it was so at the first poll on record."""
    goes_on: bool = False


def find_index_anomalies(
    polls: Sequence[PollReport], upstream: Upstream, *, stale_after: timedelta
) -> tuple[Anomaly, ...]:
    """Return when the index stood still or listed fewer days, ascending.

    Args:
        polls: the polls on record, ascending.
        upstream: the recorded state of upstream.
        stale_after: how long an index may stand still.
    """
    found = list(_troubles(polls))
    if found and found[-1].kind is _LASTING_KINDS.get(upstream.state):
        found[-1] = _go_on(found[-1], upstream)
    return tuple(
        _describe_trouble(one)
        for one in found
        if one.goes_on or one.kind is Kind.INDEX_SHRUNK or one.last - one.first > stale_after
    )


def _troubles(polls: Sequence[PollReport]) -> Iterator[_Trouble]:
    usable = (poll for poll in polls if poll.index_state is not IndexState.UNUSABLE)
    moved_at: datetime | None = None
    for kind, group in groupby(usable, key=lambda poll: _INDEX_KINDS.get(poll.index_state)):
        times = [poll.started_at for poll in group]
        if kind is None:
            moved_at = times[-1]
        elif kind is Kind.INDEX_FROZEN:
            yield _Trouble(kind, moved_at or times[0], times[-1], moved_at is None)
        else:
            yield _Trouble(kind, times[0], times[-1])


def _go_on(one: _Trouble, upstream: Upstream) -> _Trouble:
    """Return the trouble that the index is in now, with the beginning that upstream records."""
    began = upstream.state_since
    if one.kind is Kind.INDEX_FROZEN and upstream.index is not None:
        began = upstream.index.changed_at
    if began is not None and began < one.last:
        return _Trouble(one.kind, began, one.last, goes_on=True)
    return replace(one, goes_on=True)


def _describe_trouble(one: _Trouble) -> Anomaly:
    first, last = one.first.date(), one.last.date()
    message = "upstream's index listed fewer days than before"
    if one.kind is Kind.INDEX_FROZEN:
        message = f"upstream's index stood still for {plural((last - first).days, 'day')}"
    if one.begins_before:
        message += ", and already did at the first poll on record"
    message += "; it still does" if one.goes_on else ""
    return Anomaly(one.kind, one.kind.severity, first, last, message, goes_on=one.goes_on)
