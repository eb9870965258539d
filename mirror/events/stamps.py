"""Lines parted into timestamp and rest. Pure.

The launches of a day repeat: of one repository by one BinderHub there may be thousands, and their
lines differ in the timestamp alone, which is rounded down to the minute. Who parts the lines of a
block has few timestamps and few rests to look into instead of all lines. Parting is by position
only; what makes it safe is looked into for each distinct timestamp here, and for each distinct rest
by `Frame.without_timestamp` and a decoder.
"""

import io
import re
from functools import cache
from operator import itemgetter
from typing import NamedTuple

_FIELD = b'"timestamp": "'
_LENGTH = len("2018-11-03T00:00:00+00:00")
_TIMESTAMP = rb"[0-9T:.+-]{%d}" % _LENGTH
_FRAMES = (
    re.compile(rb'(\{%b)%b(")' % (_FIELD, _TIMESTAMP)),
    re.compile(rb'()%b(", "version": [1-9]\}\n)' % _TIMESTAMP),
)
"""Of lines whose fields stand as in the schema, and by alphabet."""


class Frame(NamedTuple):
    """What stands around the timestamp in the part of a line that has it."""

    before: bytes
    after: bytes

    def timestamp(self, stamp: bytes) -> str:
        """Return the timestamp of such a part."""
        return stamp[len(self.before) : -len(self.after)].decode()

    def without_timestamp(self, rest: bytes) -> bytes:
        """Return what is left of a line as an event that has no timestamp.

        Where this is one JSON object with other fields, none of them a timestamp, each line of this
        rest is that event with the line's timestamp. Else, as where nothing is returned, nothing is
        known of these lines.

        Args:
            rest: a line but for its timestamp's part.
        """
        # The comma goes with the field; without it there was no JSON. Where the field comes last
        # but one it is no part of a string, or "version" would stand outside of any.
        if self.before:
            return b"{" + rest[2:] if rest.startswith(b", ") else b""
        comma = b", " + _FIELD
        return rest[: -len(comma)] + self.after[1:] if rest.endswith(comma) else b""


class Parted(NamedTuple):
    """The lines of a block, in their order, each as two parts."""

    frame: Frame
    stamps: list[bytes]
    """The part with the timestamp. They sort as the timestamps do."""
    rests: list[bytes]


def part(block: bytes) -> Parted | None:
    """Part each line of a block at its timestamp.

    Args:
        block: whole lines, at least one.

    Returns:
        The parts; None where a line has its timestamp elsewhere than the first line, or another
        form of it.
    """
    lines = io.BytesIO(block).readlines()
    first = lines[0]
    cut = first.rfind(_FIELD) + len(_FIELD)
    if cut == 1 + len(_FIELD):
        cut += _LENGTH + 1
        stamp, rest = slice(None, cut), slice(cut, None)
    else:
        cut -= len(first)
        stamp, rest = slice(cut, None), slice(None, cut)
    stamps = list(map(itemgetter(stamp), lines))
    frame = _find_frame(stamps[0])
    if frame is None or not all(map(_make_pattern(frame).fullmatch, set(stamps))):
        return None
    return Parted(frame, stamps, list(map(itemgetter(rest), lines)))


def _find_frame(stamp: bytes) -> Frame | None:
    matches = (pattern.fullmatch(stamp) for pattern in _FRAMES)
    return next((Frame(match[1], match[2]) for match in matches if match), None)


@cache
def _make_pattern(frame: Frame) -> re.Pattern[bytes]:
    return re.compile(re.escape(frame.before) + _TIMESTAMP + re.escape(frame.after))
