"""Reads the daily files of a month for the data set: what repeats comes once.

Most launches of a month differ from another in the timestamp alone (`mirror.events.repeats`). So a
month comes to DuckDB as three files: its launches, mostly distinct ones, its moments, and for each
of its lines the numbers of both, which are their places in their files.

    {"launch": {"version": 5, ...}, "repository": ..., "requested_ref": ...}
    DAY,MICROSECONDS
    MOMENT,LAUNCH           empty for a line that is no launch
"""

import hashlib
import io
from datetime import UTC, date, datetime, timedelta
from functools import lru_cache
from itertools import chain, count
from typing import BinaryIO

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from mirror.dataset.months import MAX_REPORTED_LINES, DayProvenance, OddReport
from mirror.errors import SpecError
from mirror.events.decoder import decode_line, read_blocks
from mirror.events.launch import Launch
from mirror.events.repeats import RepeatDecoder
from mirror.events.spec import MASK, mask, parse_spec

_NO_LAUNCH = b",\n"
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


class _Row(Struct, gc=False):
    """A distinct launch as it is handed to DuckDB, which passes over its timestamp."""

    launch: Launch
    repository: str | None
    requested_ref: str | None


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
    """Reads the daily files of a month, one after the other, and writes those three files."""

    def __init__(self, launches: BinaryIO, moments: BinaryIO, lines: BinaryIO) -> None:
        self.line_count = 0  # blank lines too
        self.days: list[DayProvenance] = []
        # of each daily file the day of the month, its name, and the lines in those before it
        self.files: list[tuple[int, str, int]] = []
        self._launches, self._moments, self._lines = launches, moments, lines
        self._launch_numbers, self._moment_numbers = count(1), count(1)
        self._decoder = RepeatDecoder(self._number_moment, self._number_launch)
        self._encoder = msgspec.json.Encoder()

    def read(self, day: date, name: str, source: BinaryIO) -> DayProvenance:
        """Read a daily file to its end, and return what came of it."""
        self.days.append(read := DayProvenance(day, name, sha256="", rows=0))
        self.files.append((day.day, name, self.line_count))
        self._decoder.forget_moments()
        digest = hashlib.sha256()
        for block in read_blocks(source, digest.update):
            self._lines.write(self._read_block(block))
        read.sha256 = digest.hexdigest()
        return read

    def _read_block(self, block: bytes) -> bytes:
        """Return the numbers of each line of a block."""
        numbers = self._decoder.decode(block)
        if numbers is None:
            return b"".join(map(self._read_line, io.BytesIO(block)))
        self.days[-1].rows += len(numbers[0])
        self.line_count += len(numbers[0])
        return b"".join(chain.from_iterable(zip(*numbers, strict=True)))

    def _read_line(self, line: bytes) -> bytes:
        self.line_count += 1
        day = self.days[-1]
        _, _, lines_before = self.files[-1]
        one = decode_line(line, self.line_count - lines_before)
        if isinstance(one, Launch):
            day.rows += 1
            return self._number_moment(one.timestamp) + self._number_launch(one)
        if one is not None:
            day.odd += 1
            if len(day.reported_lines) < MAX_REPORTED_LINES:
                day.reported_lines.append(OddReport(one.line, one.kind, one.reason))
        return _NO_LAUNCH

    def _number_moment(self, moment: datetime) -> bytes:
        """Write a moment, and return its number with a comma."""
        self._moments.write(
            b"%d,%d\n" % (self.days[-1].date.day, (moment - _EPOCH) // _MICROSECOND)
        )
        return b"%d," % next(self._moment_numbers)

    def _number_launch(self, launch: Launch) -> bytes:
        """Write a launch, and return its number with a newline."""
        repository, ref, masked = describe_spec(launch.provider, launch.spec)
        if masked is not None:
            launch = replace(launch, spec=masked)
        self._launches.write(self._encoder.encode_lines([_Row(launch, repository, ref)]))
        return b"%d\n" % next(self._launch_numbers)
