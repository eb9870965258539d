"""The reading API: the events of a mirror on this machine, typed and at the decoder's speed.

    from mirror import Archive

    archive = Archive("/srv/binder-archive")
    for launch in archive.events(since=date(2024, 1, 1), open_days=False):
        ...

No lock is taken, and nothing is written but the times that a copy has lost. What is read is what
the inventory says: a file of another size than its record, of another time and digest, or of
another number of lines, is an error and never an answer. A file that is replaced meanwhile is read
to its end as it was. One block of lines is in memory at a time.
"""

import os
import warnings
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import nullcontext
from datetime import UTC, date, datetime, timedelta
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Generic, Literal, TypeVar, Unpack, cast, overload

from mirror.archive.plan import DayRules
from mirror.errors import UnknownSchemaError, UnrecordedError
from mirror.events.decoder import Decoded, OddLine, decode_blocks, pair_lines, read_blocks
from mirror.events.launch import Launch
from mirror.events.repeats import RepeatDecoder
from mirror.model import Record
from mirror.progress import Advance, show_nothing, show_reading
from mirror.reading.days import Day, DayCount, describe, open_days, survey_days
from mirror.reading.selection import AllOptions, Options, Selection, Unknown
from mirror.reading.tables import make_arrow, make_pandas, make_polars
from mirror.store.disk import storage_errors
from mirror.store.layout import DataDir, check_data_dir, default_data_dir, require_mirror
from mirror.text import plural, shown

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T_co = TypeVar("T_co", covariant=True)
M = TypeVar("M")
L = TypeVar("L")

_LONG_BYTES = 100_000_000
"""What is read within a second or so needs no bar."""


class PartialDayWarning(UserWarning):
    """A day that is still open is among what is read: its count is not its last."""


class Archive:
    """The events that a mirror holds.

    Args:
        data_dir: the data directory; where the command would look for it, if not given.
        name_template: what a daily file is called (setting `upstream.name_template`).
        final_after: how long after a day's end upstream is done with it (`schedule.final_after`).
        now: the clock.

    Attributes:
        data: where it is.

    Raises:
        ConfigError: there is no mirror there.

    >>> archive = Archive("demo-data")
    >>> archive
    Archive('demo-data': 3 days from 2024-03-01 to 2024-03-03, 342 events, 99.4 kB)
    >>> [day.events for day in archive.days()]
    [107, 114, 121]
    >>> sum(1 for launch in archive.events(provider="GitHub"))
    320
    """

    def __init__(
        self,
        data_dir: str | os.PathLike[str] | None = None,
        *,
        name_template: str = "events-{date}.jsonl",
        final_after: timedelta = timedelta(hours=8),
        now: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        root = default_data_dir(os.environ) if data_dir is None else Path(data_dir)
        self._shown = shown(str(root), 300)
        data = DataDir(check_data_dir(root).root, DayRules(name_template, final_after))
        require_mirror(data)
        self.data = data
        self._now = now

    def days(self, since: date | None = None, until: date | None = None) -> list[Day]:
        """Return the days that are held, ascending.

        Args:
            since: the first day; None for the first held.
            until: the last day, itself included; None for the last held.

        Raises:
            TypeError: `since` or `until` is no date.
            StorageError, ConfigError: the inventory cannot be read.
        """
        return self._survey(since, until)[0]

    def problems(self, since: date | None = None, until: date | None = None) -> list[str]:
        """Return what keeps days of a range from being read: one line each, none where all is well.

        The arguments and errors are those of `days`.
        """
        return self._survey(since, until)[1]

    @overload
    def events(
        self,
        since: date | None = ...,
        until: date | None = ...,
        *,
        unknown: Literal["raise", "skip"] = ...,
        **options: Unpack[Options],
    ) -> "Events[Launch]": ...
    @overload
    def events(
        self,
        since: date | None = ...,
        until: date | None = ...,
        *,
        unknown: Unknown,
        **options: Unpack[Options],
    ) -> "Events[Launch | OddLine]": ...
    def events(
        self,
        since: date | None = None,
        until: date | None = None,
        *,
        unknown: Unknown = "raise",
        **options: Unpack[Options],
    ) -> "Events[Any]":
        """Return the events of a range of days, to be gone through as often as you like.

        Args:
            since: the first day; None for the first held.
            until: the last day, itself included; None for the last held.
            unknown: what to do about a line that is no launch of a known version: "raise", "skip"
                it, or give it "raw", as an `OddLine`; filters do not apply to it. `odd` counts it.
            options: by keyword; those not given choose everything:

                provider: only launches of this provider, or of one of these.
                origin: only launches by this BinderHub, or by one of these.
                repo: only launches of this repository, or of one of these, in any spelling:
                    "user/repository", an address, a DOI, a key. Launches whose spec is invalid for
                    its provider belong to no repository.
                open_days: whether days that are not final yet belong to it. None: they do, with a
                    `PartialDayWarning`.
                fill_origin: give launches of before 2019-06-12 the origin that was meant,
                    "mybinder.org".
                progress: whether to show a bar; None for long reads on a terminal or in a notebook.

        Raises:
            SpecError: `repo` names no repository.
            UnrecordedError: a day of the range is not on disk as it is on record.
            StorageError, ConfigError: the inventory cannot be read.
        """
        selection = Selection(unknown=unknown, **options)
        days, problems = self._survey(since, until)
        if problems:
            more = f", and {len(problems) - 1} more" if problems[1:] else ""
            raise UnrecordedError(
                f"{problems[0]}{more}", hint="see `binder-mirror verify`, or leave such days out"
            )
        partial = [str(day.date) for day in days if not day.is_final]
        if partial and selection.open_days is None:
            warnings.warn(
                f"{', '.join(partial)}: not final yet, there will be more events; say "
                "open_days=False to leave out such days, open_days=True to have them unwarned",
                PartialDayWarning,
                stacklevel=2,
            )
        wanted = [day for day in days if day.is_final or selection.open_days is not False]
        return Events(self.data, wanted, selection)

    def launches_per_day(
        self, since: date | None = None, until: date | None = None, **options: Unpack[AllOptions]
    ) -> list[DayCount]:
        """Return how many launches each held day has, ascending, days without any too.

        The arguments are those of `events`.

        Raises:
            UnknownSchemaError, UnrecordedError, StorageError, ConfigError: as when reading.
        """
        return self.events(since, until, **options).per_day()

    def to_arrow(
        self, since: date | None = None, until: date | None = None, **options: Unpack[AllOptions]
    ) -> "pa.Table":
        """Return the launches that `events` gives as an Arrow table."""
        return self.events(since, until, **options).to_arrow()

    def to_pandas(
        self, since: date | None = None, until: date | None = None, **options: Unpack[AllOptions]
    ) -> "pd.DataFrame":
        """Return the launches that `events` gives as a pandas frame."""
        return self.events(since, until, **options).to_pandas()

    def to_polars(
        self, since: date | None = None, until: date | None = None, **options: Unpack[AllOptions]
    ) -> "pl.DataFrame":
        """Return the launches that `events` gives as a polars frame."""
        return self.events(since, until, **options).to_polars()

    def _survey(self, since: date | None, until: date | None) -> tuple[list[Day], list[str]]:
        return survey_days(self.data, self._now(), since, until)

    def __repr__(self) -> str:
        days, problems = self._survey(None, None)
        unread = f"; {plural(len(problems), 'day')} not readable" if problems else ""
        return f"Archive({self._shown!r}: {describe(days)}{unread})"


class Events(Generic[T_co]):
    """The events of a range of days: `for launch in events`, as often as you like.

    Attributes:
        days: the days it is of, ascending.
        given: how many events were given when it was last gone through.
        odd: how many lines were no launch, by kind, when it was last gone through.
    """

    def __init__(self, data: DataDir, days: Sequence[Day], selection: Selection) -> None:
        self.days = days
        self.given = 0
        self.odd: Counter[str] = Counter()
        self._data = data
        self._selection = selection

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

    def pairs(
        self, of_moment: Callable[[datetime], M], of_launch: Callable[[Launch], L]
    ) -> Iterator[list[tuple[M, L]]]:
        """Yield the launches in lists of pairs: what is made of a timestamp, and of all the rest.

        What repeats is made once, which is fast (`mirror.events.repeats`): never look at the
        timestamp of a launch to make something of it, and make anything but None.
        """
        wants, choose = self._selection.wants_always, self._selection.choose_launches
        decoder = RepeatDecoder(of_moment, lambda one: of_launch(one) if wants(one) else None)
        blocks: Iterator[tuple[Day, bytes, Any]] = self._read(decoder.pair)
        for _, _, decoded in blocks:
            if decoded and isinstance(decoded[0], tuple):
                pairs = [pair for pair in decoded if pair[1] is not None]
            else:
                chosen = [one for one in choose(decoded) if isinstance(one, Launch)]
                pairs = [(of_moment(one.timestamp), of_launch(one)) for one in chosen]
            self.given += len(pairs)
            yield pairs

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
        return make_arrow(self.pairs)

    def to_pandas(self) -> "pd.DataFrame":
        """Return the launches as a pandas frame."""
        return make_pandas(self.pairs)

    def to_polars(self) -> "pl.DataFrame":
        """Return the launches as a polars frame."""
        return make_polars(self.pairs)

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

    def _read(self, *decode: Callable[[bytes], Any]) -> Iterator[tuple[Day, bytes, Decoded]]:
        """Yield the days' blocks of lines with what they hold; start counting again.

        Where a line that is no launch of a known version is not allowed, the UnknownSchemaError
        comes when all before it has been given.
        """
        self.given = 0
        self.odd.clear()
        total_bytes = sum(day.size for day in self.days)
        is_shown = self._selection.progress
        if is_shown is None:
            is_shown = total_bytes >= _LONG_BYTES
        with show_reading(total_bytes) if is_shown else nullcontext(show_nothing) as advance:
            for day, file, record in open_days(self._data, self.days):
                for block, decoded in self._decode(file, record, advance, *decode):
                    yield day, block, decoded

    def _decode(
        self, file: BinaryIO, record: Record, advance: Advance, *decode: Callable[[bytes], Any]
    ) -> Iterator[tuple[bytes, Decoded]]:
        """Yield the blocks of a day's file, whose odd lines are counted."""
        found = 0
        blocks = read_blocks(file, lambda chunk: advance(0, len(chunk)))
        with storage_errors(Path(str(file.name))):
            for block, decoded, has_odd_lines in decode_blocks(blocks, record.name, *decode):
                found += len(decoded)
                if has_odd_lines:
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
