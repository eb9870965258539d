"""Requests byte by byte, as no client library would send them, and their answers."""

import asyncio
from typing import NamedTuple

PATIENCE_S = 15


class Answer(NamedTuple):
    """An answer as it came: status 0 where the connection was closed without a word."""

    status: int
    headers: dict[str, str]
    body: bytes


async def exchange(url: str, *request: bytes, ends: bool = False) -> bytes:
    """Send bytes, each piece by itself, and return all that comes until the other side closes.

    Args:
        url: the server's.
        request: the pieces.
        ends: whether that is all, and the other side is told so.
    """
    host, port = url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    received = b""
    try:
        for piece in request:
            writer.write(piece)
            await asyncio.sleep(0)
        if ends:
            writer.write_eof()
        async with asyncio.timeout(PATIENCE_S):
            while chunk := await reader.read(65536):
                received += chunk
    except ConnectionError:
        pass
    finally:
        writer.close()
    return received


def parse_answer(received: bytes) -> Answer:
    """Take an answer apart; header names in small letters."""
    if not received:
        return Answer(0, {}, b"")
    head, _, body = received.partition(b"\r\n\r\n")
    status, *lines = head.decode("latin-1").split("\r\n")
    fields = (line.partition(":") for line in lines)
    headers = {name.lower(): value.strip() for name, _, value in fields}
    return Answer(int(status.split()[1]), headers, body)


async def ask(
    url: str, target: str, method: str = "GET", *, version: str = "1.1", **headers: str
) -> Answer:
    """Make a request that ends its connection; an underscore in a header's name is a hyphen."""
    fields = {"Host": "x", "Connection": "close"}
    fields |= {name.replace("_", "-"): value for name, value in headers.items()}
    lines = [f"{method} {target} HTTP/{version}", *(f"{n}: {v}" for n, v in fields.items() if v)]
    request = "\r\n".join(lines).encode("latin-1") + b"\r\n\r\n"
    return parse_answer(await exchange(url, request))
