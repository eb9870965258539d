"""Reads the daily files of a month for the data set: each distinct launch and moment once.

Most launches of a month differ from another in the timestamp alone (`mirror.events.repeats`). So a
month comes to DuckDB as three files: its distinct launches, its moments, and for each of its lines
the numbers of both, which are their places in their files.

    {"launch": {"version": 5, ...}, "repository": ..., "requested_ref": ...}
    DAY,MICROSECONDS
    MOMENT,LAUNCH           empty for a line that is no launch
"""

import hashlib
import io
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from itertools import chain
from typing import BinaryIO

import msgspec
from msgspec import Struct, field
from msgspec.structs import replace

from mirror.dataset.months import MAX_REPORTED_LINES, OddReport
from mirror.errors import SpecError
from mirror.events.decoder import decode_line
from mirror.events.launch import Launch
from mirror.events.repeats import ANY_TIME, KNOWN_BYTES, RepeatDecoder
from mirror.events.spec import MASK, mask, parse_spec
from mirror.reading.days import read_blocks

_NO_LAUNCH = b",\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Row(Struct, gc=False):
    """A distinct launch as it is handed to DuckDB, which passes over its timestamp."""

    launch: Launch
    repository: str | None
    requested_ref: str | None


class DayRead(Struct):
    """What came of a daily file."""

    sha256: str = ""
    """Of what was read."""
    rows: int = 0
    lines: int = 0
    """Blank ones too."""
    odd: int = 0
    reported_lines: list[OddReport] = field(default_factory=list)
    """The first of the odd lines."""


@lru_cache(maxsize=10_000)
def describe_spec(provider: str, spec: str) -> tuple[str | None, str | None, str | None]:
    """Return key, reference and, where a password is in it, the spec with that masked."""
    try:
        parsed = parse_spec(provider, spec)
    except SpecError:
        masked = mask(spec)
        return None, None, masked if MASK in masked else None
    is_masked = MASK in f"{parsed.repository} {parsed.ref}"
    return parsed.key, parsed.ref, parsed.unparse() if is_masked else None


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
        self._decoder = RepeatDecoder(self._moments.number, self._launches.number)
        self._target = lines

    def read(self, day: int, source: BinaryIO) -> DayRead:
        """Read a daily file to its end.

        Args:
            day: its day of the month.
            source: the file.
        """
        self._moments.day = day
        self._decoder.forget_moments()
        done, digest = DayRead(), hashlib.sha256()
        for block in read_blocks(source, digest.update):
            self._target.write(self._read_block(block, done))
        done.sha256 = digest.hexdigest()
        return done

    def _read_block(self, block: bytes, done: DayRead) -> bytes:
        """Return the numbers of each line of a block."""
        numbers = self._decoder.decode(block)
        if numbers is None:
            return b"".join([self._read_line(line, done) for line in io.BytesIO(block)])
        done.rows += len(numbers[0])
        done.lines += len(numbers[0])
        return b"".join(chain.from_iterable(zip(*numbers, strict=True)))

    def _read_line(self, line: bytes, done: DayRead) -> bytes:
        done.lines += 1
        one = decode_line(line, done.lines)
        if isinstance(one, Launch):
            done.rows += 1
            launch = replace(one, timestamp=ANY_TIME)
            return self._moments.number(one.timestamp) + self._launches.number(launch)
        if one is not None:
            done.odd += 1
            if len(done.reported_lines) < MAX_REPORTED_LINES:
                done.reported_lines.append(OddReport(one.line, one.kind, one.reason))
        return _NO_LAUNCH


class _Launches:
    """Numbers distinct launches, and writes each to `target` as it comes first."""

    def __init__(self, target: BinaryIO) -> None:
        self._target = target
        self._encoder = msgspec.json.Encoder()
        self._count = 0
        self._known: dict[Launch, bytes] = {}
        self._bytes = 0

    def number(self, launch: Launch) -> bytes:
        """Return the number of a launch at `ANY_TIME`, with a newline."""
        text = self._known.get(launch)
        if text is None:
            text = b"%d\n" % self._write(launch)
            if self._bytes > KNOWN_BYTES:
                self._known.clear()
                self._bytes = 0
            self._known[launch] = text
        return text

    def _write(self, launch: Launch) -> int:
        repository, ref, shown = describe_spec(launch.provider, launch.spec)
        if shown is not None:
            launch = replace(launch, spec=shown)
        self._count += 1
        row = _Row(launch, repository, ref)
        self._bytes += self._target.write(self._encoder.encode_lines([row]))
        return self._count


class _Moments:
    """Numbers moments, and writes each to `target`.

    Attributes:
        day: the day of the month whose file is read.
    """

    def __init__(self, target: BinaryIO) -> None:
        self.day = 0
        self._target = target
        self._count = 0

    def number(self, moment: datetime) -> bytes:
        """Return the number of a moment, with a comma."""
        self._count += 1
        self._target.write(b"%d,%d\n" % (self.day, (moment - _EPOCH) // _MICROSECOND))
        return b"%d," % self._count
