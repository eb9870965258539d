"""The report as a page: whole in itself, hostile strings dead, each figure with its numbers."""

import base64
import hashlib
import re
from collections.abc import AsyncIterator, Mapping
from datetime import UTC, date, datetime
from html.parser import HTMLParser
from pathlib import Path

import pytest
from msgspec.structs import replace
from playwright.async_api import Browser

from mirror.events.findings import OTHERS
from mirror.model import DayRange, Record
from mirror.report.detection import ReportInput, find_anomalies
from mirror.report.facts import Ranked, Ranking, Report, make_report, to_json
from mirror.report.outline import make_breakdowns
from mirror.report.render import TerminalStyle, render_page, render_report
from tests.making import days
from tests.report.inventories import findings, held
from tests.report.test_dips import lower, season
from tests.web.browsers import needs_chromium, open_browser

HOSTILE = "\"><script>alert(1)</script><img src=x onerror=alert(2)>'"
NOW = datetime(2026, 10, 2, 12, tzinfo=UTC)


class Reader(HTMLParser):
    """Keeps the elements and attributes of a page."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str, str | None]] = []
        self.text = ""
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(tag, name, value) for name, value in attrs]

    def handle_data(self, data: str) -> None:
        self.text += data


def report_on(records: Mapping[date, Record], window: DayRange = DayRange()) -> Report:  # noqa: B008 - a frozen value
    pending = frozenset(one for one, record in records.items() if record.findings is None)
    known = ReportInput(records=records, final=frozenset(records), pending=pending)
    return make_report(known, find_anomalies(known), window, now=NOW)


@pytest.fixture
def quarter() -> Report:
    """A quarter with a loss in it, and strings that attack."""
    counts = lower(season("2025-06-01", "2026-09-30"), "2026-08-04", "2026-08-07", 0.1)
    records = held(counts)
    for one in days("2026-08-04", "2026-08-20"):
        lines = records[one].lines
        records[one] = replace(
            records[one],
            findings=findings(
                lines, {HOSTILE: lines}, providers={HOSTILE: lines}, versions={"5": 1, HOSTILE: 1}
            ),
        )
    made = report_on(records, DayRange(date(2026, 7, 1), date(2026, 9, 30)))
    top = (Ranked("github.com/demo/course", 900), Ranked(HOSTILE, 90))
    return replace(made, repositories=Ranking(top, 1000, 12, 0, 3))


def test_nothing_is_loaded_and_nothing_can_run(quarter: Report) -> None:
    page = render_page(quarter)
    seen = Reader(page)

    assert not {"script", "img", "iframe", "object", "form", "base"} & set(seen.tags)
    assert [value for tag, name, value in seen.attributes if name in ("src", "href")] == ["data:,"]
    assert not [name for _, name, _ in seen.attributes if name.startswith("on") or name == "style"]
    assert HOSTILE.replace("'", "") not in page


def test_the_policy_allows_just_the_style_that_is_there(quarter: Report) -> None:
    page = render_page(quarter)
    style = re.findall(r"<style>(.*?)</style>", page, re.DOTALL)
    (policy,) = [
        value for _, name, value in Reader(page).attributes if value and "default-src" in value
    ]

    assert len(style) == 1
    digest = base64.b64encode(hashlib.sha256(style[0].encode()).digest()).decode()
    assert policy.startswith(f"default-src 'none'; style-src 'sha256-{digest}'; ")
    assert "unsafe" not in policy


def test_the_numbers_of_the_figures_stand_in_tables(quarter: Report) -> None:
    seen = Reader(render_page(quarter))

    assert "Binder launches, 2026Q3" in seen.text
    assert f"{quarter.events:,}" in seen.text
    assert seen.text.count("Launches a day, mean of each week") >= 2
    for period in quarter.periods:
        for count in period.origins.values():
            assert f"{count:,}" in seen.text
    assert "github.com/demo/course" in seen.text
    assert "3 more lines without a repository" in seen.text
    labels = [value for _, name, value in seen.attributes if name == "aria-label"]
    assert "Repositories launched most" in labels
    assert "Growth of the daily mean" in labels


def test_what_is_odd_is_told_and_drawn(quarter: Report) -> None:
    page = render_page(quarter)

    assert "<time>2026-08-04</time> to <time>2026-08-07</time>" in page
    assert "events where " in page
    assert 'class="spark"' in page


def test_a_page_of_nothing_is_a_page(quarter: Report) -> None:
    empty = report_on({})
    assert "no day held" in Reader(render_page(empty)).text
    assert "Nothing odd was found." in Reader(render_page(empty)).text
    calm = report_on(held(season("2026-07-01", "2026-07-20")))
    assert "Launches a day" in Reader(render_page(calm)).text
    assert quarter.period == "week"
    assert calm.period == "day"


def test_the_text_has_the_repositories_and_no_character_that_acts(quarter: Report) -> None:
    text = render_report(quarter, TerminalStyle(width=72))

    assert re.search(r"^  1\. github.com/demo/course +900  90\.0%$", text, re.MULTILINE)
    assert all(line.isprintable() for line in text.splitlines())
    assert max(map(len, text.splitlines())) <= 72
    coloured = render_report(quarter, TerminalStyle(width=72, colour=True))
    assert re.sub(r"\x1b\[[0-9;]*m", "", coloured) == text


@pytest.mark.parametrize(
    ("first", "period", "starts"),
    [("2026-07-05", "day", 16), ("2026-01-05", "week", 29), ("2024-01-05", "month", 31)],
)
def test_every_period_has_its_place_though_no_day_of_it_is_held(
    first: str, period: str, starts: int
) -> None:
    counts = season(first, "2026-07-20")
    kept = dict(list(counts.items())[:1] + list(counts.items())[-1:])

    made = report_on(held(kept))

    assert made.period == period
    assert len(made.starts) == starts
    assert (made.starts[0], made.starts[-1]) == (made.periods[0].start, made.periods[-1].start)


def test_a_day_that_goes_on_lowers_no_mean() -> None:
    records = held(dict.fromkeys(days("2026-07-01", "2026-07-20"), 1000))
    records |= held({date(2026, 7, 21): 10})
    known = ReportInput(records=records, final=frozenset(records) - {date(2026, 7, 21)})

    made = make_report(known, (), DayRange(), now=NOW)

    assert made.days == 21
    assert [(one.days, one.per_day) for one in made.quarters] == [(20, 1000)]


def test_launches_are_drawn_though_no_finding_says_whose_they_are() -> None:
    records = held(season("2026-07-01", "2026-07-20"))
    page = render_page(report_on({d: replace(r, findings=None) for d, r in records.items()}))

    assert '<svg class="chart"' in page
    assert f"{records[date(2026, 7, 20)].lines:,}" in Reader(page).text


def test_what_has_no_band_is_drawn_and_counted_as_others() -> None:
    records = held(dict.fromkeys(days("2026-07-06", "2026-07-12"), 1000))
    few = {f"hub{number}.org": 100 - number for number in range(9)} | {"others": 50, OTHERS: 54}
    few["hub0.org"] += 1000 - sum(few.values())
    made = report_on({d: replace(r, findings=findings(1000, few)) for d, r in records.items()})

    (origins, _) = make_breakdowns(made)

    assert [*origins.totals] == [*[f"hub{number}.org" for number in range(7)], "others"]
    assert origins.totals["others"] == 7 * (93 + 92 + 50 + 54)
    assert sum(origins.totals.values()) == 7000


def test_days_with_pending_findings_are_counted_and_lower_no_mean() -> None:
    records = held(dict.fromkeys(days("2026-07-06", "2026-08-30"), 1000))
    for one in days("2026-07-22", "2026-08-09"):
        records[one] = replace(records[one], findings=None)
    made = report_on(records)

    (origins, _) = make_breakdowns(made)

    assert (made.pending_findings, [one.inspected for one in made.periods]) == (
        19,
        [7, 7, 2, 0, 0, 7, 7, 7],
    )
    means = origins.means("gke.mybinder.org", made.starts)
    assert means == [660, 660, 660, None, None, 660, 660, 660]
    sentence = "Pending: the contents of 19 days are still to be counted."
    assert sentence in render_report(made, TerminalStyle(width=100))
    assert sentence in Reader(render_page(made)).text
    assert to_json(made)["pending_findings"] == 19
    assert made.anomalies == ()


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser


@needs_chromium
async def test_a_browser_applies_the_style_and_asks_for_nothing(
    quarter: Report, browser: Browser, tmp_path: Path
) -> None:
    path = tmp_path / "report.html"
    path.write_text(render_page(quarter), "utf-8")
    page = await browser.new_page(viewport={"width": 360, "height": 700})
    complaints: list[str] = []
    requests: list[str] = []
    page.on("console", lambda message: complaints.append(message.text))
    page.on("dialog", lambda dialog: complaints.append(dialog.message))
    page.on("request", lambda request: requests.append(request.url))

    await page.goto(path.as_uri())

    assert complaints == []
    assert [url for url in requests if not url.startswith(("file:", "data:"))] == []
    assert await page.evaluate("document.documentElement.scrollWidth <= innerWidth")
    assert await page.evaluate("getComputedStyle(document.querySelector('.s0')).fill") != (
        "rgb(0, 0, 0)"
    )
