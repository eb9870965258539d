"""The days that a mirror holds, as its inventory lists them, and the opened file of one.

A file of another size or time than its record is never taken for it.
"""

import os
import reprlib
from collections.abc import Callable, Iterable, Sequence
from datetime import date, datetime, timedelta
from typing import BinaryIO

from msgspec import Struct

from mirror.archive.manifest import match_record
from mirror.archive.plan import final_at
from mirror.errors import UnrecordedError
from mirror.model import Flag, Record
from mirror.store.disk import open_file, storage_errors
from mirror.store.inventory import load_claims, load_inventory, load_steady_inventory
from mirror.store.layout import DataDir
from mirror.text import human_bytes, plural

_TRIES = 3


class Day(Struct, frozen=True):
    """One day that the mirror holds."""

    date: date
    name: str
    events: int
    """Lines of the file."""
    size: int
    sha256: str
    is_final: bool
    """Whether upstream is done with it; a day that is not will have more events."""
    flags: tuple[Flag, ...] = ()


class DayCount(Struct, frozen=True):
    """The launches of one day."""

    date: date
    launches: int
    is_final: bool


class Shelf:
    """The daily files of a data directory.

    Args:
        data: the data directory.
        name_template: what a daily file is called.
        final_after: how long after a day's end upstream is done with it.
        now: the clock.
    """

    def __init__(
        self,
        data: DataDir,
        name_template: str,
        final_after: timedelta,
        now: Callable[[], datetime],
    ) -> None:
        self.data = data
        self._name_template = name_template
        self._final_after = final_after
        self._now = now

    def days(self, since: date | None = None, until: date | None = None) -> list[Day]:
        """Return the days that are held, ascending.

        Raises:
            TypeError: `since` or `until` is no date.
            StorageError, ConfigError: the inventory cannot be read.
        """
        _require_dates(since, until)
        records = load_inventory(self.data, self._name_template).records
        return [
            self._day(records[day]) for day in sorted(records) if _is_between(day, since, until)
        ]

    def problems(self, since: date | None = None, until: date | None = None) -> list[str]:
        """Return what keeps days of a range from being read: one line each, none where all is well.

        Args:
            since: the first day.
            until: the last day, itself included.

        Raises:
            TypeError: `since` or `until` is no date.
            StorageError, ConfigError: the inventory cannot be read.
        """
        _require_dates(since, until)
        inventory = load_steady_inventory(self.data, self._name_template)
        found: tuple[tuple[Iterable[date], str], ...] = (
            (inventory.missing, "is on record, but its file is gone"),
            (inventory.unverified, "has a file that is not the one on record"),
            (inventory.wrong_kind, "has something other than a file in its place"),
        )
        return sorted(
            f"{day} {what}"
            for days, what in found
            for day in days
            if _is_between(day, since, until)
        )

    def open(self, day: Day) -> tuple[BinaryIO, Record]:
        """Open a day's file together with the record that speaks of just that body.

        Raises:
            UnrecordedError: no record speaks of it.
            StorageError: it cannot be opened.
        """
        path = self.data.archive / day.name
        for _ in range(_TRIES):
            claims = load_claims(self.data).candidates.get(day.date, ())
            with storage_errors(path):
                file = open_file(path)
                stats = os.fstat(file.fileno())
            record = match_record(claims, size=stats.st_size, mtime_ns=stats.st_mtime_ns)
            if record is not None:
                return file, record
            file.close()
        raise UnrecordedError(
            f"{day.name} is not the file on record", hint="see `binder-mirror verify`"
        )

    def _day(self, record: Record) -> Day:
        is_final = self._now() >= final_at(record.date, self._final_after)
        return Day(
            record.date,
            record.name,
            record.lines,
            record.size,
            record.sha256,
            is_final,
            record.flags,
        )


def _require_dates(since: object, until: object) -> None:
    for name, day in (("since", since), ("until", until)):
        # a moment is a date to Python, but cannot be compared with one
        if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
            raise TypeError(
                f"{name} must be a date such as date(2024, 3, 1), not {reprlib.repr(day)}"
            )


def _is_between(day: date, since: date | None, until: date | None) -> bool:
    return (since is None or day >= since) and (until is None or day <= until)


def describe(days: Sequence[Day]) -> str:
    """Return a range of days in a few words."""
    if not days:
        return "no days"
    events = sum(day.events for day in days)
    size = human_bytes(sum(day.size for day in days))
    partial = [str(day.date) for day in days if not day.is_final]
    still_open = f"; still open: {', '.join(partial)}" if partial else ""
    return (
        f"{plural(len(days), 'day')} from {days[0].date} to {days[-1].date}, "
        f"{plural(events, 'event')}, {size}{still_open}"
    )
