"""Draws charts as SVG: steps over time, one for each period, alone or stacked. Pure.

A step costs about five bytes. Coordinates are the data's own: a period is one unit wide, and one
transformation brings all of them to the frame. Text stays outside of it, or it would be stretched.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from itertools import accumulate, count, groupby, pairwise
from operator import add

from msgspec import Struct

from mirror.events.findings import OTHERS, add_names

_MARGIN_LEFT = 44
_MARGIN_TOP = 8
_MARGIN_BOTTOM = 20
_WHOLE = 1000  # the sum of a period's shares: they are in thousandths
_LETTER_WIDTH = 6.6
_LINE_HEIGHT = 15
_MONTHS_UP_TO = 400  # days of which months are named, not years
BANDS = 8  # colours that can be distinguished on a page
REST = "others"  # what the names without a band are called together


class Frame(Struct, frozen=True):
    """Where a chart is drawn."""

    width: int
    height: int
    title: str
    description: str

    @property
    def plot(self) -> tuple[int, int]:
        """Width and height of the inside."""
        return self.width - _MARGIN_LEFT, self.height - _MARGIN_TOP - _MARGIN_BOTTOM


def render_stack(
    periods: Sequence[date],
    bands: Mapping[str, Sequence[int]],
    frame: Frame,
    *,
    are_shares: bool = False,
) -> str:
    """Return numbers over time, stacked, each band with its name where there is room.

    Args:
        periods: first days, ascending, without a gap.
        bands: at most `BANDS` names, the lowest band first, each with a number for each period; one
            without a name is a trend.
        frame: where it is drawn.
        are_shares: whether the numbers are shares in thousandths, which the axis has in percent.
    """
    from mirror.templating import load_templates  # noqa: PLC0415 - Jinja takes time to import

    # the height below each band, and that of them all
    ground = [0] * len(periods)
    levels = [ground, *accumulate(bands.values(), lambda below, band: list(map(add, below, band)))]
    marks = _axis(max(levels[-1]), are_shares=are_shares)
    top = marks[-1][0]
    width, height = frame.plot
    x, y = round(width / len(periods), 4), round(height / top, 7)
    ticks, dates = _dates(periods, frame)
    named = zip(bands, pairwise(levels), strict=True)
    return (
        load_templates()
        .get_template("chart.svg")
        .render(
            frame=frame,
            is_trend="" in bands,
            left=_MARGIN_LEFT,
            bottom=_MARGIN_TOP + height,
            marks=[(_MARGIN_TOP + height * (1 - mark / top), text) for mark, text in marks],
            matrix=f"matrix({x} 0 0 {-y:.7f} {_MARGIN_LEFT} {_MARGIN_TOP + height})",
            # each band reaches down to zero, and the next one, painted later, covers the rest
            outlines=[(number, _steps(level)) for number, level in enumerate(levels[1:])][::-1],
            names=[_place(name, band, top, frame) for name, band in named],
            ticks=ticks,
            dates=dates,
        )
    )


def _axis(highest: int, *, are_shares: bool) -> list[tuple[int, str]]:
    """Return the marks of the vertical axis, each a number with its text."""
    if are_shares:
        return [(mark, f"{mark // 10} %") for mark in range(0, _WHOLE + 1, _WHOLE // 4)]
    step, top = nice_scale(highest)
    return [(mark, short_number(mark)) for mark in range(0, top + 1, step)]


def render_spark(values: Sequence[int], band: int) -> str:
    """Return a number over time at the size of a word, in the colour of a band."""
    top = max(1, *values)
    return (
        f'<svg class="spark" viewBox="0 0 {len(values)} {top}" preserveAspectRatio="none" '
        f'aria-hidden="true"><path class="s{band}" transform="matrix(1 0 0-1 0 {top})" '
        f'd="{_steps(values)}"/></svg>'
    )


def fold_into_bands(
    sums: Mapping[date, Mapping[str, int]],
) -> tuple[dict[str, int], dict[date, dict[str, int]]]:
    """Return the names that get a band with their totals, and the numbers of each period by these.

    The greatest name is the first; others, if there are, are counted as `REST`, which is the last.
    """
    totals = add_names(sums.values())
    named = totals.keys() - {OTHERS, REST}
    bands = sorted(named, key=lambda name: (-totals[name], name))
    if len(bands) > BANDS or len(named) < len(totals):
        bands = [*bands[: BANDS - 1], REST]
    folded = {
        start: add_names({name if name in bands else REST: n} for name, n in counts.items())
        for start, counts in sums.items()
    }
    totals = add_names(folded.values())
    return {name: totals[name] for name in bands}, folded


def shares(counts: Mapping[str, int], names: Sequence[str]) -> list[int]:
    """Return each name's share in thousandths; their sum is exactly 1,000, or 0 of nothing."""
    total = sum(counts.get(name, 0) for name in names)
    if not total:
        return [0] * len(names)
    reached = accumulate((counts.get(name, 0) for name in names), initial=0)
    ends = [round(one * _WHOLE / total) for one in reached]
    return [end - start for start, end in pairwise(ends)]


def nice_scale(highest: int) -> tuple[int, int]:
    """Return a step of 1, 2 or 5 times a power of ten, and the highest mark, at least `highest`."""
    steps = (digit * 10**power for power in count() for digit in (1, 2, 5))
    step = next(one for one in steps if one * 4 >= highest)
    return step, step * max(1, -(-highest // step))


def short_number(number: int) -> str:
    """Return a number of an axis: 0, 500, 20k, 1.5M."""
    for unit, size in (("M", 10**6), ("k", 10**3)):
        if number >= size:
            return f"{number / size:g}{unit}"
    return str(number)


def _steps(values: Sequence[int]) -> str:
    rises = (value - before for before, value in pairwise([0, *values]))
    return "M0 0" + "".join(f"v{rise}h1" if rise else "h1" for rise in rises) + "V0z"


def _dates(
    periods: Sequence[date], frame: Frame
) -> tuple[list[float], list[tuple[float, str, bool]]]:
    """Return where each year begins, or each month of few; and the middle of each, with its name.

    Where there is little room, every second name is left out. Each second of those shown is odd, so
    that style may leave it out too.
    """
    has_years = (periods[-1] - periods[0]).days > _MONTHS_UP_TO
    if has_years:
        names = [f"{day.year}" for day in periods]
    else:
        names = [f"{day:%b %Y}" if day.month == 1 else f"{day:%b}" for day in periods]
    width = frame.plot[0]
    scale = width / len(names)
    groups = [(name, len(list(group))) for name, group in groupby(names)]
    every = 1 if width > (60 if has_years else 70) * len(groups) else 2
    ticks, shown, place = [], [], 0
    for back, (name, length) in zip(reversed(range(len(groups))), groups, strict=True):
        ticks.append(_MARGIN_LEFT + place * scale)
        if length * scale >= 16 * every and not back % every:
            shown.append((ticks[-1] + length * scale / 2, name, back // every % 2 == 1))
        place += length
    return ticks, shown


def _place(
    name: str, band: tuple[Sequence[int], Sequence[int]], top: int, frame: Frame
) -> tuple[float, float, str]:
    """Return where a band is named: where it is highest; without the name where it is too low."""
    below, above = band
    width, height = frame.plot
    scale = width / len(below)
    reach = int(len(name) * _LETTER_WIDTH / scale / 2) + 1
    best, at = 0.0, (0.0, 0.0)
    for middle in range(reach, len(below) - reach):
        floor = max(below[middle - reach : middle + reach + 1])
        ceiling = min(above[middle - reach : middle + reach + 1])
        # of places as good as each other the one nearest to the middle
        room = ceiling - floor - abs(middle - len(below) / 2) / len(below)
        if room > best:
            best, at = room, (middle + 0.5, (ceiling + floor) / 2)
    y = _MARGIN_TOP + height * (1 - at[1] / top) + 4
    return _MARGIN_LEFT + at[0] * scale, y, name if best * height / top >= _LINE_HEIGHT else ""
