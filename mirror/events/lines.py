"""Blocks of whole lines cut from a body as it passes, and what is to be said of a block. Pure.

Whoever decodes lines does it a block at a time, for that is fast, and goes by halves to the single
line where something in a block is odd.
"""

from collections.abc import Iterator

import msgspec

BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for what is no JSON, or not of its type."""
BLOCK_BYTES = 64 * 1024
"""Lines decoded at a time: small enough that the processor's cache holds text and objects."""
MAX_LINE_BYTES = 1024 * 1024
"""A longer line is no event, and not kept in memory."""


class BlockCutter:
    """Fed a body in any division, gives blocks of whole lines.

    Of a line longer than `MAX_LINE_BYTES` that is spread over chunks the end is dropped: it comes
    out too long all the same, and takes no more memory than that.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, chunk: bytes) -> Iterator[bytes]:
        """Take the next bytes of the body; each block ends with a newline."""
        start = 0
        while start < len(chunk):
            end = chunk.rfind(b"\n", start, start + BLOCK_BYTES) + 1
            # a line longer than a block: up to its end, or all there is
            end = end or chunk.find(b"\n", start) + 1
            if not end:
                room = MAX_LINE_BYTES + 1 - len(self._rest)
                self._rest += chunk[start : start + room]
                return
            if len(self._rest) > MAX_LINE_BYTES:
                start = chunk.find(b"\n", start)
            block, self._rest = self._rest + chunk[start:end], b""
            start = end
            yield block

    def finish(self) -> bytes:
        """Return the unfinished last line; nothing where there is none."""
        rest, self._rest = self._rest, b""
        return rest


def halve(block: bytes) -> tuple[bytes, bytes] | None:
    """Return the two halves of a block, cut between lines; None for a single line."""
    middle = block.find(b"\n", len(block) // 2) + 1
    if middle in (0, len(block)):
        middle = block.rfind(b"\n", 0, len(block) // 2) + 1
    return (block[:middle], block[middle:]) if middle else None
