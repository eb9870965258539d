"""Finds what is odd about the days held and about upstream's index. Pure: no daily file is read.

Days are judged by their records alone, each in several ways, one function for each. A day without
findings is judged by its count and its dates, and by nothing that only its contents can say.

The index is judged by the log of polls, each of which records its state. One that stands still is
*unchanged* at first and *stale* after a while, so a standstill begins with the last poll that found
it fresh. The log is bounded: the state of upstream knows when a trouble that goes on began.
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby, pairwise

from msgspec import Struct

from mirror.archive.upstream import Upstream
from mirror.events.findings import ODDITIES
from mirror.model import Findings, IndexState, PollReport, Record
from mirror.report.anomaly import Anomaly, Kind, between, in_order, runs, span
from mirror.report.losses import LASTING_DAYS, find_dips, find_silences
from mirror.text import plural, shown

_DAY = timedelta(days=1)
_LATE = timedelta(days=3)
"""A file written later than this after its day is worth a note."""
_ALIKE_DAYS = timedelta(days=7)
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
    """The days held, ascending."""
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
        """What the days contain; without the days that are not counted yet."""
        found = ((day, record.findings) for day, record in self.records.items())
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
    absent = set(between(min(known), max(known))) - given.records.keys() if known else set()
    listed = "listed by upstream and not held: `binder-mirror sync` fetches it"
    unlisted = "no file, and upstream lists none"
    messages = {day: listed if day in given.listed else unlisted for day in absent}
    return (Anomaly(Kind.MISSING, *run) for run in runs(messages))


def _empty(given: ReportInput) -> Iterator[Anomaly]:
    empty = (day for day in given.final if not given.records[day].lines)
    messages = dict.fromkeys(empty, "a file without events")
    return (Anomaly(Kind.EMPTY, *run, actual=0) for run in runs(messages))


def _dips(given: ReportInput) -> Iterator[Anomaly]:
    for dip in find_dips({day: given.records[day].lines for day in given.final}):
        share = 100 * dip.actual / max(1, dip.expected)
        if dip.is_lasting:
            message = f"events fell to {share:.0f} %, for more than {LASTING_DAYS} days"
        else:
            message = f"{dip.actual:,} events where {dip.expected:,} were expected ({share:.0f} %)"
        message += "; it goes on" if dip.goes_on else ""
        kind = Kind.LEVEL if dip.is_lasting else Kind.FEW
        yield Anomaly(
            kind, dip.first, dip.last, message, dip.actual, dip.expected, goes_on=dip.goes_on
        )


def _silent(given: ReportInput) -> Iterator[Anomaly]:
    found = given.findings
    origins = {day: found[day].origins for day in found if day in given.final}
    begun = _newcomers(origins)
    for one in find_silences(origins):
        origin = shown(one.origin, 60)
        message = f"{origin} has been silent since, while others go on"
        if not one.goes_on:
            message = f"{origin} is silent while others go on: "
            message += f"{one.actual:,} launches where {one.expected:,} were expected"
        new = [
            shown(name, 60)
            for name, day in begun.items()
            if abs(day - one.first) <= _NEWCOMER and name != one.origin
        ]
        message += f"; {', '.join(new[:3])} appeared at about that time" if new else ""
        yield Anomaly(
            Kind.SILENT, one.first, one.last, message, one.actual, one.expected, origin, one.goes_on
        )


def _newcomers(origins: Mapping[date, Mapping[str, int]]) -> dict[str, date]:
    """Return the first days of origins that the day before is known to be without."""
    begun: dict[str, date] = {}
    seen: set[str] = set()
    for (before, known), (day, counts) in pairwise(origins.items()):
        seen |= known.keys()
        if known and day - before == _DAY:
            begun |= dict.fromkeys(sorted(counts.keys() - seen), day)
    return begun


def _duplicate(given: ReportInput) -> Iterator[Anomaly]:
    firsts: dict[str, date] = {}
    filled = ((day, record.sha256) for day, record in given.records.items() if record.lines)
    originals = {day: firsts.setdefault(sha256, day) for day, sha256 in filled}
    return _copies(originals, given, Kind.DUPLICATE, "byte for byte")


def _alike(given: ReportInput) -> Iterator[Anomaly]:
    """Find days that were copied and given new dates: no run of days is so alike by chance."""
    originals = {}
    ordered = list(given.records.items())
    for number, (day, record) in enumerate(ordered):
        for other, before in ordered[max(0, number - _ALIKE_DAYS.days) : number]:
            if day - other <= _ALIKE_DAYS and _is_copy(before, record):
                originals[day] = other
                break
    return _copies(originals, given, Kind.ALIKE, "in size and all counts")


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
    originals: Mapping[date, date], given: ReportInput, kind: Kind, how: str
) -> Iterator[Anomaly]:
    back = {day: day - original for day, original in originals.items() if day != original}
    for first, last, distance in runs(back):
        message = f"the same as {span(first - distance, last - distance)}, {how}"
        yield Anomaly(kind, first, last, message, given.lines(first, last))


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
        for first, last, count in _sums(lacking):
            lines = given.lines(first, last)
            message = f"{plural(count, 'event')} fewer than {than}"
            yield Anomaly(kind, first, last, message, lines, lines + count)


def _sums(counts: Mapping[date, int]) -> Iterator[tuple[date, date, int]]:
    """Yield each run of days with a count above zero, and the sum of these."""
    for first, last, _ in runs({day: True for day, count in counts.items() if count > 0}):
        yield first, last, sum(counts[day] for day in between(first, last))


def _content(given: ReportInput) -> Iterator[Anomaly]:
    found = given.findings
    for name, what in ODDITIES.items():
        kind = Kind[name.upper()]
        noun = "line" if kind in (Kind.NOT_OBJECTS, Kind.DISORDERED) else "event"
        for first, last, count in _sums({day: getattr(one, name) for day, one in found.items()}):
            yield Anomaly(kind, first, last, f"{plural(count, noun)}: {what}", count)


def _versions(given: ReportInput) -> Iterator[Anomaly]:
    found = {day: tuple(sorted(one.versions)) for day, one in given.findings.items()}
    for first, last, versions in runs({day: some for day, some in found.items() if len(some) > 1}):
        names = " and ".join(shown(one, 20) for one in versions)
        yield Anomaly(Kind.VERSIONS, first, last, f"launch versions {names} in one day")


def _late(given: ReportInput) -> Iterator[Anomaly]:
    written = {
        day: record.last_modified.date()
        for day, record in given.records.items()
        if record.last_modified is not None and record.last_modified.date() - day > _LATE
    }
    for first, last, at in runs(written):
        message = f"written by upstream on {at}, {plural((at - first).days, 'day')} after"
        yield Anomaly(Kind.LATE, first, last, message)


def _vanished(given: ReportInput) -> Iterator[Anomaly]:
    gone = given.vanished & given.records.keys()
    messages = dict.fromkeys(gone, "held, but no longer listed by upstream")
    return (Anomaly(Kind.VANISHED, *run) for run in runs(messages))


def find_index_anomalies(
    polls: Sequence[PollReport], upstream: Upstream, *, stale_after: timedelta
) -> tuple[Anomaly, ...]:
    """Return when the index stood still or listed fewer days, ascending.

    Args:
        polls: the polls on record, ascending.
        upstream: the recorded state of upstream.
        stale_after: how long an index may stand still.
    """
    troubles = list(_troubles(polls))
    found = []
    for number, (kind, times, moved_at) in enumerate(troubles, 1):
        is_frozen = kind is Kind.INDEX_FROZEN
        first, last, begins_before = times[0], times[-1], False
        if is_frozen:
            first, begins_before = moved_at or first, moved_at is None
        goes_on = number == len(troubles) and kind is _LASTING_KINDS.get(upstream.state)
        if goes_on:
            began = upstream.state_since
            if is_frozen and upstream.index is not None:
                began = upstream.index.changed_at
            if began is not None and began < last:
                first, begins_before = began, False
        elif is_frozen and last - first <= stale_after:
            continue
        days = plural((last.date() - first.date()).days, "day")
        message = "upstream's index "
        message += f"stood still for {days}" if is_frozen else "listed fewer days than before"
        message += ", and already did at the first poll on record" if begins_before else ""
        message += "; it still does" if goes_on else ""
        found.append(Anomaly(kind, first.date(), last.date(), message, goes_on=goes_on))
    return tuple(found)


def _troubles(
    polls: Sequence[PollReport],
) -> Iterator[tuple[Kind, Sequence[datetime], datetime | None]]:
    """Yield each trouble of the index, when polls found it so, and the last fresh one before."""
    usable = (poll for poll in polls if poll.index_state is not IndexState.UNUSABLE)
    moved_at: datetime | None = None
    for kind, group in groupby(usable, key=lambda poll: _INDEX_KINDS.get(poll.index_state)):
        times = [poll.started_at for poll in group]
        if kind is not None:
            yield kind, times, moved_at
        else:
            moved_at = times[-1]
