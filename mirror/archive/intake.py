r"""Takes in one body: wire bytes to published bytes, with the evidence for a judgement.

Wire bytes pass through once: digested as they are, where upstream offers digests of an encoded
body; decoded; scanned, which digests and counts what is published; and handed on. The evidence
says what was seen, and which of the offered digests are right: what to make of it is the judge's
business (`mirror.archive.judge`). It is fed, and runs on whatever thread feeds it.

Decoding: aiohttp's own decoder does not notice a gzip body that is cut short within a right
Content-Length, and expands a bomb as far as it goes. Ours yields at most `PIECE_BYTES` at a time,
so that whoever takes the pieces can stop before a bomb fills the memory. A body is a run of members
(gzip, RFC 1952) or frames (zstd, RFC 8878; RFC 9659 bounds its window to 8 MB in HTTP) with nothing
behind the last; one that ends within a member is refused. So is one that decodes to next to nothing
(empty members, frames to skip, a file name without end): the cap on what it decodes to is then one
on the wire too.

Scanning: chunks may end anywhere. All that is remembered between two of them is whether the line so
far is blank and whether a line has just ended. Lines are JSON Lines (https://jsonlines.org): ended
by `\n`; a last line without one counts, a blank line does not. Most chunks have no blank line and
are counted by the standard library at once; only one that has is gone through line by line.
"""

import hashlib
import io
import sys
import zlib
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import chain
from types import ModuleType
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import OfferedDigest, ReplyMeta
from mirror.errors import Failure, UpstreamError
from mirror.text import human_bytes, shown

PIECE_BYTES = 256 * 1024  # most that one step of decoding yields: what a bomb can make us hold

_SLICE_BYTES = 16 * 1024
"""Taken at a time: at each member's end the rest of it is copied, and members can be tiny."""
_IDLE_BYTES = 256 * 1024  # what a coding may take beside twice what it gives
_MAX_CODINGS = 2  # codings one over the other: each has a window of its own in memory
_STORED_DIGESTS = ("etag", "x-goog-hash")
"""Made by the store, of the object as it is stored: whether a coding was put on before or after is
not said."""
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_ZSTD_WINDOW_LOG = 23
_BLANKS = b" \t\r"
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"


class Decoder:
    """Undoes one content coding, and digests what it is given, by algorithms of hashlib's names.

    The coding has its name in a `Content-Encoding`, in lower case; an UpstreamError says that we
    never asked for it and do not know it.
    """

    def __init__(self, coding: str, algorithms: Iterable[str] = ()) -> None:
        self.digests = _make_digests(algorithms)
        self._coding = coding
        self._make_member: Callable[[], Any] = _GzipMember
        self._damage: type[Exception] = zlib.error
        if coding == "zstd":
            zstd = import_zstd()
            options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
            self._make_member = partial(zstd.ZstdDecompressor, options=options)
            self._damage = zstd.ZstdError
        elif coding not in ("gzip", "x-gzip"):
            problem = f"unknown Content-Encoding {shown(coding, 40)}"
            raise UpstreamError(problem, failure=Failure.ENCODING, transient=False)
        self._member = self._make_member()
        self._taken = self._given = 0

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `chunk` in pieces of at most `PIECE_BYTES`.

        Raises:
            UpstreamError: it is damaged, or decodes to next to nothing.
        """
        for digest in self.digests.values():
            digest.update(chunk)
        for start in range(0, len(chunk), _SLICE_BYTES):
            part = chunk[start : start + _SLICE_BYTES]
            self._taken += len(part)
            while part:
                if self._member.eof:
                    self._member = self._make_member()
                for piece in self._decompress(part):
                    self._given += len(piece)
                    yield piece
                part = self._member.unused_data
            if self._taken > 2 * self._given + _IDLE_BYTES:
                problem = f"{self._taken:,} bytes of {self._coding} hold only {self._given:,}"
                raise UpstreamError(problem, failure=Failure.ENCODING, transient=False)

    def finish(self) -> None:
        """Check that the coding has ended; raises UpstreamError where it has not."""
        # an empty body is not a valid stream either
        if not self._member.eof:
            raise UpstreamError(f"the {self._coding} body is cut short", failure=Failure.ENCODING)

    def _decompress(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while True:
                if piece := self._member.decompress(chunk, PIECE_BYTES):
                    yield piece
                chunk = b""
                if self._member.eof or (self._member.needs_input and len(piece) < PIECE_BYTES):
                    return
        except self._damage as error:
            raise UpstreamError(
                f"the {self._coding} body is damaged: {shown(str(error))}",
                failure=Failure.ENCODING,
            ) from error


class _GzipMember:
    """zlib's decompressor, which hands back input that it had no room for, made like the others."""

    def __init__(self) -> None:
        self._inner = zlib.decompressobj(_GZIP_WBITS)

    @property
    def eof(self) -> bool:
        return self._inner.eof

    @property
    def needs_input(self) -> bool:
        return not self._inner.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        return self._inner.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        return self._inner.decompress(self._inner.unconsumed_tail + data, max_length)


def import_zstd() -> ModuleType:
    """Return the module `zstd`, imported where it is met: hardly any archive or client uses it."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd


def _make_digests(algorithms: Iterable[str]) -> dict[str, Any]:
    return {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}


class Evidence(Struct, frozen=True, gc=False):
    """What was seen of one complete body."""

    size: int  # bytes, decoded
    lines: int
    ends_with_newline: bool  # true for an empty body too: nothing is unfinished
    digests: dict[str, str]  # hex digest by algorithm, of the decoded bytes: those published
    is_page: bool = False  # whether it begins like a web page, with "<": a sign-in or error page
    right: tuple[str, ...] = ()  # headers whose digest is right
    wrong: tuple[str, ...] = ()  # headers whose digest is wrong

    @property
    def sha256(self) -> str:
        """The digest that goes on record."""
        return self.digests["sha256"]


class Scanner:
    """Counts lines and bytes of a body and digests it as it passes, by hashlib's names.

    With more bytes than `max_bytes`, `feed` raises.
    """

    def __init__(self, algorithms: Iterable[str] = ("sha256",), *, max_bytes: int) -> None:
        self._digests = _make_digests(algorithms)
        self._max_bytes = max_bytes
        self.size = 0  # bytes so far
        self._lines = 0
        self._line_is_blank = True
        self._ends_with_newline = True

    def feed(self, chunk: bytes) -> None:
        """Take the next chunk of the body.

        Raises:
            UpstreamError: the body is larger than the cap; not transient.
        """
        if not chunk:
            return
        self.size += len(chunk)
        if self.size > self._max_bytes:
            raise UpstreamError(
                f"the body is larger than {human_bytes(self._max_bytes)}",
                hint="raise http.max_file_size if that is right",
                failure=Failure.TOO_LARGE,
                transient=False,
            )
        for digest in self._digests.values():
            digest.update(chunk)
        self._count(chunk)

    def finish(self) -> Evidence:
        """Return what was seen, a last line without newline counted."""
        return Evidence(
            size=self.size,
            lines=self._lines + (not self._line_is_blank),
            ends_with_newline=self._ends_with_newline,
            digests={name: digest.hexdigest() for name, digest in self._digests.items()},
        )

    def _count(self, chunk: bytes) -> None:
        self._ends_with_newline = chunk.endswith(b"\n")
        # twice as fast as count and a search for blank lines, both of which look at single bytes
        pieces = io.BytesIO(chunk).readlines()
        if any(map(bytes.isspace, pieces)):
            self._count_line_by_line(chunk)
            return
        # each piece has something in it, so each line that ends here is one that counts
        self._lines += len(pieces) - (not self._ends_with_newline)
        self._line_is_blank = self._ends_with_newline

    def _count_line_by_line(self, chunk: bytes) -> None:
        *ended, unfinished = chunk.split(b"\n")
        for line in ended:
            self._lines += not (self._line_is_blank and not line.strip(_BLANKS))
            self._line_is_blank = True
        self._line_is_blank = self._line_is_blank and not unfinished.strip(_BLANKS)


class Intake:
    """One body on its way from the wire to a file, of at most `max_bytes` when decoded.

    The answer's headers say how the body is coded and what its digests should be.
    """

    def __init__(self, meta: ReplyMeta, *, max_bytes: int) -> None:
        if len(meta.codings) > _MAX_CODINGS:
            problem = f"more than {_MAX_CODINGS} codings: {shown(', '.join(meta.codings), 40)}"
            raise UpstreamError(problem, failure=Failure.ENCODING, transient=False)
        self._first = b""
        self._offered = meta.digests
        if meta.stored_encoding == "gzip" and not meta.codings:
            # digests of the stored object are not over the bytes we get
            # (https://cloud.google.com/storage/docs/transcoding)
            self._offered = tuple(d for d in meta.digests if d.source not in _STORED_DIGESTS)
        wanted = {digest.algorithm for digest in self._offered}
        # the one that the wire goes into first
        self._decoders = [Decoder(coding, wanted) for coding in reversed(meta.codings)]
        self._scanner = Scanner({"sha256"} | wanted, max_bytes=max_bytes)

    @property
    def kept_bytes(self) -> int:
        """The decoded bytes so far."""
        return self._scanner.size

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take wire bytes, yield the decoded bytes to keep.

        Raises:
            UpstreamError: over the cap, or wrongly encoded.
        """
        pieces: Iterable[bytes] = [chunk]
        for decoder in self._decoders:
            pieces = chain.from_iterable(map(decoder.feed, pieces))
        for piece in pieces:
            self._scanner.feed(piece)
            self._first = self._first or piece.lstrip(_BEFORE_TEXT)[:1]
            yield piece

    def finish(self) -> Evidence:
        """Return what was seen, once the transfer is complete.

        Raises:
            UpstreamError: the encoded body does not end where it should.
        """
        for decoder in self._decoders:
            decoder.finish()
        seen = self._scanner.finish()
        right = {digest: self._is_right(digest, seen) for digest in self._offered}
        return replace(
            seen,
            is_page=self._first == b"<",
            right=tuple(digest.source for digest in right if right[digest]),
            wrong=tuple(digest.source for digest in right if not right[digest]),
        )

    def _is_right(self, offered: OfferedDigest, seen: Evidence) -> bool:
        encoded = [one.digests[offered.algorithm].hexdigest() for one in self._decoders]
        values = [*encoded, seen.digests[offered.algorithm]]
        # all but those of the store are over the bytes on the wire
        return offered.value in (values if offered.source in _STORED_DIGESTS else values[:1])
