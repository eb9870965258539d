"""Finds what is odd about the days held and about upstream's index. Pure: no daily file is read.

Days are judged by their records alone, in several ways. A day without findings is judged by its
count and its dates, and by nothing that only its contents can say.

The index is judged by the log of polls, each of which records its state. One that stands still is
*unchanged* at first and *stale* after a while, so a standstill begins with the last poll that found
it fresh. The log is bounded: the state of upstream knows when a trouble that goes on began.
"""

from collections.abc import Hashable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import chain

from msgspec import Struct

from mirror.archive.upstream import Upstream
from mirror.events.findings import ODDITIES
from mirror.events.series import between
from mirror.model import Findings, IndexState, PollReport, Record
from mirror.report.anomaly import Anomaly, Kind, in_order, runs, span
from mirror.report.losses import find_dips, find_silences
from mirror.text import plural, shown

_LATE = timedelta(days=3)  # a file written later than this after its day is worth a note
_ALIKE_DAYS = timedelta(days=7)
_ALIKE_LINES = 20
_INDEX_KINDS = {
    IndexState.SHRUNK: Kind.INDEX_SHRUNK,
    IndexState.STALE: Kind.INDEX_FROZEN,
    IndexState.UNCHANGED: Kind.INDEX_FROZEN,
}
"""The kind of an index's trouble, by its state; "unchanged" is none that goes on yet."""


class ReportInput(Struct, frozen=True):
    """What is known of the days, for the search for anomalies."""

    records: Mapping[date, Record]  # the days held, ascending
    final: frozenset[date]  # those that are final: the count of an open day says nothing yet
    listed: frozenset[date] = frozenset()  # the days that upstream lists
    vanished: frozenset[date] = frozenset()  # the days held that upstream no longer lists
    predecessors: Mapping[date, int] = {}  # by day: the most lines that a version in history has
    pending: frozenset[date] = frozenset()  # held days whose contents are to be counted, or again

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
    searches = (_plain, _copies, _fewer, _content, _late)
    found = given.findings
    dips = find_dips({day: given.records[day].lines for day in given.final})
    silences = find_silences({day: found[day].origins for day in found if day in given.final})
    return in_order(chain(*(search(given) for search in searches), dips, silences))


def _plain(given: ReportInput) -> Iterator[Anomaly]:
    """Find the days of each of which one thing is odd by itself."""
    records, known = given.records, given.records.keys() | given.listed
    absent = set(between(min(known), max(known))) - records.keys() if known else set()
    listed = "listed by upstream and not held: `binder-mirror sync` asks for it"
    unlisted = "no file, and upstream lists none"
    empty = (day for day in given.final if not records[day].lines)
    gone = given.vanished & records.keys()
    versions = {day: sorted(one.versions) for day, one in given.findings.items()}
    messages = {
        Kind.MISSING: {day: listed if day in given.listed else unlisted for day in absent},
        Kind.EMPTY: dict.fromkeys(empty, "a file without events"),
        Kind.VANISHED: dict.fromkeys(gone, "held, but no longer listed by upstream"),
        Kind.VERSIONS: {
            day: f"launch versions {' and '.join(shown(one, 20) for one in some)} in one day"
            for day, some in versions.items()
            if len(some) > 1
        },
    }
    for kind, by_day in messages.items():
        for run in runs(by_day):
            yield Anomaly(kind, *run, actual=0 if kind is Kind.EMPTY else None)


def _copies(given: ReportInput) -> Iterator[Anomaly]:
    """Find days that are the same as earlier ones: of all, or of a few days before.

    The latter were copied and given new dates: no run of days is so alike by chance.
    """
    for kind, how, mark_of, reach in (
        (Kind.DUPLICATE, "byte for byte", lambda one: one.lines and one.sha256, timedelta.max),
        (Kind.ALIKE, "in size and all counts", _likeness, _ALIKE_DAYS),
    ):
        latest: dict[Hashable, Record] = {}
        back = {}
        for day, record in given.records.items():
            if not (mark := mark_of(record)):
                continue
            before, latest[mark] = latest.get(mark, record), record
            # of equal bytes it is no news that all counts are equal
            is_news = kind is Kind.DUPLICATE or before.sha256 != record.sha256
            if is_news and before is not record and day - before.date <= reach:
                back[day] = day - before.date
        for first, last, distance in runs(back):
            message = f"the same as {span(first - distance, last - distance)}, {how}"
            yield Anomaly(kind, first, last, message, given.lines(first, last))


def _likeness(record: Record) -> Hashable | None:
    found = record.findings
    if found is None or not found.providers or record.lines < _ALIKE_LINES:
        return None
    counts = (frozenset(one.items()) for one in (found.providers, found.origins))
    return (record.lines, record.size, *counts)


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


def _late(given: ReportInput) -> Iterator[Anomaly]:
    written = {
        day: record.last_modified.date()
        for day, record in given.records.items()
        if record.last_modified is not None and record.last_modified.date() - day > _LATE
    }
    for first, last, at in runs(written):
        message = f"written by upstream on {at}, {plural((at - first).days, 'day')} after"
        yield Anomaly(Kind.LATE, first, last, message)


def find_index_anomalies(
    polls: Sequence[PollReport], upstream: Upstream, *, stale_after: timedelta
) -> tuple[Anomaly, ...]:
    """Return when the index stood still, for longer than it may, or listed fewer days, ascending.

    The polls are those on record, ascending, and `upstream` is its recorded state. Of a time in
    which nobody polled nothing is said.
    """
    usable = [poll for poll in polls if poll.index_state is not IndexState.UNUSABLE]
    found = []
    moved_at: datetime | None = None
    for kind, run in _index_runs(usable, stale_after):
        first, last = run[0].started_at, run[-1].started_at
        if kind is None:
            moved_at = last
            continue
        is_frozen, is_oldest = kind is Kind.INDEX_FROZEN, run[0] is usable[0]
        if is_frozen and moved_at is not None and not _is_blind(moved_at, run[0], stale_after):
            first = moved_at
        is_now = run[-1] is usable[-1] and kind is _INDEX_KINDS.get(upstream.state)
        goes_on = is_now and upstream.state is not IndexState.UNCHANGED
        dated = upstream.index.changed_at if goes_on and upstream.index is not None else first
        if goes_on and is_oldest and (noticed := upstream.state_since) and noticed < last:
            # what the log of polls has forgotten; polled in time, it was noticed as it began
            first = dated if is_frozen and noticed - dated <= 2 * stale_after else noticed
        elif is_frozen and not goes_on and last - first <= stale_after:
            continue
        days = plural((last.date() - first.date()).days, "day")
        message = "upstream's index "
        message += f"stood still for {days}" if is_frozen else "listed fewer days than before"
        is_older = is_frozen and first - dated > stale_after
        message += f", and is dated {dated:%Y-%m-%d}" if is_older else ""
        is_unknown = is_frozen and is_oldest and not goes_on
        message += ", and already did at the first poll on record" if is_unknown else ""
        message += "; it still does" if goes_on else ""
        found.append(Anomaly(kind, first.date(), last.date(), message, goes_on=goes_on))
    return tuple(found)


def _index_runs(
    polls: Sequence[PollReport], stale_after: timedelta
) -> Iterator[tuple[Kind | None, list[PollReport]]]:
    """Yield runs of polls that saw the index alike, and the kind of its trouble, if any."""
    run: list[PollReport] = []
    before: Kind | None = None
    for poll in polls:
        kind = _INDEX_KINDS.get(poll.index_state)
        if run and (kind is not before or _is_blind(run[-1].started_at, poll, stale_after)):
            yield before, run
            run = []
        run.append(poll)
        before = kind
    if run:
        yield before, run


def _is_blind(since: datetime, poll: PollReport, stale_after: timedelta) -> bool:
    """Return whether the index may have changed, unseen, between a poll and the one before it."""
    return poll.started_at - since > stale_after and poll.index_state is not IndexState.UNCHANGED
