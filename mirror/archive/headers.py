"""Answer headers to values: validators, digests and the publisher's own count. Pure parsing."""

import base64
import re
from collections.abc import Iterator, Mapping
from contextlib import suppress
from datetime import UTC, datetime

from msgspec import Struct

from mirror.archive.listings import MAX_COUNT

_DIGEST_BYTES = {"md5": 16, "sha-256": 32}
_ETAG_MD5 = re.compile(r'"([0-9a-fA-F]{32})"')
_BYTES = re.compile(r":([^:;]+):\s*(?:;|$)")
_MAX_ETAG = 1000
_MIRROR = re.compile(r"[0-9a-f]{12}")
MAX_MIRRORS = 16  # mirrors in a chain that are remembered and handed on
_NO_CODING = ("", "identity")


class ReplyMeta(Struct, frozen=True, gc=False):
    """The headers of one answer that matter to us."""

    etag: str | None = None  # as sent, with quotes and `W/`; None where unusable, or several differ
    names_etag: bool = False  # whether one was sent at all
    last_modified: datetime | None = None
    generation: int | None = None  # `x-goog-generation`: grows with every rewrite of the object
    codings: tuple[str, ...] = ()
    """What all lines of `Content-Encoding` name, in lower case, in the order of being applied."""
    stored_encoding: str = "identity"
    """`x-goog-stored-content-encoding`: what the stored bytes, and so their digests, are in."""
    events_count: int | None = None
    """`x-goog-meta-events-count`: the publisher's own count of this very body."""
    digests: tuple["OfferedDigest", ...] = ()
    mirrors: tuple[str, ...] = ()
    """`X-Binder-Mirror`: the identities of the mirror that answers, and of those it follows."""


class OfferedDigest(Struct, frozen=True, gc=False):
    """A digest that upstream offers for the bytes on the wire."""

    source: str  # the header it came in, in lower case
    algorithm: str  # "md5" or "sha256"
    value: str


def parse_meta(headers: Mapping[str, str], *, now: datetime) -> ReplyMeta:
    """Return what the headers of an answer say; what cannot be read is as if not sent.

    Nor is a Last-Modified in the future: one of the two clocks is wrong, and kept it would order
    what comes later. Headers are looked up without regard to case; `now` is aware UTC.
    """
    modified = parse_http_date(_only(headers, "last-modified"))
    etag = _only(headers, "etag")
    # undecodable bytes come as lone surrogates, which no record can be written with
    usable = 0 < len(etag) <= _MAX_ETAG and etag.isascii() and etag.isprintable()
    codings = ",".join(_lines(headers, "content-encoding")).lower().split(",")
    mirrors = map(str.strip, ",".join(_lines(headers, "x-binder-mirror")).split(","))
    return ReplyMeta(
        etag=etag if usable else None,
        names_etag="ETag" in headers,
        last_modified=modified if modified is not None and modified <= now else None,
        generation=_whole(headers.get("x-goog-generation"), 2**63),
        codings=tuple(one for one in map(str.strip, codings) if one not in _NO_CODING),
        stored_encoding=headers.get("x-goog-stored-content-encoding", "identity").strip().lower(),
        events_count=_whole(headers.get("x-goog-meta-events-count"), MAX_COUNT),
        digests=tuple(_digests(headers)),
        mirrors=tuple(filter(_MIRROR.fullmatch, mirrors))[:MAX_MIRRORS],
    )


def parse_http_date(text: str | None) -> datetime | None:
    """Return an HTTP date (RFC 9110, 5.6.7) as aware UTC, or None."""
    if not text:
        return None
    from email.utils import parsedate_to_datetime  # noqa: PLC0415 - slow, and for answers alone

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
    for name in ("repr-digest", "content-digest"):
        # an RFC 9530 dictionary: `sha-256=:BASE64:, md5=:BASE64:`
        for algorithm, item in _members(headers, name):
            if match := _BYTES.match(item):
                yield from _decoded(name, algorithm, match[1])
    yield from _decoded("content-md5", "md5", headers.get("Content-MD5", ""))
    for algorithm, value in _members(headers, "x-goog-hash"):
        if algorithm == "md5":
            yield from _decoded("x-goog-hash", algorithm, value)
    # A strong ETag of 32 hex digits is the body's MD5 where the archive's store made it; a weak
    # one never is a digest.
    if match := _ETAG_MD5.fullmatch(_only(headers, "etag")):
        yield OfferedDigest("etag", "md5", match[1].lower())


def _lines(headers: Mapping[str, str], name: str) -> list[str]:
    return [value for key, value in headers.items() if key.lower() == name]


def _only(headers: Mapping[str, str], name: str) -> str:
    """Return what all lines of a header say; nothing where they differ, for one of them lies."""
    values = set(_lines(headers, name))
    return values.pop() if len(values) == 1 else ""


def _members(headers: Mapping[str, str], name: str) -> Iterator[tuple[str, str]]:
    """Yield key and value of each member of a list, which may be sent as several headers.

    RFC 9110, 5.3; Google sends one `x-goog-hash` a digest.
    """
    for value in _lines(headers, name):
        for member in value.split(","):
            key, _, item = member.partition("=")
            yield key.strip().lower(), item.strip()


def _decoded(source: str, algorithm: str, text: str) -> Iterator[OfferedDigest]:
    with suppress(ValueError):
        value = base64.b64decode(text, validate=True)
        if len(value) == _DIGEST_BYTES.get(algorithm):
            yield OfferedDigest(source, algorithm.replace("-", ""), value.hex())


def _whole(text: str | None, limit: int) -> int | None:
    if not text or not text.isascii() or not text.isdigit() or len(text) > 20:
        return None
    return int(text) if int(text) <= limit else None
