"""Every page in a real browser: what axe-core finds, landmarks, dates, links, what is hit and how.

The accessibility engine axe-core is another project's, and large, so it is not kept here:
MIRROR_AXE names its axe.min.js (`.ci/run` fetches it); without, that test skips. With
MIRROR_SCREENSHOTS set to a folder, what was seen is kept there.
"""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import date
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest
from playwright.async_api import Browser, Page

from mirror.store.destination import open_store
from mirror.store.inventory import load_upstream
from mirror.store.layout import DataDir
from mirror.sync.publish import publish
from tests.web.browsers import SCREENS, needs_chromium
from tests.web.copies import Copy, seasonal_counts
from tests.web.scenes import NOW, failing
from tests.web.serving import serving

AXE = os.environ.get("MIRROR_AXE")
PATIENCE_S = 30
PAGES = ["", "status", "report"]
RUN_AXE = """() => axe.run(document, {
    resultTypes: ['violations'],
    runOnly: {type: 'tag', values: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa',
                                    'best-practice']},
    rules: {'target-size': {enabled: true}},
}).then(found => found.violations.map(one => [one.id, ...one.nodes.map(node => node.html)]))"""
BROKEN_DATES = r"""() => {
    const walker = document.createTreeWalker(document.body, NodeFilter.SHOW_TEXT);
    const found = {dates: 0, broken: []};
    while (walker.nextNode()) {
        const node = walker.currentNode;
        for (const match of node.data.matchAll(/\d{4}-\d\d-\d\d/g)) {
            const range = document.createRange();
            range.setStart(node, match.index);
            range.setEnd(node, match.index + match[0].length);
            const lines = new Set([...range.getClientRects()].map(one => Math.round(one.top)));
            found.dates += lines.size > 0;
            if (lines.size > 1) found.broken.push(node.data);
        }
    }
    return found;
}"""
SMALL_TARGETS = """() => [...document.querySelectorAll('.years a, #every-day td a')]
    .map(one => [one.getBoundingClientRect(), one.outerHTML])
    .filter(([box]) => box.width < 24 || box.height < 24).map(([, html]) => html)"""

pytestmark = needs_chromium


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """A mirror in trouble, so that every part of every page is there; small, for axe-core."""
    copy = failing(tmp_path / "data")
    kept = seasonal_counts(500, NOW.date())
    copy.counts = {day: count for day, count in copy.counts.items() if day in kept}
    copy.upstream.accepted.clear()
    return published(copy)


def published(copy: Copy) -> DataDir:
    """Write a copy with all its listings."""
    data = copy.write()
    with open_store(data, now=lambda: NOW) as store:
        publish(store, load_upstream(data, ""))
    return data


@asynccontextmanager
async def opened(browser: Browser, url: str, screen: str) -> AsyncIterator[Page]:
    page = await browser.new_page(**SCREENS[screen])
    await page.goto(url)
    yield page
    await page.close()


@pytest.mark.skipif(AXE is None, reason="MIRROR_AXE is not set: axe-core is not here")
@pytest.mark.parametrize("screen", SCREENS)
async def test_axe_core_finds_nothing(browser: Browser, data: DataDir, screen: str) -> None:
    assert AXE is not None
    engine = Path(AXE).read_text("utf-8")
    async with serving(data, now=NOW) as url:
        for path in PAGES:
            async with opened(browser, url + path, screen) as page:
                if folder := os.environ.get("MIRROR_SCREENSHOTS"):
                    name = f"{path or 'archive'} {screen}".replace(" ", "-")
                    await page.screenshot(path=f"{folder}/{name}.png", full_page=path != "")
                for is_open in (False, True):
                    await page.evaluate(
                        "open => document.querySelectorAll('details').forEach(d => d.open = open)",
                        is_open,
                    )
                    await page.evaluate(engine)
                    assert await page.evaluate(RUN_AXE) == [], (path, is_open)


@pytest.mark.parametrize("path", PAGES)
async def test_each_page_has_one_main_part_and_dates_in_one_piece(
    browser: Browser, data: DataDir, path: str
) -> None:
    async with serving(data, now=NOW) as url:
        for screen in ("phone", "light"):
            async with opened(browser, url + path, screen) as page:
                assert await page.get_by_role("main").count() == 1
                found = await page.evaluate(BROKEN_DATES)
                assert found["dates"] > 20
                assert found["broken"] == [], screen
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= SCREENS[screen]["viewport"]["width"]


async def test_all_that_the_pages_lead_to_is_there(
    browser: Browser, data: DataDir, http: aiohttp.ClientSession
) -> None:
    async with serving(data, now=NOW) as url:
        found = set()
        for path in PAGES:
            async with opened(browser, url + path, "light") as page:
                links = await page.evaluate(
                    "[...document.querySelectorAll('a')].map(one => one.getAttribute('href'))"
                )
                found |= {urljoin(url + path, one).split("#")[0] for one in links}
        ours = {one for one in found if one.startswith(url)}
        assert {f"{url}{name}" for name in ("", "status", "report", "datapackage.json")} < ours
        assert f"{url}events-{NOW.date()}.jsonl" in ours
        for one in ours:
            async with http.head(one) as answer:
                assert answer.status == 200, one


async def test_a_square_is_its_days_file_and_a_year_its_table(
    browser: Browser, data: DataDir
) -> None:
    async with serving(data, now=NOW) as url, opened(browser, f"{url}status", "light") as page:
        year = page.locator("svg[data-year='2026']")
        link = page.locator(".years a").first
        await year.scroll_into_view_if_needed()
        box = await year.bounding_box()
        assert box is not None
        unit = box["width"] / 54
        assert unit > 20  # as large as a year across the page lets a day be
        # 2026-03-13 is the Friday of the year's eleventh week, 2026-11-21 is missing
        for day, file in (("03-13", "events-2026-03-13.jsonl"), ("11-21", "#days-2026")):
            week, weekday = _place(date.fromisoformat(f"2026-{day}"))
            await page.mouse.move(box["x"] + (week + 0.6) * unit, box["y"] + (weekday + 1.9) * unit)
            assert (await link.get_attribute("href") or "").endswith(file)
        await page.mouse.move(1, 1)
        assert await link.get_attribute("href") == "#days-2026"
        await link.press("Enter")
        await page.locator("#days-2026").wait_for()
        assert await page.locator("#days-2026 a").first.is_visible()
        assert await page.evaluate(SMALL_TARGETS) == []


async def test_a_finger_has_targets_of_its_size(browser: Browser, data: DataDir) -> None:
    async with serving(data, now=NOW) as url, opened(browser, f"{url}status", "phone") as page:
        await page.locator("svg[data-year='2025']").tap()
        await page.locator("#days-2025").wait_for()
        assert page.url.endswith("#days-2025")
        assert await page.evaluate(SMALL_TARGETS) == []
        cell = page.locator("#days-2025 a", has_text="7,").first
        assert await cell.get_attribute("href") in {
            f"events-{day}.jsonl" for day in seasonal_counts(500, NOW.date())
        }


async def test_a_table_that_scrolls_says_so_and_takes_the_keyboard(
    browser: Browser, data: DataDir
) -> None:
    async with serving(data, now=NOW) as url:
        for screen, scrolls in (("phone", True), ("light", False)):
            async with opened(browser, f"{url}status", screen) as page:
                table = page.get_by_role("region", name="Table of the last polls")
                hint = page.get_by_text("The table scrolls sideways.")
                assert await hint.is_visible() is scrolls
                assert await table.evaluate("one => one.scrollWidth > one.clientWidth") is scrolls
                await table.focus()
                await page.keyboard.press("ArrowRight")
                if scrolls:
                    async with asyncio.timeout(PATIENCE_S):
                        while not await table.evaluate("one => one.scrollLeft"):
                            await asyncio.sleep(0.01)


def _place(day: date) -> tuple[int, int]:
    """Return week and weekday of a day in its year's picture."""
    offset = date(day.year, 1, 1).weekday()
    week, weekday = divmod(day.timetuple().tm_yday - 1 + offset, 7)
    return week, weekday
