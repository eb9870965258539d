"""Streams the events of a range of days, one block of lines in memory at a time."""

import warnings
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, Generic, TypeVar, cast

from mirror.errors import UnknownSchemaError, UnrecordedError
from mirror.events.decoder import BlockCutter, Decoded, LaunchDecoder, OddLine, pair_lines
from mirror.events.launch import Launch
from mirror.model import Record
from mirror.progress import Advance, show_nothing, show_reading
from mirror.reading.days import Day, DayCount, DayFiles, describe
from mirror.reading.selection import Selection
from mirror.store.disk import storage_errors
from mirror.text import plural

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T_co = TypeVar("T_co", covariant=True)

_READ_BYTES = 256 * 1024
_LONG_BYTES = 100_000_000
"""What is read within a second or so needs no bar."""


class PartialDayWarning(UserWarning):
    """A day that is still open is among what is read: its count is not its last."""


class Events(Generic[T_co]):
    """The events of a range of days: `for launch in events`, as often as you like.

    Attributes:
        days: the days it is of, ascending.
        given: how many events were given when it was last gone through.
        odd: how many lines were no launch, by kind, when it was last gone through.
    """

    def __init__(
        self,
        files: DayFiles,
        days: Sequence[Day],
        selection: Selection,
        *,
        open_days: bool | None,
        progress: bool | None,
    ) -> None:
        partial = [str(day.date) for day in days if not day.is_final]
        if partial and open_days is None:
            warnings.warn(
                f"{', '.join(partial)}: not final yet, there will be more events; say "
                "open_days=False to leave out such days, open_days=True to have them unwarned",
                PartialDayWarning,
                stacklevel=3,
            )
        self.days: Sequence[Day] = [day for day in days if day.is_final or open_days is not False]
        self.given = 0
        self.odd: Counter[str] = Counter()
        self._files = files
        self._selection = selection
        self._progress = progress

    def __iter__(self) -> Iterator[T_co]:
        # a generator's own loop would cost a twentieth of the time that all the rest takes
        return chain.from_iterable(cast("Sequence[T_co]", block) for _, block in self._blocks())

    def per_day(self) -> list[DayCount]:
        """Return how many launches each of the days has."""
        counts = dict.fromkeys((day.date for day in self.days), 0)
        for day, block in self._blocks():
            counts[day.date] += sum(isinstance(one, Launch) for one in block)
        return [DayCount(day.date, counts[day.date], day.is_final) for day in self.days]

    def launch_blocks(self) -> Iterator[list[Launch]]:
        """Yield the launches in lists of some hundreds: for whoever has their own loop."""
        for _, block in self._blocks():
            yield [one for one in block if isinstance(one, Launch)]

    def lines(self) -> Iterator[bytes]:
        """Yield the lines of upstream's files that the events stand on, with a newline, in chunks.

        Byte for byte as upstream wrote them, those given raw too.
        """
        for _, block, decoded in self._read():
            lines = self._selection.choose_lines(block, decoded)
            self.given += lines.count(b"\n")
            yield lines

    def to_arrow(self) -> "pa.Table":
        """Return the launches as an Arrow table."""
        from mirror.reading import tables  # noqa: PLC0415 - for whoever wants tables

        return tables.make_arrow(self.launch_blocks())

    def to_pandas(self) -> "pd.DataFrame":
        """Return the launches as a pandas frame."""
        from mirror.reading import tables  # noqa: PLC0415 - for whoever wants tables

        return tables.make_pandas(self.launch_blocks())

    def to_polars(self) -> "pl.DataFrame":
        """Return the launches as a polars frame."""
        from mirror.reading import tables  # noqa: PLC0415 - for whoever wants tables

        return tables.make_polars(self.launch_blocks())

    def describe(self) -> str:
        """Return days and choice in a few words."""
        return f"{describe(self.days)}{self._selection.describe()}"

    def __repr__(self) -> str:
        return f"Events({self.describe()})"

    def _blocks(self) -> Iterator[tuple[Day, Sequence[Launch | OddLine]]]:
        choose_launches = self._selection.choose_launches
        for day, _, decoded in self._read():
            chosen = choose_launches(decoded)
            self.given += len(chosen)
            yield day, chosen

    def _read(self) -> Iterator[tuple[Day, bytes, Decoded]]:
        """Yield the days' blocks of lines with what they hold; start counting anew.

        Raises:
            UnknownSchemaError: a line is no launch of a known version, and that is not allowed;
                raised when all before it has been given.
            UnrecordedError: a file is not the one on record.
            StorageError: a file cannot be read.
        """
        self.given = 0
        self.odd.clear()
        total_bytes = sum(day.size for day in self.days)
        wanted = total_bytes >= _LONG_BYTES if self._progress is None else self._progress
        with show_reading(total_bytes) if wanted else nullcontext(show_nothing) as advance:
            for day, file, record in self._files.open_each(self.days):
                for block, decoded in self._decode(file, record, advance):
                    yield day, block, decoded

    def _decode(
        self, file: BinaryIO, record: Record, advance: Advance
    ) -> Iterator[tuple[bytes, Decoded]]:
        """Yield the blocks of a day's file, whose odd lines are counted."""
        decoder, found = LaunchDecoder(record.name), 0
        for block in _cut(file, advance):
            odd_before = decoder.odd_lines
            decoded = decoder.decode(block)
            found += len(decoded)
            if decoder.odd_lines != odd_before:
                yield from self._note_odd(block, decoded)
            else:
                yield block, decoded
        advance(1, 0)
        # by the file's position: of a line that is too long the blocks do not hold all
        size = file.tell()
        if (found, size) != (record.lines, record.size):
            raise UnrecordedError(
                f"{record.name} has {plural(found, 'line')} in {size:,} bytes, and "
                f"{record.lines:,} in {record.size:,} on record",
                hint="see `binder-mirror verify`",
            )

    def _note_odd(self, block: bytes, decoded: Decoded) -> Iterator[tuple[bytes, Decoded]]:
        for number, one in enumerate(decoded):
            if isinstance(one, Launch):
                continue
            self.odd[one.kind.value] += 1
            if self._selection.unknown == "raise":
                # all that stands before it is given first
                before = islice(pair_lines(block, decoded), number)
                yield b"".join(line + b"\n" for line, _ in before), decoded[:number]
                raise UnknownSchemaError(
                    f"{one.file}, line {one.line}: {one.reason}",
                    hint='unknown="skip" passes over such lines, "raw" gives them as they are',
                )
        yield block, decoded


def _cut(file: BinaryIO, advance: Advance) -> Iterator[bytes]:
    cutter = BlockCutter()
    with storage_errors(Path(str(file.name))):
        while chunk := file.read(_READ_BYTES):
            advance(0, len(chunk))
            yield from cutter.feed(chunk)
    if rest := cutter.finish():
        yield rest
