"""Makes the charts of the status page and their tables: events over time, and shares of them. Pure.

Months and weeks are summed by `mirror.events.series`, and drawn by `mirror.report.charts`.
"""

from collections.abc import Mapping, Sequence
from datetime import date

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
    REST,
    Frame,
    render_shares,
    render_spark,
    render_swatch,
    render_trend,
    shares,
)
from mirror.status.standing import printable

Named = Mapping[date, Mapping[str, int]]
"""Events by month and name."""


class Trend(Struct, frozen=True):
    """Events over time."""

    chart: str
    """SVG."""
    summary: str
    rows: Sequence[Sequence[str]]
    """The table's: a month, days held, events, events a day; the latest first."""


class Band(Struct, frozen=True):
    """One name of a chart of shares, as a row of its legend."""

    name: str
    swatch: str
    """SVG."""
    whole: str
    """Its share of all events."""
    latest: str
    """Its share of the latest month's."""
    spark: str
    """SVG."""


class Share(Struct, frozen=True):
    """Shares of events by month, stacked."""

    title: str
    subject: str
    chart: str
    """SVG."""
    bands: list[Band]
    rows: Sequence[Sequence[str]]
    """The table's: a month, then each band's percentage; the latest first."""


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
        (
            f"{start:%Y-%m}",
            str(len(month.records)),
            f"{month.lines:,}",
            f"{month.lines / len(month.records):,.0f}",
        )
        for start, month in reversed(list(months.items()))
    ]
    return Trend(render_trend(periods, means, frame), summary, rows)


def make_shares(months: Months) -> list[Share]:
    """Return shares by provider, origin and version, as far as anything was found."""
    found = {start: month.findings for start, month in months.items() if month.findings is not None}
    parts = (
        _share("Providers", "Provider", {start: one.providers for start, one in found.items()}),
        _share("Origins", "Host", {start: months[start].origins for start in found}),
        _share("Versions", "Version", {start: one.versions for start, one in found.items()}, "v"),
    )
    return [one for one in parts if one is not None]


def _share(title: str, subject: str, months: Named, prefix: str = "") -> Share | None:
    names = _choose(months, by_name=bool(prefix))
    if not names:
        return None
    folded = fold_names(months, names, OTHERS)
    periods = fill_periods(min(folded), max(folded), month_of)
    by_month = [shares(folded.get(month, {}), names) for month in periods]
    labels = [REST if name == OTHERS else printable(f"{prefix}{name}") for name in names]
    bands = dict(zip(labels, zip(*by_month, strict=True), strict=True))
    totals = {name: sum(named.get(name, 0) for named in folded.values()) for name in names}
    description = f"Shares of events since {periods[0]:%Y-%m}, stacked."
    frame = Frame(330, 190, f"{title} by month", description)
    return Share(
        title=title,
        subject=subject,
        chart=render_shares(periods, bands, frame),
        bands=[
            Band(
                name=label,
                swatch=render_swatch(number),
                whole=_percent(whole),
                latest=_percent(bands[label][-1]),
                spark=render_spark(bands[label], number),
            )
            for number, (label, whole) in enumerate(zip(labels, shares(totals, names), strict=True))
        ],
        rows=[
            (f"{month:%Y-%m}", *(f"{one / 10:g}" for one in row))
            for month, row in zip(reversed(periods), reversed(by_month), strict=True)
        ],
    )


def _choose(months: Named, *, by_name: bool) -> tuple[str, ...]:
    """Return the names that get a band, the lowest first: the greatest, and the rest as one."""
    ranked = [name for name in rank_names(months) if name != OTHERS]
    is_folded = len(ranked) > BANDS or any(OTHERS in named for named in months.values())
    kept = ranked[: BANDS - 1] if is_folded else ranked
    ordered = sorted(kept, key=lambda name: (len(name), name)) if by_name else kept
    return (*ordered, OTHERS) if is_folded else tuple(ordered)


def _percent(thousandths: int) -> str:
    return f"{thousandths / 10:.1f} %"
