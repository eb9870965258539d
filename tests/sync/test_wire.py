"""What comes over one connection: nothing holds up a poll, and what is odd but allowed is taken."""

import asyncio
import gzip
import itertools
from dataclasses import dataclass
from datetime import timedelta
from functools import partial

import pytest

from mirror.archive.ports import Ask
from mirror.config.settings import HttpConfig
from mirror.errors import Failure, UpstreamError
from mirror.sync.source import HttpSource, open_source
from tests.command import PATIENCE_S, Shell
from tests.conftest import World
from tests.upstream.archive import day_name
from tests.upstream.wire import Exchange, Reply

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"Transfer-Encoding: chunked\r\n\r\n"
EMPTY_GZIP = gzip.compress(b"", mtime=0)
SKIPPED = b"\x50\x2a\x4d\x18\x00\x00\x00\x00"
"""A zstd frame to skip, with nothing in it."""


def coded(*codings: str) -> bytes:
    lines = b"".join(b"Content-Encoding: %s\r\n" % coding.encode() for coding in codings)
    return OK + lines + b"Content-Length: 99999999999\r\n\r\n"


@dataclass(frozen=True, slots=True)
class Endless:
    """A beginning, and then the same again and again until the client leaves."""

    beginning: bytes
    piece: bytes
    pause_s: float = 0.02

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        exchange.writer.write(self.beginning)
        while True:
            exchange.writer.write(self.piece)
            await exchange.writer.drain()
            exchange.record.bytes_sent += len(self.piece)
            await asyncio.sleep(self.pause_s)


ENDLESS = {
    "a status line": (b"HTTP/1.1 200 O", b"o"),
    "a header": (OK + b"X: ", b"y"),
    "headers": (OK, b"X-Y: z\r\n"),
    "blank lines before the answer": (b"", b"\r\n"),
    "interim answers": (b"", b"HTTP/1.1 103 Early Hints\r\nLink: <x>\r\n\r\n"),
    "a chunk size": (CHUNKED, b"0"),
    "a chunk extension": (CHUNKED + b"5;x=", b"y"),
    "trailers": (CHUNKED + b"0\r\n", b"X-Y: z\r\n"),
    "a trailer": (CHUNKED + b"0\r\nX: ", b"y"),
    "empty gzip members": (coded("gzip"), EMPTY_GZIP),
    "a gzip file name": (coded("gzip") + b"\x1f\x8b\x08\x08\x00\x00\x00\x00\x00\xff", b"n"),
    "zstd frames to skip": (coded("zstd"), SKIPPED),
    "empty members in members": (coded("gzip", "gzip"), gzip.compress(EMPTY_GZIP)),
}


@pytest.fixture
def world(world: World) -> World:
    for back in range(5, 11):
        world.archive.remove(day_name(world.day(back)))
    world.archive.write_index(world.clock() - timedelta(hours=1))
    world.configure("http", connect_timeout=0.25, read_timeout=0.25, retries=0)
    return world


@pytest.mark.parametrize("min_speed", [0, 100])
@pytest.mark.parametrize("name", ENDLESS)
async def test_a_drip_that_brings_nothing_ends_in_time(
    world: World, name: str, min_speed: int
) -> None:
    world.configure("http", min_speed=min_speed)
    bad = world.day(3)
    world.server.fail(day_name(bad), Endless(*ENDLESS[name]), times=None)

    async with asyncio.timeout(PATIENCE_S):
        report = await world.sync()

    assert (report.exit_code, report.held) == (3, 3)
    (problem,) = report.problems
    assert problem.day == bad
    world.assert_sound()


@pytest.mark.parametrize("name", ENDLESS)
async def test_so_does_one_in_place_of_the_index(world: World, name: str) -> None:
    world.server.fail("index.jsonl", Endless(*ENDLESS[name]), times=None)

    async with asyncio.timeout(PATIENCE_S):
        report = await world.sync()

    assert report.exit_code == 4


@pytest.mark.parametrize("name", ENDLESS)
async def test_a_flood_that_brings_nothing_is_cut_off_by_its_bytes(world: World, name: str) -> None:
    world.configure("http", connect_timeout=PATIENCE_S, read_timeout=PATIENCE_S)
    bad = world.day(3)
    beginning, piece = ENDLESS[name]
    flood = Endless(beginning, piece * (100_000 // len(piece)), pause_s=0)
    world.server.fail(day_name(bad), flood, times=None)

    async with asyncio.timeout(PATIENCE_S):
        report = await world.sync()

    assert (report.exit_code, report.held) == (3, 3)
    (request,) = world.asked_for(bad)
    # what the sockets' buffers take is sent too
    assert request.bytes_sent < 20_000_000


@pytest.mark.parametrize("extensions", ["", "1"], ids=["parser in C", "parser in Python"])
async def test_floods_on_all_connections_stay_within_the_documented_memory(
    shell: Shell, extensions: str
) -> None:
    shell.environ["AIOHTTP_NO_EXTENSIONS"] = extensions
    shell.set(http__retries="0", http__concurrency="16")
    pieces = itertools.cycle(ENDLESS.values())
    for day, (beginning, piece) in zip(shell.days, pieces, strict=False):
        flood = Endless(beginning, piece * (100_000 // len(piece)), pause_s=0)
        shell.server.fail(day_name(day), flood, times=None)
    many = Endless(CHUNKED, b"2\r\nx\n\r\n" * 20_000, pause_s=0)
    shell.server.fail(day_name(shell.days[0]), many, times=None)
    shell.set(http__max_file_size="3MiB")

    done, peak = await shell.measured("sync")

    assert done.code == 3
    assert peak < 120_000_000


async def receive(source: HttpSource, pause_s: float = 0, *, keeps: bool = True) -> int:
    """Take the object `large` in; return the bytes that came."""
    came: list[int] = []
    async with source.open("large", Ask()) as reply:
        async for block in reply.blocks(partial(sum, came if keeps else [])):
            await asyncio.sleep(pause_s)
            came += map(len, block)
    return sum(came)


async def test_what_was_kept_is_what_counts_as_progress(world: World) -> None:
    world.server.fail("large", _Body(b"x" * 100_000, piece=1000))
    async with open_source(world.server.url, world.config.http, now=world.clock) as source:
        with pytest.raises(UpstreamError) as error:
            await receive(source, keeps=False)
    assert error.value.line() == "only 0 bytes came in 1 s (see http.min_speed)"
    assert (error.value.failure, error.value.transient) == (Failure.SLOW, True)
    assert source.traffic.received_bytes > source.traffic.kept_bytes == 0


async def test_a_slow_disk_of_ours_is_not_upstreams_fault(world: World) -> None:
    config = HttpConfig(read_timeout=0.3, min_speed=10**9)
    world.server.fail("large", _Body(b"x" * 3_000_000))
    async with open_source(world.server.url, config, now=world.clock) as source:
        assert await receive(source, pause_s=0.7) == 3_000_000  # longer than a window
    assert source.traffic.kept_bytes == 3_000_000


@dataclass(frozen=True, slots=True)
class _Body:
    body: bytes
    piece: int = 0
    """Bytes sent at a time, with a pause in between; 0 for all at once."""

    async def __call__(self, exchange: Exchange, /) -> None:
        await exchange.send_head(Reply(200), length=len(self.body))
        for start in range(0, len(self.body), self.piece or len(self.body)):
            await exchange.send_body(self.body[start:][: self.piece or None])
            await asyncio.sleep(0.02 if self.piece else 0)


@dataclass(frozen=True, slots=True)
class Framed:
    """The honest body under a head and in a framing of one's own; `%d` is its length."""

    head: bytes
    chunk: bytes = b""
    end: bytes = b""

    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        body = exchange.reply.body
        etag = exchange.reply.headers["etag"].encode()
        length = b"%d" % len(body)
        head = self.head.replace(b"%d", length).replace(b"%e", etag)
        exchange.writer.write(head)
        for start in range(0, len(body), 1000) if self.chunk else ():
            part = body[start : start + 1000]
            exchange.writer.write(self.chunk.replace(b"%x", b"%x" % len(part)) + part + b"\r\n")
        exchange.writer.write(self.end if self.chunk else body)
        await exchange.writer.drain()


LAST = b"0\r\n\r\n"
ALLOWED = {
    "a length twice": Framed(OK + b"Content-Length: %d\r\ncontent-length: %d\r\n\r\n"),
    "a list of lengths": Framed(OK + b"Content-Length: %d, %d\r\n\r\n"),
    "a length beside chunks": Framed(
        OK + b"Content-Length: 7\r\nTransfer-Encoding: chunked\r\n\r\n", b"%x\r\n", LAST
    ),
    "no coding": Framed(OK + b"Transfer-Encoding: identity\r\nContent-Length: %d\r\n\r\n"),
    "a folded header": Framed(OK + b"X: y\r\n\t z\r\nETag:\r\n  %e\r\nContent-Length: %d\r\n\r\n"),
    "bare line feeds": Framed(b"HTTP/1.1 200 OK\nContent-Length: %d\nETag: %e\n\n"),
    "lower case": Framed(b"HTTP/1.1 200 ok\r\ncontent-length:%d\r\netag:%e\r\n\r\n"),
    "blanks": Framed(OK + b"Content-Length: \t %d \t\r\nETag : %e\r\n\r\n"),
    "no reason": Framed(b"HTTP/1.1 200\r\nContent-Length: %d\r\n\r\n"),
    "a blank line first": Framed(b"\r\n" + OK + b"Content-Length: %d\r\n\r\n"),
    "interim answers": Framed(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\n"
        + OK
        + b"Content-Length: %d\r\n\r\n"
    ),
    "chunks with leading zeros": Framed(CHUNKED, b"0000000000000000%x\r\n", b"000\r\n\r\n"),
    "chunks with extensions": Framed(CHUNKED, b'%x;a=b;c="d e"\r\n', b"0;z\r\nX: y\r\n\r\n"),
    "no length": Framed(OK + b"ETag: %e\r\n\r\n"),
    "HTTP/1.0 without a length": Framed(b"HTTP/1.0 200 OK\r\nETag: %e\r\n\r\n"),
    "the ETag twice": Framed(OK + b"ETag: %e\r\nETag: %e\r\nContent-Length: %d\r\n\r\n"),
    "two ETags": Framed(OK + b'ETag: %e\r\nETag: "x"\r\nContent-Length: %d\r\n\r\n'),
    "two dates": Framed(
        OK + b"Last-Modified: Tue, 03 Aug 2021 10:20:30 GMT\r\n"
        b"Last-Modified: Tue, 03 Aug 2027 10:20:31 GMT\r\nContent-Length: %d\r\n\r\n"
    ),
    "large headers": Framed(
        OK + b"".join(b"X-%c: %s\r\n" % (letter, b"y" * 64_000) for letter in b"abcd")
        + b"Content-Length: %d\r\n\r\n"
    ),
    "many headers": Framed(
        OK + b"".join(b"X-%d: y\r\n" % n for n in range(500)) + b"Content-Length: %d\r\n\r\n"
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", ALLOWED)
async def test_what_is_odd_but_allowed_is_taken_at_once(world: World, name: str) -> None:
    world.server.fail("*", ALLOWED[name], times=None)

    report = await world.sync()

    assert (report.exit_code, report.problems) == (0, ())
    assert world.server.count() == 5
    world.assert_identical()


REFUSED = {
    "two lengths": (
        Framed(OK + b"Content-Length: %d\r\nContent-Length: 7\r\n\r\n"),
        "not an HTTP answer: lengths that differ: 7 and ",
    ),
    "a length that is none": (
        Framed(OK + b"Content-Length: +%d\r\n\r\n"),
        "not an HTTP answer: Invalid character in Content-Length",
    ),
    "another protocol": (Framed(b"HTTP/2 200\r\n\r\n"), "not an HTTP answer: Bad status line"),
    "a chunk size that is none": (Framed(CHUNKED, b"z\r\n", LAST), "not an HTTP answer"),
    "three codings": (
        Framed(coded("gzip", "gzip, zstd")),
        "more than 2 codings: gzip, gzip, zstd",
    ),
    "a head too large": (
        Framed(OK + b"X: %s\r\n\r\n" % (b"y" * 600_000)),
        "not an HTTP answer: a head of more than 524,288 bytes",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
async def test_what_is_not_allowed_is_told_in_one_clear_line(world: World, name: str) -> None:
    fault, expected = REFUSED[name]
    world.server.fail(day_name(world.day(3)), fault, times=None)

    report = await world.sync()

    assert report.exit_code == 3
    (problem,) = report.problems
    assert problem.text.startswith(expected)
    assert problem.text.isprintable()


async def test_a_bad_chunk_after_good_ones_is_not_waited_for(world: World) -> None:
    world.configure("http", read_timeout=PATIENCE_S * 2)
    world.server.fail(day_name(world.day(3)), _BadChunk(), times=None)

    async with asyncio.timeout(PATIENCE_S):
        report = await world.sync()

    assert report.problems[0].text == "the body is cut short"


class _BadChunk:
    async def __call__(self, exchange: Exchange, /) -> None:
        exchange.keep_alive = False
        exchange.writer.write(CHUNKED + b"5\r\nhello\r\n")
        await asyncio.sleep(0.2)
        exchange.writer.write(b"z\r\n")
        await exchange.client_gone()
