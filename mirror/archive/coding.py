"""Content codings (gzip, zstd) undone piece by piece: capped, and complete only where they end.

aiohttp's own decoder does not notice a gzip body that is cut short within a right Content-Length,
and expands a bomb as far as it goes. Here a decoder is fed chunks as they come over the wire, and
yields at most `PIECE_BYTES` at a time, so that whoever takes the pieces can stop before a bomb
fills the memory. A body is a run of members (gzip) or frames (zstd) with nothing behind the last;
`finish` refuses one that ends within a member. Both decompressors are used through the interface
that the standard library's have in common, for which zlib's needs a small wrapper.

Formats: RFC 1952 (gzip) and RFC 8878 (zstd; RFC 9659 bounds its window to 8 MB in HTTP).
"""

import sys
import zlib
from collections.abc import Callable, Iterator
from types import ModuleType
from typing import Protocol

from mirror.errors import BodyError, Failure
from mirror.text import shown

PIECE_BYTES = 256 * 1024
"""Most that one step of decoding yields: what a bomb can make us hold at a time."""

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_ZSTD_WINDOW_LOG = 23


class Decoder(Protocol):
    """Undoes one content coding."""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `chunk` in pieces of at most `PIECE_BYTES`."""

    def finish(self) -> None:
        """Check that the coding has ended; raises BodyError where it has not."""


def make_decoder(encoding: str) -> Decoder:
    """Return the decoder for a `Content-Encoding`.

    Raises:
        BodyError: a coding that we never asked for and do not know.
    """
    match encoding.strip().lower():
        case "" | "identity":
            return _Identity()
        case "gzip" | "x-gzip":
            return _Members("gzip", _GzipMember, zlib.error)
        case "zstd":
            return _zstd_decoder()
    raise BodyError(
        f"unknown Content-Encoding {shown(encoding, 40)}",
        failure=Failure.ENCODING,
        transient=False,
    )


class _Identity:
    def feed(self, chunk: bytes) -> Iterator[bytes]:
        yield chunk

    def finish(self) -> None:
        """Nothing is left to end."""


class _Member(Protocol):
    """One gzip member or zstd frame, with the interface of the standard library's decompressors."""

    @property
    def eof(self) -> bool: ...
    @property
    def needs_input(self) -> bool: ...
    @property
    def unused_data(self) -> bytes: ...
    def decompress(self, data: bytes, max_length: int) -> bytes: ...


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


class _Members:
    """A run of members, one after the other, and nothing behind the last."""

    def __init__(
        self, coding: str, make_member: Callable[[], _Member], damage: type[Exception]
    ) -> None:
        self._coding = coding
        self._damage = damage
        self._make_member = make_member
        self._member = make_member()

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        while chunk:
            if self._member.eof:
                self._member = self._make_member()
            yield from self._decompress(chunk)
            chunk = self._member.unused_data

    def finish(self) -> None:
        # an empty body is not a valid stream either
        if not self._member.eof:
            raise BodyError(f"the {self._coding} body is cut short", failure=Failure.ENCODING)

    def _decompress(self, chunk: bytes) -> Iterator[bytes]:
        try:
            while True:
                if piece := self._member.decompress(chunk, PIECE_BYTES):
                    yield piece
                chunk = b""
                if self._member.eof or (self._member.needs_input and len(piece) < PIECE_BYTES):
                    return
        except self._damage as error:
            raise BodyError(
                f"the {self._coding} body is damaged: {shown(str(error))}",
                failure=Failure.ENCODING,
            ) from error


def import_zstd() -> ModuleType:
    """Return the module `zstd`, imported where it is met: hardly any archive or client uses it."""
    if sys.version_info >= (3, 14):
        from compression import zstd  # noqa: PLC0415
    else:
        from backports import zstd  # noqa: PLC0415
    return zstd


def _zstd_decoder() -> Decoder:
    zstd = import_zstd()

    def make_member() -> _Member:
        options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
        member: _Member = zstd.ZstdDecompressor(options=options)
        return member

    return _Members("zstd", make_member, zstd.ZstdError)
