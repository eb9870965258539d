r"""Takes in one body: wire bytes to published bytes, with the evidence for a judgement.

Wire bytes pass through once: digested as they are, where upstream offers digests of an encoded
body; decoded; scanned, which digests and counts what is published; and handed on. The evidence
says what was seen, and which of the offered digests are right: what to make of it is the judge's
business (`mirror.archive.judge`). It is fed, and runs on whatever thread feeds it.

Chunks may end anywhere. All that is remembered between two of them is whether the line so far is
blank and whether a line has just ended. Lines are JSON Lines (https://jsonlines.org): ended by
`\n`; a last line without one counts, a blank line does not. Most chunks have no blank line and are
counted by the standard library at once; only one that has is gone through line by line.
"""

import hashlib
import io
from collections.abc import Iterable, Iterator

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.coding import Decoder
from mirror.archive.headers import ReplyMeta
from mirror.errors import Failure, UpstreamError
from mirror.text import human_bytes

_IDENTITY = ("", "identity")
_BLANKS = b" \t\r"
_BEFORE_TEXT = b"\xef\xbb\xbf \t\r\n"


class Evidence(Struct, frozen=True, gc=False):
    """What was seen of one complete body."""

    size: int
    """Bytes, decoded."""
    lines: int
    ends_with_newline: bool
    """True for an empty body too: nothing is unfinished."""
    digests: dict[str, str]
    """Hex digest by algorithm, of the decoded bytes: those that are published."""
    is_page: bool = False
    """Whether it begins like a web page, with "<": a sign-in or error page."""
    right: tuple[str, ...] = ()
    """Headers whose digest is right."""
    wrong: tuple[str, ...] = ()
    """Headers whose digest is wrong."""

    @property
    def sha256(self) -> str:
        """The digest that goes on record."""
        return self.digests["sha256"]


class Scanner:
    """Counts lines and bytes of a body and digests it as it passes.

    Args:
        algorithms: names as hashlib knows them.
        max_bytes: the cap; one byte more and `feed` raises.
    """

    def __init__(self, algorithms: Iterable[str] = ("sha256",), *, max_bytes: int) -> None:
        self._hashes = {name: hashlib.new(name, usedforsecurity=False) for name in algorithms}
        self._max_bytes = max_bytes
        self._size = 0
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
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise UpstreamError(
                f"the body is larger than {human_bytes(self._max_bytes)}",
                hint="raise http.max_file_size if that is right",
                failure=Failure.TOO_LARGE,
                transient=False,
            )
        for digest in self._hashes.values():
            digest.update(chunk)
        self._count(chunk)

    def finish(self) -> Evidence:
        """Return what was seen, a last line without newline counted."""
        return Evidence(
            size=self._size,
            lines=self._lines + (not self._line_is_blank),
            ends_with_newline=self._ends_with_newline,
            digests={name: digest.hexdigest() for name, digest in self._hashes.items()},
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
    """One body on its way from the wire to a file.

    Args:
        meta: the answer's headers; they say how the body is coded and what its digests should be.
        max_bytes: the cap for the decoded body.
    """

    def __init__(self, meta: ReplyMeta, *, max_bytes: int) -> None:
        self._decoder = Decoder(meta.encoding)
        self._first = b""
        plain = meta.encoding in _IDENTITY
        self._offered = meta.digests
        if meta.stored_encoding == "gzip" and plain:
            # digests of the stored object are not over the bytes we get
            # (https://cloud.google.com/storage/docs/transcoding)
            stored = ("etag", "x-goog-hash")
            self._offered = tuple(d for d in meta.digests if d.source not in stored)
        wanted = {digest.algorithm for digest in self._offered}
        self._scanner = Scanner({"sha256"} | (wanted if plain else set()), max_bytes=max_bytes)
        self._wire = {
            name: hashlib.new(name, usedforsecurity=False) for name in (set() if plain else wanted)
        }

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take wire bytes, yield the decoded bytes to keep.

        Raises:
            UpstreamError: over the cap, or wrongly encoded.
        """
        for digest in self._wire.values():
            digest.update(chunk)
        for piece in self._decoder.feed(chunk):
            self._scanner.feed(piece)
            self._first = self._first or piece.lstrip(_BEFORE_TEXT)[:1]
            yield piece

    def finish(self) -> Evidence:
        """Return what was seen, once the transfer is complete.

        Raises:
            UpstreamError: the encoded body does not end where it should.
        """
        self._decoder.finish()
        seen = self._scanner.finish()
        # over an encoded body, the digests to compare are those of the wire
        digests = seen.digests | {name: wire.hexdigest() for name, wire in self._wire.items()}
        return replace(
            seen,
            is_page=self._first == b"<",
            right=tuple(d.source for d in self._offered if digests[d.algorithm] == d.value),
            wrong=tuple(d.source for d in self._offered if digests[d.algorithm] != d.value),
        )
