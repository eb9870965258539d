"""The honest answers: what upstream says to a request for a stored object.

Pure functions of request, object and style. Upstream is nginx in front of an
object store, so both habits show: validators and metadata of the store, Range
and gzip of nginx.
"""

import base64
import gzip
import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from email.utils import format_datetime, parsedate_to_datetime
from http import HTTPStatus
from typing import Literal

from tests.upstream.archive import StoredObject
from tests.upstream.wire import Reply, Request

_KEPT_BY_304 = ("etag", "last-modified", "cache-control")
_NO_SUCH_KEY = (
    b"<?xml version='1.0' encoding='UTF-8'?><Error><Code>NoSuchKey</Code>"
    b"<Message>The specified key does not exist.</Message></Error>"
)


@dataclass(slots=True)
class ReplyStyle:
    """How honest answers look; what is unsure of upstream can be had each way.

    Attributes:
        etag: "md5" (the body's, quoted), "opaque" (strong, but no digest),
            "weak" or "none".
        hide_meta: Whether `x-goog-meta-*` is hidden.
        goog_hash: Whether the store's own `x-goog-hash` and its like show, as
            they do at the bucket itself and not behind nginx.
    """

    etag: Literal["md5", "opaque", "weak", "none"] = "md5"
    hide_meta: bool = False
    goog_hash: bool = False


def make_reply(request: Request, stored: StoredObject, style: ReplyStyle) -> Reply:
    """Make the honest answer to a request for an object that exists.

    Args:
        request: The request.
        stored: The object it names.
        style: How the answer looks.

    Returns:
        405, 304, 206, 416 or 200, as is due.
    """
    if request.method not in {"GET", "HEAD"}:
        return _method_not_allowed()
    headers = _object_headers(stored, style)
    if _is_not_modified(request, headers.get("etag"), stored.last_modified):
        return Reply(304, {name: headers[name] for name in _KEPT_BY_304 if name in headers})
    accepts_gzip = "gzip" in request.headers.get("accept-encoding", "")
    if stored.encoding == "gzip" and accepts_gzip:
        return Reply(200, {**headers, "content-encoding": "gzip"}, stored.body)
    body = gzip.decompress(stored.body) if stored.encoding == "gzip" else stored.body
    if accepts_gzip and stored.content_type == "text/html":
        return _gzipped(Reply(200, headers, body))
    return _ranged(request, Reply(200, headers, body))


def make_missing_reply(request: Request) -> Reply:
    """Make the answer to a request for an object that does not exist: 404 in XML."""
    if request.method not in {"GET", "HEAD"}:
        return _method_not_allowed()
    headers = {"content-type": "application/xml; charset=UTF-8", "cache-control": "private"}
    return Reply(HTTPStatus.NOT_FOUND, headers, _NO_SUCH_KEY)


def _method_not_allowed() -> Reply:
    body = b"<html><body><h1>405 Not Allowed</h1></body></html>\n"
    return Reply(HTTPStatus.METHOD_NOT_ALLOWED, {"content-type": "text/html"}, body)


def _object_headers(stored: StoredObject, style: ReplyStyle) -> dict[str, str]:
    headers = {
        "content-type": stored.content_type,
        "last-modified": format_datetime(stored.last_modified.astimezone(UTC), usegmt=True),
        "cache-control": "public, max-age=3600",
    }
    etags = {
        "md5": f'"{stored.etag}"',
        "opaque": f'"{stored.generation}-{stored.etag[:8]}"',
        "weak": f'W/"{stored.etag}"',
    }
    if style.etag in etags:
        headers["etag"] = etags[style.etag]
    if not style.hide_meta:
        headers |= {f"x-goog-meta-{name}": value for name, value in stored.meta.items()}
    if style.goog_hash:
        headers |= _goog_headers(stored)
    return headers


def _goog_headers(stored: StoredObject) -> dict[str, str]:
    # The real header holds a CRC32C too, which the standard library cannot compute.
    digest = hashlib.md5(stored.body, usedforsecurity=False).digest()
    return {
        "x-goog-hash": "md5=" + base64.b64encode(digest).decode(),
        "x-goog-generation": str(stored.generation),
        "x-goog-stored-content-encoding": stored.encoding or "identity",
        "x-goog-stored-content-length": str(len(stored.body)),
    }


def _is_not_modified(request: Request, etag: str | None, last_modified: datetime) -> bool:
    """Evaluate If-None-Match or, without it, If-Modified-Since (RFC 9110, 13.2.2)."""
    if_none_match = request.headers.get("if-none-match")
    if if_none_match is not None:
        offered = {tag.strip().removeprefix("W/") for tag in if_none_match.split(",")}
        return "*" in offered or (etag is not None and etag.removeprefix("W/") in offered)
    try:
        since = parsedate_to_datetime(request.headers.get("if-modified-since", ""))
        return last_modified.replace(microsecond=0) <= since
    except (ValueError, TypeError):  # not a date; a date without a zone
        return False


def _gzipped(reply: Reply) -> Reply:
    """Compress a page as nginx does: its ETag turns weak."""
    headers = {"content_encoding": "gzip", "vary": "Accept-Encoding"}
    if "etag" in reply.headers:
        headers["etag"] = "W/" + reply.headers["etag"].removeprefix("W/")
    return reply.having(body=gzip.compress(reply.body, mtime=0), **headers)


def _ranged(request: Request, reply: Reply) -> Reply:
    """Answer a request for one range with 206 or 416, any other with the whole."""
    unit, _, wanted = request.headers.get("range", "").partition("=")
    condition = request.headers.get("if-range")
    current = {reply.headers.get("etag"), reply.headers["last-modified"]}
    if unit != "bytes" or (condition is not None and condition not in current):
        return reply
    first, dash, last = wanted.strip().partition("-")
    if not dash or not (first + last).isdecimal():
        return reply
    size = len(reply.body)
    start = int(first) if first else max(0, size - int(last))
    stop = min(int(last) + 1, size) if first and last else size
    if start >= stop:
        return Reply(416, {"content-range": f"bytes */{size}"})
    span = f"bytes {start}-{stop - 1}/{size}"
    partial = reply.having(body=reply.body[start:stop], content_range=span)
    return Reply(206, partial.headers, partial.body)
