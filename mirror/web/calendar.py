"""Draws the calendar of days: a small SVG for each year, and its cells as a table. Pure.

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
_WEEKS = 54
"""Columns of a year: as many as the longest can touch."""


class DayKind(StrEnum):
    """What a day of the calendar is; the words are those of the legend."""

    HELD = "held"
    OPEN = "still open"
    VANISHED = "vanished upstream"
    QUARANTINED = "in quarantine"
    MISSING = "missing"
    GAP = "no file"


class Day(Struct, frozen=True, gc=False):
    """One place in the calendar."""

    kind: DayKind
    events: int | None = None
    """Events of the held body; None where none is held."""


Days = Mapping[date, Day]


class Mark(Struct, frozen=True):
    """An entry of the legend."""

    swatch: str
    """SVG."""
    text: str


class Year(Struct, frozen=True):
    """One year: its drawing, and the same as a table."""

    number: int
    summary: str
    drawing: str
    """SVG."""
    months: list[str]
    """The headings of the table's columns."""
    rows: list[list[str]]
    """A row for each day of a month, a cell for each month."""


class Calendar(Struct, frozen=True):
    """What the template makes the calendar from."""

    years: list[Year]
    """The latest first."""
    levels: list[Mark]
    marks: list[Mark]


_SHAPES = {
    DayKind.OPEN: ("o", "M{x} {y}m-.5-.5h1v1h-1z"),
    DayKind.VANISHED: ("v", "M{x} {y}h0"),
    DayKind.QUARANTINED: ("q", "M{x} {y}m0-.5l.5.5-.5.5-.5-.5z"),
    DayKind.MISSING: ("m", "M{x} {y}m-.3-.3l.6.6m-.6 0l.6-.6"),
    DayKind.GAP: ("g", "M{x} {y}h0"),
}
"""What is drawn over the square of a held day: kinds differ by shape, not by colour alone."""


def fill_gaps(days: Days) -> dict[date, Day]:
    """Return the days, with a gap for each one between that neither we nor upstream has."""
    if not days:
        return {}
    first, last = min(days), max(days)
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return {day: days.get(day) or Day(DayKind.GAP) for day in every}


def level_bounds(counts: Iterable[int]) -> tuple[int, ...]:
    """Return the upper bounds of all levels but the last: about as many days in each, rounded."""
    ordered = sorted(counts)
    if not ordered:
        return ()
    return tuple(_rounded(ordered[len(ordered) * part // _LEVELS]) for part in range(1, _LEVELS))


def make_calendar(days: Days) -> Calendar:
    """Return the calendar.

    Args:
        days: every day from the first to the last (`fill_gaps`).
    """
    bounds = level_bounds(day.events for day in days.values() if day.events is not None)
    years = [_year(year, some, bounds) for year, some in reversed(_by_year(days))]
    kinds = [kind for kind in _count_kinds(days) if kind != DayKind.HELD]
    return Calendar(years, _levels(bounds), [Mark(_swatch_of(kind), kind) for kind in kinds])


def _rounded(count: int) -> int:
    """Return a count with two digits that count: a bound that can be read."""
    return round(count, 2 - len(str(count)))


def _by_year(days: Days) -> list[tuple[int, dict[date, Day]]]:
    return [
        (year, dict(some)) for year, some in groupby(sorted(days.items()), lambda one: one[0].year)
    ]


def _year(year: int, days: Days, bounds: Sequence[int]) -> Year:
    months = [dict(some) for _, some in groupby(days.items(), lambda one: one[0].month)]
    summary = _summary(days)
    drawn = "".join(_draw_month(some, bounds) for some in months)
    firsts = [next(iter(some)).replace(day=1) for some in months]
    return Year(
        number=year,
        summary=summary,
        drawing=(
            f'<svg class="days" viewBox="-.6 -1.9 {_WEEKS} 8.6" role="img" data-year="{year}" '
            f'aria-label="{year}: {summary}">{_initials(year)}{drawn}</svg>'
        ),
        months=[f"{first:%b}" for first in firsts],
        rows=[[_cell(first, number, days) for first in firsts] for number in range(31)],
    )


def _summary(days: Days) -> str:
    held = [day.events for day in days.values() if day.events is not None]
    parts = [plural(sum(held), "event"), plural(len(held), "day")]
    counts = _count_kinds(days)
    parts += [f"{count} {kind}" for kind, count in counts.items() if kind != DayKind.HELD]
    return ", ".join(parts)


def _count_kinds(days: Days) -> dict[DayKind, int]:
    kinds = [day.kind for day in days.values()]
    return {kind: count for kind in DayKind if (count := kinds.count(kind))}


def _initials(year: int) -> str:
    firsts = (date(year, month, 1) for month in range(1, 13))
    places = ((first.toordinal() + _offset(first)) // 7 for first in firsts)
    letters = "".join(
        f'<text x="{x}" y="-1">{letter}</text>'
        for x, letter in zip(places, "JFMAMJJASOND", strict=True)
    )
    return f'<g aria-hidden="true">{letters}</g>'


def _offset(day: date) -> int:
    """Return what makes ordinals of a day's year into places: weeks from 0 on, Mondays on top."""
    start = day.replace(month=1, day=1)
    return start.weekday() - start.toordinal()


def _draw_month(days: Days, bounds: Sequence[int]) -> str:
    paths: dict[str, list[str]] = {}
    offset = _offset(next(iter(days)))
    for day, what in days.items():
        x, y = divmod(day.toordinal() + offset, 7)
        if what.events is not None:
            level = f"l{bisect_right(bounds, what.events)}"
            paths.setdefault(level, []).append(f"M{x} {y}h0")
        if shape := _SHAPES.get(what.kind):
            paths.setdefault(shape[0], []).append(shape[1].format(x=x, y=y))
    first = next(iter(days))
    drawn = "".join(
        f'<path class="{name}" d="{"".join(parts)}"/>' for name, parts in sorted(paths.items())
    )
    return f"<g><title>{first:%B %Y}: {_summary(days)}</title>{drawn}</g>"


def _levels(bounds: Sequence[int]) -> list[Mark]:
    if not bounds:
        return []
    names = [f"under {bounds[0]:,} events", *(f"from {bound:,}" for bound in bounds)]
    return [Mark(_swatch(f'<path class="l{n}" d="M0 0h0"/>'), name) for n, name in enumerate(names)]


def _swatch_of(kind: DayKind) -> str:
    name, shape = _SHAPES[kind]
    path = f'<path class="{name}" d="{shape.format(x=0, y=0)}"/>'
    under = '<path class="l2" d="M0 0h0"/>' if kind in (DayKind.OPEN, DayKind.VANISHED) else ""
    return _swatch(under + path)


def _swatch(paths: str) -> str:
    return f'<svg class="days" viewBox="-.6 -.6 1.2 1.2" aria-hidden="true">{paths}</svg>'


def _cell(first: date, number: int, days: Days) -> str:
    """Return what a table says of the day so many days after the first of a month."""
    date_ = first + timedelta(days=number)
    day = days.get(date_) if date_.month == first.month else None
    if day is None:
        return ""
    if day.events is None:
        return str(day.kind)
    return f"{day.events:,}" + ("" if day.kind is DayKind.HELD else f" {day.kind}")
