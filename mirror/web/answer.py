"""Answers a request with one file: conditional requests, ranges, headers, and the bytes.

RFC 9110, 13 (conditions) and 14 (ranges); RFC 9530 (digests). aiohttp's `FileResponse` knows no
digests: its ETags are made of size and time.
"""

import asyncio
import base64
import os
import re
import socket
from contextlib import suppress
from datetime import datetime
from email.utils import format_datetime
from pathlib import Path
from typing import IO

from aiohttp import web
from msgspec import Struct

from mirror.archive.headers import parse_http_date
from mirror.logs import get_logger

# at most 18 digits, so that no number is huge
_TAGS = re.compile(r'(W/)?"([\x21\x23-\x7e\x80-\uffff]*)"')
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


class Representation(Struct):
    """A body to be sent: its bytes as they are, or in a content coding."""

    file: IO[bytes]  # opened; closed by who opened it
    source: Path  # where the bytes are that are not encoded
    size: int
    sha256: str
    tag: str  # what its ETag says
    modified_at: datetime  # when the body was last modified: aware UTC, whole seconds
    headers: dict[str, str]  # its other headers


async def answer(request: web.Request, body: Representation) -> web.StreamResponse:
    """Answer with a representation, a part of it, or its headers alone."""
    headers = {
        **body.headers,
        "ETag": f'"{body.tag}"',
        "Last-Modified": format_datetime(body.modified_at, usegmt=True),
        "Accept-Ranges": "bytes",
        "Vary": "Accept-Encoding",
    }
    if status := _failed_condition(request, body):
        kept = {name: value for name, value in headers.items() if not name.startswith("Content-")}
        return web.Response(status=status, headers=kept)
    digest = base64.b64encode(bytes.fromhex(body.sha256)).decode()
    headers["Repr-Digest"] = f"sha-256=:{digest}:"
    part = _choose_part(request, body)
    if part is None:
        return await _send(request, body.file, range(body.size), status=200, headers=headers)
    if not part:
        unsatisfied = {"Content-Range": f"bytes */{body.size}", "Vary": headers["Vary"]}
        return web.Response(status=416, headers=unsatisfied)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{body.size}"
    return await _send(request, body.file, part, status=206, headers=headers)


def names_tag(request: web.Request, header: str, tag: str, *, weak: bool = True) -> bool | None:
    """Return whether If-Match or If-None-Match names what an ETag says, or any; None if unsent."""
    lines = request.headers.getall(header, None)
    if lines is None:
        return None
    text = ", ".join(lines)
    named = (match[2] for match in _TAGS.finditer(text) if weak or not match[1])
    return text.strip() == "*" or tag in named


def parse_range(text: str, size: int) -> range | None:
    """Return the bytes asked for of a body of `size` (RFC 9110, 14.1 and 14.2).

    An empty range if there are no such bytes. None if the header is to be ignored and the whole is
    the answer: another unit, not a range, the last byte before the first, or several ranges, which
    a server need not honour.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    first, last = match.groups()
    if not first:
        return range(max(0, size - int(last)), size)
    if last and int(last) < int(first):
        return None
    return range(size)[int(first) : int(last) + 1 if last else size]


def _failed_condition(request: web.Request, body: Representation) -> int | None:
    """Return the status that ends the request, in the order of RFC 9110, 13.2.2."""
    headers, modified_at = request.headers, body.modified_at
    if (is_named := names_tag(request, "If-Match", body.tag, weak=False)) is not None:
        if not is_named:
            return 412
    elif (since := parse_http_date(headers.get("If-Unmodified-Since"))) and modified_at > since:
        return 412
    if (is_named := names_tag(request, "If-None-Match", body.tag)) is not None:
        return 304 if is_named else None
    since = parse_http_date(headers.get("If-Modified-Since"))
    return 304 if since is not None and modified_at <= since else None


def _choose_part(request: web.Request, body: Representation) -> range | None:
    """Return the range asked for, if any; with If-Range only of exactly this representation."""
    if request.method != "GET" or "Range" not in request.headers:
        return None
    condition = request.headers.get("If-Range", "").strip()
    if condition not in ("", f'"{body.tag}"') and parse_http_date(condition) != body.modified_at:
        return None
    return parse_range(request.headers["Range"], body.size)


async def _send(
    request: web.Request, file: IO[bytes], part: range, *, status: int, headers: dict[str, str]
) -> web.StreamResponse:
    """Send a part of a file: from the disk's cache to the socket, inside the kernel."""
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(part)
    if request.method == "HEAD" or not part:
        return response
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    connection = transport.get_extra_info("socket")
    # head and body in the same packets: a head by itself costs as much as a megabyte
    _cork(connection, is_on=True)
    await response.prepare(request)
    sent = 0
    try:
        sent = await _send_file(transport, connection.fileno(), file, part)
        _cork(connection, is_on=False)
    except ConnectionError:
        pass  # the client is gone
    except OSError as error:
        get_logger().error("body.unreadable", path=request.path, problem=str(error))
    if sent != len(part):
        # fewer bytes than Content-Length said: must not look like a whole answer
        transport.abort()
    return response


def _cork(connection: socket.socket, *, is_on: bool) -> None:
    with suppress(OSError):  # a kernel without it sends the head by itself
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, is_on)


async def _send_file(
    transport: asyncio.Transport, client: int, file: IO[bytes], part: range
) -> int:
    """Send a part of a file; return the bytes that there were.

    Most go at once, into the system's buffer; the loop's own way, with a dozen calls to watch the
    socket, is for what is left.
    """
    sent = 0
    if not transport.get_write_buffer_size():
        # the loop's way waits for room, and does without sendfile where the kernel has none
        with suppress(OSError):
            sent = os.sendfile(client, file.fileno(), part.start, len(part))
    if sent < len(part):
        loop = asyncio.get_running_loop()
        sent += await loop.sendfile(transport, file, part.start + sent, len(part) - sent)
    return sent
