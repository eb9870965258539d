"""Answers a request with one file: conditional requests, ranges, headers, and the bytes.

RFC 9110, 13 (conditions) and 14 (ranges); RFC 9530 (digests).
"""

import asyncio
import base64
import io
import os
import socket
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import IO

from aiohttp import web
from aiohttp.helpers import ETag
from msgspec import Struct

from mirror.logs import get_logger
from mirror.web.negotiation import parse_range


class Representation(Struct):
    """A body to be sent: its bytes as they are, or in a content coding.

    Attributes:
        file: opened; closed by who opened it.
        size: its bytes.
        sha256: of its bytes.
        tag: what its ETag says.
        modified_at: when the body was last modified, aware UTC.
        headers: its other headers.
    """

    file: IO[bytes]
    size: int
    sha256: str
    tag: str
    modified_at: datetime
    headers: dict[str, str]

    @property
    def etag(self) -> str:
        """Its ETag."""
        return f'"{self.tag}"'

    @property
    def last_modified(self) -> str:
        """Its Last-Modified."""
        return format_datetime(self.modified_at.astimezone(UTC), usegmt=True)


async def answer(request: web.Request, body: Representation) -> web.StreamResponse:
    """Answer with a representation, a part of it, or its headers alone."""
    headers = {
        **body.headers,
        "ETag": body.etag,
        "Last-Modified": body.last_modified,
        "Accept-Ranges": "bytes",
    }
    if not _is_as_expected(request, body):
        return web.Response(status=412, headers=_without_content(headers))
    if _is_unchanged(request, body):
        return web.Response(status=304, headers=_without_content(headers))
    digest = base64.b64encode(bytes.fromhex(body.sha256)).decode()
    headers["Repr-Digest"] = f"sha-256=:{digest}:"
    is_part = _is_range_meant(request, body)
    part = parse_range(request.headers["Range"], body.size) if is_part else None
    if part is None:
        return await _send(request, body.file, range(body.size), status=200, headers=headers)
    if not part:
        unsatisfied = {"Content-Range": f"bytes */{body.size}", "Vary": headers["Vary"]}
        return web.Response(status=416, headers=unsatisfied)
    headers["Content-Range"] = f"bytes {part.start}-{part.stop - 1}/{body.size}"
    return await _send(request, body.file, part, status=206, headers=headers)


def names_tag(tags: tuple[ETag, ...] | None, tag: str) -> bool:
    """Return whether If-None-Match names a tag, compared weakly."""
    return tags is not None and any(one.value == tag for one in tags)


def _without_content(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if not name.startswith("Content-")}


def _is_as_expected(request: web.Request, body: Representation) -> bool:
    """Evaluate If-Match or, without it, If-Unmodified-Since (RFC 9110, 13.2.2)."""
    if (tags := request.if_match) is not None:
        return any(tag.value == "*" or (tag.value == body.tag and not tag.is_weak) for tag in tags)
    since = request.if_unmodified_since
    return since is None or body.modified_at.replace(microsecond=0) <= since


def _is_unchanged(request: web.Request, body: Representation) -> bool:
    """Evaluate If-None-Match or, without it, If-Modified-Since."""
    if (tags := request.if_none_match) is not None:
        return names_tag(tags, "*") or names_tag(tags, body.tag)
    since = request.if_modified_since
    return since is not None and body.modified_at.replace(microsecond=0) <= since


def _is_range_meant(request: web.Request, body: Representation) -> bool:
    """Return whether a range is asked for; with If-Range only of exactly this representation."""
    if request.method != "GET" or "Range" not in request.headers:
        return False
    condition = request.headers.get("If-Range")
    return condition is None or condition.strip() in (body.etag, body.last_modified)


async def _send(
    request: web.Request,
    file: IO[bytes],
    part: range,
    *,
    status: int,
    headers: dict[str, str],
) -> web.StreamResponse:
    """Send a part of a file: from the disk's cache to the socket, inside the kernel."""
    if isinstance(file, io.BytesIO):
        return web.Response(
            body=file.getvalue()[part.start : part.stop], status=status, headers=headers
        )
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = len(part)
    if request.method == "HEAD" or not part:
        return response
    transport = request.transport
    if transport is None or transport.is_closing():
        raise ConnectionResetError("the client is gone")
    connection = transport.get_extra_info("socket")
    # head and body in the same packets: a head by itself costs as much as a megabyte
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 1)
    await response.prepare(request)
    sent = 0
    try:
        sent = await _send_file(transport, connection.fileno(), file, part)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_CORK, 0)
    except ConnectionError:
        pass  # the client is gone
    except OSError as error:
        get_logger().error("body.unreadable", path=request.path, problem=str(error))
    if sent != len(part):
        # fewer bytes than Content-Length said: must not look like a whole answer
        transport.abort()
    return response


async def _send_file(
    transport: asyncio.Transport, client: int, file: IO[bytes], part: range
) -> int:
    """Send a part of a file; return the bytes that there were.

    Most go at once, into the system's buffer; the loop's own way, with a dozen calls to watch the
    socket, is for what is left.
    """
    sent = 0
    if not transport.get_write_buffer_size():
        with suppress(BlockingIOError):
            sent = os.sendfile(client, file.fileno(), part.start, len(part))
    if sent < len(part):
        loop = asyncio.get_running_loop()
        sent += await loop.sendfile(transport, file, part.start + sent, len(part) - sent)
    return sent
