"""The archive as it is held: paths are looked up, never built from a request.

What is opened is what is sent and what the headers speak of: the record is chosen by size and time
of the opened file, so that an answer is whole and true while a sync replaces files beside it.
"""

import asyncio
import base64
import hashlib
import io
import os
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import IO

from aiohttp import web
from aiohttp.helpers import ETag
from aiohttp.typedefs import LooseHeaders
from msgspec import Struct

from mirror.config import ServerConfig
from mirror.core.manifest import choose
from mirror.core.plan import final_at
from mirror.edges.disk import open_file
from mirror.errors import WrongKindError
from mirror.model import Record
from mirror.web.site import SITE, Site

_LISTINGS = {
    "/": ("index.html", "text/html; charset=utf-8"),
    "/index.html": ("index.html", "text/html; charset=utf-8"),
    "/index.jsonl": ("index.jsonl", "application/octet-stream"),
    "/SHA256SUMS": ("SHA256SUMS", "text/plain; charset=utf-8"),
}
_SETTLED = "public, max-age=3600"
_UNSETTLED = "public, max-age=60"
_MAX_LISTING_BYTES = 32 * 1024**2


class _Found(Struct):
    """An opened representation and what is known of it."""

    file: IO[bytes]
    size: int
    sha256: str
    modified_at: datetime
    headers: dict[str, str]


def add_archive(app: web.Application) -> None:
    """Add the archive: to be added last, for it takes every path that is left."""
    app.router.add_get("/{path:.*}", _serve)


async def _serve(request: web.Request) -> web.StreamResponse:
    found = await _find(request.app[SITE], request.raw_path.partition("?")[0])
    if found is None:
        raise web.HTTPNotFound
    try:
        return await _answer(request, found)
    finally:
        found.file.close()


async def _find(site: Site, path: str) -> _Found | None:
    if listing := _LISTINGS.get(path):
        name, content_type = listing
        return await asyncio.to_thread(_open_listing, site.data.archive / name, content_type)
    name = path.removeprefix("/")
    for fresh in (False, True):
        view = await site.viewer.view(fresh=fresh)
        if claims := view.claims.get(name):
            found = await asyncio.to_thread(_open_day, site, claims)
            if found is not None:
                return found
    return None


def _open_listing(path: Path, content_type: str) -> _Found | None:
    """Read a listing whole: it is small, and its digest is not on record."""
    try:
        with open_file(path) as file:
            stats = os.fstat(file.fileno())
            body = file.read(_MAX_LISTING_BYTES)
    except (OSError, WrongKindError):
        return None
    modified_at = datetime.fromtimestamp(int(stats.st_mtime), UTC)
    headers = {"Content-Type": content_type, "Cache-Control": _UNSETTLED}
    sha256 = hashlib.sha256(body).hexdigest()
    return _Found(io.BytesIO(body), len(body), sha256, modified_at, headers)


def _open_day(site: Site, claims: tuple[Record, ...]) -> _Found | None:
    """Open a daily file if it is the one on record; None where it is another, or gone."""
    try:
        file = open_file(site.data.archive / claims[-1].name)
    except (OSError, WrongKindError):
        return None
    stats = os.fstat(file.fileno())
    record = choose(claims, size=stats.st_size, mtime_ns=stats.st_mtime_ns)
    if record is None:
        file.close()
        return None
    final_after = timedelta(seconds=site.config.schedule.final_after)
    is_final = site.now() >= final_at(record.date, final_after)
    modified_at = record.last_modified or datetime.fromtimestamp(int(stats.st_mtime), UTC)
    headers = {
        "Content-Type": "application/octet-stream",
        "Cache-Control": _SETTLED if is_final else _UNSETTLED,
        "x-goog-meta-events-count": str(record.lines),
        "x-goog-meta-events-date": str(record.date),
    }
    return _Found(file, record.size, record.sha256, modified_at, headers)


async def _answer(request: web.Request, found: _Found) -> web.StreamResponse:
    digest = base64.b64encode(bytes.fromhex(found.sha256)).decode()
    headers = {
        **found.headers,
        "ETag": f'"{found.sha256}"',
        "Last-Modified": format_datetime(found.modified_at.astimezone(UTC), usegmt=True),
        "Repr-Digest": f"sha-256=:{digest}:",
        "Accept-Ranges": "bytes",
    }
    if not _is_as_expected(request, found):
        return web.Response(status=412, headers=_without_type(headers))
    if _is_unchanged(request, found):
        return web.Response(status=304, headers=_without_type(headers))
    start, stop = 0, found.size
    status = 200
    if "Range" in request.headers and _is_range_meant(request, found):
        span = _span(request, found.size)
        if span is not None and span[0] >= span[1]:
            return web.Response(status=416, headers={"Content-Range": f"bytes */{found.size}"})
        if span is not None:
            start, stop = span
            status = 206
            headers["Content-Range"] = f"bytes {start}-{stop - 1}/{found.size}"
    return await _send(request, found.file, start, stop, status=status, headers=headers)


def _without_type(headers: dict[str, str]) -> dict[str, str]:
    return {name: value for name, value in headers.items() if name != "Content-Type"}


def _is_as_expected(request: web.Request, found: _Found) -> bool:
    """Evaluate If-Match or, without it, If-Unmodified-Since (RFC 9110, 13.2.2)."""
    if (tags := request.if_match) is not None:
        return any(tag.value == "*" or _is_same(tag, found, weak=False) for tag in tags)
    since = request.if_unmodified_since
    return since is None or found.modified_at.replace(microsecond=0) <= since


def _is_unchanged(request: web.Request, found: _Found) -> bool:
    """Evaluate If-None-Match or, without it, If-Modified-Since."""
    if (tags := request.if_none_match) is not None:
        return any(tag.value == "*" or _is_same(tag, found, weak=True) for tag in tags)
    since = request.if_modified_since
    return since is not None and found.modified_at.replace(microsecond=0) <= since


def _is_same(tag: ETag, found: _Found, *, weak: bool) -> bool:
    return tag.value == found.sha256 and (weak or not tag.is_weak)


def _is_range_meant(request: web.Request, found: _Found) -> bool:
    """Evaluate If-Range: a strong ETag, or just the date that we sent."""
    condition = request.headers.get("If-Range")
    if condition is None:
        return True
    modified = format_datetime(found.modified_at.astimezone(UTC), usegmt=True)
    return condition.strip() in (f'"{found.sha256}"', modified)


def _span(request: web.Request, size: int) -> tuple[int, int] | None:
    """Return first byte and end of the one range asked for; None where there is none to keep to.

    Several ranges and what is no range are answered with the whole, as a server may.
    """
    try:
        asked = request.http_range
    except ValueError:
        return None
    start, stop = asked.start, asked.stop
    if start is None:
        return None
    if start < 0:
        return max(0, size + start), size
    return start, size if stop is None else min(stop, size)


def _patience_s(size: int, config: ServerConfig) -> float | None:
    """Return how long a client may take to fetch so many bytes; None for ever."""
    return config.idle_timeout + size / config.min_speed if config.min_speed else None


async def _send(
    request: web.Request,
    file: IO[bytes],
    start: int,
    stop: int,
    *,
    status: int,
    headers: LooseHeaders,
) -> web.StreamResponse:
    """Send a part of a file: from the disk's cache to the socket, without coming through us."""
    if isinstance(file, io.BytesIO):
        return web.Response(body=file.getvalue()[start:stop], status=status, headers=headers)
    response = web.StreamResponse(status=status, headers=headers)
    response.content_length = stop - start
    await response.prepare(request)
    if request.method != "HEAD" and stop > start and request.transport is not None:
        loop = asyncio.get_running_loop()
        server = request.app[SITE].config.server
        try:
            async with asyncio.timeout(_patience_s(stop - start, server)):
                await loop.sendfile(request.transport, file, start, stop - start)
        except (TimeoutError, ConnectionError):
            # too slow, or gone: what was promised cannot be kept, so the connection goes too
            request.transport.abort()
            return response
    await response.write_eof()
    return response
