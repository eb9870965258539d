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
from typing import Any

from mirror.errors import Failure, UpstreamError
from mirror.text import shown

PIECE_BYTES = 256 * 1024
"""Most that one step of decoding yields: what a bomb can make us hold at a time."""

_GZIP_WBITS = 16 + zlib.MAX_WBITS
_ZSTD_WINDOW_LOG = 23


class Decoder:
    """Undoes one content coding.

    Args:
        encoding: the `Content-Encoding`; empty or "identity" for none.

    Raises:
        UpstreamError: a coding that we never asked for and do not know.
    """

    def __init__(self, encoding: str) -> None:
        self._coding = encoding.strip().lower()
        self._make_member: Callable[[], Any] | None = None
        self._damage: type[Exception] = zlib.error
        if self._coding in ("gzip", "x-gzip"):
            self._coding, self._make_member = "gzip", _GzipMember
        elif self._coding == "zstd":
            zstd = import_zstd()
            options = {int(zstd.DecompressionParameter.window_log_max): _ZSTD_WINDOW_LOG}
            self._make_member = lambda: zstd.ZstdDecompressor(options=options)
            self._damage = zstd.ZstdError
        elif self._coding not in ("", "identity"):
            problem = f"unknown Content-Encoding {shown(encoding, 40)}"
            raise UpstreamError(problem, failure=Failure.ENCODING, transient=False)
        self._member: Any = self._make_member() if self._make_member else None

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Yield the decoded bytes of `chunk` in pieces of at most `PIECE_BYTES`.

        Raises:
            UpstreamError: it is damaged.
        """
        if self._make_member is None:
            yield chunk
            return
        while chunk:
            if self._member.eof:
                self._member = self._make_member()
            yield from self._decompress(chunk)
            chunk = self._member.unused_data

    def finish(self) -> None:
        """Check that the coding has ended; raises UpstreamError where it has not."""
        # an empty body is not a valid stream either
        if self._member is not None and not self._member.eof:
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
