"""Makes the calendar of days: what is drawn for each year, and the same as a table. Pure.

A day costs about seven bytes: a square is a line of no length with square ends, and the squares of
a month that look alike are one path. One unit is one day's place, weeks go across.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date, timedelta
from enum import StrEnum
from itertools import groupby

from msgspec import Struct

from mirror.text import plural

_LEVELS = 5


class DayKind(StrEnum):
    """What a day of the calendar is; the words are those of the legend."""

    HELD = "held"
    OPEN = "still open"
    VANISHED = "vanished upstream"
    QUARANTINED = "in quarantine"
    MISSING = "missing"
    GAP = "no file"


_SQUARE = "M{x} {y}h0"
_SHAPES = {
    DayKind.OPEN: ("o", "M{x} {y}m-.5-.5h1v1h-1z"),
    DayKind.VANISHED: ("v", _SQUARE),
    DayKind.QUARANTINED: ("q", "M{x} {y}m0-.5l.5.5-.5.5-.5-.5z"),
    DayKind.MISSING: ("m", "M{x} {y}m-.3-.3l.6.6m-.6 0l.6-.6"),
    DayKind.GAP: ("g", _SQUARE),
}
"""What is drawn over the square of a held day: kinds differ by shape, not by colour alone."""


class Day(Struct, frozen=True, gc=False):
    """One place in the calendar."""

    kind: DayKind
    events: int | None = None
    """Events of the held body; None where none is held."""


Days = Mapping[date, Day]
Paths = Sequence[tuple[str, str]]
"""What is drawn: the class of each SVG path, and its `d`."""


class Mark(Struct, frozen=True):
    """An entry of the legend."""

    text: str
    paths: Paths


class Month(Struct, frozen=True):
    """One month of a year."""

    first: date
    summary: str
    paths: Paths
    cells: Mapping[int, str]
    """What the table says of each day of the month, the first of which is 1."""


class Year(Struct, frozen=True):
    """One year."""

    number: int
    summary: str
    columns: Sequence[int]
    """The week in which each of the twelve months begins."""
    months: Sequence[Month]


class Calendar(Struct, frozen=True):
    """What the template draws the calendar from."""

    years: Sequence[Year]
    """The latest first."""
    levels: Sequence[Mark]
    marks: Sequence[Mark]


def make_calendar(days: Days) -> Calendar:
    """Return the calendar from the first of some days to the last.

    A day between them that is not given is a gap: neither we nor upstream has it.
    """
    if not days:
        return Calendar((), (), ())
    first, last = min(days), max(days)
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    filled = {day: days.get(day) or Day(DayKind.GAP) for day in every}
    bounds = level_bounds(day.events for day in days.values() if day.events is not None)
    years = [
        _year(year, dict(some), bounds)
        for year, some in groupby(filled.items(), lambda one: one[0].year)
    ]
    marks = [_mark(kind) for kind in _count_kinds(filled) if kind != DayKind.HELD]
    return Calendar(years[::-1], _levels(bounds), marks)


def level_bounds(counts: Iterable[int]) -> tuple[int, ...]:
    """Return the upper bounds of all levels but the last: about as many days in each.

    They are rounded to two digits that count, so that they can be read.
    """
    ordered = sorted(counts)
    if not ordered:
        return ()
    bounds = (ordered[len(ordered) * part // _LEVELS] for part in range(1, _LEVELS))
    return tuple(round(bound, 2 - len(str(bound))) for bound in bounds)


def _levels(bounds: Sequence[int]) -> list[Mark]:
    if not bounds:
        return []
    names = [f"under {bounds[0]:,} events", *(f"from {bound:,}" for bound in bounds)]
    return [Mark(name, [(f"l{n}", _SQUARE.format(x=0, y=0))]) for n, name in enumerate(names)]


def _mark(kind: DayKind) -> Mark:
    shapes = [_SHAPES[kind]]
    if kind in (DayKind.OPEN, DayKind.VANISHED):
        shapes.insert(0, ("l2", _SQUARE))
    return Mark(kind, [(name, shape.format(x=0, y=0)) for name, shape in shapes])


def _year(year: int, days: Days, bounds: Sequence[int]) -> Year:
    start = date(year, 1, 1)
    # makes ordinals of the year's days into places: weeks from 0 on, Mondays on top
    offset = start.weekday() - start.toordinal()
    firsts = [date(year, month, 1).toordinal() for month in range(1, 13)]
    months = groupby(days.items(), lambda one: one[0].month)
    return Year(
        number=year,
        summary=_summary(days),
        columns=[(first + offset) // 7 for first in firsts],
        months=[_month(dict(some), offset, bounds) for _, some in months],
    )


def _month(days: Days, offset: int, bounds: Sequence[int]) -> Month:
    paths: dict[str, str] = {}
    for day, what in days.items():
        x, y = divmod(day.toordinal() + offset, 7)
        shapes = [_SHAPES[what.kind]] if what.kind in _SHAPES else []
        if what.events is not None:
            shapes.append((f"l{bisect_right(bounds, what.events)}", _SQUARE))
        for name, shape in shapes:
            paths[name] = paths.get(name, "") + shape.format(x=x, y=y)
    return Month(
        first=next(iter(days)).replace(day=1),
        summary=_summary(days),
        paths=sorted(paths.items()),
        cells={day.day: _cell(what) for day, what in days.items()},
    )


def _summary(days: Days) -> str:
    held = [day.events for day in days.values() if day.events is not None]
    counts = _count_kinds(days)
    others = (f"{count} {kind}" for kind, count in counts.items() if kind != DayKind.HELD)
    return ", ".join([plural(sum(held), "event"), plural(len(held), "day"), *others])


def _count_kinds(days: Days) -> dict[DayKind, int]:
    kinds = [day.kind for day in days.values()]
    return {kind: count for kind in DayKind if (count := kinds.count(kind))}


def _cell(day: Day) -> str:
    if day.events is None:
        return day.kind
    return f"{day.events:,}" + ("" if day.kind is DayKind.HELD else f" {day.kind}")
