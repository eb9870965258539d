"""Renders a report: for a terminal, and as one page that needs nothing else.

The text has small plots of characters. The page, for a screen or printed each quarter, runs no
script, loads nothing, and has the numbers of each chart in a table.
"""

import base64
import hashlib
import textwrap
from collections.abc import Iterator, Sequence
from functools import partial
from itertools import pairwise
from operator import attrgetter
from statistics import fmean

from msgspec import Struct

from mirror import __version__
from mirror.report import charts, outline
from mirror.report.anomaly import Anomaly, Kind, Severity
from mirror.report.facts import Report
from mirror.report.outline import Breakdown, Table

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:-=+*#@"  # the same in characters that any terminal has
_PLOT_LINES = 5
_LEAST_SPARK = 10
_LONGEST_NAME = 36
_LISTED_OF_A_KIND = 6  # anomalies of one kind that are listed; JSON has them all
_AROUND_DAYS = 7  # days plotted before and after an anomaly; on a page twice as many
_PLOTTED_DAYS = 60  # days of the longest anomaly that is plotted; twice as many on a page
_COLOURS = {Severity.SERIOUS: "31", Severity.WARNING: "33", Severity.NOTE: "36"}


class TerminalStyle(Struct, frozen=True):
    """What the terminal can show."""

    width: int = 80
    colour: bool = False
    ramp: str = BLOCKS

    def bold(self, text: str) -> str:
        """Return a heading."""
        return self.paint(text, "1")

    def paint(self, text: str, code: str) -> str:
        """Return a text in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text

    def wrap(self, text: str, indent: int) -> str:
        """Return a text in lines that fit."""
        return textwrap.fill(
            text,
            max(30, self.width - 1),
            initial_indent=" " * indent,
            subsequent_indent=" " * indent,
            break_on_hyphens=False,
        )


def render_report(report: Report, style: TerminalStyle) -> str:
    """Return the report as a person reads it."""
    from mirror.templating import load_templates  # noqa: PLC0415 - Jinja takes time to import

    text = load_templates().get_template("report.txt")
    return text.render(
        report=report,
        style=style,
        outline=outline,
        colours=_COLOURS,
        course=_course(report, style) if report.periods else "",
        breakdown=partial(_breakdown, report, style),
        columns=_columns,
        by_kind=_by_kind,
        plot=partial(_plot, report, style),
    ).rstrip("\n")


def _course(report: Report, style: TerminalStyle) -> str:
    values = outline.make_whole(report).means("launches", report.starts)
    highest = max(filter(None, values), default=1)
    top = f"{highest / 1000:.0f}k" if highest >= 10_000 else f"{highest:,.0f}"
    labels = [top, *[""] * (_PLOT_LINES - 2), "0"]
    margin = max(map(len, labels))
    room = max(10, style.width - margin - 4)
    # few columns are drawn wider
    times = max(1, min(4, room // len(values)))
    columns = [one for one in squeeze(values, room) for _ in range(times)]
    lines = render_columns(columns, _PLOT_LINES, highest, style.ramp)
    plot = [
        f"  {label:>{margin}} {line}".rstrip() for label, line in zip(labels, lines, strict=True)
    ]
    first, last = str(report.starts[0]), str(report.starts[-1])
    between = " " * max(1, len(columns) - len(first) - len(last))
    axis = " " * (margin + 3) + first + (between + last if first != last else "")
    return "\n".join([*plot, axis])


def _breakdown(report: Report, style: TerminalStyle, breakdown: Breakdown) -> list[str]:
    lines = _columns(breakdown.table, _LONGEST_NAME)
    room = style.width - len(lines[0]) - 4
    for number, name in enumerate(breakdown.totals, 1):
        if room >= _LEAST_SPARK:
            # nothing at all is left empty, so that a gap is seen
            means = breakdown.means(name, report.starts)
            values = squeeze([one or None for one in means], room)
            lines[number] = f"{lines[number]}  {render_spark(values, ramp=style.ramp)}".rstrip()
    return lines


def _columns(table: Table, longest: int) -> list[str]:
    """Return a table as aligned lines, names of at most so many characters."""
    rows = [
        (name if len(name) <= longest else name[: longest - 1] + "…", *numbers)
        for name, *numbers in (table.columns, *table.rows)
    ]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    return [
        "  " + "  ".join([name.ljust(widths[0]), *map(str.rjust, numbers, widths[1:])])
        for name, *numbers in rows
    ]


def _by_kind(odd: Sequence[Anomaly]) -> Iterator[tuple[Kind, list[Anomaly], int]]:
    """Yield of each kind the longest anomalies, in order of time, and how many more there are."""
    for kind in Kind:
        longest = sorted((one for one in odd if one.kind is kind), key=lambda one: -one.days)
        listed = sorted(longest[:_LISTED_OF_A_KIND], key=attrgetter("first"))
        yield kind, listed, len(longest) - len(listed)


def _plot(report: Report, style: TerminalStyle, odd: Anomaly) -> str:
    """Return the days of an anomaly in brackets, between those before and after it."""
    longest = min(_PLOTTED_DAYS, style.width - 24)
    days = outline.days_around(report, odd, margin=_AROUND_DAYS, longest=longest)
    if not days:
        return ""
    marks = render_spark([report.daily.get(day) for day in days], ramp=style.ramp)
    start, stop = days.index(odd.first), days.index(odd.last) + 1
    inside = style.paint(marks[start:stop], _COLOURS[odd.severity])
    return f"{marks[:start]}[{inside}]{marks[stop:]}"


def render_spark(values: Sequence[float | None], ramp: str = BLOCKS) -> str:
    """Return a character for each value: a space for None, and the lowest mark for zero."""
    return render_columns(values, 1, max(filter(None, values), default=1), ramp)[0]


def render_columns(
    values: Sequence[float | None], height: int, top: float, ramp: str = BLOCKS
) -> list[str]:
    """Return a bar for each value, in lines from the top one down.

    None leaves its column empty; `top` is the value of a full column, of `height` lines. The ramp
    has characters from empty to full.
    """
    steps = len(ramp) - 1
    filled = [0 if one is None else max(1, round(one / top * height * steps)) for one in values]
    return [
        "".join(ramp[max(0, min(steps, one - row * steps))] for one in filled)
        for row in reversed(range(height))
    ]


def squeeze(values: Sequence[float | None], width: int) -> list[float | None]:
    """Return at most `width` values: the means of as many stretches of them, in order."""
    if len(values) <= width:
        return list(values)
    bounds = [len(values) * number // width for number in range(width + 1)]
    means: list[float | None] = []
    for start, end in pairwise(bounds):
        known = [one for one in values[start:end] if one is not None]
        means.append(fmean(known) if known else None)
    return means


def render_page(report: Report, *, is_served: bool = False) -> str:
    """Return the report as an HTML page; one that is served leads to the mirror's other pages."""
    from mirror.templating import load_templates  # noqa: PLC0415 - Jinja takes time to import

    templates = load_templates()
    style = templates.get_template("report.css").render()
    page = templates.get_template("report.html").render(
        report=report,
        is_served=is_served,
        outline=outline,
        breakdowns=outline.make_breakdowns(report) or [outline.make_whole(report)],
        chart=partial(_chart, report),
        plot=partial(_chart_around, report),
        version=__version__,
        style=style,
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    return page + "\n"


def _chart(report: Report, breakdown: Breakdown) -> str:
    bands = {
        name: [round(mean or 0) for mean in breakdown.means(name, report.starts)]
        for name in breakdown.totals
    }
    frame = charts.Frame(960, 280, breakdown.heading, outline.describe_means(report))
    return charts.render_stack(report.starts, bands, frame)


def _chart_around(report: Report, odd: Anomaly) -> str:
    """Return the days around an anomaly, small."""
    margin, longest = 2 * _AROUND_DAYS, 2 * _PLOTTED_DAYS
    days = outline.days_around(report, odd, margin=margin, longest=longest)
    return charts.render_spark([report.daily.get(day, 0) for day in days], 0) if days else ""
