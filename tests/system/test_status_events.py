"""Live events from a running daemon: they end with it, and pass through nginx."""

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.command import Shell
from tests.running import poll_every_second, running
from tests.system.test_nginx import NGINX, proxied


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)


async def first_events(answer: aiohttp.ClientResponse) -> str:
    """Read until the page's version has come, while the stream stays open."""
    told = ""
    async with asyncio.timeout(10):
        while "event: page" not in told:
            told += (await answer.content.readany()).decode()
    return told


async def test_listeners_do_not_hold_up_the_end(shell: Shell) -> None:
    async with running(shell) as daemon:
        url = await daemon.url()
        async with aiohttp.ClientSession() as session:
            streams = [await session.get(f"{url}status/events") for _ in range(10)]
            for stream in streams:
                await first_events(stream)
            code, took = await daemon.end(signal.SIGTERM)
            for stream in streams:
                await stream.read()  # whole: closed properly, not cut off
    assert code == 0
    assert took < 10
    assert not [event for event in daemon.logs if event["level"] == "error"]


@pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
async def test_nginx_holds_no_event_back(shell: Shell, tmp_path: Path) -> None:
    async with running(shell) as daemon:
        behind = (await daemon.url()).removeprefix("http://").removesuffix("/")
        async with (
            proxied(behind, tmp_path / "nginx") as url,
            aiohttp.ClientSession() as session,
            session.get(f"{url}status/events") as stream,
        ):
            assert stream.headers["Content-Type"].startswith("text/event-stream")
            assert "event: progress" in await first_events(stream)
