"""Tells a daily file from what a host without one sends all the same, by a launch of its day. Pure.

Some hosts answer 200 to every name, with an error, a page or some other file as the body.
"""

from collections.abc import Callable, Iterator
from datetime import date

from mirror.events.decoder import MAX_LINE_BYTES, cut_blocks, decode_blocks
from mirror.events.launch import Launch

MAX_LINES = 200_000
"""Lines looked at, twice as many as a day has ever had: odd ones take time."""


class LaunchWatch:
    """Watches a body pass by for the first launch of its day."""

    def __init__(self, day: date) -> None:
        self._day = day
        self._rest = b""
        self._lines = 0
        self._found = False

    def over(self, feed: Callable[[bytes], Iterator[bytes]]) -> Callable[[bytes], Iterator[bytes]]:
        """Return what a body passes through, watched."""

        def watched(chunk: bytes) -> Iterator[bytes]:
            for piece in feed(chunk):
                self._look(piece)
                yield piece

        return watched

    def finish(self) -> bool:
        """Return whether there was one, once the body has come to its end."""
        self._look(b"\n")
        return self._found

    def _look(self, piece: bytes) -> None:
        is_long = len(self._rest) > MAX_LINE_BYTES and b"\n" not in piece
        if self._found or is_long or self._lines > MAX_LINES:
            return
        whole, newline, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest[: MAX_LINE_BYTES + 1]
        for block, decoded, _ in decode_blocks(cut_blocks([whole + newline])):
            self._lines += block.count(b"\n")
            if any(
                isinstance(one, Launch) and one.timestamp.date() == self._day for one in decoded
            ):
                self._found = True
                return
