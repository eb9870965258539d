"""The days that a mirror holds, as its inventory lists them, and the opened file of one.

A file of another size or time than its record is read first, and taken for it only if it has its
digest. Where it has not, the records are read again, for a writer may have replaced it since, and
in the end the day is refused.
"""

import reprlib
from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from typing import BinaryIO

from msgspec import Struct

from mirror.errors import UnrecordedError
from mirror.model import DayRange, Flag, Record
from mirror.store.disk import storage_errors
from mirror.store.inventory import load_claims
from mirror.store.layout import DataDir
from mirror.store.proof import load_proved, open_proved
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


def survey_days(
    data: DataDir, now: datetime, since: date | None, until: date | None
) -> tuple[list[Day], list[str]]:
    """Return the days held of a range, ascending, and the problems that keep others unread.

    Which days are final is said for the moment `now`; for the rest see `Archive.days`.
    """
    _require_dates(since, until)
    asked, inventory = DayRange(since, until), load_proved(data)
    is_final = data.days.is_final
    days = [
        Day(one.date, one.name, one.lines, one.size, one.sha256, is_final(one.date, now), one.flags)
        for _, one in sorted(inventory.records.items())
        if one.date in asked
    ]
    unreadable: tuple[tuple[Iterable[date], str], ...] = (
        (inventory.missing, "is on record, but its file is gone"),
        (inventory.unverified, "has a file that is not the one on record"),
        (inventory.wrong_kind, "has something other than a file in its place"),
    )
    problems = [
        f"{day} {problem}" for found, problem in unreadable for day in found if day in asked
    ]
    return days, sorted(problems)


def open_days(data: DataDir, days: Iterable[Day]) -> Iterator[tuple[Day, BinaryIO, Record]]:
    """Yield days with their opened files, each with the record of just that body.

    An UnrecordedError says that no record matches a file, a StorageError that it cannot be opened.
    """
    claims = load_claims(data).claims
    for day in days:
        path = data.archive / day.name
        for _ in range(_TRIES):
            with storage_errors(path):
                opened = open_proved(data, path, claims.get(day.date, ()))
            if opened is not None:
                break
            claims = load_claims(data).claims
        else:
            raise UnrecordedError(
                f"{day.name} is not the file on record", hint="see `binder-mirror verify`"
            )
        file, record = opened
        with file:
            yield day, file, record


def _require_dates(since: object, until: object) -> None:
    for name, day in (("since", since), ("until", until)):
        # a moment is a date to Python, but cannot be compared with one
        if day is not None and (not isinstance(day, date) or isinstance(day, datetime)):
            raise TypeError(
                f"{name} must be a date such as date(2024, 3, 1), not {reprlib.repr(day)}"
            )


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
