"""Counts of days summed by week, month, quarter or year. Pure.

What goes in are pairs of a day and a number, or of a day and numbers by name; so records, index
entries and findings can all be summed without this module knowing any of them.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import date, timedelta
from functools import lru_cache

from msgspec import Struct

Period = Callable[[date], date]
"""Gives the first day of the period that a day lies in."""


class Total(Struct, frozen=True, gc=False):
    """What a period comes to."""

    days: int
    """Days that were summed: those without a number are none of them."""
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


def year_of(day: date) -> date:
    """Return the first day of a day's year."""
    return day.replace(month=1, day=1)


def sum_counts(counts: Iterable[tuple[date, int]], period: Period) -> dict[date, Total]:
    """Return the sums by period, ascending; a period without a day is left out."""
    grouped: dict[date, list[int]] = {}
    for day, count in counts:
        grouped.setdefault(period(day), []).append(count)
    return {start: Total(len(some), sum(some)) for start, some in sorted(grouped.items())}


def sum_names(
    counts: Iterable[tuple[date, Mapping[str, int]]], period: Period
) -> dict[date, dict[str, int]]:
    """Return the sums by period and name, ascending; a period without a day is left out."""
    grouped: dict[date, list[Mapping[str, int]]] = {}
    for day, named in counts:
        grouped.setdefault(period(day), []).append(named)
    return {start: add_names(some) for start, some in sorted(grouped.items())}


def add_names(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums by name."""
    # plain dictionaries: Counter.update takes three times as long for a handful of names
    sums: dict[str, int] = {}
    for named in counts:
        for name, count in named.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def rank_names(sums: Mapping[date, Mapping[str, int]]) -> tuple[str, ...]:
    """Return all names, the one with the greatest sum first."""
    totals: Counter[str] = Counter()
    for named in sums.values():
        totals.update(named)
    return tuple(sorted(totals, key=lambda name: (-totals[name], name)))


def fold_names(
    sums: Mapping[date, Mapping[str, int]], kept: Sequence[str], others: str
) -> dict[date, dict[str, int]]:
    """Return the sums with every name that is not kept counted under another.

    Args:
        sums: by period and name.
        kept: the names that stay.
        others: what the rest is counted under; may be one of those kept.
    """
    folded: dict[date, dict[str, int]] = {}
    for start, named in sums.items():
        into = folded.setdefault(start, {})
        for name, count in named.items():
            under = name if name in kept else others
            into[under] = into.get(under, 0) + count
    return folded


def fill_periods(first: date, last: date, period: Period) -> tuple[date, ...]:
    """Return the first day of every period from that of `first` to that of `last`.

    A period is a week at least: no shorter one is looked for.
    """
    days = (first + timedelta(days=number) for number in range(0, (last - first).days, 7))
    return tuple(dict.fromkeys(map(period, (*days, last))))
