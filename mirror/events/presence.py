"""Tells a daily file from what a host without one sends all the same, by a launch of its day. Pure.

Some hosts answer 200 to every name, with an error, a page or some other file as the body.
"""

import io
from collections.abc import Callable, Iterator
from datetime import date

from mirror.events.decoder import MAX_LINE_BYTES, decode_blocks, read_blocks
from mirror.events.launch import Launch

MAX_LINES = 200_000
"""Lines looked at, twice as many as a day has ever had: odd ones take time."""


class LaunchWatch:
    """Watches a body pass by for the first launch of its day; stands where what it passes stood.

    Args:
        day: the day.
        feed: what the body passes through.
    """

    def __init__(self, day: date, feed: Callable[[bytes], Iterator[bytes]]) -> None:
        self._day = day
        self._feed = feed
        self._rest = b""
        self._lines = 0
        self._found = False

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        """Pass a piece of the body on."""
        for piece in self._feed(chunk):
            self._look(piece)
            yield piece

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
        self._lines += whole.count(b"\n")
        blocks = decode_blocks(read_blocks(io.BytesIO(whole + newline)))
        launches = (one for _, decoded, _ in blocks for one in decoded if isinstance(one, Launch))
        self._found = any(launch.timestamp.date() == self._day for launch in launches)
