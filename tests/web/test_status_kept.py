"""The page that is kept: nobody waits for the next one, nobody gets one that is long outdated."""

import asyncio
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from mirror.errors import StorageError
from mirror.store.polls import append_poll
from mirror.web.status_page import LAG_S, PageSource
from tests.web.copies import Copy, poll_report, seasonal_counts
from tests.web.serving import make_site, serving

NOW = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
PATIENCE_S = 30
PROBLEM = "it has 2 lines where 3 are listed"
A_MOMENT_S = 0.001


class Clocks:
    """The time of day, and seconds that pass: moved by hand."""

    def __init__(self) -> None:
        self.now = NOW
        self.seconds = 1000.0

    def go_on(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)
        self.seconds += seconds


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "data", seasonal_counts(40, NOW.date()), now=NOW)


@pytest.fixture
def clocks() -> Clocks:
    return Clocks()


@pytest.fixture
def pages(copy: Copy, clocks: Clocks) -> PageSource:
    site = make_site(copy.write(), now=lambda: clocks.now)
    return PageSource(
        site, {"status.css": "style", "status.js": "script"}, clock=lambda: clocks.seconds
    )


async def change(copy: Copy, pages: PageSource) -> None:
    """Have a poll end with a problem, and the change seen."""
    append_poll(copy.data, poll_report(NOW, PROBLEM))
    await pages.site.snapshots.snapshot(fresh=True)


async def tells_of_it(pages: PageSource) -> bool:
    return PROBLEM.encode() in (await pages.page()).after


async def test_a_page_that_was_right_a_moment_ago_is_had_at_once(copy, pages, clocks) -> None:
    first = await pages.page()
    await change(copy, pages)
    clocks.go_on(LAG_S - A_MOMENT_S)
    assert await pages.page() is first


async def test_a_page_is_never_older_than_some_seconds(copy, pages, clocks) -> None:
    assert not await tells_of_it(pages)
    await change(copy, pages)
    clocks.go_on(LAG_S)
    assert await tells_of_it(pages)


async def test_the_minute_turns(pages, clocks) -> None:
    first = await pages.page()
    clocks.go_on(60)
    second = await pages.page()
    assert b"As of <time>2026-03-06</time> 15:30 UTC" in first.after
    assert b"As of <time>2026-03-06</time> 15:31 UTC" in second.after
    clocks.go_on(59)
    assert await pages.page() is second


async def test_many_who_wait_have_one_page_made(pages) -> None:
    assert len({id(page) for page in await asyncio.gather(*(pages.page() for _ in range(8)))}) == 1


async def test_it_is_kept_right_with_nobody_asking(copy, pages) -> None:
    keeper = asyncio.create_task(pages.keep_right())
    await pages.page()
    await change(copy, pages)
    # the clock of the page stands still: whoever asks is content with what there is
    async with asyncio.timeout(PATIENCE_S):
        while not await tells_of_it(pages):
            await asyncio.sleep(0.01)
    keeper.cancel()


async def test_what_cannot_be_read_is_told_and_got_over(copy, pages, clocks) -> None:
    keeper = asyncio.create_task(pages.keep_right())
    await pages.page()
    aside = copy.data.archive.rename(copy.data.root / "aside")
    with pytest.raises(StorageError):
        await pages.site.snapshots.snapshot(fresh=True)
    with pytest.raises(StorageError):
        await pages.page()
    aside.rename(copy.data.archive)
    await change(copy, pages)
    clocks.go_on(LAG_S)
    assert await tells_of_it(pages)
    assert not keeper.done()
    keeper.cancel()


async def test_the_end_of_a_poll_shows_on_page_and_for_programs(copy: Copy) -> None:
    async with serving(copy.write(), now=NOW) as url, aiohttp.ClientSession() as http:

        async def told(path: str) -> bool:
            async with http.get(url + path) as answer:
                return PROBLEM in await answer.text()

        assert not await told("status")
        append_poll(copy.data, poll_report(NOW, PROBLEM))
        async with asyncio.timeout(PATIENCE_S):
            while not (await told("status") and await told("status.json")):
                await asyncio.sleep(0.05)
