"""Every fault of a connection, at every phase of an answer, for index, page and a day.

A fault closes, resets, stalls, drips, sends garbage, the half, or wrong lengths: on connecting, in
the TLS handshake, in the head, among interim answers, in the body, in the framing of chunks, in the
trailer. It strikes each time that its object is asked for. Each run must end in bounded time, with
the exit code that is due, and all other days must be published.

`make sockets` tries all.
"""

import asyncio
import os
import random
import ssl
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path

import trustme

from tests.command import long_final_days, plain_environment
from tests.reliability.figures import Figures, arguments, conclude
from tests.reliability.forking import Forks
from tests.reliability.truth import Truth, published
from tests.upstream.archive import UpstreamArchive, day_name
from tests.upstream.server import ArchiveServer
from tests.upstream.wire import Exchange

BOUND_S = 20
"""How long a run may take whose reads may each wait for half a second."""
_AT_ONCE = 6
_READ_S = 0.5
_DRIP_S = 0.1

Strike = Callable[[Exchange], Awaitable[None]]
Gone = (ConnectionError, asyncio.CancelledError)


def head(exchange: Exchange, *lines: str, length: int | str | None = None) -> bytes:
    """Return an honest head, but for more lines, and with this length."""
    reply = exchange.reply
    rows = [f"HTTP/1.1 {reply.status} OK", *(f"{k}: {v}" for k, v in reply.headers.items())]
    if length is not None:
        rows.append(f"content-length: {length}")
    return "\r\n".join([*rows, *lines, "", ""]).encode()


async def send(exchange: Exchange, data: bytes) -> None:
    """Send bytes as they are."""
    exchange.writer.write(data)
    await exchange.writer.drain()


async def drip(exchange: Exchange, data: bytes) -> None:
    """Send the same bytes again and again, slowly, until the client leaves."""
    while not exchange.reader.at_eof() and not exchange.writer.is_closing():
        await send(exchange, data)
        await asyncio.sleep(_DRIP_S)


async def flood(exchange: Exchange, data: bytes) -> None:
    """Send the same bytes again and again, as fast as they are taken."""
    piece = data * max(1, 16384 // len(data))
    while not exchange.writer.is_closing():
        await send(exchange, piece)
        await asyncio.sleep(0)


async def stall(exchange: Exchange) -> None:
    """Wait until the client leaves."""
    await exchange.client_gone()


def then(before: Callable[[Exchange], bytes], end: str, more: bytes = b"") -> Strike:
    """Send something, then close, reset, stall, drip `more`, flood with it, or send garbage."""

    async def strike(exchange: Exchange) -> None:
        exchange.keep_alive = False
        await send(exchange, before(exchange))
        if end == "reset":
            exchange.reset()
        elif end == "stall":
            await stall(exchange)
        elif end == "drip":
            await drip(exchange, more)
        elif end == "flood":
            await flood(exchange, more)
        elif end == "garbage":
            await send(exchange, random.Random(0).randbytes(3000))

    return strike


def half_head(exchange: Exchange) -> bytes:
    """Return a head that is not over."""
    whole = head(exchange, length=len(exchange.reply.body))
    return whole[: len(whole) // 2]


def half_body(exchange: Exchange) -> bytes:
    """Return a whole head and half a body."""
    body = exchange.reply.body
    return head(exchange, length=len(body)) + body[: len(body) // 2]


def chunked(exchange: Exchange) -> bytes:
    """Return a head that announces chunks, and one chunk: half of the body."""
    body = exchange.reply.body[: len(exchange.reply.body) // 2]
    return head(exchange, "transfer-encoding: chunked") + b"%x\r\n%b\r\n" % (len(body), body)


def all_chunks(exchange: Exchange) -> bytes:
    """Return a chunked body that is whole but for its trailer."""
    body = exchange.reply.body
    begun = head(exchange, "transfer-encoding: chunked")
    return begun + b"%x\r\n%b\r\n0\r\n" % (len(body), body)


def only(data: bytes) -> Callable[[Exchange], bytes]:
    """Return something that sends just this."""
    return lambda _exchange: data


def with_length(length: int | str, *more: str) -> Strike:
    """Send the whole body under another length."""

    def answer(exchange: Exchange) -> bytes:
        return head(exchange, *more, length=length) + exchange.reply.body

    return then(answer, "close")


def off_by(change: int) -> Strike:
    """Send the whole body under a length that is off."""

    def answer(exchange: Exchange) -> bytes:
        body = exchange.reply.body
        return head(exchange, length=len(body) + change) + body

    return then(answer, "close")


def gzip_endless(exchange: Exchange) -> bytes:
    """Return the head of a body in gzip, and the beginning of an empty member."""
    return head(exchange, "content-encoding: gzip", "transfer-encoding: chunked")


_EMPTY_MEMBER = bytes.fromhex("1f8b080000000000000303000000000000000000")
_ENDS = ("close", "reset", "stall", "garbage")


def _each_end(before: Callable[[Exchange], bytes]) -> dict[str, Strike]:
    return {end: then(before, end) for end in _ENDS}


STRIKES: Mapping[str, Mapping[str, Strike]] = {
    "head": {
        **_each_end(half_head),
        "stall before it": then(only(b""), "stall"),
        "drip": then(only(b"HTTP/1.1 200 OK\r\n"), "drip", b"x: y\r\n"),
        "drip of one line": then(only(b"HTTP/1.1 200 OK\r\nx: "), "drip", b"y"),
        "flood of lines": then(only(b"HTTP/1.1 200 OK\r\n"), "flood", b"x: y\r\n"),
        "flood of one line": then(only(b"HTTP/1.1 200 OK\r\nx: "), "flood", b"y"),
        "garbage alone": then(only(b"\0\xff\r\n\r\n"), "garbage"),
        "HTTP/0.9": then(lambda exchange: exchange.reply.body, "close"),
        "HTTP/2": then(only(b"HTTP/2 200\r\n\r\n"), "close"),
        "status 999": then(only(b"HTTP/1.1 999 So\r\ncontent-length: 0\r\n\r\n"), "close"),
        "status of letters": then(only(b"HTTP/1.1 two OK\r\n\r\n"), "close"),
        "a control character": then(lambda one: head(one, "x: a\x00b", length=0), "close"),
    },
    "interim": {
        **_each_end(only(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n")),
        "drip": then(only(b""), "drip", b"HTTP/1.1 102 Processing\r\n\r\n"),
        "flood": then(only(b""), "flood", b"HTTP/1.1 100 Continue\r\n\r\n"),
        "switching": then(only(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n"), "stall"),
        "drip of half of one": then(only(b"HTTP/1.1 103 Early Hints\r\n"), "drip", b"link: x\r\n"),
    },
    "body": {
        **_each_end(half_body),
        "drip": then(lambda one: head(one, length=10**6), "drip", b"x"),
        "drip without a length": then(head, "drip", b"x\n"),
        "one byte short": off_by(1),
        "one byte over": off_by(-1),
        "length 0": with_length(0),
        "length below zero": with_length(-5),
        "length of letters": with_length("ten"),
        "length without end": with_length("9" * 40),
        "two lengths": with_length(10, "content-length: 20"),
        "length and chunks": with_length(10, "transfer-encoding: chunked"),
        "drip of empty gzip members": then(
            gzip_endless, "drip", b"%x\r\n%b\r\n" % (len(_EMPTY_MEMBER), _EMPTY_MEMBER)
        ),
        "flood of empty gzip members": then(
            gzip_endless, "flood", b"%x\r\n%b\r\n" % (len(_EMPTY_MEMBER), _EMPTY_MEMBER)
        ),
        "an unknown encoding": then(
            lambda one: head(one, "content-encoding: rot13", length=3) + b"abc", "close"
        ),
    },
    "chunk framing": {
        **_each_end(chunked),
        "half a size": then(lambda one: chunked(one) + b"1", "stall"),
        "no size": then(lambda one: chunked(one) + b"zz\r\n", "stall"),
        "a size below zero": then(lambda one: chunked(one) + b"-5\r\n", "stall"),
        "a size without end": then(lambda one: chunked(one) + b"f" * 40 + b"\r\n", "stall"),
        "drip of a size": then(chunked, "drip", b"0"),
        "flood of a size": then(chunked, "flood", b"0"),
        "drip of an extension": then(lambda one: chunked(one) + b"5;", "drip", b"x"),
        "flood of an extension": then(lambda one: chunked(one) + b"5;", "flood", b"x"),
        "drip of extensions": then(chunked, "drip", b"1;a=b\r\n\n\r\n"),
        "chunks of one byte": then(chunked, "drip", b"1\r\nx\r\n"),
        "no last chunk": then(chunked, "close"),
    },
    "trailer": {
        **_each_end(all_chunks),
        "half a line": then(lambda one: all_chunks(one) + b"x: ", "stall"),
        "drip of lines": then(all_chunks, "drip", b"x: y\r\n"),
        "drip of one line": then(lambda one: all_chunks(one) + b"x: ", "drip", b"y"),
        "flood of lines": then(all_chunks, "flood", b"x: y\r\n"),
        "flood of one line": then(lambda one: all_chunks(one) + b"x: ", "flood", b"y"),
    },
}
TARGETS = ("index", "day", "page")


@dataclass(frozen=True, slots=True)
class Struck:
    """Lets a strike answer; a client that leaves meanwhile is what was wanted."""

    strike: Strike

    async def __call__(self, exchange: Exchange, /) -> None:
        with suppress(ConnectionError):
            await self.strike(exchange)


_Accept = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


async def _close(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def _reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def _stall(reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    while await reader.read(65536):
        pass


def _says(data: bytes, *, drips: bool = False) -> _Accept:
    async def say(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.read(65536)
        while True:
            writer.write(data)
            await writer.drain()
            if not drips or reader.at_eof():
                return
            await asyncio.sleep(_DRIP_S)

    return say


_SERVER_HELLO = bytes.fromhex("160303007a0200007603") + b"half"
CONNECTIONS: Mapping[str, Mapping[str, _Accept]] = {
    "connect": {
        "close": _close,
        "reset": _reset,
        "stall": _stall,
        "garbage": _says(random.Random(0).randbytes(3000)),
        "half": _says(b"HTT"),
        "drip": _says(b"\r\n", drips=True),
    },
    "TLS": {
        "close": _close,
        "reset": _reset,
        "stall": _stall,
        "garbage": _says(random.Random(0).randbytes(3000)),
        "half": _says(_SERVER_HELLO),
        "plain HTTP": _says(b"HTTP/1.1 400 Bad Request\r\n\r\n"),
        # a record of one byte each time: alive, and never done
        "drip": _says(b"\x16\x03\x03\x00\x01\x02", drips=True),
        "alert": _says(b"\x15\x03\x03\x00\x02\x02\x28"),
    },
}


@asynccontextmanager
async def accepting(accept: _Accept) -> AsyncIterator[int]:
    """Listen on a port where every connection is treated so."""
    tasks: set[asyncio.Task[None]] = set()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            await accept(reader, writer)
        writer.transport.abort()

    def accepted(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        tasks.add(asyncio.ensure_future(serve(reader, writer)))

    server = await asyncio.start_server(accepted, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def environment(root: Path, url: str) -> dict[str, str]:
    """Return the environment of a run that does not wait for long."""
    return plain_environment(root) | {
        "BINDER_MIRROR_UPSTREAM__URL": url,
        "BINDER_MIRROR_STORAGE__DATA_DIR": str(root),
        "BINDER_MIRROR_STORAGE__MIN_FREE": "0",
        "BINDER_MIRROR_HTTP__RETRIES": "1",
        "BINDER_MIRROR_HTTP__BACKOFF": "0.01",
        "BINDER_MIRROR_HTTP__READ_TIMEOUT": str(_READ_S),
        "BINDER_MIRROR_HTTP__CONNECT_TIMEOUT": str(_READ_S),
        "BINDER_MIRROR_HTTP__MAX_FILE_SIZE": "2MiB",
        "BINDER_MIRROR_LOG__LEVEL": "error",
    }


def _archive(target: str) -> UpstreamArchive:
    archive = long_final_days(4, events_per_day=20)
    if target == "page":
        # a stale index has the page asked for
        archive.write_index(archive["index.jsonl"].last_modified - timedelta(days=9))
    return archive


async def try_strike(forks: Forks, strike: Strike, target: str, root: Path) -> list[str]:
    """Return what does not hold where an object is answered so, and only so."""
    archive = _archive(target)
    truth = Truth()
    truth.serve(archive)
    days = list(archive.days())
    names = {"index": "index.jsonl", "page": "index.html", "day": day_name(days[-1])}
    async with ArchiveServer(archive) as server:
        server.fail(names[target], Struck(strike), times=None)
        if target == "page":
            server.fail("/", Struck(strike), times=None)
        started = time.monotonic()
        ran = await forks.run(("sync",), environment(root, server.url))
        took = time.monotonic() - started
    # 3 of an index: garbage that fills a right length arrives whole, as lines that are refused
    due = {"index": {0, 3, 4}, "page": {0}, "day": {0, 3}}[target]
    problems = _judge(ran.code, ran.err, due, took, is_buggy=ran.is_buggy)
    problems += truth.broken(root)
    wanted = {name for name in archive.objects if name.startswith("events-")}
    wanted = set() if target == "index" and ran.code else wanted
    wanted -= {names["day"]} if ran.code == 3 else set()
    if missing := wanted - published(root).keys():
        problems.append(f"not published: {sorted(missing)} (exit {ran.code})")
    return problems


def _judge(code: int, err: str, due: set[int], took: float, *, is_buggy: bool) -> list[str]:
    if is_buggy:
        return [f"ends with {code} after {took:.0f} s: {err[-300:]}"]
    problems = [] if code in due else [f"ends with {code}: {err[-300:]}"]
    return problems + ([f"takes {took:.0f} s"] if took > BOUND_S else [])


async def try_connection(forks: Forks, accept: _Accept, phase: str, root: Path) -> list[str]:
    """Return what does not hold where every connection is treated so."""
    async with accepting(accept) as port:
        scheme = "https" if phase == "TLS" else "http"
        started = time.monotonic()
        ran = await forks.run(("sync",), environment(root, f"{scheme}://127.0.0.1:{port}/"))
        took = time.monotonic() - started
    return _judge(ran.code, ran.err, {4}, took, is_buggy=ran.is_buggy)


async def try_untrusted(forks: Forks, root: Path) -> list[str]:
    """Return what does not hold where nobody vouches for the certificate."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    trustme.CA().issue_cert("127.0.0.1").configure_cert(context)
    async with ArchiveServer(_archive("day"), tls=context) as server:
        started = time.monotonic()
        ran = await forks.run(("sync",), environment(root, server.url))
        took = time.monotonic() - started
    return _judge(ran.code, ran.err, {4}, took, is_buggy=ran.is_buggy)


Attempt = tuple[str, Callable[[Forks, Path], Awaitable[list[str]]]]


def attempts() -> list[Attempt]:
    """Return all that is to be tried."""
    tried: list[Attempt] = [("TLS, untrusted", try_untrusted)]
    for phase, by_name in STRIKES.items():
        for name, strike in by_name.items():
            for target in TARGETS:

                async def strike_it(
                    forks: Forks, root: Path, strike: Strike = strike, target: str = target
                ) -> list[str]:
                    return await try_strike(forks, strike, target, root)

                tried.append((f"{phase}, {name}, of the {target}", strike_it))
    for phase, accepts in CONNECTIONS.items():
        for name, accept in accepts.items():

            async def connect(
                forks: Forks, root: Path, accept: _Accept = accept, phase: str = phase
            ) -> list[str]:
                return await try_connection(forks, accept, phase, root)

            tried.append((f"{phase}, {name}", connect))
    return tried


async def run(share: float, seed: int) -> Figures:
    """Try a share, in percent, of all faults."""
    figures = Figures("sockets", seed)
    rng = random.Random(seed)
    chosen = [one for one in attempts() if rng.random() * 100 < share]
    slots = asyncio.Semaphore(_AT_ONCE)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="sockets-") as scratch:
        folder = Path(scratch)
        async with Forks(folder, count=_AT_ONCE) as forks, asyncio.TaskGroup() as group:

            async def one(number: int, attempt: Attempt) -> None:
                async with slots:
                    problems = await attempt[1](forks, folder / f"{number}" / "data")
                figures.violate(attempt[0], problems)

            for number, attempt in enumerate(chosen):
                group.create_task(one(number, attempt))
    figures.tried["faults of a connection"] += len(chosen)
    return figures


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("sockets", share=100)
    figures = asyncio.run(run(asked.share, asked.seed))
    conclude(figures, started, write=asked.write)


if __name__ == "__main__":
    main()
