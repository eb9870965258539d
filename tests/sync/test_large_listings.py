"""Listings as large as they may be: whatever is in them, the documented memory holds."""

import gzip
import json
from datetime import UTC, date, datetime, timedelta

import pytest

from mirror.sync.survey import MAX_LISTING_BYTES
from tests.command import Shell
from tests.sync.answers import Body
from tests.upstream.archive import day_name
from tests.upstream.wire import Exchange

DOCUMENTED_BYTES = 120_000_000
"""See docs/reference.md, Bounds."""
DAYS = [date(2019, 1, 1) + timedelta(number) for number in range(2000)]


def line(day: date, count: int = 0) -> bytes:
    return json.dumps({"name": day_name(day), "date": str(day), "count": count}).encode() + b"\n"


def filled(*pieces: bytes) -> bytes:
    """Return the pieces, again and again, in all just below the cap."""
    return b"".join(pieces) * ((MAX_LISTING_BYTES - 1000) // sum(map(len, pieces)))


GOOD = line(DAYS[0])
INDEXES = {
    # body of the index, its coding, exit code
    "good lines": (filled(*map(line, DAYS)), "", 3),
    "bad lines": (GOOD + filled(b'{"name": "x"}\n'), "", 3),
    "one line": (b'{"name": "' + filled(b"x") + b'"}', "", 4),
    "one line of other letters": ('{"name": "💥'.encode() + filled(b"x") + b'"}', "", 4),
    "blank lines": (GOOD + filled(b"\n"), "", 3),
    "counts in conflict": (
        b"".join(line(day, n) for n in range(50) for day in DAYS),
        "",
        3,
    ),
    "the same line": (filled(GOOD), "", 3),
    "a bomb": (gzip.compress(bytes(MAX_LISTING_BYTES * 40)), "gzip", 4),
    "one byte too much": (b"x" * (MAX_LISTING_BYTES + 1), "", 4),
}
"""Upstream has no such days: what is listed right is asked for in vain, and the exit code is 3."""


@pytest.mark.parametrize("name", INDEXES)
async def test_an_index_at_its_cap_stays_within_the_documented_memory(
    shell: Shell, name: str
) -> None:
    body, coding, code = INDEXES[name]
    headers = {"content-encoding": coding} if coding else {}
    shell.server.fail("index.jsonl", Body(body, headers), times=None)
    shell.set(http__retries="0")

    done, peak = await shell.measured("sync", "--since", str(DAYS[0]), "--until", str(DAYS[1]))

    assert done.code == code
    assert peak < DOCUMENTED_BYTES
    if "too much" in name:
        assert "no listing may be larger; is upstream.url right?" in done.out


@pytest.mark.parametrize("beginning", ["", "💥"], ids=["plain", "of other letters"])
async def test_so_does_a_page(shell: Shell, beginning: str) -> None:
    rows = [f"<tr><td>{day}</td><td>{day_name(day)}</td><td>0</td></tr>\n".encode() for day in DAYS]
    page = beginning.encode() + filled(*rows)
    shell.archive.write_index(datetime.now(UTC) - timedelta(days=5))
    shell.server.fail("index.html", Body(page, {}), times=None)

    done, peak = await shell.measured("sync", "--since", str(shell.days[0]))

    assert done.code == 0
    assert shell.server.count("index.html") == 1
    assert peak < DOCUMENTED_BYTES


async def in_tiny_chunks(exchange: Exchange) -> None:
    """Answer with blank lines below the cap, two bytes a chunk."""
    exchange.keep_alive = False
    exchange.writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
    for _ in range(MAX_LISTING_BYTES // 2 // 4096 - 1):
        exchange.writer.write(b"2\r\n\n\n\r\n" * 4096)
        await exchange.writer.drain()
    exchange.writer.write(b"0\r\n\r\n")
    await exchange.writer.drain()


async def test_so_does_one_that_comes_in_tiny_chunks(shell: Shell) -> None:
    shell.server.fail("index.jsonl", in_tiny_chunks, times=None)
    shell.set(http__retries="0")

    done, peak = await shell.measured("sync", "--since", str(DAYS[0]), "--until", str(DAYS[1]))

    assert "index" in done.out
    assert peak < DOCUMENTED_BYTES
