"""The report for a terminal: small plots, and what is odd, most serious first. Pure."""

import textwrap
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from operator import attrgetter

from msgspec import Struct

from mirror.events.series import rank_names
from mirror.report.anomaly import Anomaly, Kind, Severity, between, span
from mirror.report.repositories import Ranking
from mirror.report.sparks import BLOCKS, render_columns, render_spark, squeeze
from mirror.report.summing import Quarter, Report, percent, quarter_name
from mirror.text import human_bytes, plural

_PLOT_LINES = 5
_NAMES = 8
_LEAST_SPARK = 10
_TOLD_OF_A_KIND = 6
"""Anomalies of one kind that are told one by one; JSON has them all."""
_AROUND = timedelta(days=7)
_PLOTTED_DAYS = 60
_HEADS = {
    Severity.SERIOUS: "Serious: launches are not there, or there twice",
    Severity.WARNING: "Warnings: numbers may mislead",
    Severity.NOTE: "Notes",
}
_COLOURS = {Severity.SERIOUS: "31", Severity.WARNING: "33", Severity.NOTE: "36"}
_DRAWN = (Kind.FEW, Kind.EMPTY, Kind.LEVEL)


class Look(Struct, frozen=True):
    """What the terminal can show."""

    width: int = 80
    colour: bool = False
    ramp: str = BLOCKS

    def bold(self, text: str) -> str:
        """Return a head."""
        return self.paint(text, "1")

    def paint(self, text: str, code: str) -> str:
        """Return a text in a colour, where there are colours."""
        return f"\x1b[{code}m{text}\x1b[0m" if self.colour else text


def render_report(report: Report, look: Look) -> str:
    """Return the report as a person reads it."""
    parts = [_headline(report, look)]
    if report.periods:
        parts.append(_course(report, look))
        parts += _shares(report, look)
        parts.append(_growth(report.quarters, look))
    if report.repositories is not None:
        parts.append(_ranking(report.repositories, look))
    parts += _anomalies(report, look)
    return "\n\n".join(parts)


def _headline(report: Report, look: Look) -> str:
    if report.first is None or report.last is None:
        held = "No day of the window is held."
    else:
        held = (
            f"{plural(report.days, 'day')} held, {span(report.first, report.last)}: "
            f"{plural(report.events, 'event')}, {report.events / report.days:,.0f} a day, "
            f"{human_bytes(report.size)}"
        )
    held = textwrap.fill(held, look.width)
    counts = {severity: report.count(severity) for severity in Severity}
    if not any(counts.values()):
        return f"{look.bold(held)}\nNothing odd was found."
    nouns = {
        Severity.SERIOUS: f"{counts[Severity.SERIOUS]:,} serious",
        Severity.WARNING: plural(counts[Severity.WARNING], "warning"),
        Severity.NOTE: plural(counts[Severity.NOTE], "note"),
    }
    told = (look.paint(nouns[one], _COLOURS[one]) for one in Severity if counts[one])
    return f"{look.bold(held)}\nFound: {', '.join(told)}"


def _means(report: Report) -> tuple[Sequence[date], list[float | None]]:
    known = {one.start: one.events / one.days for one in report.periods}
    return report.starts, [known.get(start) for start in report.starts]


def _course(report: Report, look: Look) -> str:
    starts, means = _means(report)
    highest = max(one for one in means if one is not None) or 1
    labels = [_short(highest), *[""] * (_PLOT_LINES - 2), "0"]
    margin = max(map(len, labels))
    room = max(10, look.width - margin - 4)
    # few columns are drawn wider
    values = [
        one for one in squeeze(means, room) for _ in range(max(1, min(4, room // len(means))))
    ]
    lines = render_columns(values, _PLOT_LINES, highest, look.ramp)
    plot = [
        f"  {label:>{margin}} {line}".rstrip() for label, line in zip(labels, lines, strict=True)
    ]
    first, last = str(starts[0]), str(starts[-1])
    room = max(1, len(values) - len(first) - len(last))
    axis = " " * (margin + 3) + first + (" " * room + last if len(starts) > 1 else "")
    head = (
        "Events a day" if report.period == "day" else f"Events a day, mean of each {report.period}"
    )
    return "\n".join([look.bold(head), *plot, axis])


def _shares(report: Report, look: Look) -> Iterator[str]:
    for head, field in (("By origin", "origins"), ("By provider", "providers")):
        of_period = attrgetter(field)
        sums: dict[date, Mapping[str, int]] = {one.start: of_period(one) for one in report.periods}
        names = rank_names(sums)
        if names:
            yield "\n".join([look.bold(head), *_names(report, sums, names, look)])


def _names(
    report: Report, sums: Mapping[date, Mapping[str, int]], names: Sequence[str], look: Look
) -> Iterator[str]:
    totals = {name: sum(named.get(name, 0) for named in sums.values()) for name in names}
    whole = sum(totals.values()) or 1
    margin = min(36, max(map(len, names[:_NAMES])))
    days = {one.start: one.days for one in report.periods}
    room = look.width - margin - 26
    for name in names[:_NAMES]:
        values = [
            sums[one].get(name, 0) / days[one] if one in sums else None for one in report.starts
        ]
        seen = squeeze([value or None for value in values], max(1, room))
        spark = render_spark(seen, ramp=look.ramp) if room >= _LEAST_SPARK else ""
        yield f"{_row(_cut(name, margin), margin, totals[name], whole)}  {spark}".rstrip()
    if more := len(names[_NAMES:]):
        yield _row(f"{more} more", margin, sum(totals[name] for name in names[_NAMES:]), whole)


def _row(name: str, margin: int, count: int, whole: int) -> str:
    return f"  {name:<{margin}} {count:>12,} {count / whole:>6.1%}"


def _growth(quarters: Sequence[Quarter], look: Look) -> str:
    head = f"  {'quarter':<8} {'days':>4} {'events':>12} {'a day':>8} {'quarter before':>15}"
    rows = [
        f"  {quarter_name(one.start):<8} {one.days:>4} {one.events:>12,} {one.per_day:>8,.0f} "
        f"{percent(one.to_quarter_before):>15} {percent(one.to_year_before):>12}"
        for one in quarters
    ]
    return "\n".join(
        [look.bold("Growth, by the mean of a day"), f"{head} {'year before':>12}", *rows]
    )


def _ranking(ranking: Ranking, look: Look) -> str:
    rows = [
        f"  {number:>4} {one.launches:>10,} {one.launches / max(1, ranking.launches):>6.1%}  "
        f"{_cut(one.name, max(20, look.width - 26))}"
        for number, one in enumerate(ranking.top, 1)
    ]
    told = textwrap.fill(
        ranking.sentence(), look.width - 2, initial_indent="  ", subsequent_indent="  "
    )
    return "\n".join([look.bold("Repositories launched most"), *rows, told])


def _anomalies(report: Report, look: Look) -> Iterator[str]:
    for severity in Severity:
        odd = [one for one in report.anomalies if one.severity is severity]
        if odd:
            lines = [look.paint(_HEADS[severity], f"1;{_COLOURS[severity]}")]
            for kind in Kind:
                lines += _of_kind([one for one in odd if one.kind is kind], report, look)
            yield "\n".join(lines)


def _of_kind(odd: Sequence[Anomaly], report: Report, look: Look) -> Iterator[str]:
    # the longest first where not all are told, but told in order of time
    told = sorted(odd, key=lambda one: -one.days)[:_TOLD_OF_A_KIND]
    for one in sorted(told, key=attrgetter("first")):
        head = f"  {span(one.first, one.last)}"
        head += f" ({one.days:,} days)" if one.days > 1 else ""
        yield f"{head}  {look.bold(one.kind.replace('-', ' '))}"
        yield textwrap.fill(
            one.message,
            max(30, look.width - 1),
            initial_indent="      ",
            subsequent_indent="      ",
            break_on_hyphens=False,
        )
        if one.kind in _DRAWN and (plot := _around(one, report.daily, look)):
            yield f"      {plot}"
    if more := len(odd) - len(told):
        yield f"  and {more:,} more of {odd[0].kind.replace('-', ' ')}; --json tells them all"


def _around(odd: Anomaly, daily: Mapping[date, int], look: Look) -> str:
    """Return the days of an anomaly between those before and after it."""
    if odd.days > min(_PLOTTED_DAYS, look.width - 24):
        return ""
    first, last = max(odd.first - _AROUND, min(daily)), min(odd.last + _AROUND, max(daily))
    days = list(between(first, last))
    marks = render_spark([daily.get(day) for day in days], ramp=look.ramp)
    start, stop = (odd.first - first).days, (odd.last - first).days + 1
    return f"{marks[:start]}[{look.paint(marks[start:stop], _COLOURS[odd.severity])}]{marks[stop:]}"


def _cut(text: str, width: int) -> str:
    return text if len(text) <= width else text[: width - 1] + "…"


def _short(number: float) -> str:
    return f"{number / 1000:.0f}k" if number >= 10_000 else f"{number:,.0f}"
