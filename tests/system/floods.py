"""Floods of clients that mean harm: each a thousand connections that send and never read."""

import asyncio
import gzip
import itertools
import socket
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress

CONNECTIONS = 1000
_BUFFER_BYTES = 4096
"""What a client's side takes in by itself, of answers that it does not read."""
_PAUSE_S = 0.2

Said = Callable[[str], Iterator[bytes]]
"""Yields what a client says, of a path to a large file; b"" to wait a little."""

_HOST = b" HTTP/1.1\r\nHost: x\r\n"
_BOMB = gzip.compress(bytes(2**24))


def _then(head: bytes, *more: bytes) -> Said:
    """Say the first once, and the rest over and over."""
    return lambda _path: itertools.chain((head,), itertools.cycle(more or (b"",)))


def _asking(target: str, head: bytes = b"") -> Said:
    """Ask for one path, and take nothing of the answer."""
    return _then(b"GET " + target.encode() + _HOST + head + b"\r\n")


def _pipelined(request: bytes) -> Said:
    return _then(b"", request * max(1, 16384 // len(request)))


def _many_lines(_path: str) -> Iterator[bytes]:
    yield b"GET /" + _HOST
    for number in itertools.count():
        yield b"".join(b"%x:\r\n" % one for one in range(number * 1000, number * 1000 + 1000))


def _largest(path: str) -> Iterator[bytes]:
    return _asking(path)(path)


_LINES_100 = b"".join(b"x-%d: 1\r\n" % number for number in range(100))
_HELLO = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(range(256)) * 2

FLOODS: dict[str, Said] = {
    "heads of long lines": _then(b"GET /" + _HOST, b"X: " + b"a" * 8000 + b"\r\n"),
    "heads of many lines": _many_lines,
    "heads of one line": _then(b"GET /" + _HOST + b"X: ", b"a" * 16384),
    "names without end": _then(b"GET /" + _HOST, b"a" * 16384),
    "targets without end": _then(b"GET /", b"a" * 16384),
    "heads that stop": _then(b"GET /" + _HOST + b"X: " + b"a" * 8000 + b"\r\nY: " + b"b" * 7000),
    "heads that drip": _then(b"GET /" + _HOST + b"X: " + b"a" * 8000, b"b", b""),
    "pipelined": _pipelined(b"GET /healthz" + _HOST + b"\r\n"),
    "pipelined index": _pipelined(b"GET /index.jsonl" + _HOST + b"\r\n"),
    "pipelined HEAD": _pipelined(b"HEAD /index.jsonl" + _HOST + b"\r\n"),
    "pipelined of many lines": _pipelined(b"GET /healthz" + _HOST + _LINES_100 + b"\r\n"),
    "pipelined OPTIONS *": _pipelined(b"OPTIONS *" + _HOST + b"\r\n"),
    "pipelined absolute": _pipelined(b"GET http://x/index.jsonl" + _HOST + b"\r\n"),
    "pipelined Expect": _pipelined(b"GET /healthz" + _HOST + b"Expect: 100-continue\r\n\r\n"),
    "chunk extensions": _then(
        b"POST /" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n",
        b"1;a=" + b"b" * 500 + b"\r\na\r\n",
    ),
    "chunk extension without end": _then(
        b"GET /" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n1;", b"a" * 16384
    ),
    "trailers without end": _then(
        b"GET /" + _HOST + b"Transfer-Encoding: chunked\r\n\r\n0\r\n", b"a: b\r\n" * 2000
    ),
    "bodies that do not come": _then(b"POST /" + _HOST + b"Content-Length: 1000000000\r\n\r\n"),
    "bodies without end": _then(
        b"GET /" + _HOST + b"Content-Length: 1000000000\r\n\r\n", b"a" * 16384
    ),
    "bodies packed": _then(
        b"GET /" + _HOST + b"Content-Encoding: gzip\r\nContent-Length: 100000000\r\n\r\n" + _BOMB,
        _BOMB,
    ),
    "TLS": _then(_HELLO, _HELLO),
    "silence": _then(b""),
    "upgrades": _then(
        b"GET /" + _HOST + b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n", b"a" * 16384
    ),
    "CONNECT": _then(b"CONNECT x:1" + _HOST + b"\r\n", b"a" * 16384),
    "readers of a file": _largest,
    "readers of /": _asking("/"),
    "readers of /index.jsonl": _asking("/index.jsonl"),
    "readers of /status": _asking("/status"),
    "readers of /status in gzip": _asking("/status", b"Accept-Encoding: gzip\r\n"),
    "readers of /report": _asking("/report"),
    "readers of /status.json": _asking("/status.json"),
    "readers of /status/events": _asking("/status/events"),
    "readers of /metrics": _asking("/metrics"),
}
"""By name: what each client says."""


async def flood(
    url: str, said: Said, path: str, *, seconds: float, clients: int = CONNECTIONS
) -> int:
    """Let clients say it until the time is over; return the connections made.

    Args:
        url: the server's.
        said: one of `FLOODS`.
        path: a large file's.
        seconds: how long; a client that is thrown out comes again.
        clients: how many.
    """
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    ends_at = time.monotonic() + seconds
    made = 0

    async def attack() -> None:
        nonlocal made
        while time.monotonic() < ends_at:
            with socket.socket() as client, suppress(OSError, TimeoutError):
                client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
                client.settimeout(0)
                async with asyncio.timeout(ends_at - time.monotonic()):
                    await asyncio.get_running_loop().sock_connect(client, (host, int(port)))
                    made += 1
                    await _say(client, said(path))
            await asyncio.sleep(_PAUSE_S)

    await asyncio.gather(*(attack() for _ in range(clients)))
    return made


async def _say(client: socket.socket, words: Iterable[bytes]) -> None:
    loop = asyncio.get_running_loop()
    for word in words:
        if word:
            await loop.sock_sendall(client, word)
        await asyncio.sleep(0 if len(word) > 1 else _PAUSE_S)
