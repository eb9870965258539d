"""Decodes launches that repeat: what is the same in many lines is decoded once. Pure.

Of one repository by one BinderHub there may be thousands of launches a day, whose lines differ in
the timestamp alone, which is rounded down to the minute. So the lines of a block are cut, by their
position only, into the part with the timestamp and the rest, and both are looked up among the parts
that have come before. What makes it safe is the look at each new part:

- the part with the timestamp must have its one form, in UTC and with nothing that ends a string;
- the rest must make a launch with either of two timestamps put in its place, and that launch must
  have this timestamp. Then it has the timestamp of any line with this rest: no other key decides.

So each line is what `decode_line` makes of it, for it has made it. A block in which a line is cut
wrong, or is no launch, is left to the caller, to be decoded line by line.
"""

import io
import re
from collections.abc import Callable
from datetime import UTC, datetime
from functools import cache
from operator import itemgetter
from typing import Generic, TypeVar

import msgspec

from mirror.events.decoder import MAX_LINE_BYTES, decode_launches
from mirror.events.launch import Launch

KNOWN_BYTES = 16 * 1024 * 1024
"""What is remembered of lines, at most, but for the block at hand."""
ANY_TIME = datetime(2000, 1, 1, tzinfo=UTC)
"""The timestamp of a launch that stands for all with the same rest."""
_ANY_TIME, _OTHER_TIME = b"2000-01-01T00:00:00+00:00", b"1999-01-01T00:00:00+00:00"
_TIMES = [ANY_TIME, ANY_TIME.replace(1999)]
_PART_BYTES = 100
"""What a part takes beside its own length, about."""
_TIMESTAMP = rb"[0-9T:-]{19}\+00:00"
_TIMESTAMP_LENGTH = len("2018-11-03T00:00:00+00:00")
_LEADING = b'{"timestamp": "'
_TRAILING = re.compile(rb'", "version": [1-9]\}\n')
_TRAILING_LENGTH = len(b'", "version": 5}\n')

M = TypeVar("M")
L = TypeVar("L")
T = TypeVar("T")


class _UnlikeError(Exception):
    """A line is cut wrong, or is no launch."""


class _Frame:
    """Where lines are cut, by what stands around the timestamp in the part that has it.

    Args:
        before: empty where the timestamp comes last but for the version.
        after: the rest of the part.
    """

    def __init__(self, before: bytes, after: bytes) -> None:
        length = len(before) + _TIMESTAMP_LENGTH + len(after)
        self.part = itemgetter(slice(length) if before else slice(-length, None))
        self.rest = itemgetter(slice(length, None) if before else slice(-length))
        self._is_leading = bool(before)
        self._pattern = re.compile(re.escape(before) + b"(" + _TIMESTAMP + b")" + re.escape(after))
        self._any, self._other = (before + time + after for time in (_ANY_TIME, _OTHER_TIME))

    def read_moment(self, part: bytes) -> datetime:
        """Return the timestamp of a line by the part that has it."""
        match = self._pattern.fullmatch(part)
        try:
            return msgspec.convert(match[1].decode() if match else "", datetime)
        except msgspec.ValidationError:
            raise _UnlikeError from None

    def read_launch(self, rest: bytes) -> Launch:
        """Return the launch at `ANY_TIME` with the rest of a line."""
        two = (
            self._any + rest + self._other + rest
            if self._is_leading
            else rest + self._any + rest + self._other
        )
        launches = decode_launches(two)
        if launches is None or [one.timestamp for one in launches] != _TIMES:
            raise _UnlikeError
        return launches[0]


_make_frame = cache(_Frame)


def _find_frame(line: bytes) -> _Frame | None:
    if line.startswith(_LEADING):
        return _make_frame(_LEADING, b'"')
    end = line[-_TRAILING_LENGTH:]
    return _make_frame(b"", end) if _TRAILING.fullmatch(end) else None


class _Known(dict[bytes, T]):
    """What has been made of parts of lines; each is made when it is first asked for."""

    def __init__(self, make: Callable[[bytes], T]) -> None:
        super().__init__()
        self._make = make
        self.bytes = 0
        """What it takes, about."""

    def __missing__(self, part: bytes) -> T:
        self[part] = made = self._make(part)
        self.bytes += len(part) + _PART_BYTES
        return made

    def forget(self) -> None:
        """Forget all that has been made."""
        self.clear()
        self.bytes = 0


class RepeatDecoder(Generic[M, L]):
    """Decodes blocks of launches into what the caller makes of their timestamps and of the rest.

    Args:
        of_moment: makes something of a timestamp.
        of_launch: makes something of a launch whose timestamp is of no account: it is `ANY_TIME`.
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

        Args:
            block: whole lines.
        """
        # in a longer one there may be a line that is too long
        lines = io.BytesIO(block).readlines() if len(block) <= MAX_LINE_BYTES else []
        frame = _find_frame(lines[0]) if lines else None
        if frame is None:
            return None
        moments, launches = self._recall(frame)
        try:
            return (
                list(map(moments.__getitem__, map(frame.part, lines))),
                list(map(launches.__getitem__, map(frame.rest, lines))),
            )
        except _UnlikeError:
            return None

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
                _Known(lambda part: self._of_moment(frame.read_moment(part))),
                _Known(lambda rest: self._of_launch(frame.read_launch(rest))),
            )
        return self._known[frame]
