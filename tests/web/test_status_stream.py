"""Live events: what they tell, and that listeners can do no harm."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
from aiohttp import web

from mirror.archive.ports import Received, Retrying
from mirror.config.settings import Config, ServerConfig
from mirror.model import Due, Outcome, OutcomeKind, Plan, Reason
from mirror.status.poll_progress import PollProgress
from mirror.web.status_page import Page
from mirror.web.stream import EventStreams, Limits
from tests.web.copies import Copy, seasonal_counts
from tests.web.serving import serving

PATIENCE_S = 30
DAY = date(2026, 3, 5)
NOW = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
HOSTILE = "<script>alert(1)</script>"


class Stage:
    """A page and a poll that the test moves by hand."""

    def __init__(self) -> None:
        self.live = PollProgress()
        self.text = ""
        self.version = "one"

    async def page(self) -> Page:
        return Page(b"", b"", self.version)

    def running(self) -> str:
        return self.text

    def tell(self, text: str) -> None:
        self.text = text
        self.live.move()


@asynccontextmanager
async def on_stage(stage: Stage, limits: Limits, *, shutdown_s: float = 3) -> AsyncIterator[str]:
    """Serve the stage's events alone; gives their address."""
    app = web.Application()
    streams = EventStreams(stage, stage.live, limits)
    app.router.add_get("/status/events", streams.answer)
    app.on_shutdown.append(streams.close)
    runner = web.AppRunner(app, shutdown_timeout=shutdown_s)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    host, port = runner.addresses[0][:2]
    try:
        yield f"http://{host}:{port}/status/events"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def hearing(url: str) -> AsyncIterator[aiohttp.ClientResponse]:
    """Listen to a stream."""
    async with aiohttp.ClientSession() as http, http.get(url) as answer:
        yield answer


async def event(answer: aiohttp.ClientResponse) -> dict[str, str]:
    """Read one event, comments passed over."""
    found: dict[str, str] = {}
    async with asyncio.timeout(PATIENCE_S):
        while line := (await answer.content.readline()).decode():
            name, _, value = line.rstrip("\n").partition(": ")
            if not name and "event" in found:
                return {"event": found["event"], "data": found["data"]}
            if name:
                found[name] = f"{found[name]}\n{value}" if name in found else value
    raise EOFError(found)


async def test_how_things_stand_is_told_at_once_and_then_what_is_new() -> None:
    stage = Stage()
    stage.text = "a poll\nof two lines"
    async with on_stage(stage, Limits()) as url, hearing(url) as answer:
        assert answer.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert answer.headers["Cache-Control"] == "no-store"
        assert await event(answer) == {"event": "progress", "data": "a poll\nof two lines"}
        assert await event(answer) == {"event": "page", "data": "one"}
        stage.version = "two"
        stage.tell("")
        assert await event(answer) == {"event": "progress", "data": ""}
        assert await event(answer) == {"event": "page", "data": "two"}


async def test_a_silent_stream_has_comments() -> None:
    async with on_stage(Stage(), Limits(keep_alive_s=0.1)) as url, hearing(url) as answer:
        async with asyncio.timeout(PATIENCE_S):
            while not (await answer.content.readline()).startswith(b":"):
                pass


async def test_listeners_are_bounded_and_make_room_when_they_leave() -> None:
    async with on_stage(Stage(), Limits(listeners=2)) as url, aiohttp.ClientSession() as http:
        one, two = await http.get(url), await http.get(url)
        async with http.get(url) as third:
            assert third.status == 503
            assert third.headers["Retry-After"]
        one.close()
        async with asyncio.timeout(PATIENCE_S):
            while True:
                async with http.get(url) as again:
                    if again.status == 200:
                        break
                await asyncio.sleep(0.05)
        two.close()


async def test_a_stream_ends_after_its_time() -> None:
    async with on_stage(Stage(), Limits(longest_s=0.1)) as url, hearing(url) as answer:
        async with asyncio.timeout(PATIENCE_S):
            assert b"event: page" in await answer.read()


async def test_readers_that_take_nothing_make_room(tmp_path: Path) -> None:
    live = PollProgress()
    data = Copy(tmp_path / "data", seasonal_counts(30, DAY), now=NOW).write()
    config = Config(server=ServerConfig(idle_timeout=0.5))
    async with serving(data, now=NOW, live=live, config=config) as url, AsyncExitStack() as stack:
        host, port = url.removeprefix("http://").rstrip("/").split(":")
        for _ in range(Limits().listeners):
            deaf = stack.enter_context(socket.socket())
            deaf.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            deaf.connect((host, int(port)))
            deaf.sendall(b"GET /status/events HTTP/1.1\r\nHost: x\r\n\r\n")
        statuses: list[int] = []
        live.observe(Plan((), 30, 4000))
        async with aiohttp.ClientSession() as http, asyncio.timeout(PATIENCE_S):
            while 200 not in statuses:
                for number in range(5):
                    text = f"{len(statuses)} " * 200
                    live.observe(Retrying(DAY - timedelta(number), text, 5))
                await asyncio.sleep(0.2)
                async with http.get(f"{url}status/events") as answer:
                    statuses.append(answer.status)
    assert 503 in statuses


async def test_streams_end_when_the_server_closes() -> None:
    started = 0.0
    async with aiohttp.ClientSession() as http:
        async with on_stage(Stage(), Limits(), shutdown_s=PATIENCE_S) as url:
            answer = await http.get(url)
            await event(answer)
            started = time.monotonic()
        # of its own accord, not when its time is over
        assert time.monotonic() - started < PATIENCE_S / 2
        assert b"page" in await answer.content.read()
        assert answer.content.at_eof()


async def test_a_head_request_is_no_listener() -> None:
    async with on_stage(Stage(), Limits(listeners=1)) as url, aiohttp.ClientSession() as http:
        for _ in range(3):
            async with http.head(url) as answer:
                assert answer.status == 200


async def test_a_poll_is_followed_on_the_real_site(tmp_path: Path) -> None:
    live = PollProgress()
    data = Copy(tmp_path / "data", seasonal_counts(30, DAY), now=NOW).write()
    due = Due(DAY, f"events-{DAY}.jsonl", Reason.NEW, 10, 2000)
    async with serving(data, now=NOW, live=live) as url, hearing(f"{url}status/events") as answer:
        assert await event(answer) == {"event": "progress", "data": ""}
        assert (await event(answer))["event"] == "page"
        live.observe(Plan((due, due), 30, 4000))
        live.observe(Received(DAY, 1000))
        live.observe(Retrying(DAY, HOSTILE, 5))
        told = await event(answer)
        assert "A poll is running" in told["data"]
        assert "0 of 2 days" in told["data"]
        assert "&lt;script&gt;alert(1)" in told["data"]
        assert "<script" not in told["data"]
        live.observe(Outcome(DAY, OutcomeKind.FAILED))
        assert "0 of 2 days, 1 failed" in (await event(answer))["data"]
        async with hearing(f"{url}status") as page:
            assert "0 of 2 days, 1 failed" in await page.text()
        live.stop()
        assert await event(answer) == {"event": "progress", "data": ""}
