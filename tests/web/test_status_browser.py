"""The status page in a real browser: no complaint, everything reachable, legible, live.

With MIRROR_SCREENSHOTS set to a folder, what was seen is kept there.
"""

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from playwright.async_api import Browser, Page

from mirror.archive.ports import Retrying
from mirror.events.findings import MAX_KEY_LENGTH
from mirror.model import Findings
from mirror.status.poll_progress import PollProgress
from mirror.text import shown
from tests.proxies import NGINX, proxied
from tests.web.browsers import SCREENS, needs_chromium
from tests.web.copies import poll_report
from tests.web.scenes import NOW, SCENES, failing, in_step, plan_of_many, poll_under_way
from tests.web.serving import serving

CONTRASTS = (Path(__file__).parent / "contrasts.js").read_text()
PATIENCE_MS = 30_000

pytestmark = needs_chromium


@asynccontextmanager
async def seen(browser: Browser, url: str, **options: Any) -> AsyncIterator[Page]:
    """Open the page; whatever the browser complains of is a failure."""
    complaints: list[str] = []
    page = await browser.new_page(**options)
    page.set_default_timeout(PATIENCE_MS)
    page.on("console", lambda message: complaints.append(message.text))
    page.on("pageerror", lambda error: complaints.append(str(error)))
    await page.goto(f"{url}status")
    yield page
    await page.close()
    assert complaints == []


async def keep(page: Page, name: str) -> None:
    if folder := os.environ.get("MIRROR_SCREENSHOTS"):
        await page.screenshot(path=f"{folder}/{name.replace(' ', '-')}.png", full_page=True)


@pytest.mark.parametrize("scene", SCENES)
async def test_it_is_legible_and_fits(browser: Browser, tmp_path: Path, scene: str) -> None:
    data = SCENES[scene](tmp_path / "data").write()
    live = poll_under_way() if scene == "running" else PollProgress()
    async with serving(data, now=NOW, live=live) as url:
        for name, screen in SCREENS.items():
            async with seen(browser, url, **screen) as page:
                await keep(page, f"{scene} {name}")
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= screen["viewport"]["width"], name
                await page.evaluate("document.querySelectorAll('details').forEach(d => d.open = 1)")
                found = await page.evaluate(CONTRASTS)
                assert found["texts"] > 10
                assert found["poor"] == [], name
                width = await page.evaluate("document.documentElement.scrollWidth")
                assert width <= screen["viewport"]["width"], name


async def test_names_of_hosts_break_at_their_dots_alone(browser: Browser, tmp_path: Path) -> None:
    async with serving(in_step(tmp_path / "data").write(), now=NOW) as url:
        for width in (320, 700, 990, 1045, 1280):
            async with seen(browser, url, viewport={"width": width, "height": 900}) as page:
                assert await page.evaluate(BROKEN) == [], width
                assert await page.evaluate(TOO_WIDE) == 0, width


async def test_it_is_laid_out_for_who_does_not_see_it(browser: Browser, tmp_path: Path) -> None:
    data = failing(tmp_path / "data").write()
    async with serving(data, now=NOW) as url, seen(browser, url) as page:
        assert await page.evaluate("document.documentElement.lang") == "en"
        for landmark in ("banner", "main", "contentinfo"):
            assert await page.get_by_role(landmark).count() == 1  # type: ignore[arg-type]
        levels = await page.evaluate(
            "[...document.querySelectorAll('h1,h2,h3')].map(h => Number(h.tagName[1]))"
        )
        assert levels[0] == 1
        assert levels.count(1) == 1
        assert all(after - before <= 1 for before, after in pairwise(levels))
        nameless = await page.evaluate(NAMELESS)
        assert nameless == []
        region = page.get_by_role("region", name="To look at")
        assert await region.get_by_role("listitem").count() == 6
        assert await page.get_by_role("status").inner_text() != ""


BROKEN = """() => [...document.querySelectorAll('.key tbody th')]
    .flatMap(name => [...name.childNodes])
    .filter(part => {
        const range = document.createRange()
        range.selectNodeContents(part)
        return part.nodeType === Node.TEXT_NODE && range.getClientRects().length > 1
    }).map(part => part.textContent)"""
"""The parts of names, of which each is a word, that stand on more than one line."""

TOO_WIDE = """[...document.querySelectorAll('.shares article')]
    .filter(one => one.scrollWidth > one.clientWidth + 1).length"""

NAMELESS = """() => [
    ...[...document.querySelectorAll('svg')].filter(one => one.getAttribute('role') === 'img'
        ? !one.getAttribute('aria-label') && !one.querySelector('title')
        : one.getAttribute('aria-hidden') !== 'true'),
    ...[...document.querySelectorAll('table')].filter(one => !one.caption?.textContent
        || [...one.querySelectorAll('th')].some(th => !th.scope)),
    ...[...document.querySelectorAll('section, [role=region]')].filter(one =>
        !one.getAttribute('aria-label')
        && !document.getElementById(one.getAttribute('aria-labelledby'))?.textContent),
    ...[...document.querySelectorAll('.wide')].filter(one => one.tabIndex !== 0),
    ...[...document.querySelectorAll('[id]')].filter(one =>
        document.querySelectorAll('#' + one.id).length !== 1),
].map(one => one.outerHTML.slice(0, 200))"""


async def test_each_day_is_reached_by_keyboard(browser: Browser, tmp_path: Path) -> None:
    copy = in_step(tmp_path / "data")
    data = copy.write()
    async with serving(data, now=NOW) as url, seen(browser, url) as page:
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.className") == "skip"
        box = await page.locator(".skip").bounding_box()
        assert box is not None
        assert box["x"] >= 0
        await page.keyboard.press("Enter")
        # the report, then each year
        reached = []
        while len(reached) < 20 and "every-day" not in reached:
            await page.keyboard.press("Tab")
            reached.append(
                await page.evaluate(
                    "(document.activeElement.getAttribute('href')"
                    " ?? document.activeElement.parentElement.id)"
                )
            )
        years = [f"#days-{year}" for year in range(2026, 2017, -1)]
        assert reached == ["report", *years, "every-day"]
        outline = await page.evaluate("getComputedStyle(document.activeElement).outlineStyle")
        assert outline == "solid"
        await page.keyboard.press("Enter")
        table = page.get_by_role("table", name="2026: events a day")
        assert await table.is_visible()
        await page.keyboard.press("Tab")
        assert await page.evaluate("document.activeElement.tabIndex") == 0
        day = NOW.date()
        row = table.get_by_role("row").nth(day.day)
        cell = row.get_by_role("cell").nth(day.month - 1)
        assert await cell.inner_text() == f"{copy.counts[day]:,} still open"
        assert await cell.get_by_role("link").get_attribute("href") == f"events-{day}.jsonl"


async def test_a_days_count_is_told_under_the_pointer(browser: Browser, tmp_path: Path) -> None:
    copy = in_step(tmp_path / "data")
    data = copy.write()
    async with serving(data, now=NOW) as url, seen(browser, url) as page:
        year = page.locator("svg[data-year='2024']")
        await year.scroll_into_view_if_needed()
        box = await year.bounding_box()
        assert box is not None
        unit = box["width"] / 54
        # 2024-03-15 is the Friday of the year's eleventh week
        await page.mouse.move(box["x"] + (10 + 0.6) * unit, box["y"] + (4 + 1.9) * unit)
        count = next(count for day, count in copy.counts.items() if str(day) == "2024-03-15")
        assert await page.locator(".tip").inner_text() == f"2024-03-15: {count:,} events"
        await page.mouse.move(1, 1)
        assert not await page.locator(".tip").is_visible()


async def test_it_follows_the_poll_and_then_the_copy(browser: Browser, tmp_path: Path) -> None:
    copy = in_step(tmp_path / "data")
    data = copy.write()
    live = PollProgress()
    async with serving(data, now=NOW, live=live) as url, seen(browser, url) as page:
        await page.locator("#months > summary").click()
        await page.evaluate("window.sentence = document.querySelector('[role=status]')")
        live.observe(plan_of_many())
        await page.get_by_role("heading", name="A poll is running").wait_for()
        assert await page.locator("progress").get_attribute("max") == "600"
        live.stop()
        await page.get_by_role("heading", name="A poll is running").wait_for(state="detached")
        await page.locator(".years a").nth(2).focus()
        copy.polls = [poll_report(NOW, "2026-11-24: the moon is in the way")]
        copy.counts[NOW.date()] += 1
        copy.write()
        await page.get_by_role("heading", name="To look at").wait_for()
        assert await page.get_by_role("status").inner_text() == (
            "Incomplete as of 2026-11-25 15:12 UTC: 1 problem at the last poll."
        )
        # the same element, or a screen reader would not tell of the change
        assert await page.evaluate("window.sentence.isConnected")
        assert await page.title() == "Not in step: Binder events archive"
        assert await page.locator("td", has_text=f"{copy.counts[NOW.date()]:,} still").count()
        # what had the focus has it, what was open stays open, and sections are in the page's order
        focused = await page.evaluate("document.activeElement.getAttribute('href')")
        assert focused == "#days-2024"
        assert await page.locator("#months").get_attribute("open") == ""
        order = await page.evaluate("[...document.querySelectorAll('h2')].map(h => h.id)")
        await page.reload()
        again = await page.evaluate("[...document.querySelectorAll('h2')].map(h => h.id)")
        assert order == again
        assert order[0] == "problems"


async def test_nothing_of_upstreams_comes_to_life(browser: Browser, tmp_path: Path) -> None:
    copy = in_step(tmp_path / "data")
    hostile = "</li></ul></main><script>alert(1)</script><img src=/x onerror=alert(1)>\u202e"
    key = shown(hostile, MAX_KEY_LENGTH)
    copy.findings[NOW.date()] = Findings(providers={key: 10**7}, origins={key: 10**7})
    copy.polls = [poll_report(NOW, hostile, hostile + "x" * 10_000)]
    data = copy.write()
    live = poll_under_way()
    async with serving(data, now=NOW, live=live) as url, seen(browser, url) as page:
        dialogs: list[str] = []
        page.on("dialog", lambda dialog: dialogs.append(dialog.message))
        live.observe(Retrying(NOW.date(), hostile, 3))
        await page.get_by_text("again in 3 s").wait_for()
        assert await page.locator("img, main script, header script").count() == 0
        assert await page.locator("main > section").count() == 6
        assert "<script>alert(1)" in await page.get_by_role("main").inner_text()
        assert dialogs == []
        width = await page.evaluate("document.documentElement.scrollWidth")
        assert width <= 1280


async def test_without_scripts_it_is_whole_and_comes_again(
    browser: Browser, tmp_path: Path
) -> None:
    data = in_step(tmp_path / "data").write()
    async with (
        serving(data, now=NOW) as url,
        seen(browser, url, java_script_enabled=False) as page,
    ):
        assert "In step with upstream since" in await page.get_by_role("status").inner_text()
        assert await page.locator("meta[http-equiv=refresh]").get_attribute("content") == "60"
        assert await page.locator("svg[data-year='2024'] g > title").count() == 12


async def test_print_leaves_the_picture(browser: Browser, tmp_path: Path) -> None:
    data = in_step(tmp_path / "data").write()
    async with serving(data, now=NOW) as url, seen(browser, url) as page:
        await page.emulate_media(media="print")
        assert await page.locator("svg[data-year='2024']").is_visible()
        assert not await page.locator("summary").first.is_visible()
        pdf = await page.pdf()
        assert pdf.startswith(b"%PDF")


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_it_looks_and_lives_the_same_below_a_prefix(browser: Browser, tmp_path: Path) -> None:
    data = in_step(tmp_path / "data").write()
    live = poll_under_way()
    async with (
        serving(data, now=NOW, live=live) as url,
        proxied(url, tmp_path / "nginx", prefix="/data/mirror/") as base,
        seen(browser, base) as page,
    ):
        await keep(page, "below a prefix")
        # the style is there, and the script, which asks for what is going on
        assert await page.evaluate("getComputedStyle(document.querySelector('.tip')).position") == (
            "absolute"
        )
        await page.get_by_role("heading", name="A poll is running").wait_for()
        links = await page.evaluate("[...document.querySelectorAll('footer a')].map(a => a.href)")
        assert links == [base, f"{base}status.json", f"{base}metrics"]
