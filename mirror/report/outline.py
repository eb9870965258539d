"""The content of a report: sentences, tables and groups, which text and page lay out. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date

from msgspec import Struct

from mirror.events.series import fold_names, quarter_of
from mirror.report.anomaly import Anomaly, Kind, Severity, span
from mirror.report.charts import REST, choose_bands
from mirror.report.facts import Ranking, Report
from mirror.text import human_bytes, plural

NOTHING_ODD = "Nothing odd was found."
RANKING_HEADING = "Repositories launched most"
GROWTH_HEADING = "Growth of the daily mean"
GROWTH_HEADINGS = ("Quarter", "Days held", "Launches", "A day", "Quarter before", "Year before")
SEVERITY_HEADINGS: Mapping[Severity, str] = {
    Severity.SERIOUS: "Serious: launches are missing, or counted twice",
    Severity.WARNING: "Warnings: numbers may mislead",
    Severity.NOTE: "Notes",
}
_PLOTTED = (Kind.FEW, Kind.EMPTY, Kind.LEVEL)


class Breakdown(Struct, frozen=True):
    """Launches by origin or by provider: the most frequent names, and the rest as one."""

    subject: str
    """What the names are, "origin" or "provider"; empty for one of all launches."""
    totals: Mapping[str, int]
    """Launches by name, the greatest first, the rest last."""
    periods: Mapping[date, Mapping[str, int]]
    """Launches by period and name."""
    days: Mapping[date, int]
    """By period: the days of which this is known."""

    @property
    def heading(self) -> str:
        """What it shows, in words."""
        return f"By {self.subject}" if self.subject else "All"

    def rows(self) -> Iterator[tuple[str, str, str]]:
        """Yield each name with its launches and its share in all."""
        whole = sum(self.totals.values())
        for name, count in self.totals.items():
            yield name, f"{count:,}", share(count, whole)

    def means(self, name: str, starts: Iterable[date]) -> list[float | None]:
        """Return a name's launches a day in each period; None where they are unknown."""
        return [
            self.periods[start].get(name, 0) / self.days[start] if self.days.get(start) else None
            for start in starts
        ]


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
    """Return of how many days the contents are still to be counted; nothing where of none."""
    if not report.pending_findings:
        return ""
    days = plural(report.pending_findings, "day")
    return f"Pending: the contents of {days} are still to be counted."


def describe_means(report: Report) -> str:
    """Return what is plotted over time."""
    period = report.period
    return "Launches a day" if period == "day" else f"Launches a day, mean of each {period}"


def describe_ranking(ranking: Ranking) -> str:
    """Return what the repositories launched most were counted among."""
    text = f"Of {ranking.repositories:,} different repositories in {ranking.launches:,} launches."
    if ranking.unknown:
        text += f" {ranking.unknown:,} more lines name no repository."
    if ranking.uncertain_by:
        text += (
            f" There were too many: {ranking.uncertain_by:,} launches of repositories that came "
            "later are counted by no name."
        )
    return text


def make_breakdowns(report: Report) -> tuple[Breakdown, ...]:
    """Return the launches by origin and by provider, where anything is known of them."""
    days = {one.start: one.inspected for one in report.periods}
    origins = {one.start: one.origins for one in report.periods}
    providers = {one.start: one.providers for one in report.periods}
    both = _break_down("origin", origins, days), _break_down("provider", providers, days)
    return tuple(one for one in both if one.totals)


def make_whole(report: Report) -> Breakdown:
    """Return all launches as one, for days of which nothing but the count is known."""
    periods = {one.start: {"launches": one.events} for one in report.periods}
    days = {one.start: one.days for one in report.periods}
    return Breakdown("", {"launches": report.events}, periods, days)


def _break_down(
    subject: str, sums: Mapping[date, Mapping[str, int]], days: Mapping[date, int]
) -> Breakdown:
    names = choose_bands(sums)
    periods = fold_names(sums, names, REST)
    totals = {name: sum(counts.get(name, 0) for counts in periods.values()) for name in names}
    return Breakdown(subject, totals, periods, days)


def growth_rows(report: Report) -> Iterator[tuple[str, ...]]:
    """Yield the cells of each quarter, in the order of `GROWTH_HEADINGS`."""
    for one in report.quarters:
        yield (
            quarter_name(one.start),
            f"{one.days}",
            f"{one.events:,}",
            f"{one.per_day:,.0f}",
            percent(one.to_quarter_before),
            percent(one.to_year_before),
        )


def ranking_rows(ranking: Ranking) -> Iterator[tuple[str, str, str, str]]:
    """Yield the place, name, launches and share of each repository."""
    for place, one in enumerate(ranking.top, 1):
        yield f"{place}", one.name, f"{one.launches:,}", share(one.launches, ranking.launches)


def groups(report: Report) -> Iterator[tuple[Severity, Sequence[Anomaly]]]:
    """Yield the anomalies by severity, the most serious first."""
    for severity, count in report.found.items():
        if count:
            yield severity, [one for one in report.anomalies if one.severity is severity]


def days_around(report: Report, odd: Anomaly, margin: int) -> list[date]:
    """Return the days of an anomaly and so many before and after, for a plot.

    Nothing for an anomaly of which daily counts say nothing.
    """
    if odd.kind not in _PLOTTED:
        return []
    first = max(min(report.daily).toordinal(), odd.first.toordinal() - margin)
    last = min(max(report.daily).toordinal(), odd.last.toordinal() + margin)
    return [date.fromordinal(number) for number in range(first, last + 1)]


def quarter_name(day: date) -> str:
    """Return a day's quarter as people write it: "2026Q3"."""
    return f"{day.year}Q{(quarter_of(day).month + 2) // 3}"


def percent(ratio: float | None) -> str:
    """Return a ratio as growth: "+12.0 %", or "-" where there is none."""
    return f"{100 * (ratio - 1):+.1f} %" if ratio is not None else "-"


def share(count: int, whole: int) -> str:
    """Return a share in percent: "56.7%"."""
    return f"{count / max(1, whole):.1%}"
