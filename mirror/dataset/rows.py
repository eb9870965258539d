"""Daily files read for the data set: what repeats in their lines is looked into once.

Most launches of a month differ from another in the timestamp alone (`mirror.events.stamps`). So a
month comes to DuckDB as three files: its distinct launches, its moments, and for each of its lines
the numbers of both, which are their places in their files.

    {"launch": {"version": 5, ...}, "repository": ..., "requested_ref": ...}
    DAY,MICROSECONDS
    MOMENT,LAUNCH           empty for a line that is no launch

What cannot be parted that way, or is no whole launch, is read line by line by the one decoder of
launches, with the same outcome.
"""

import hashlib
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain
from typing import Any, BinaryIO

import msgspec
from msgspec import UNSET, Struct
from msgspec.structs import astuple, fields, replace

from mirror.dataset.provenance import TOLD_LINES, OddReport
from mirror.dataset.spec_columns import describe_spec
from mirror.events.launch import Launch, LaunchDecoder, OddLine
from mirror.events.lines import BAD_JSON, MAX_LINE_BYTES, BlockCutter
from mirror.events.stamps import Frame, Parted, part
from mirror.store.disk import READ_BYTES

KNOWN_BYTES = 16 * 1024 * 1024
"""What is remembered of lines, at most, but for the block at hand."""
KNOWN_STAMPS = 100_000
"""How many are remembered, at most, but for the block at hand; a day has 1,440 minutes."""
_NO_LAUNCH = b",\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_Untimed: Any = msgspec.defstruct(
    "_Untimed",
    [(one.name, one.type, one.default) for one in fields(Launch) if one.name != "timestamp"]
    # left out when it is written; another value tells that there is one where none should be
    + [("timestamp", Any, UNSET)],
    frozen=True,
    gc=False,
)
"""A launch but for its timestamp."""
_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(_Untimed)


class _Row(Struct, gc=False):
    """A distinct launch as it is handed to DuckDB."""

    launch: Any
    repository: str | None
    requested_ref: str | None


class DayRead(Struct, frozen=True):
    """What came of a daily file."""

    sha256: str
    """Of what was read."""

    rows: int
    lines: int
    """Blank ones too."""
    odd: int
    told: tuple[OddReport, ...]
    """The first of the odd lines."""


class _Unlike(Exception):  # noqa: N818 - no error: such lines are looked at one by one
    """A line may be no whole launch."""


class _Launches:
    """Numbers distinct launches, and writes each as it comes first.

    Args:
        target: where they are written.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._encoder = msgspec.json.Encoder()
        self._count = 0
        self._known: dict[Any, bytes] = {}
        self._rests: dict[Frame, _Rests] = {}
        self._bytes = 0

    def number(self, launch: Any) -> bytes:
        """Return the number of a launch without a timestamp, with a newline."""
        text = self._known.get(launch)
        if text is None:
            self._count += 1
            self._known[launch] = text = b"%d\n" % self._count
            repository, ref, shown = describe_spec(launch.provider, launch.spec)
            if shown is not None:
                launch = replace(launch, spec=shown)
            row = self._encoder.encode(_Row(launch, repository, ref))
            self._target.write(row + b"\n")
            self._bytes += len(row)
        return text

    def rests_of(self, frame: Frame) -> "_Rests":
        """Return the numbers by the rest of a line that is parted in this frame."""
        if self._bytes > KNOWN_BYTES:
            self._known.clear()
            self._rests.clear()
            self._bytes = 0
        if frame not in self._rests:
            self._rests[frame] = _Rests(frame, self)
        return self._rests[frame]

    def remember(self, size_bytes: int) -> None:
        """Take into account that so much is remembered of lines."""
        self._bytes += size_bytes


class _Rests(dict[bytes, bytes]):
    """The numbers of launches by the rest of their line, looked into once."""

    def __init__(self, frame: Frame, launches: _Launches) -> None:
        super().__init__()
        self._frame = frame
        self._launches = launches

    def __missing__(self, rest: bytes) -> bytes:
        try:
            launch = _decoder.decode(self._frame.without_timestamp(rest))
        except BAD_JSON:
            raise _Unlike from None
        if launch.timestamp is not UNSET:
            raise _Unlike
        self[rest] = number = self._launches.number(launch)
        self._launches.remember(len(rest))
        return number


class _Moments:
    """Numbers moments, and writes each.

    Args:
        target: where they are written.
    """

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._count = 0
        self._day = 0
        self._stamps: dict[Frame, _Stamps] = {}

    def begin(self, day: int) -> None:
        """Begin a daily file."""
        self._day = day
        self._stamps.clear()

    def number(self, moment: datetime) -> bytes:
        """Return the number of a moment, with a comma."""
        self._count += 1
        self._target.write(b"%d,%d\n" % (self._day, (moment - _EPOCH) // _MICROSECOND))
        return b"%d," % self._count

    def stamps_of(self, frame: Frame) -> "_Stamps":
        """Return the numbers by the part of a line with the timestamp, parted in this frame."""
        stamps = self._stamps.get(frame)
        if stamps is None or len(stamps) > KNOWN_STAMPS:
            stamps = self._stamps[frame] = _Stamps(frame, self)
        return stamps


class _Stamps(dict[bytes, bytes]):
    """The numbers of moments by the part of a line with the timestamp, looked into once."""

    def __init__(self, frame: Frame, moments: _Moments) -> None:
        super().__init__()
        self._frame = frame
        self._moments = moments

    def __missing__(self, stamp: bytes) -> bytes:
        try:
            moment = msgspec.convert(self._frame.timestamp(stamp), datetime)
        except msgspec.ValidationError:
            raise _Unlike from None
        if moment.tzinfo is not UTC:
            raise _Unlike
        self[stamp] = number = self._moments.number(moment)
        return number


class MonthReader:
    """Reads the daily files of a month.

    Args:
        launches: where the distinct launches are written.
        moments: where the moments are written.
        lines: where the numbers of each line are written.
    """

    def __init__(self, launches: BinaryIO, moments: BinaryIO, lines: BinaryIO) -> None:
        self._launches = _Launches(launches)
        self._moments = _Moments(moments)
        self._target = lines

    def read(self, day: int, source: BinaryIO) -> DayRead:
        """Read a daily file to its end.

        Args:
            day: its day of the month.
            source: the file.
        """
        self._moments.begin(day)
        reading, digest = _DayReader(self._launches, self._moments), hashlib.sha256()
        for block in _blocks(source, digest.update):
            self._target.write(reading.read(block))
        return DayRead(
            digest.hexdigest(), reading.rows, reading.lines, reading.odd, tuple(reading.told)
        )


class _DayReader:
    """Reads the lines of one daily file, block by block."""

    def __init__(self, launches: _Launches, moments: _Moments) -> None:
        self.rows = self.lines = self.odd = 0
        self.told: list[OddReport] = []
        self._launches = launches
        self._moments = moments

    def read(self, block: bytes) -> bytes:
        """Return the numbers of each line of a block."""
        # in a longer one there may be a line that is too long
        parted = part(block) if len(block) <= MAX_LINE_BYTES else None
        if parted is not None:
            try:
                numbers = self._read_parted(parted)
            except _Unlike:
                pass
            else:
                self.rows += len(parted.rests)
                self.lines += len(parted.rests)
                return numbers
        return self._read_lines(block)

    def _read_parted(self, parted: Parted) -> bytes:
        moments = map(self._moments.stamps_of(parted.frame).__getitem__, parted.stamps)
        launches = map(self._launches.rests_of(parted.frame).__getitem__, parted.rests)
        return b"".join(chain.from_iterable(zip(moments, launches, strict=True)))

    def _read_lines(self, block: bytes) -> bytes:
        lines = block.removesuffix(b"\n").split(b"\n")
        numbers = [_NO_LAUNCH] * len(lines)
        for place, one in _decode_lines(block, lines):
            if isinstance(one, Launch):
                launch = self._launches.number(_Untimed(*astuple(one)[1:]))
                numbers[place] = self._moments.number(one.timestamp) + launch
                self.rows += 1
            else:
                self.odd += 1
                if len(self.told) < TOLD_LINES:
                    self.told.append(OddReport(self.lines + place + 1, one.kind, one.reason))
        self.lines += len(lines)
        return b"".join(numbers)


def _blocks(source: BinaryIO, note: Callable[[bytes], object]) -> Iterator[bytes]:
    cutter = BlockCutter()
    while chunk := source.read(READ_BYTES):
        note(chunk)
        yield from cutter.feed(chunk)
    if rest := cutter.finish():
        yield rest


def _decode_lines(block: bytes, lines: list[bytes]) -> Iterator[tuple[int, Launch | OddLine]]:
    """Yield what the lines of a block hold, each with its place among them; nothing of blank ones.

    Args:
        block: whole lines.
        lines: the same, one by one.
    """
    decoded = LaunchDecoder().decode(block)
    if len(decoded) == len(lines):
        yield from enumerate(decoded)
        return
    # blank lines leave no trace: which line is which can only be told one by one
    for place, line in enumerate(lines):
        for one in LaunchDecoder().decode(line):
            yield place, one
