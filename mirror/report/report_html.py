"""The report as one page that needs nothing else: for a quarter's report, on a screen or printed.

Pure, but for the template and the style that lie beside it. Each figure has its numbers in a table.
Nothing of upstream's is put into the page unescaped, and the page runs no script.
"""

import base64
import hashlib
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date
from html import escape
from importlib import resources
from operator import attrgetter
from string import Template

from mirror import __version__
from mirror.events.findings import OTHERS
from mirror.events.series import fold_names, rank_names
from mirror.report.anomaly import Anomaly, Kind, Severity, between
from mirror.report.charts import BANDS, Frame, render_spark, render_stack, render_swatch
from mirror.report.repositories import Ranking
from mirror.report.summing import Report, percent, quarter_name
from mirror.text import human_bytes, plural

_PLOTTED = (Kind.FEW, Kind.EMPTY, Kind.LEVEL)
_PLOTTED_DAYS = 120
_AROUND = 14
_HEADS = {
    Severity.SERIOUS: "Serious: launches are not there, or there twice",
    Severity.WARNING: "Warnings: numbers may mislead",
    Severity.NOTE: "Notes",
}


def render_page(report: Report) -> str:
    """Return the page; every word that is not ours is escaped."""
    files = resources.files("mirror.report")
    style = files.joinpath("report.css").read_text("utf-8")
    digest = base64.b64encode(hashlib.sha256(style.encode()).digest()).decode()
    template = Template(files.joinpath("report.html").read_text("utf-8"))
    sections = (
        _figures(report),
        _courses(report),
        _growth(report),
        _repositories(report.repositories),
        _oddities(report),
    )
    made_at = f"{report.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC"
    return template.substitute(
        style=style,
        digest=digest,
        title=escape(_title(report)),
        subtitle=escape(_subtitle(report)),
        sections="\n".join(filter(None, sections)),
        foot=f"Made {made_at} by binder-mirror {escape(__version__)} from a verified copy of the "
        "mybinder.org Events Archive, whose data is in the public domain (CC0).",
    )


def _title(report: Report) -> str:
    if report.first is None or report.last is None:
        return "Binder launches: no day held"
    if (name := quarter_name(report.first)) == quarter_name(report.last):
        return f"Binder launches, {name}"
    return f"Binder launches, {report.first} to {report.last}"


def _subtitle(report: Report) -> str:
    if report.first is None:
        return "There is no day in the window that was asked for."
    return (
        f"mybinder.org Events Archive, {report.first} to {report.last}: "
        f"{plural(report.days, 'day')} held, {human_bytes(report.size)}."
    )


def _figures(report: Report) -> str:
    rows = [
        ("Launches", f"{report.events:,}"),
        ("A day", f"{report.events / report.days:,.0f}" if report.days else "-"),
    ]
    if report.quarters:
        last = report.quarters[-1]
        name = quarter_name(last.start)
        rows += [
            (f"{name} on quarter", percent(last.to_quarter_before)),
            (f"{name} on year", percent(last.to_year_before)),
        ]
    rows += [
        ("Serious", f"{report.count(Severity.SERIOUS):,}"),
        ("Warnings", f"{report.count(Severity.WARNING):,}"),
    ]
    cells = "".join(f"<div><dt>{head}</dt><dd>{value}</dd></div>" for head, value in rows)
    return f'<dl class="figures">{cells}</dl>'


def _courses(report: Report) -> str:
    if not report.periods:
        return ""
    parts = "".join(
        _course(report, head, what, {one.start: attrgetter(what)(one) for one in report.periods})
        for head, what in (("By origin", "origins"), ("By provider", "providers"))
    )
    if not parts:
        # nothing is known of what the files contain but how much
        whole = {one.start: {"launches": one.events} for one in report.periods}
        parts = _course(report, "All", "launches", whole)
    return f'<section class="courses"><h2>Launches over time</h2>{parts}</section>'


def _course(report: Report, head: str, what: str, sums: Mapping[date, Mapping[str, int]]) -> str:
    names = _choose(sums)
    if not names:
        return ""
    folded = fold_names(sums, names, OTHERS)
    starts = report.starts
    days = {one.start: one.days for one in report.periods}
    labels = {name: "others" if name == OTHERS else name for name in names}
    bands = {
        labels[name]: [
            round(folded[start].get(name, 0) / days[start]) if start in folded else 0
            for start in starts
        ]
        for name in names
    }
    told = _told(report.period)
    chart = render_stack(starts, bands, Frame(960, 280, f"Launches {head.lower()}", told))
    legend = "".join(
        f"<li>{render_swatch(number)}{escape(name)}</li>" for number, name in enumerate(bands)
    )
    totals = {name: sum(named.get(name, 0) for named in folded.values()) for name in names}
    parts = _shares(what, labels, totals) if what != "launches" else ""
    return (
        f"<h3>{head}</h3><figure>{chart}<figcaption>{told}</figcaption></figure>"
        f'<ul class="legend">{legend}</ul>{parts}'
        f"<details><summary>{head}: each {report.period} as a table</summary>"
        f"{_numbers(report, labels, folded)}</details>"
    )


def _told(period: str) -> str:
    return "Launches a day" if period == "day" else f"Launches a day, mean of each {period}"


def _choose(sums: Mapping[date, Mapping[str, int]]) -> tuple[str, ...]:
    """Return the names that get a band, the greatest first, and the rest as one."""
    ranked = [name for name in rank_names(sums) if name != OTHERS]
    if len(ranked) <= BANDS and not any(OTHERS in named for named in sums.values()):
        return tuple(ranked)
    return (*ranked[: BANDS - 1], OTHERS)


def _shares(what: str, labels: Mapping[str, str], totals: Mapping[str, int]) -> str:
    whole = sum(totals.values()) or 1
    rows = (
        (escape(labels[name]), f"{count:,}", f"{count / whole:.1%}")
        for name, count in totals.items()
    )
    return _table(f"Launches by {what[:-1]}", (what[:-1].title(), "Launches", "Share"), rows)


def _numbers(
    report: Report, labels: Mapping[str, str], folded: Mapping[date, Mapping[str, int]]
) -> str:
    heads = (report.period.title(), "Days held", *labels.values())
    rows = (
        (f"{one.start}", f"{one.days}", *(f"{folded[one.start].get(n, 0):,}" for n in labels))
        for one in report.periods
    )
    return _table(f"Launches, each {report.period}", heads, rows)


def _table(
    caption: str, heads: Sequence[str], rows: Iterable[Sequence[str]], kind: str = "numbers"
) -> str:
    """Return a table; its cells are markup, its heads are text."""
    columns = "".join(f'<th scope="col">{escape(head)}</th>' for head in heads)
    lines = "".join(
        f'<tr><th scope="row">{first}</th>{"".join(f"<td>{cell}</td>" for cell in rest)}</tr>'
        for first, *rest in rows
    )
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{escape(caption)}">'
        f'<table class="{kind}"><caption class="unseen">{escape(caption)}</caption>'
        f"<thead><tr>{columns}</tr></thead><tbody>{lines}</tbody></table></div>"
    )


def _growth(report: Report) -> str:
    if not report.quarters:
        return ""
    highest = max(one.per_day for one in report.quarters) or 1
    rows = (
        (
            quarter_name(one.start),
            f"{one.days}",
            f"{one.events:,}",
            f"{one.per_day:,.0f}",
            percent(one.to_quarter_before),
            percent(one.to_year_before),
            _bar(one.per_day / highest),
        )
        for one in report.quarters
    )
    heads = ("Quarter", "Days held", "Launches", "A day", "Quarter before", "Year before", "")
    return (
        '<section><h2>Growth</h2><p class="soft">By the mean of a day held, so that missing days '
        "and a quarter that has not ended mislead nobody.</p>"
        f"{_table('Growth by quarter', heads, rows)}</section>"
    )


def _bar(share: float) -> str:
    return (
        '<svg class="bar" viewBox="0 0 1000 1" preserveAspectRatio="none" aria-hidden="true">'
        f'<path class="s0" d="M0 0h{round(1000 * share)}v1H0z"/></svg>'
    )


def _repositories(ranking: Ranking | None) -> str:
    if ranking is None:
        return ""
    highest = ranking.top[0].launches if ranking.top else 1
    rows = (
        (
            f"{number}",
            escape(one.name),
            f"{one.launches:,}",
            f"{one.launches / max(1, ranking.launches):.1%}",
            _bar(one.launches / highest),
        )
        for number, one in enumerate(ranking.top, 1)
    )
    table = _table(
        "Repositories launched most",
        ("", "Repository", "Launches", "Share", ""),
        rows,
        "numbers ranking",
    )
    return (
        '<section class="repositories"><h2>Repositories launched most</h2>'
        f'<p class="soft">{escape(ranking.sentence())}</p>{table}</section>'
    )


def _oddities(report: Report) -> str:
    if not report.anomalies:
        return "<section><h2>What is odd</h2><p>Nothing odd was found.</p></section>"
    parts = "".join(
        f'<h3 class="{severity}">{_HEADS[severity]}</h3><ul class="odd {severity}">{items}</ul>'
        for severity in Severity
        if (items := "".join(_items(report, severity)))
    )
    return f'<section class="oddities"><h2>What is odd</h2>{parts}</section>'


def _items(report: Report, severity: Severity) -> Iterator[str]:
    for one in report.anomalies:
        if one.severity is severity:
            last = f' to <time datetime="{one.last}">{one.last}</time>' if one.days > 1 else ""
            days = f", {plural(one.days, 'day')}" if one.days > 1 else ""
            yield (
                f'<li><span><time datetime="{one.first}">{one.first}</time>{last} '
                f'<span class="kind">{one.kind.replace("-", " ")}{days}</span><br>'
                f"{escape(one.message)}</span>{_plot(one, report.daily)}</li>"
            )


def _plot(odd: Anomaly, daily: Mapping[date, int]) -> str:
    """Return the days around an anomaly, small."""
    if odd.kind not in _PLOTTED or odd.days > _PLOTTED_DAYS:
        return ""
    first = max(min(daily).toordinal(), odd.first.toordinal() - _AROUND)
    last = min(max(daily).toordinal(), odd.last.toordinal() + _AROUND)
    days = between(date.fromordinal(first), date.fromordinal(last))
    return render_spark([daily.get(day, 0) for day in days], 0)
