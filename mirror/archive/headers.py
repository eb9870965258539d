"""Answer headers to values: validators, digests and the publisher's own count. Pure parsing."""

import base64
import binascii
import re
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from msgspec import Struct

from mirror.archive.listings import MAX_COUNT

_HEX = {"md5": 32, "sha256": 64}
_ETAG_MD5 = re.compile(r'"([0-9a-fA-F]{32})"')
_MAX_ETAG = 1000


class ReplyMeta(Struct, frozen=True, gc=False):
    """The headers of one answer that matter to us."""

    etag: str | None = None
    """As sent, quotes and `W/` included."""
    last_modified: datetime | None = None
    generation: int | None = None
    """`x-goog-generation`: grows with every rewrite of the object."""
    encoding: str = "identity"
    stored_encoding: str = "identity"
    """`x-goog-stored-content-encoding`: what the stored bytes, and so their digests, are in."""
    length: int | None = None
    """`Content-Length`: bytes on the wire."""
    events_count: int | None = None
    """`x-goog-meta-events-count`: the publisher's own count of this very body."""
    digests: tuple["OfferedDigest", ...] = ()


class OfferedDigest(Struct, frozen=True, gc=False):
    """A digest that upstream offers for the bytes on the wire."""

    source: str
    """The header it came in, in lower case."""
    algorithm: str
    """"md5" or "sha256"."""
    value: str


def parse_meta(headers: Mapping[str, str]) -> ReplyMeta:
    """Return what the headers of an answer say; what cannot be read is as if not sent.

    Args:
        headers: looked up without regard to case.
    """
    etag = headers.get("ETag", "")
    # undecodable bytes come as lone surrogates, which no record can be written with
    usable = 0 < len(etag) <= _MAX_ETAG and etag.isascii() and etag.isprintable()
    return ReplyMeta(
        etag=etag if usable else None,
        last_modified=parse_http_date(headers.get("Last-Modified")),
        generation=_whole(headers.get("x-goog-generation"), 2**63),
        encoding=headers.get("Content-Encoding", "identity").strip().lower(),
        stored_encoding=headers.get("x-goog-stored-content-encoding", "identity").strip().lower(),
        length=_whole(headers.get("Content-Length"), 2**63),
        events_count=_whole(headers.get("x-goog-meta-events-count"), MAX_COUNT),
        digests=tuple(_digests(headers)),
    )


def parse_http_date(text: str | None) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7) as aware UTC, or None."""
    if not text:
        return None
    try:
        when = parsedate_to_datetime(text)
        return when.replace(tzinfo=UTC) if when.tzinfo is None else when.astimezone(UTC)
    except (ValueError, OverflowError):
        return None


def parse_retry_after(text: str | None, now: datetime) -> float | None:
    """Return the seconds of a `Retry-After` (RFC 9110, 10.2.3), never negative, or None."""
    seconds = _whole(text, 10**9)
    if seconds is not None:
        return float(seconds)
    when = parse_http_date(text)
    return max(0.0, (when - now).total_seconds()) if when is not None else None


def _digests(headers: Mapping[str, str]) -> Iterator[OfferedDigest]:
    for name in ("Repr-Digest", "Content-Digest"):
        yield from _structured(name.lower(), _joined(headers, name))
    yield from _made("content-md5", "md5", headers.get("Content-MD5"))
    for part in _joined(headers, "x-goog-hash").split(","):
        algorithm, _, value = part.strip().partition("=")
        if algorithm == "md5":
            yield from _made("x-goog-hash", "md5", value)
    # A strong ETag of 32 hex digits is the body's MD5 where the archive's store made it; a weak
    # one never is a digest.
    if match := _ETAG_MD5.fullmatch(headers.get("ETag", "")):
        yield OfferedDigest("etag", "md5", match[1].lower())


def _joined(headers: Mapping[str, str], name: str) -> str:
    """Return a list's header as one (RFC 9110, 5.3): Google sends one `x-goog-hash` a digest."""
    values = [value for key, value in headers.items() if key.lower() == name.lower()]
    return ",".join(values)


def _structured(source: str, value: str) -> Iterator[OfferedDigest]:
    """Yield the digests of an RFC 9530 dictionary: `sha-256=:BASE64:, md5=:BASE64:`."""
    for member in value.split(","):
        key, _, item = member.strip().partition("=")
        algorithm = {"sha-256": "sha256", "md5": "md5"}.get(key.strip().lower())
        item = item.partition(";")[0].strip()
        if algorithm and len(item) > 2 and item.startswith(":") and item.endswith(":"):
            yield from _made(source, algorithm, item[1:-1])


def _made(source: str, algorithm: str, text: str | None) -> Iterator[OfferedDigest]:
    try:
        value = base64.b64decode(text or "", validate=True).hex()
    except (binascii.Error, ValueError):
        return
    if len(value) == _HEX[algorithm]:
        yield OfferedDigest(source, algorithm, value)


def _whole(text: str | None, limit: int) -> int | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    return int(text) if int(text) <= limit else None
