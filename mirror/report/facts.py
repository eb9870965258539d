"""The facts of a report on a window of days: totals, periods, quarters and anomalies.

They come from the manifest, the history's names and the log of polls. Daily files are read for one
thing alone, which only they can say: the repositories launched most.
"""

import heapq
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, datetime, timedelta
from itertools import groupby
from operator import attrgetter
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.upstream import vanished, wanted_days
from mirror.config.settings import Config
from mirror.events import series
from mirror.events.findings import add_names, is_pending, origins_of
from mirror.events.launch import Launch
from mirror.model import DayRange, Record
from mirror.reading.selection import repository_of
from mirror.report.anomaly import Anomaly, Severity, in_order
from mirror.report.detection import ReportInput, find_anomalies, find_index_anomalies
from mirror.status.snapshot import Snapshot, load_snapshot
from mirror.store.aside import list_versions
from mirror.store.layout import DataDir
from mirror.store.polls import KEPT_POLLS, load_polls
from mirror.text import shown

if TYPE_CHECKING:
    from mirror.reading.reader import Events  # it takes time, which most reports need not spend

MAX_REPOSITORIES = 500_000
"""Repositories counted by name, which take some 70 MB; names are upstream's, so they are bounded.
All years of mybinder.org have fewer."""
_MAX_NAME_LENGTH = 200
_ALL_POLLS = 10 * KEPT_POLLS  # more than the bounded log of polls can hold
_ALL_DAYS = DayRange()
_QUARTERS = 8
_PERIODS: Mapping[str, tuple[int, series.Period]] = {
    "day": (45, lambda day: day),
    "week": (400, series.week_of),
    "month": (date.max.toordinal(), series.month_of),
}
"""By name: the days of the longest window that has periods of this kind, and how they begin."""


class Period(Struct, frozen=True):
    """The totals of one day, week or month of the window."""

    start: date
    days: int  # days held in it
    events: int
    origins: Mapping[str, int]
    providers: Mapping[str, int]
    inspected: int  # days held in it whose contents are known: origins and providers are of these


class Quarter(Struct, frozen=True):
    """Quarterly totals and growth, by the mean of a final day held."""

    start: date
    days: int
    events: int
    per_day: float
    to_quarter_before: float | None = None
    """1.1 for ten percent more than the quarter before; None where no day of that is held."""
    to_year_before: float | None = None


class Ranked(Struct, frozen=True):
    """One of the repositories launched most."""

    name: str  # its canonical key, without credentials; printable
    launches: int


class Ranking(Struct, frozen=True):
    """The repositories launched most."""

    top: tuple[Ranked, ...]
    launches: int  # all launches counted
    repositories: int  # different ones among them; at least so many, where not all were counted
    uncertain_by: int = 0  # launches of repositories beyond the bound, counted by no name
    unknown: int = 0  # launches and odd lines that name no repository


class Report(Struct, frozen=True):
    """Everything that a report says."""

    made_at: datetime
    first: date | None  # the first day held in the window
    last: date | None
    days: int  # days held in the window
    pending_findings: int  # days of those whose contents are still to be counted, or counted again
    events: int
    size: int  # bytes of their files
    anomalies: tuple[Anomaly, ...]  # those that touch the window, ascending
    period: str  # what the periods are: "day", "week" or "month"
    periods: tuple[Period, ...]
    quarters: tuple[Quarter, ...]  # the last ones up to the window's end, before its beginning too
    daily: Mapping[date, int]  # events by day, of all days held, for the plots around an anomaly
    repositories: Ranking | None = None

    @property
    def starts(self) -> tuple[date, ...]:
        """The first days of all periods, with those of which no day is held."""
        if not self.periods:
            return ()
        first, last = self.periods[0].start, self.periods[-1].start
        return series.fill_periods(first, last, _PERIODS[self.period][1])

    @property
    def found(self) -> dict[Severity, int]:
        """The number of anomalies by severity."""
        severities = [one.severity for one in self.anomalies]
        return {severity: severities.count(severity) for severity in Severity}


def read_report(
    data: DataDir,
    config: Config,
    *,
    now: datetime,
    window: DayRange = _ALL_DAYS,
    snapshot: Snapshot | None = None,
) -> Report:
    """Return the report on a window; anomalies are judged by all days nevertheless.

    The settings say how long an index may stand still, and whether days are looked into. A snapshot
    of the data directory is loaded where none is at hand; `now` is aware UTC.
    """
    snapshot = snapshot or load_snapshot(data)
    records = dict(sorted(snapshot.inventory.records.items()))
    versions = groupby(list_versions(data), key=attrgetter("date"))
    given = ReportInput(
        records=records,
        final=frozenset(day for day in records if data.days.is_final(day, now)),
        listed=wanted_days(snapshot.upstream, data.days, now=now),
        vanished=vanished(snapshot.upstream, now=now),
        predecessors={day: max(one.lines for one in some) for day, some in versions},
        pending=frozenset(
            day for day in records if config.storage.findings and is_pending(records[day])
        ),
    )
    # those of a clock that was ahead would have an index stand still into the future
    polls = [one for one in load_polls(data, _ALL_POLLS).last if one.started_at <= now]
    stale_after = config.schedule.stale_span
    of_index = find_index_anomalies(polls, snapshot.upstream, stale_after=stale_after)
    return make_report(given, (*find_anomalies(given), *of_index), window, now=now)


def make_report(
    given: ReportInput, anomalies: Sequence[Anomaly], window: DayRange, *, now: datetime
) -> Report:
    """Return the report on a window of the days held, with all anomalies found."""
    inside = [record for day, record in given.records.items() if day in window]
    first, last = (inside[0].date, inside[-1].date) if inside else (None, None)
    length = (last - first).days + 1 if first and last else 0
    period, (_, start_of) = next(one for one in _PERIODS.items() if length <= one[1][0])
    return Report(
        made_at=now,
        first=first,
        last=last,
        days=len(inside),
        pending_findings=sum(record.date in given.pending for record in inside),
        events=sum(record.lines for record in inside),
        size=sum(record.size for record in inside),
        anomalies=in_order(one for one in anomalies if window.touches(one.first, one.last)),
        period=period,
        periods=tuple(
            _make_period(start, list(records))
            for start, records in groupby(inside, key=lambda one: start_of(one.date))
        ),
        quarters=_quarters(given, last),
        daily={day: record.lines for day, record in given.records.items()},
    )


def _make_period(start: date, records: Sequence[Record]) -> Period:
    inspected = [(one, one.findings) for one in records if one.findings is not None]
    return Period(
        start=start,
        days=len(records),
        events=sum(one.lines for one in records),
        origins=_shown(add_names(origins_of(one.date, found) for one, found in inspected)),
        providers=_shown(add_names(found.providers for _, found in inspected)),
        inspected=len(inspected),
    )


def _shown(counts: Mapping[str, int]) -> dict[str, int]:
    # upstream's strings: whoever wrote the manifest may not have escaped them
    return {shown(name, 64): count for name, count in counts.items()}


def _quarters(given: ReportInput, last: date | None) -> tuple[Quarter, ...]:
    # an open day would lower the mean
    days = (day for day in given.final if last is not None and day <= last)
    counts = ((day, given.records[day].lines) for day in days)
    totals = series.sum_counts(counts, series.quarter_of)
    return tuple(
        Quarter(
            start,
            total.days,
            total.count,
            total.mean,
            _ratio(total, totals.get(series.quarter_of(start - timedelta(days=1)))),
            _ratio(total, totals.get(start.replace(year=start.year - 1))),
        )
        for start, total in list(totals.items())[-_QUARTERS:]
    )


def _ratio(one: series.Total, other: series.Total | None) -> float | None:
    return one.mean / other.mean if other is not None and other.count else None


def rank_repositories(events: "Events[Launch]", number: int) -> Ranking:
    """Return the repositories launched most among events, reading their files.

    Args:
        events: the launches; odd lines should be skipped.
        number: repositories at most.

    Raises:
        UnrecordedError, StorageError: a daily file cannot be read, or is not the one on record.
    """
    place_of = attrgetter("provider", "spec")
    blocks = (Counter(map(place_of, block)) for block in events.launch_blocks())
    launches = ((repository_of(*place), n) for block in blocks for place, n in block.items())
    ranking = rank(launches, number)
    return replace(ranking, unknown=ranking.unknown + events.odd.total())


def rank(
    launches: Iterable[tuple[str | None, int]], number: int, *, limit: int = MAX_REPOSITORIES
) -> Ranking:
    """Return the repositories launched most.

    Args:
        launches: keys of repositories, each with a number of launches; None where it is unknown.
        number: repositories to name, at most.
        limit: repositories counted by name; those that come later are counted as one.
    """
    counts: Counter[str] = Counter()
    unknown = unnamed = 0
    for key, count in launches:
        if key is None:
            unknown += count
        elif (name := shown(key, _MAX_NAME_LENGTH)) in counts or len(counts) < limit:
            counts[name] += count
        else:
            unnamed += count
    top = heapq.nsmallest(number, counts.items(), key=lambda one: (-one[1], one[0]))
    return Ranking(
        top=tuple(Ranked(name, count) for name, count in top),
        launches=counts.total() + unnamed,
        repositories=len(counts),
        uncertain_by=unnamed,
        unknown=unknown,
    )


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as programs read it."""
    facts: dict[str, Any] = msgspec.to_builtins(report)
    del facts["daily"]
    facts["anomalies"] = [
        {"kind": one.kind, "severity": one.severity, **fields, "days": one.days}
        for fields, one in zip(facts["anomalies"], report.anomalies, strict=True)
    ]
    facts["found"] = msgspec.to_builtins(report.found)
    return facts
