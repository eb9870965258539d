r"""The scanner: fed a body in chunks, it counts lines and bytes and digests them; it never reads.

Chunks may end anywhere. All that is remembered between two of them is whether the line so far is
blank and whether a line has just ended. Lines are JSON Lines (https://jsonlines.org): ended by
`\n`; a last line without one counts, a blank line does not. Most chunks have no blank line and are
counted by the standard library at once; only one that has is gone through line by line.
"""

import hashlib
import io
from collections.abc import Iterable

from msgspec import Struct

from mirror.errors import BodyError, Failure
from mirror.text import human_bytes

_BLANKS = b" \t\r"


class Scan(Struct, frozen=True):
    """What the scanner saw of a whole body."""

    size: int
    lines: int
    ends_with_newline: bool
    """True for an empty body too: nothing is unfinished."""
    digests: dict[str, str]
    """Hex digest by algorithm."""


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
            BodyError: the body is larger than the cap; not transient.
        """
        if not chunk:
            return
        self._size += len(chunk)
        if self._size > self._max_bytes:
            raise BodyError(
                f"the body is larger than {human_bytes(self._max_bytes)}",
                hint="raise http.max_file_size if that is right",
                failure=Failure.TOO_LARGE,
                transient=False,
            )
        for digest in self._hashes.values():
            digest.update(chunk)
        self._count(chunk)

    def finish(self) -> Scan:
        """Return what was seen, a last line without newline counted."""
        return Scan(
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
