"""The calendar of days as SVG: a row of weeks for each year. Pure."""

from collections.abc import Mapping
from datetime import date, timedelta
from html import escape

from msgspec import Struct

_CELL = 12
_ROW = 7 * _CELL + 18
_LEFT = 40
_LEVELS = 5


class Day(Struct, frozen=True):
    """One square."""

    kind: str
    """"held", "open", "vanished", "quarantined", "missing" or "gap"."""
    events: int = 0


def render_calendar(days: Mapping[date, Day]) -> str:
    """Return the calendar, the latest year first.

    Colour alone tells nothing: what is not simply held has another shape, and each day a title.
    """
    if not days:
        return "<p>No day is held yet.</p>"
    bounds = _bounds([day.events for day in days.values() if day.kind in ("held", "open")])
    years = sorted({day.year for day in days}, reverse=True)
    height = len(years) * _ROW
    rows = "".join(
        _year(year, number * _ROW, {d: day for d, day in days.items() if d.year == year}, bounds)
        for number, year in enumerate(years)
    )
    first, last = min(days), max(days)
    return (
        f'<svg viewBox="0 0 {_LEFT + 54 * _CELL} {height}" role="img" '
        f'aria-label="Calendar of days from {first} to {last}">{rows}</svg>'
    )


def fill_gaps(days: Mapping[date, Day]) -> dict[date, Day]:
    """Return the days with those between the first and the last that nobody has."""
    if not days:
        return {}
    first, last = min(days), max(days)
    every = (first + timedelta(days=number) for number in range((last - first).days + 1))
    return {day: days.get(day, Day("gap")) for day in every}


def _bounds(counts: list[int]) -> list[int]:
    """Return the upper bounds of all levels but the last: as many days in each."""
    ordered = sorted(counts)
    if not ordered:
        return []
    return [ordered[len(ordered) * level // _LEVELS] for level in range(1, _LEVELS)]


def _year(year: int, top: int, days: Mapping[date, Day], bounds: list[int]) -> str:
    start = date(year, 1, 1)
    offset = start.weekday()
    squares = []
    for day, what in days.items():
        week, weekday = divmod((day - start).days + offset, 7)
        x, y = _LEFT + week * _CELL, top + weekday * _CELL
        squares.append(_square(x, y, day, what, bounds))
    label = f'<text x="0" y="{top + 4 * _CELL}">{year}</text>'
    return label + "".join(squares)


def _square(x: int, y: int, day: date, what: Day, bounds: list[int]) -> str:
    if what.kind in ("held", "open"):
        name = f"l{sum(what.events > bound for bound in bounds)}"
        title = f"{day} {what.events:,}"
    else:
        name, title = what.kind[0], f"{day} {what.kind}"
    if what.kind == "open":
        name, title = f"{name} o", f"{title} open"
    size = _CELL - 2 if what.kind in ("held", "open") else _CELL - 6
    return (
        f'<rect x="{x}" y="{y}" width="{size}" height="{size}" class="{name}">'
        f"<title>{escape(title)}</title></rect>"
    )
