"""Decodes launches that repeat: what is the same in many lines is decoded once. Pure.

Of one repository by one BinderHub there may be thousands of launches a day, whose lines differ in
the timestamp alone, which is rounded down to the minute. So the lines of a block are cut, by their
position only, into the part with the timestamp and the rest, and both are looked up among those
that have come before. What makes it safe is the look at each new one:

- the part must be the key "timestamp" with one string that is a moment in UTC;
- the rest must have no other such key, and must make a launch with any timestamp put in its place.
  Then it makes one with each.

So each line is what `decode_line` makes of it. A block in which a line is cut wrong, is no launch,
or has an escape, which may stand for anything, is left to the caller, to be decoded line by line.
"""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from typing import Any, Generic, TypeVar

import msgspec

from mirror.errors import BAD_JSON
from mirror.events.decoder import MAX_LINE_BYTES, launch_decoder
from mirror.events.launch import Launch

KNOWN_BYTES = 16 * 1024 * 1024  # what is remembered of lines, at most, but for the block at hand
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""The timestamp of a launch that stands for all with the same rest."""
_ANY_TEXT = b'"2000-01-01T00:00:00+00:00"'
_PART_BYTES = 100  # what a part takes beside its own length, about
_KEY = b'"timestamp"'
_BEFORE = _KEY + b": "
_TRAILING = re.compile(rb', "version": [1-9]\}\n')
_TRAILING_LENGTH = len(b', "version": 5}\n')

M = TypeVar("M")
L = TypeVar("L")
T = TypeVar("T")

_moment_decoder = msgspec.json.Decoder(datetime)


class UnlikeError(Exception):
    """A line is cut wrong, or is no launch, or cannot be judged without its timestamp."""


class _Frame:
    """Where lines are cut, by what stands before and after the timestamp in the part that has it.

    `after` is empty where the part comes first in the line.
    """

    def __init__(self, before: bytes, after: bytes) -> None:
        begin, end = len(before), len(before) + len(_ANY_TEXT)
        length = end + len(after)
        self.part = itemgetter(slice(-length, None) if after else slice(length))
        self.rest = itemgetter(slice(-length) if after else slice(length, None))
        self._before, self._after = before, after
        self._text = slice(begin, end)
        self._any = before + _ANY_TEXT + after

    def read_moment(self, part: bytes) -> datetime:
        if not (part.startswith(self._before) and part.endswith(self._after)):
            raise UnlikeError
        moment = _moment_decoder.decode(part[self._text])
        if moment.tzinfo is not UTC:
            raise UnlikeError
        return moment

    def read_launch(self, rest: bytes) -> Launch:
        """Return the launch at `ANY_TIME` with the rest of a line."""
        # twice as fast as `in`
        if rest.find(_KEY) >= 0:
            raise UnlikeError
        if not rest.isascii():
            rest.decode()
        return launch_decoder.decode(rest + self._any if self._after else self._any + rest)


_make_frame = cache(_Frame)


def _find_frame(line: bytes) -> _Frame | None:
    if line.startswith(b"{" + _BEFORE):
        return _make_frame(b"{" + _BEFORE, b"")
    end = line[-_TRAILING_LENGTH:]
    return _make_frame(_BEFORE, end) if _TRAILING.fullmatch(end) else None


class _Known(dict[bytes, T]):
    """What has been made of parts of lines; each is read and made when it is first asked for."""

    __slots__ = ("_make", "_read", "bytes")

    def __init__(self, read: Callable[[bytes], Any], make: Callable[[Any], T]) -> None:
        super().__init__()
        self._read = read
        self._make = make
        self.bytes = 0
        """What it takes, about."""

    def __missing__(self, part: bytes) -> T:
        self[part] = made = self._make(self._read(part))
        self.bytes += len(part) + _PART_BYTES
        return made

    def forget(self) -> None:
        self.clear()
        self.bytes = 0


class RepeatDecoder(Generic[M, L]):
    """Decodes blocks of launches into what the caller makes of their timestamps and of the rest.

    To what makes something of a launch its timestamp is of no account: it is `ANY_TIME`. By an
    UnlikeError it says that it is not, of this one.
    """

    def __init__(
        self, of_moment: Callable[[datetime], M], of_launch: Callable[[Launch], L]
    ) -> None:
        self._of_moment = of_moment
        self._of_launch = of_launch
        self._known: dict[_Frame, tuple[_Known[M], _Known[L]]] = {}

    def decode(self, block: bytes) -> tuple[list[M], list[L]] | None:
        """Return what is made of each line's timestamp, and of its rest, in the order of the lines.

        None where a line is of another form, or no launch: nothing is known of the block then.
        """
        # in a longer one there may be a line that is too long
        lines = io.BytesIO(block).readlines() if len(block) <= MAX_LINE_BYTES else []
        frame = _find_frame(lines[0]) if lines else None
        if frame is None or b"\\" in block:
            return None
        moments, launches = self._recall(frame)
        try:
            return (
                list(map(moments.__getitem__, map(frame.part, lines))),
                list(map(launches.__getitem__, map(frame.rest, lines))),
            )
        except (UnlikeError, *BAD_JSON):
            return None

    def pair(self, block: bytes) -> list[tuple[M, L]] | None:
        """Return line by line what `decode` does."""
        parts = self.decode(block)
        return None if parts is None else list(zip(*parts, strict=True))

    def forget_moments(self) -> None:
        """Forget the timestamps: what is made of equal ones is made anew."""
        for moments, _ in self._known.values():
            moments.forget()

    def _recall(self, frame: _Frame) -> tuple[_Known[M], _Known[L]]:
        taken = sum(moments.bytes + launches.bytes for moments, launches in self._known.values())
        if taken > KNOWN_BYTES:
            self._known.clear()
        if frame not in self._known:
            self._known[frame] = (
                _Known(frame.read_moment, self._of_moment),
                _Known(frame.read_launch, self._of_launch),
            )
        return self._known[frame]
