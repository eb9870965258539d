"""Faults of the body: wrong, mixed, endless, badly framed, compressed unasked.

Import them from `faults`, which says what a fault is.
"""

import asyncio
import sys
import zlib
from dataclasses import dataclass
from typing import Literal, Protocol, TypeAlias

from tests.upstream.wire import Exchange

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

Coding: TypeAlias = Literal["gzip", "zstd"]

_MIB = 1024 * 1024


def find_offset(body: bytes | bytearray, at: float) -> int:
    """Turn a position, a share of the body or a number of bytes, into an offset."""
    return at if isinstance(at, int) else int(len(body) * at)


class _Compressor(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...

    def flush(self) -> bytes: ...


def _compressor(coding: Coding) -> _Compressor:
    # 31 asks zlib for the largest window in a gzip wrapper.
    return zlib.compressobj(wbits=31) if coding == "gzip" else zstd.ZstdCompressor()


@dataclass(frozen=True, slots=True)
class Corrupt:
    """Changes one byte of the body at `at` by exclusive or; the length stays right."""

    at: float = 0.5
    mask: int = 1

    async def __call__(self, exchange: Exchange, /) -> None:
        body = bytearray(exchange.reply.body)
        if body:
            body[min(find_offset(body, self.at), len(body) - 1)] ^= self.mask
        await exchange.send(exchange.reply.having(body=bytes(body)))


@dataclass(frozen=True, slots=True)
class WrongLength:
    """Sends the whole body under a Content-Length that is `by` bytes off, then closes."""

    by: int

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        body = exchange.reply.body
        await exchange.send_head(exchange.reply, length=max(0, len(body) + self.by))
        await exchange.send_body(body)


@dataclass(frozen=True, slots=True)
class Changing:
    """Sends the first half of the body it promised and the second half of a newer one."""

    new: bytes

    async def __call__(self, exchange: Exchange, /) -> None:
        old = exchange.reply.body
        body = old[: len(old) // 2] + self.new[len(self.new) // 2 :]
        await exchange.send(exchange.reply.having(body=body))


@dataclass(frozen=True, slots=True)
class Unsized:
    """Sends the body up to `at` without any length: its end is where the connection ends."""

    at: float = 0.5

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        await exchange.send_head(exchange.reply, length=None)
        await exchange.send_body(exchange.reply.body[: find_offset(exchange.reply.body, self.at)])


@dataclass(frozen=True, slots=True)
class CutChunked:
    """Sends the body up to `at` as one chunk, then closes without the last chunk."""

    at: float = 0.5

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        body = exchange.reply.body
        await exchange.send_head(exchange.reply.having(transfer_encoding="chunked"), length=None)
        await exchange.send_chunk(body[: find_offset(body, self.at)])


@dataclass(frozen=True, slots=True)
class Endless:
    """Repeats a line until the client leaves; one without a newline makes an endless line."""

    line: bytes = b'{"schema": "binderhub.jupyter.org/launch", "version": 1}\n'

    async def __call__(self, exchange: Exchange, /) -> None:
        piece = self.line * max(1, 64 * 1024 // len(self.line))
        await exchange.send_head(exchange.reply.having(transfer_encoding="chunked"), length=None)
        while exchange.takes_body:
            await exchange.send_chunk(piece)
            await asyncio.sleep(0)  # a fast client must not starve the others


@dataclass(frozen=True, slots=True)
class Encoded:
    """Compresses the body unasked and leaves out its last `cut` bytes; the length is right.

    As nginx does, the ETag turns weak.
    """

    coding: Coding = "gzip"
    cut: int = 0

    async def __call__(self, exchange: Exchange, /) -> None:
        reply = exchange.reply
        compressor = _compressor(self.coding)
        body = compressor.compress(reply.body) + compressor.flush()
        headers: dict[str, str] = {"content_encoding": self.coding}
        if "etag" in reply.headers:
            headers["etag"] = "W/" + reply.headers["etag"].removeprefix("W/")
        await exchange.send(reply.having(body=body[: len(body) - self.cut], **headers))


@dataclass(frozen=True, slots=True)
class Bomb:
    """Sends a small compressed body that grows to `size` zero bytes when decoded."""

    size: int
    coding: Coding = "gzip"

    async def __call__(self, exchange: Exchange, /) -> None:
        reply = exchange.reply.having(content_encoding=self.coding, transfer_encoding="chunked")
        await exchange.send_head(reply, length=None)
        compressor = _compressor(self.coding)
        for left in range(self.size if exchange.takes_body else 0, 0, -_MIB):
            # Most calls give nothing yet, and an empty chunk would end the body.
            if piece := compressor.compress(bytes(min(left, _MIB))):
                await exchange.send_chunk(piece)
        await exchange.send_chunk(compressor.flush())
        await exchange.send_chunk(b"")
