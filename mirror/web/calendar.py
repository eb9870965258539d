"""The calendar of days on the status page: an SVG for each year, and the same as tables. Pure.

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

_SHAPES = {
    DayKind.OPEN: ("o", "M{x} {y}m-.5-.5h1v1h-1z"),
    DayKind.VANISHED: ("v", "M{x} {y}h0"),
    DayKind.QUARANTINED: ("q", "M{x} {y}m0-.5l.5.5-.5.5-.5-.5z"),
    DayKind.MISSING: ("m", "M{x} {y}m-.3-.3l.6.6m-.6 0l.6-.6"),
    DayKind.GAP: ("g", "M{x} {y}h0"),
}
"""What is drawn, over the square of a held day where there is one: colour alone tells nothing."""


def fill_gaps(days: Days) -> dict[date, Day]:
    """Return the days with those between the first and the last that nobody has."""
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


def render_calendar(days: Days) -> str:
    """Return a figure for each year, the latest first, and the legend.

    Args:
        days: every day from the first to the last (`fill_gaps`).
    """
    if not days:
        return "<p>No day is held yet.</p>"
    bounds = level_bounds(day.events for day in days.values() if day.events is not None)
    years = "".join(_year(year, some, bounds) for year, some in reversed(_by_year(days)))
    return f'<div class="years">{years}</div>{_legend(days, bounds)}'


def render_tables(days: Days) -> str:
    """Return a table for each year, the latest first: days down, months across."""
    return "".join(_table(year, some) for year, some in reversed(_by_year(days)))


def _rounded(count: int) -> int:
    """Return a count with two digits that count: a bound that can be read."""
    return round(count, 2 - len(str(count)))


def _by_year(days: Days) -> list[tuple[int, dict[date, Day]]]:
    return [
        (year, dict(some)) for year, some in groupby(sorted(days.items()), lambda one: one[0].year)
    ]


def _year(year: int, days: Days, bounds: Sequence[int]) -> str:
    months = "".join(
        _month(dict(some), bounds) for _, some in groupby(days.items(), lambda one: one[0].month)
    )
    told = _told(days)
    return (
        f"<figure><figcaption><b>{year}</b> {told}</figcaption>"
        f'<svg class="days" viewBox="-.6 -1.9 {_WEEKS} 8.6" role="img" data-year="{year}" '
        f'aria-label="{year}: {told}">{_initials(year)}{months}</svg></figure>'
    )


def _told(days: Days) -> str:
    held = [day.events for day in days.values() if day.events is not None]
    told = f"{plural(sum(held), 'event')}, {plural(len(held), 'day')}"
    counts = _count_kinds(days)
    rest = "".join(f", {count} {kind}" for kind, count in counts.items() if kind != DayKind.HELD)
    return told + rest


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


def _month(days: Days, bounds: Sequence[int]) -> str:
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
    return f"<g><title>{first:%B %Y}: {_told(days)}</title>{drawn}</g>"


def _legend(days: Days, bounds: Sequence[int]) -> str:
    items = []
    if bounds:
        names = [f"under {bounds[0]:,} events", *(f"from {bound:,}" for bound in bounds)]
        swatches = "".join(
            f"<li>{_swatch(f'l{level}', 'M0 0h0')}{name}</li>" for level, name in enumerate(names)
        )
        items.append(f'<ul class="legend" aria-label="Events a day">{swatches}</ul>')
    marks = "".join(
        f"<li>{_mark(kind)}{kind}</li>" for kind in _count_kinds(days) if kind != DayKind.HELD
    )
    if marks:
        items.append(f'<ul class="legend" aria-label="Marks">{marks}</ul>')
    return "".join(items)


def _mark(kind: DayKind) -> str:
    name, shape = _SHAPES[kind]
    path = f'<path class="{name}" d="{shape.format(x=0, y=0)}"/>'
    under = '<path class="l2" d="M0 0h0"/>' if kind in (DayKind.OPEN, DayKind.VANISHED) else ""
    return _swatch_of(under + path)


def _swatch(name: str, shape: str) -> str:
    return _swatch_of(f'<path class="{name}" d="{shape}"/>')


def _swatch_of(paths: str) -> str:
    return f'<svg class="days" viewBox="-.6 -.6 1.2 1.2" aria-hidden="true">{paths}</svg>'


def _table(year: int, days: Days) -> str:
    months = sorted({day.month for day in days})
    heads = "".join(f'<th scope="col">{date(year, month, 1):%b}' for month in months)
    rows = "".join(
        f'<tr><th scope="row">{number}'
        + "".join(f"<td>{_cell(year, month, number, days)}" for month in months)
        for number in range(1, 32)
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Days of {year}">'
        f'<table class="numbers" data-year="{year}"><caption>{year}: events a day</caption>'
        f'<thead><tr><th scope="col">Day{heads}<tbody>{rows}</table></div>'
    )


def _cell(year: int, month: int, number: int, days: Days) -> str:
    try:
        day = days.get(date(year, month, number))
    except ValueError:
        return ""
    if day is None:
        return ""
    if day.events is None:
        return str(day.kind)
    return f"{day.events:,}" + ("" if day.kind is DayKind.HELD else f" {day.kind}")
