"""A daemon as an operator runs it: the command in a process of its own, watched from outside."""

import asyncio
import json
import signal
import socket
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import aiohttp

from tests.command import PATIENCE_S, Shell


class Page(NamedTuple):
    """An answer of the web side."""

    status: int
    text: str
    headers: Mapping[str, str]


class Daemon:
    """A running `binder-mirror run` or `serve`.

    Attributes:
        logs: the events it has logged so far.
        said: the lines on standard error that are no events.
    """

    def __init__(self, process: asyncio.subprocess.Process) -> None:
        self.process = process
        self.logs: list[dict[str, Any]] = []
        self.said: list[str] = []
        self._grown = asyncio.Condition()
        self._reader = asyncio.create_task(self._read())

    async def logged(self, event: str, *, after: int = 0, **fields: object) -> dict[str, Any]:
        """Wait for an event with these fields among those after the first `after`."""

        def found() -> dict[str, Any] | None:
            for one in self.logs[after:]:
                if one["event"] == event and fields.items() <= one.items():
                    return one
            return None

        async with asyncio.timeout(PATIENCE_S), self._grown:
            await self._grown.wait_for(lambda: found() or self._reader.done())
        there = found()
        assert there is not None, (event, fields, self.logs, self.said)
        return there

    async def url(self) -> str:
        """Return the base of its pages, once it serves."""
        event = await self.logged("daemon.ready")
        return str(event["url"])

    async def get(self, path: str) -> Page:
        """Ask the web side."""
        url = await self.url()
        async with aiohttp.ClientSession() as session, session.get(url + path) as response:
            return Page(response.status, await response.text(), response.headers)

    async def end(self, number: signal.Signals = signal.SIGTERM) -> tuple[int, float]:
        """Send a signal; return the exit code and the seconds that it took."""
        started = time.monotonic()
        self.process.send_signal(number)
        code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        took = time.monotonic() - started
        await self._reader
        return code, took

    async def _read(self) -> None:
        assert self.process.stderr is not None
        while line := (await self.process.stderr.readline()).decode():
            async with self._grown:
                if line.startswith("{"):
                    self.logs.append(json.loads(line))
                else:
                    self.said.append(line.rstrip("\n"))
                self._grown.notify_all()
        async with self._grown:
            self._grown.notify_all()

    async def kill(self) -> None:
        """Make sure that nothing of it stays."""
        with suppress(ProcessLookupError):
            self.process.kill()
        await self.process.wait()
        await self._reader


def free_port() -> int:
    """Return a port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


def poll_every_second(shell: Shell) -> Shell:
    """Set what a daemon needs to be watched: short intervals, and a port of its own."""
    shell.set(schedule__interval="1s", schedule__jitter="0", server__listen="127.0.0.1:0")
    shell.set(log__level="debug")
    return shell


@asynccontextmanager
async def running(shell: Shell, *arguments: str | Path) -> AsyncIterator[Daemon]:
    """Run a daemon."""
    daemon = Daemon(await shell.start(*(arguments or ("run",))))
    try:
        yield daemon
    finally:
        await daemon.kill()
