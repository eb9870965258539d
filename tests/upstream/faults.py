"""The layer of faults: each value answers one request badly, in one known way.

A fault is a frozen value that is called with the `Exchange` it spoils. `server`
decides which request gets which. Where a position `at` is asked for, a float is
a share of the body and an int a number of bytes.
"""

import asyncio
from dataclasses import dataclass, field
from datetime import datetime
from email.utils import format_datetime
from typing import Protocol

from tests.upstream.archive import StoredObject
from tests.upstream.bodies import (
    Bomb,
    Changing,
    Corrupt,
    CutChunked,
    Encoded,
    Endless,
    Unsized,
    WrongLength,
    find_offset,
)
from tests.upstream.wire import Exchange, Reply

__all__ = [
    "Bomb",
    "Changing",
    "Corrupt",
    "Cut",
    "CutChunked",
    "Delay",
    "Drip",
    "Encoded",
    "Endless",
    "Fault",
    "Gate",
    "Hangup",
    "Redirect",
    "Reset",
    "SignIn",
    "Stale",
    "Stall",
    "Status",
    "Unsized",
    "WrongLength",
]


class Fault(Protocol):
    """Answers one request badly."""

    async def __call__(self, exchange: Exchange, /) -> None:
        """Send a bad answer (or none) to the exchange's client."""


async def _send_part(exchange: Exchange, at: float) -> None:
    """Send a head that promises all and a body that ends at `at`."""
    exchange.keep_alive = False
    body = exchange.reply.body
    await exchange.send_head(exchange.reply, length=len(body))
    await exchange.send_body(body[: find_offset(body, at)])


@dataclass(frozen=True, slots=True)
class Hangup:
    """Closes the connection without a word."""

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False


@dataclass(frozen=True, slots=True)
class Reset:
    """Resets the connection (RST) when the body is sent up to `at`."""

    at: float = 0.5

    async def __call__(self, exchange: Exchange, /) -> None:
        await _send_part(exchange, self.at)
        exchange.reset()


@dataclass(frozen=True, slots=True)
class Cut:
    """Closes the connection when the body is sent up to `at`; the length promised all."""

    at: float = 0.5

    async def __call__(self, exchange: Exchange, /) -> None:
        await _send_part(exchange, self.at)


@dataclass(frozen=True, slots=True)
class Stall:
    """Sends the body up to `at`, then nothing until the client leaves."""

    at: float = 0.5

    async def __call__(self, exchange: Exchange, /) -> None:
        await _send_part(exchange, self.at)
        await exchange.client_gone()


@dataclass(frozen=True, slots=True)
class Gate:
    """Sends the body up to `at`, sets `reached`, and sends the rest once `opened` is set."""

    at: float = 0.5
    reached: asyncio.Event = field(default_factory=asyncio.Event)
    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, exchange: Exchange, /) -> None:
        body = exchange.reply.body
        await exchange.send_head(exchange.reply, length=len(body))
        await exchange.send_body(body[: find_offset(body, self.at)])
        self.reached.set()
        await self.opened.wait()
        await exchange.send_body(body[find_offset(body, self.at) :])


@dataclass(frozen=True, slots=True)
class Drip:
    """Sends the whole body, `size` bytes every `interval` seconds."""

    size: int = 64
    interval: float = 0.01

    async def __call__(self, exchange: Exchange, /) -> None:
        body = exchange.reply.body
        await exchange.send_head(exchange.reply, length=len(body))
        for start in range(0, len(body) if exchange.takes_body else 0, self.size):
            await exchange.send_body(body[start : start + self.size])
            await asyncio.sleep(self.interval)


@dataclass(frozen=True, slots=True)
class Delay:
    """Waits `seconds` before an honest answer."""

    seconds: float

    async def __call__(self, exchange: Exchange, /) -> None:
        await asyncio.sleep(self.seconds)
        await exchange.send(exchange.reply)


@dataclass(frozen=True, slots=True)
class Status:
    """Answers with a status and, where given, Retry-After (seconds or a date, aware UTC)."""

    code: int
    retry_after: int | datetime | None = None
    body: bytes = b"<html><body><h1>Sorry</h1></body></html>\n"

    async def __call__(self, exchange: Exchange, /) -> None:
        headers = {"content-type": "text/html"}
        if isinstance(self.retry_after, datetime):
            headers["retry-after"] = format_datetime(self.retry_after, usegmt=True)
        elif self.retry_after is not None:
            headers["retry-after"] = str(self.retry_after)
        await exchange.send(Reply(self.code, headers, self.body))


@dataclass(frozen=True, slots=True)
class Redirect:
    """Redirects to a location in which `{host}` and `{path}` are the request's own.

    `Redirect("{path}")` for ever is a loop, `Redirect("https://{host}{path}")` an
    upgrade, `Redirect("http://other.invalid{path}")` leads to another host.
    """

    location: str
    code: int = 302

    async def __call__(self, exchange: Exchange, /) -> None:
        request = exchange.request
        host = request.headers.get("host", "")
        location = self.location.format(host=host, path=request.path)
        await exchange.send(Reply(self.code, {"location": location}))


@dataclass(frozen=True, slots=True)
class SignIn:
    """Answers anything with 200 and a page to sign in, as a captive portal does."""

    async def __call__(self, exchange: Exchange, /) -> None:
        page = b"<!DOCTYPE html>\n<html><body>Welcome! Please sign in.</body></html>\n"
        await exchange.send(Reply(200, {"content-type": "text/html; charset=utf-8"}, page))


@dataclass(frozen=True, slots=True)
class Stale:
    """Answers with an older version of the object, as a cache does, its own validators too."""

    old: StoredObject

    async def __call__(self, exchange: Exchange, /) -> None:
        await exchange.send(exchange.render(self.old))
