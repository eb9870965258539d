"""The charts of the status page and their tables: events over time; provider, origin and version.

Pure. Months and weeks are summed by `mirror.events.series`, and drawn by `mirror.report.charts`.
"""

from collections.abc import Mapping, Sequence
from datetime import date
from html import escape

from msgspec import Struct

from mirror.events.findings import OTHERS
from mirror.events.series import (
    Months,
    fill_periods,
    fold_names,
    month_of,
    rank_names,
    sum_counts,
    week_of,
)
from mirror.report.charts import (
    BANDS,
    Frame,
    render_shares,
    render_spark,
    render_swatch,
    render_trend,
    shares,
)
from mirror.status.standing import told
from mirror.web.markup import with_times

Named = Mapping[date, Mapping[str, int]]
"""Events by month and name."""


class _Course(Struct, frozen=True):
    """Shares over time."""

    periods: Sequence[date]
    bands: Mapping[str, Sequence[int]]
    """By label, the lowest band first: a share in thousandths for each period."""
    whole: Sequence[int]
    """Each band's share in all events."""


def render_trends(months: Months) -> str:
    """Return the sections with charts; nothing where no day is held."""
    if not months:
        return ""
    found = {start: month.findings for start, month in months.items() if month.findings is not None}
    parts = (
        _share("Providers", "Provider", {start: one.providers for start, one in found.items()}),
        _share("Origins", "Host", {start: months[start].origins for start in found}),
        _share("Versions", "Version", {start: one.versions for start, one in found.items()}, "v"),
    )
    if not any(parts):
        return _events(months)
    return (
        f'{_events(months)}<section aria-labelledby="shares"><h2 id="shares">Shares by month</h2>'
        f'<div class="shares">{"".join(parts)}</div></section>'
    )


def _events(months: Months) -> str:
    counts = [(record.date, record.lines) for month in months.values() for record in month.records]
    weeks = sum_counts(counts, week_of)
    periods = fill_periods(min(weeks), max(weeks), week_of)
    means = [round(weeks[week].mean) if week in weeks else 0 for week in periods]
    peak, most = max(counts, key=lambda one: one[1]), max(means)
    told = (
        f"Weekly means from {periods[0]} to {periods[-1]}, at most {most:,} events a day in the "
        f"week of {periods[means.index(most)]}. The fullest day is {peak[0]} with {peak[1]:,}."
    )
    chart = render_trend(periods, means, Frame(840, 240, "Events a day, mean of each week", told))
    return (
        '<section aria-labelledby="events"><h2 id="events">Events a day</h2>'
        f"<figure>{chart}<figcaption>{with_times(told)}</figcaption></figure>"
        '<details id="months"><summary>Events by month as a table</summary>'
        f"{_months(months)}</details></section>"
    )


def _months(months: Months) -> str:
    rows = "".join(
        f'<tr><th scope="row">{start:%Y-%m}<td>{len(month.records)}<td>{month.lines:,}'
        f"<td>{month.lines / len(month.records):,.0f}"
        for start, month in reversed(list(months.items()))
    )
    return _table("Events by month", ("Month", "Days held", "Events", "A day"), rows)


def _table(caption: str, heads: Sequence[str], rows: str) -> str:
    columns = "".join(f'<th scope="col">{escape(head)}' for head in heads)
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="{caption}">'
        f'<table class="numbers"><caption class="unseen">{caption}</caption>'
        f"<thead><tr>{columns}<tbody>{rows}</table></div>"
    )


def _share(title: str, what: str, months: Named, prefix: str = "") -> str:
    """Return a chart of shares, its legend and its table; nothing where nothing was found."""
    course = _make_course(months, prefix)
    if not course.bands:
        return ""
    since = f"{course.periods[0]:%Y-%m}"
    frame = Frame(330, 190, f"{title} by month", f"Shares of events since {since}, stacked.")
    return (
        f"<article><h3>{title}</h3>"
        f"<figure>{render_shares(course.periods, course.bands, frame)}</figure>"
        f"{_legend(title, what, course)}"
        f'<details id="{what.lower()}s"><summary>{title} as a table</summary>'
        f"{_numbers(title, course)}</details>"
        "</article>"
    )


def _make_course(months: Named, prefix: str) -> _Course:
    names = _choose(months, by_name=bool(prefix))
    if not names:
        return _Course((), {}, ())
    folded = fold_names(months, names, OTHERS)
    periods = fill_periods(min(folded), max(folded), month_of)
    rows = [shares(folded.get(month, {}), names) for month in periods]
    labels = ["others" if name == OTHERS else told(f"{prefix}{name}") for name in names]
    totals = {name: sum(named.get(name, 0) for named in folded.values()) for name in names}
    bands = dict(zip(labels, zip(*rows, strict=True), strict=True))
    return _Course(periods, bands, shares(totals, names))


def _choose(months: Named, *, by_name: bool) -> tuple[str, ...]:
    """Return the names that get a band, the lowest first: the greatest, and the rest as one."""
    ranked = [name for name in rank_names(months) if name != OTHERS]
    is_folded = len(ranked) > BANDS or any(OTHERS in named for named in months.values())
    kept = ranked[: BANDS - 1] if is_folded else ranked
    ordered = sorted(kept, key=lambda name: (len(name), name)) if by_name else kept
    return (*ordered, OTHERS) if is_folded else tuple(ordered)


def _legend(title: str, what: str, course: _Course) -> str:
    rows = "".join(
        f'<tr><th scope="row">{render_swatch(number)}{escape(name)}'
        f"<td>{_percent(course.whole[number])}<td>{_percent(values[-1])}"
        f"<td>{render_spark(values, number)}"
        for number, (name, values) in enumerate(course.bands.items())
    )
    heads = "".join(f'<th scope="col">{head}' for head in (what, "All", "Latest", "Course"))
    return (
        f'<table class="key"><caption class="unseen">{title}: shares of events</caption>'
        f"<thead><tr>{heads}<tbody>{rows}</table>"
    )


def _numbers(title: str, course: _Course) -> str:
    columns = list(zip(*course.bands.values(), strict=True))
    rows = "".join(
        f'<tr><th scope="row">{month:%Y-%m}' + "".join(f"<td>{one / 10:g}" for one in column)
        for month, column in reversed(list(zip(course.periods, columns, strict=True)))
    )
    return _table(f"{title}: percent of events by month", ("Month", *course.bands), rows)


def _percent(thousandths: int) -> str:
    return f"{thousandths / 10:.1f} %"
