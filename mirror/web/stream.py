"""Sends live events of the status page (server-sent events, WHATWG HTML 9.2), within bounds.

Two kinds: `progress`, the piece of the page about the running poll, and `page`, the version of the
page. There is no queue: a message has the state of the moment at which it is made, and is made only
when the one before has left; so what a slow reader costs does not grow, and the guard drops it
like any other slow client.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import suppress

from aiohttp import web
from msgspec import Struct

from mirror.errors import MirrorError
from mirror.status.poll_progress import PollProgress
from mirror.web.status_page import PageSource

_PAUSE_S = 0.5  # between two messages, however fast things move
_LOOK_S = 2.0  # how often the copy is looked at: a sync in another process sends no call
_HEADERS = {
    "Content-Type": "text/event-stream; charset=utf-8",
    "Cache-Control": "no-store",
    "X-Accel-Buffering": "no",
}


class Limits(Struct, frozen=True):
    """What listeners may cost."""

    listeners: int = 32
    longest_s: float = 900  # a stream ends after this; the browser connects again by itself
    keep_alive_s: float = 15  # a comment at least so often: proxies close what is silent


class EventStreams:
    """Sends events about a page and its running poll, whose moves `live` calls back."""

    def __init__(self, pages: PageSource, live: PollProgress, limits: Limits | None = None) -> None:
        self._pages = pages
        self._live = live
        self._limits = limits or Limits()
        self._is_closing = False
        self._wakers: set[asyncio.Event] = set()

    async def answer(self, request: web.Request) -> web.StreamResponse:
        """Send events until the listener has left, its time is over, or the server closes."""
        if self._is_closing or len(self._wakers) >= self._limits.listeners:
            headers = {"Retry-After": "60"}
            return web.Response(status=503, headers=headers, text="503: too many listeners\n")
        response = web.StreamResponse(headers=_HEADERS)
        wake = asyncio.Event()
        self._wakers.add(wake)
        unsubscribe = self._live.subscribe(wake.set)
        try:
            await response.prepare(request)
            if request.method != "HEAD":
                await self._send(request, response, wake)
            await response.write_eof()
        except ConnectionError:
            pass  # it has left
        finally:
            unsubscribe()
            self._wakers.discard(wake)
        return response

    async def close(self, _app: web.Application) -> None:
        """End all streams, and take no more."""
        self._is_closing = True
        for wake in self._wakers:
            wake.set()

    async def _send(
        self, request: web.Request, response: web.StreamResponse, wake: asyncio.Event
    ) -> None:
        messages = self._messages()
        ends_at = time.monotonic() + self._limits.longest_s
        # a listener that has left has no transport; else only a failed write would show it
        while not self._is_closing and request.transport and time.monotonic() < ends_at:
            wake.clear()
            if message := await anext(messages):
                await response.write(message.encode())
                await request.writer.drain()
            await asyncio.sleep(_PAUSE_S)
            with suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_S):
                    await wake.wait()

    async def _messages(self) -> AsyncIterator[str]:
        """Yield what is new for one listener since it was asked last, or nothing."""
        message = "retry: 5000\n\n"
        shown = version = None
        sent_at = -math.inf
        while True:
            now = time.monotonic()
            if (running := self._pages.running()) != shown:
                message += _event("progress", running)
                shown = running
            with suppress(MirrorError):  # the inventory cannot be read: the page itself says so
                if (page := await self._pages.page()).version != version:
                    message += _event("page", page.version)
                version = page.version
            if not message and now - sent_at >= self._limits.keep_alive_s:
                message = ": still here\n\n"
            if message:
                sent_at = now
            yield message
            message = ""


def _event(name: str, data: str) -> str:
    lines = "".join(f"data: {line}\n" for line in data.split("\n"))
    return f"event: {name}\n{lines}\n"
