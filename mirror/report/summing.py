"""The report: what is odd about the days held, and how launches went. From the inventory alone.

No daily file is read; what only the files can tell, the repositories, is added by `repositories`.
"""

from collections.abc import Mapping, Sequence
from datetime import date, datetime, timedelta
from typing import Any

import msgspec
from msgspec import Struct

from mirror.archive.plan import final_at
from mirror.archive.upstream import listed_counts, vanished
from mirror.events.series import Period as PeriodOf
from mirror.events.series import (
    Total,
    fill_periods,
    month_of,
    quarter_of,
    sum_counts,
    sum_names,
    week_of,
)
from mirror.model import Findings, Record
from mirror.report.anomalies import ReportInput, find_anomalies
from mirror.report.anomaly import Anomaly, Severity, between
from mirror.report.repositories import Ranking
from mirror.report.standstill import find_standstills
from mirror.status.snapshot import Snapshot, load_snapshot
from mirror.store.history import list_versions
from mirror.store.layout import DataDir
from mirror.store.polls import KEPT_POLLS, load_polls
from mirror.text import shown

_ALL_POLLS = 10 * KEPT_POLLS
"""More than the bounded log of polls can hold."""
_BY_DAY_UP_TO = 45
_BY_WEEK_UP_TO = 400
_QUARTERS = 8
_ORIGIN_SAID_FROM = date(2019, 6, 12)
_ORIGIN_BEFORE = "mybinder.org"
"""Events of before are of this host, and do not say so (the archive's launch versions)."""


def _day_of(day: date) -> date:
    return day


_PERIOD_OF: Mapping[str, PeriodOf] = {"day": _day_of, "week": week_of, "month": month_of}
"""What a report's periods may be."""


class Window(Struct, frozen=True):
    """The days that a report is about; None where it is open."""

    since: date | None = None
    until: date | None = None

    def has(self, day: date) -> bool:
        """Return whether a day lies in it."""
        return self.touches(day, day)

    def touches(self, first: date, last: date) -> bool:
        """Return whether a stretch of days has one in it."""
        return not (
            (self.since is not None and last < self.since)
            or (self.until is not None and first > self.until)
        )


class Period(Struct, frozen=True):
    """What one day, week or month of the window comes to."""

    start: date
    days: int
    """Days held in it."""
    events: int
    origins: Mapping[str, int]
    providers: Mapping[str, int]


class Quarter(Struct, frozen=True):
    """What a quarter comes to, and how it stands to others, by the mean of a whole day held."""

    start: date
    days: int
    events: int
    per_day: float
    to_quarter_before: float | None = None
    """1.1 for ten percent more than the quarter before; None where nothing of that is held."""
    to_year_before: float | None = None


class Report(Struct, frozen=True):
    """All that a report tells."""

    made_at: datetime
    first: date | None
    """The first day held in the window."""
    last: date | None
    days: int
    """Days held in the window."""
    events: int
    size: int
    """Bytes of their files."""
    anomalies: tuple[Anomaly, ...]
    """Those that touch the window, ascending."""
    period: str
    """What the periods are: "day", "week" or "month"."""
    periods: tuple[Period, ...]
    quarters: tuple[Quarter, ...]
    """The last ones up to the end of the window, before its beginning too."""
    daily: Mapping[date, int]
    """Events by day, of all days held: what small plots around an anomaly are drawn from."""
    repositories: Ranking | None = None

    @property
    def starts(self) -> tuple[date, ...]:
        """The first days of all periods, of those without a day held too."""
        if not self.periods:
            return ()
        first, last = self.periods[0].start, self.periods[-1].start
        if self.period == "day":
            return tuple(between(first, last))
        return fill_periods(first, last, _PERIOD_OF[self.period])

    def count(self, severity: Severity) -> int:
        """Return the number of anomalies that matter so much."""
        return sum(one.severity is severity for one in self.anomalies)


def read_report(
    data: DataDir,
    name_template: str,
    window: Window,
    *,
    final_after: timedelta,
    stale_after: timedelta,
    now: datetime,
) -> Report:
    """Return the report on a window.

    Args:
        data: the data directory.
        name_template: what a daily file is called.
        window: the days it is about; what is odd is judged by all days nevertheless.
        final_after: how long after its end a day may still change.
        stale_after: how long upstream's index may stand still.
        now: the time.

    Raises:
        StorageError, ConfigError: the inventory cannot be read.
    """
    snapshot = load_snapshot(data, name_template)
    polls = load_polls(data, _ALL_POLLS).last
    held = _held(snapshot, data, final_after=final_after, now=now)
    found = (
        *find_anomalies(held),
        *find_standstills(polls, snapshot.upstream, stale_after=stale_after),
    )
    odd = sorted(found, key=lambda one: (one.first, one.last, one.kind))
    return make_report(held, odd, window, now=now)


def _held(
    snapshot: Snapshot, data: DataDir, *, final_after: timedelta, now: datetime
) -> ReportInput:
    records = snapshot.inventory.records
    predecessors: dict[date, int] = {}
    for version in list_versions(data):
        predecessors[version.date] = max(version.lines, predecessors.get(version.date, 0))
    return ReportInput(
        records=records,
        final=frozenset(day for day in records if now >= final_at(day, final_after)),
        listed=frozenset(listed_counts(snapshot.upstream, now=now)),
        vanished=vanished(snapshot.upstream, now=now),
        predecessors=predecessors,
    )


def make_report(
    held: ReportInput, anomalies: Sequence[Anomaly], window: Window, *, now: datetime
) -> Report:
    """Return the report on a window of the days held, with what has been found odd."""
    records = held.records
    inside = [record for day, record in sorted(records.items()) if window.has(day)]
    first = inside[0].date if inside else None
    last = inside[-1].date if inside else None
    name = _choose_period(first, last)
    return Report(
        made_at=now,
        first=first,
        last=last,
        days=len(inside),
        events=sum(record.lines for record in inside),
        size=sum(record.size for record in inside),
        anomalies=tuple(one for one in anomalies if window.touches(one.first, one.last)),
        period=name,
        periods=_periods(inside, _PERIOD_OF[name]),
        quarters=_quarters(held, last),
        daily={day: record.lines for day, record in sorted(records.items())},
    )


def origins_of(record: Record) -> Mapping[str, int]:
    """Return a day's events by origin; those before origins were told are `mybinder.org`'s."""
    origins = (record.findings or Findings()).origins
    untold = record.lines - sum(origins.values())
    if record.findings is None or record.date > _ORIGIN_SAID_FROM or untold <= 0:
        return origins
    return {**origins, _ORIGIN_BEFORE: origins.get(_ORIGIN_BEFORE, 0) + untold}


def _choose_period(first: date | None, last: date | None) -> str:
    length = (last - first).days + 1 if first is not None and last is not None else 0
    if length <= _BY_DAY_UP_TO:
        return "day"
    return "week" if length <= _BY_WEEK_UP_TO else "month"


def _periods(records: Sequence[Record], period: PeriodOf) -> tuple[Period, ...]:
    totals = sum_counts(((one.date, one.lines) for one in records), period)
    origins = sum_names(((one.date, origins_of(one)) for one in records), period)
    providers = sum_names(
        ((one.date, (one.findings or Findings()).providers) for one in records), period
    )
    return tuple(
        Period(start, total.days, total.count, _shown(origins[start]), _shown(providers[start]))
        for start, total in totals.items()
    )


def _shown(counts: Mapping[str, int]) -> dict[str, int]:
    # the manifest is a file like any other: what it says is upstream's
    return {shown(name, 64): count for name, count in counts.items()}


def _quarters(held: ReportInput, last: date | None) -> tuple[Quarter, ...]:
    # a day that goes on would lower the mean
    days = (day for day in held.final if last is not None and day <= last)
    counts = [(day, held.records[day].lines) for day in days]
    totals = sum_counts(counts, quarter_of)
    return tuple(
        Quarter(
            start,
            total.days,
            total.count,
            total.mean,
            _ratio(total, totals.get(quarter_of(start - timedelta(days=1)))),
            _ratio(total, totals.get(start.replace(year=start.year - 1))),
        )
        for start, total in list(totals.items())[-_QUARTERS:]
    )


def _ratio(one: Total, other: Total | None) -> float | None:
    return one.mean / other.mean if other is not None and other.count else None


def quarter_name(day: date) -> str:
    """Return a quarter as people write it: "2026Q3"."""
    return f"{day.year}Q{(quarter_of(day).month + 2) // 3}"


def percent(ratio: float | None) -> str:
    """Return a ratio as growth: "+12.0 %", or "-" where there is none."""
    return f"{100 * (ratio - 1):+.1f} %" if ratio is not None else "-"


def to_json(report: Report) -> dict[str, Any]:
    """Return a report as programs read it."""
    facts: dict[str, Any] = msgspec.to_builtins(report)
    del facts["daily"]
    for told, one in zip(facts["anomalies"], report.anomalies, strict=True):
        told["days"] = one.days
    facts["found"] = {severity.value: report.count(severity) for severity in Severity}
    return facts
