"""Held days summed: counts by week, month or quarter, and all that is known of them by month. Pure.

A poll changes a few days of thousands, and a daemon's page is asked for every second: the months
whose days are the same as before are taken over and not summed again.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping
from datetime import date, timedelta
from functools import lru_cache

from msgspec import Struct
from msgspec.structs import replace

from mirror.events.findings import add_names, add_up, origins_of
from mirror.model import Findings, Record

Period = Callable[[date], date]  # gives the first day of the period that a day lies in


class Total(Struct, frozen=True, gc=False):
    """What a period comes to."""

    days: int  # days that were summed: those without a number are none of them
    count: int

    @property
    def mean(self) -> float:
        """The count of a day, on average."""
        return self.count / self.days


@lru_cache(maxsize=8192)
def week_of(day: date) -> date:
    """Return the Monday of a day's week (ISO 8601)."""
    return day - timedelta(days=day.weekday())


@lru_cache(maxsize=8192)
def month_of(day: date) -> date:
    """Return the first of a day's month."""
    return day.replace(day=1)


def quarter_of(day: date) -> date:
    """Return the first day of a day's quarter."""
    return date(day.year, (day.month - 1) // 3 * 3 + 1, 1)


def sum_counts(counts: Iterable[tuple[date, int]], period: Period) -> dict[date, Total]:
    """Return the sums by period, ascending; a period without a day is left out."""
    grouped: dict[date, list[int]] = {}
    for day, count in counts:
        grouped.setdefault(period(day), []).append(count)
    return {start: Total(len(some), sum(some)) for start, some in sorted(grouped.items())}


def between(first: date, last: date) -> Iterator[date]:
    """Return every day from the first to the last."""
    return (first + timedelta(days=number) for number in range((last - first).days + 1))


def fill_periods(first: date, last: date, period: Period) -> tuple[date, ...]:
    """Return the first day of every period from that of `first` to that of `last`."""
    return tuple(dict.fromkeys(map(period, between(first, last))))


class Month(Struct, frozen=True, gc=False):
    """What the held days of a month come to."""

    records: tuple[Record, ...]  # ascending by day; at least one
    findings: Findings | None
    """Sums over the days that were looked into, with every name; None where none was."""
    origins: Mapping[str, int]  # launches by origin, also of the days before there were any


Months = Mapping[date, Month]
"""By the first of the month, ascending; a month without a held day is left out."""


def sum_months(records: Iterable[Record], before: Months | None = None) -> dict[date, Month]:
    """Return the sums by month, ascending, of the held days in any order.

    Of the sums of earlier, `before`, those of a month whose records are the same are taken over.
    """
    known = before or {}
    grouped: dict[date, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.date):
        grouped.setdefault(month_of(record.date), []).append(record)
    return {start: _month(tuple(some), known.get(start)) for start, some in grouped.items()}


def _month(records: tuple[Record, ...], before: Month | None) -> Month:
    if before is not None and before.records == records:
        # with the records of now, so that those of then can go
        return replace(before, records=records)
    found = [(one.date, one.findings) for one in records if one.findings is not None]
    return Month(
        records=records,
        findings=add_up(findings for _, findings in found) if found else None,
        origins=add_names(origins_of(day, findings) for day, findings in found),
    )
