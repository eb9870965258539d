"""The content of a report: sentences, tables and groups, which text and page lay out. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import date

from msgspec import Struct

from mirror.report.anomaly import Anomaly, Kind, Severity, span
from mirror.report.charts import fold_into_bands
from mirror.report.facts import Ranking, Report
from mirror.text import human_bytes, plural

NOTHING_ODD = "Nothing odd was found."
SEVERITY_HEADINGS: Mapping[Severity, str] = {
    Severity.SERIOUS: "Serious: launches are missing, or counted twice",
    Severity.WARNING: "Warnings: numbers may mislead",
    Severity.NOTE: "Notes",
}
_PLOTTED = (Kind.FEW, Kind.EMPTY, Kind.LEVEL)


class Table(Struct, frozen=True):
    """Rows of a name and numbers."""

    heading: str
    columns: tuple[str, ...]
    rows: Sequence[tuple[str, ...]]
    bars: Sequence[float] = ()  # by row: the length of its bar on a page, from 0 to 1, where drawn
    note: str = ""


class Breakdown(Struct, frozen=True):
    """Launches by origin or by provider: the most frequent names, and the rest as one."""

    subject: str  # what the names are, "origin" or "provider"; empty for one of all launches
    totals: Mapping[str, int]  # launches by name, the greatest first, the rest last
    periods: Mapping[date, Mapping[str, int]]  # launches by period and name
    days: Mapping[date, int]  # by period: the days of which this is known

    @property
    def heading(self) -> str:
        """What it shows, in words."""
        return f"Launches by {self.subject}" if self.subject else "All launches"

    @property
    def table(self) -> Table:
        """Each name with its launches and its share in all."""
        whole = sum(self.totals.values())
        rows = [(name, f"{n:,}", _share(n, whole)) for name, n in self.totals.items()]
        return Table(self.heading, (self.subject.capitalize(), "Launches", "Share"), rows)

    def means(self, name: str, starts: Sequence[date]) -> list[float | None]:
        """Return a name's launches a day in each period; None where they are unknown."""
        return [
            self.periods[start].get(name, 0) / self.days[start] if self.days.get(start) else None
            for start in starts
        ]


def tabulate_periods(report: Report, breakdown: Breakdown) -> Table:
    """Return the launches of each period, by name."""
    rows = []
    for one in report.periods:
        counts = (breakdown.periods[one.start].get(name, 0) for name in breakdown.totals)
        rows.append((f"{one.start}", f"{one.days}", *(f"{count:,}" for count in counts)))
    columns = (report.period.capitalize(), "Days held", *breakdown.totals)
    return Table(f"{breakdown.heading}, each {report.period}", columns, rows)


def tabulate_growth(report: Report) -> Table:
    """Return what each quarter comes to, beside those before it."""
    highest = max((one.per_day for one in report.quarters), default=0) or 1
    return Table(
        "Growth of the daily mean",
        ("Quarter", "Days held", "Launches", "A day", "Quarter before", "Year before"),
        [
            (
                quarter_name(one.start),
                str(one.days),
                f"{one.events:,}",
                f"{one.per_day:,.0f}",
                percent(one.to_quarter_before),
                percent(one.to_year_before),
            )
            for one in report.quarters
        ],
        [one.per_day / highest for one in report.quarters],
        "Over the days held: neither missing days nor a quarter that has not ended mislead.",
    )


def tabulate_ranking(ranking: Ranking) -> Table:
    """Return the repositories launched most, and what they were counted among."""
    of, launches = plural(ranking.repositories, "repository"), plural(ranking.launches, "launch")
    note = f"Of {of} in {launches}."
    if ranking.unknown:
        note += f" {plural(ranking.unknown, 'more line')} without a repository."
    if ranking.uncertain_by:
        note += (
            f" There were too many: {plural(ranking.uncertain_by, 'launch')} of repositories that "
            "came later are counted by no name."
        )
    rows = [
        (f"{place}. {one.name}", f"{one.launches:,}", _share(one.launches, ranking.launches))
        for place, one in enumerate(ranking.top, 1)
    ]
    bars = [one.launches / ranking.top[0].launches for one in ranking.top]
    columns = ("Repository", "Launches", "Share")
    return Table("Repositories launched most", columns, rows, bars, note)


def describe_days(report: Report) -> str:
    """Return which days are held, and what they come to."""
    if report.first is None or report.last is None:
        return "No day of the window is held."
    return (
        f"{plural(report.days, 'day')} held, {span(report.first, report.last)}: "
        f"{plural(report.events, 'event')}, {report.events / report.days:,.0f} a day, "
        f"{human_bytes(report.size)}"
    )


def describe_pending(report: Report) -> str:
    """Return of how many days the contents are still to be counted."""
    days = plural(report.pending_findings, "day")
    return f"Pending: the contents of {days} are still to be counted."


def describe_means(report: Report) -> str:
    """Return what is plotted over time."""
    period = report.period
    return "Launches a day" if period == "day" else f"Launches a day, mean of each {period}"


def make_breakdowns(report: Report) -> tuple[Breakdown, ...]:
    """Return the launches by origin and by provider, where anything is known of them."""
    days = {one.start: one.inspected for one in report.periods}
    origins = fold_into_bands({one.start: one.origins for one in report.periods})
    providers = fold_into_bands({one.start: one.providers for one in report.periods})
    both = Breakdown("origin", *origins, days), Breakdown("provider", *providers, days)
    return tuple(one for one in both if one.totals)


def make_whole(report: Report) -> Breakdown:
    """Return all launches as one, for days of which nothing but the count is known."""
    periods = {one.start: {"launches": one.events} for one in report.periods}
    days = {one.start: one.days for one in report.periods}
    return Breakdown("", {"launches": report.events}, periods, days)


def groups(report: Report) -> Iterator[tuple[Severity, Sequence[Anomaly]]]:
    """Yield the anomalies by severity, the most serious first."""
    for severity in Severity:
        if some := [one for one in report.anomalies if one.severity is severity]:
            yield severity, some


def days_around(report: Report, odd: Anomaly, *, margin: int, longest: int) -> list[date]:
    """Return the days of an anomaly and so many before and after, for a plot.

    Nothing for an anomaly of more days than `longest`, or of which daily counts say nothing.
    """
    if odd.kind not in _PLOTTED or odd.days > longest:
        return []
    first = max(min(report.daily).toordinal(), odd.first.toordinal() - margin)
    last = min(max(report.daily).toordinal(), odd.last.toordinal() + margin)
    return [date.fromordinal(number) for number in range(first, last + 1)]


def quarter_name(day: date) -> str:
    """Return a day's quarter as people write it: "2026Q3"."""
    return f"{day.year}Q{(day.month + 2) // 3}"


def percent(ratio: float | None) -> str:
    """Return a ratio as growth: "+12.0 %", or "-" where there is none."""
    return f"{100 * (ratio - 1):+.1f} %" if ratio is not None else "-"


def _share(count: int, whole: int) -> str:
    return f"{count / max(1, whole):.1%}"
