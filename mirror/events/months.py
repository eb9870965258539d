"""Held days summed by month, so that what has not changed need not be summed again. Pure.

A poll changes a few days of thousands: a daemon that is looked at every second sums their months
anew, and takes the others over.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date
from itertools import chain

from msgspec import Struct
from msgspec.structs import replace

from mirror.events.findings import add_up, merge, origins_of
from mirror.events.series import add_names, month_of
from mirror.model import Findings, Record


class Month(Struct, frozen=True, gc=False):
    """What the held days of a month come to."""

    records: tuple[Record, ...]
    """Ascending by day; at least one."""
    lines: int
    size: int
    """Bytes."""
    flags: Mapping[str, int]
    """Number of days by flag."""
    findings: Findings | None
    """Sums over the days that were looked into, with every name; None where none was."""
    origins: Mapping[str, int]
    """Launches by origin, also of the days before there were any."""


class Total(Struct, frozen=True):
    """What all held days come to."""

    lines: int
    size: int
    """Bytes."""
    flags: Mapping[str, int]
    """Number of days by flag."""
    findings: Findings
    """Sums over the days that were looked into, the names bounded as a day's are."""


Months = Mapping[date, Month]
"""By the first of the month, ascending; a month without a held day is left out."""


def sum_months(records: Iterable[Record], before: Months | None = None) -> dict[date, Month]:
    """Return the sums by month, ascending.

    Args:
        records: the held days, in any order.
        before: sums of earlier; those of a month whose records are the same are taken over.
    """
    known = before or {}
    grouped: dict[date, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.date):
        grouped.setdefault(month_of(record.date), []).append(record)
    return {start: _month(tuple(some), known.get(start)) for start, some in grouped.items()}


def total_of(months: Months) -> Total:
    """Return what the months come to together."""
    flags: Counter[str] = Counter()
    for month in months.values():
        flags.update(month.flags)
    return Total(
        lines=sum(month.lines for month in months.values()),
        size=sum(month.size for month in months.values()),
        flags=flags,
        findings=merge(m.findings for m in months.values() if m.findings is not None),
    )


def _month(records: tuple[Record, ...], before: Month | None) -> Month:
    if before is not None and before.records == records:
        # with the records of now, so that those of then can go
        return replace(before, records=records)
    found = [record.findings for record in records if record.findings is not None]
    return Month(
        records=records,
        lines=sum(record.lines for record in records),
        size=sum(record.size for record in records),
        flags=Counter(flag.value for flag in chain.from_iterable(one.flags for one in records)),
        findings=add_up(found) if found else None,
        origins=add_names(
            origins_of(record.date, record.findings)
            for record in records
            if record.findings is not None
        ),
    )
