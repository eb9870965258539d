"""Makes the figures of the status page, each with the table that says the same. Pure.

The calendar is drawn by the template from SVG paths. A day costs about seven bytes: a square is a
line of no length with square ends, and the squares of a month that look alike are one path. One
unit is one day's place, weeks go across. The charts of months and weeks, which are summed by
`mirror.events.series`, are drawn by `mirror.report.charts`.
"""

from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from datetime import date
from enum import StrEnum
from itertools import groupby

from msgspec import Struct

from mirror.events.series import Months, between, fill_periods, month_of, sum_counts, week_of
from mirror.report.charts import REST, Frame, fold_into_bands, render_stack, shares
from mirror.text import plural, printable

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
    events: int | None = None  # events of the held body; None where none is held
    file: str = ""  # name of the file with that body


Days = Mapping[date, Day]
Paths = Sequence[tuple[str, str]]  # what is drawn: the class of each SVG path, and its `d`
Legend = Sequence[tuple[str, Paths]]


class MonthOfDays(Struct, frozen=True):
    """One month of a year."""

    first: date
    summary: str
    paths: Paths
    cells: Mapping[int, str]  # what the table says of each day of the month, from 1 on
    files: Mapping[int, str]  # the files of those days that have one


class Year(Struct, frozen=True):
    """One year."""

    number: int
    summary: str
    columns: Sequence[int]  # the week in which each of the twelve months begins
    months: Sequence[MonthOfDays]


class Calendar(Struct, frozen=True):
    """What the template draws the calendar from; the latest year first."""

    years: Sequence[Year]
    levels: Legend
    marks: Legend


class Trend(Struct, frozen=True):
    """Events over time; the rows are month, days held, events, events a day."""

    chart: str
    summary: str
    rows: Sequence[Sequence[str]]


class Share(Struct, frozen=True):
    """Shares of events by month, stacked; the rows are month, percentage of each band."""

    title: str
    subject: str
    chart: str
    bands: Mapping[str, Sequence[int]]  # shares in thousandths by name and month, the lowest first
    wholes: Mapping[str, int]  # shares of all events
    rows: Sequence[Sequence[str]]


def make_calendar(days: Days) -> Calendar:
    """Return the calendar from the first of some days to the last; one not given is a gap."""
    if not days:
        return Calendar((), (), ())
    first, last = min(days), max(days)
    filled = {day: days.get(day) or Day(DayKind.GAP) for day in between(first, last)}
    bounds = level_bounds(day.events for day in days.values() if day.events is not None)
    by_year = groupby(filled.items(), lambda one: one[0].year)
    years = [_year(year, dict(some), bounds) for year, some in by_year]
    names = [f"under {one:,} events" for one in bounds[:1]] + [f"from {one:,}" for one in bounds]
    levels = [(name, [(f"l{n}", _SQUARE.format(x=0, y=0))]) for n, name in enumerate(names)]
    marks = [(kind.value, _mark(kind)) for kind in _count_kinds(filled) if kind in _SHAPES]
    return Calendar(years[::-1], levels, marks)


def level_bounds(counts: Iterable[int]) -> tuple[int, ...]:
    """Return the upper bounds of all levels but the last: about as many days in each.

    They are rounded to two digits that count, so that they can be read.
    """
    ordered = sorted(counts)
    if not ordered:
        return ()
    bounds = (ordered[len(ordered) * part // _LEVELS] for part in range(1, _LEVELS))
    return tuple(round(bound, 2 - len(str(bound))) for bound in bounds)


def make_trend(months: Months) -> Trend | None:
    """Return events over time; None where no day is held."""
    if not months:
        return None
    counts = [(record.date, record.lines) for month in months.values() for record in month.records]
    weeks = sum_counts(counts, week_of)
    periods = fill_periods(min(weeks), max(weeks), week_of)
    means = [round(weeks[week].mean) if week in weeks else 0 for week in periods]
    peak, most = max(counts, key=lambda one: one[1]), max(means)
    summary = (
        f"Weekly means from {periods[0]} to {periods[-1]}, at most {most:,} events a day in the "
        f"week of {periods[means.index(most)]}. The fullest day is {peak[0]} with {peak[1]:,}."
    )
    frame = Frame(840, 240, "Events a day, mean of each week", summary)
    rows = [
        (f"{start:%Y-%m}", str(total.days), f"{total.count:,}", f"{total.mean:,.0f}")
        for start, total in reversed(sum_counts(counts, month_of).items())
    ]
    return Trend(render_stack(periods, {"": means}, frame), summary, rows)


def make_shares(months: Months) -> list[Share]:
    """Return shares by provider, origin and version, as far as anything was found."""
    found = {start: month.findings for start, month in months.items() if month.findings is not None}
    parts = (
        _share("Providers", "Provider", {start: one.providers for start, one in found.items()}),
        _share("Origins", "Host", {start: months[start].origins for start in found}),
        _share("Versions", "Version", {start: one.versions for start, one in found.items()}, "v"),
    )
    return [one for one in parts if one is not None]


def _mark(kind: DayKind) -> Paths:
    shapes = [_SHAPES[kind]]
    if kind in (DayKind.OPEN, DayKind.VANISHED):
        shapes.insert(0, ("l2", _SQUARE))
    return [(name, shape.format(x=0, y=0)) for name, shape in shapes]


def _year(year: int, days: Days, bounds: Sequence[int]) -> Year:
    start = date(year, 1, 1)
    # makes ordinals of the year's days into places: weeks from 0 on, Mondays on top
    offset = start.weekday() - start.toordinal()
    firsts = (date(year, month, 1) for month in range(1, 13))
    months = groupby(days.items(), lambda one: one[0].month)
    return Year(
        number=year,
        summary=_summary(days),
        columns=[(first.toordinal() + offset) // 7 for first in firsts],
        months=[_month(dict(some), offset, bounds) for _, some in months],
    )


def _month(days: Days, offset: int, bounds: Sequence[int]) -> MonthOfDays:
    paths: dict[str, str] = {}
    for day, what in days.items():
        x, y = divmod(day.toordinal() + offset, 7)
        shapes = [_SHAPES[what.kind]] if what.kind in _SHAPES else []
        if what.events is not None:
            shapes.append((f"l{bisect_right(bounds, what.events)}", _SQUARE))
        for name, shape in shapes:
            paths[name] = paths.get(name, "") + shape.format(x=x, y=y)
    return MonthOfDays(
        first=next(iter(days)).replace(day=1),
        summary=_summary(days),
        paths=sorted(paths.items()),
        cells={day.day: _cell(what) for day, what in days.items()},
        files={day.day: what.file for day, what in days.items() if what.file},
    )


def _summary(days: Days) -> str:
    held = [day.events for day in days.values() if day.events is not None]
    others = [f"{n} {kind}" for kind, n in _count_kinds(days).items() if kind is not DayKind.HELD]
    return ", ".join([plural(sum(held), "event"), plural(len(held), "day"), *others])


def _count_kinds(days: Days) -> dict[DayKind, int]:
    kinds = [day.kind for day in days.values()]
    return {kind: count for kind in DayKind if (count := kinds.count(kind))}


def _cell(day: Day) -> str:
    if day.events is None:
        return day.kind
    return f"{day.events:,}" + ("" if day.kind is DayKind.HELD else f" {day.kind}")


def _share(
    title: str, subject: str, months: Mapping[date, Mapping[str, int]], prefix: str = ""
) -> Share | None:
    """Return the shares of names; those with a prefix are numbers, and stacked in their order."""
    totals, folded = fold_into_bands(months)
    if not totals:
        return None
    names = list(totals)
    if prefix:
        names.sort(key=lambda name: (name == REST, len(name), name))
    periods = fill_periods(min(folded), max(folded), month_of)
    by_month = [shares(folded.get(month, {}), names) for month in periods]
    labels = [name if name == REST else printable(f"{prefix}{name}") for name in names]
    bands = dict(zip(labels, zip(*by_month, strict=True), strict=True))
    description = f"Shares of events since {periods[0]:%Y-%m}, stacked."
    frame = Frame(330, 190, f"{title} by month", description)
    return Share(
        title=title,
        subject=subject,
        chart=render_stack(periods, bands, frame, are_shares=True),
        bands=bands,
        wholes=dict(zip(labels, shares(totals, names), strict=True)),
        rows=[
            (f"{month:%Y-%m}", *(f"{one / 10:g}" for one in row))
            for month, row in zip(reversed(periods), reversed(by_month), strict=True)
        ],
    )
