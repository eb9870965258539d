"""Makes the charts of the status page and their tables: events over time, and shares of them. Pure.

Months and weeks are summed by `mirror.events.series`, and drawn by `mirror.report.charts`. A chart
is SVG; a table has the latest month first.
"""

from collections.abc import Mapping, Sequence
from datetime import date

from msgspec import Struct

from mirror.events.series import Months, fill_periods, month_of, sum_counts, week_of
from mirror.report.charts import REST, Frame, fold_into_bands, render_stack, shares
from mirror.status.standing import printable

Named = Mapping[date, Mapping[str, int]]
"""Events by month and name."""
Rows = Sequence[Sequence[str]]


class Trend(Struct, frozen=True):
    """Events over time; the rows are month, days held, events, events a day."""

    chart: str
    summary: str
    rows: Rows


class Share(Struct, frozen=True):
    """Shares of events by month, stacked; the rows are month, percentage of each band."""

    title: str
    subject: str
    chart: str
    bands: Mapping[str, Sequence[int]]
    """Shares in thousandths by name and month, the lowest band first."""
    wholes: Mapping[str, int]
    """Shares of all events."""
    rows: Rows


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


def _share(title: str, subject: str, months: Named, prefix: str = "") -> Share | None:
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
