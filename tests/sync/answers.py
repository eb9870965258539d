"""Answers that the faults of the test upstream do not have: honest bodies under other headers."""

from dataclasses import dataclass, field

from tests.upstream.wire import Exchange, Reply

HTML = b"<!DOCTYPE html>\n<html><body>Welcome! Please sign in.</body></html>\n"


@dataclass(frozen=True, slots=True)
class Header:
    """The honest answer with other headers; an empty value leaves one out."""

    headers: dict[str, str] = field(default_factory=dict)

    async def __call__(self, exchange: Exchange, /) -> None:
        merged = {**exchange.reply.headers, **self.headers}
        headers = {name: value for name, value in merged.items() if value}
        await exchange.send(Reply(exchange.reply.status, headers, exchange.reply.body))


@dataclass(frozen=True, slots=True)
class Body:
    """Another body under the honest answer's headers, or under none of them."""

    body: bytes
    headers: dict[str, str] | None = None

    async def __call__(self, exchange: Exchange, /) -> None:
        headers = exchange.reply.headers if self.headers is None else self.headers
        await exchange.send(Reply(200, headers, self.body))


@dataclass(frozen=True, slots=True)
class Raw:
    """Bytes instead of an answer."""

    content: bytes

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        exchange.writer.write(self.content)
        await exchange.writer.drain()
