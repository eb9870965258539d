"""Makes the data set: a month's daily files read, checked, sorted and written as one Parquet file.

The daily files are read by us (`mirror.dataset.rows`), the rows put together and written by
DuckDB (`mirror.dataset.columns`). A month is written aside and put in place whole, so that
readers see the old one or the new one. While DuckDB writes one month the next is read, each within
its own bound of memory.
"""

import hashlib
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from itertools import accumulate, starmap
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from mirror import __version__
from mirror.dataset.columns import (
    MAKE_FILES,
    SCHEMA_VERSION,
    make_launches,
    make_lines,
    make_moments,
    select_month,
)
from mirror.dataset.provenance import (
    FILE_NAME,
    PROVENANCE_KEY,
    DatasetPlan,
    DayProvenance,
    Month,
    MonthBooks,
    Provenance,
    doubted_days,
    list_months,
    load_dataset,
    plan_dataset,
    save_dataset_books,
    scratch_of,
)
from mirror.dataset.rows import DayRead, MonthReader
from mirror.errors import DatasetError
from mirror.model import Record
from mirror.reading.duck import duckdb_errors, literal, open_duckdb, path_literal, require_duckdb
from mirror.store.disk import open_file, publish_durably, storage_errors
from mirror.store.inventory import load_steady_inventory
from mirror.store.layout import DataDir, dataset_lock

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MONTH_MEMORY_BYTES = 768 * 1024**2
"""What making one month may take; more goes to disk."""
_WRITE_OPTIONS = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"

Progress = Callable[[int, int], None]
"""Told, from any thread, of daily files and bytes taken in since the last call."""


class DatasetReport(Struct, frozen=True):
    """What a build came to."""

    built: tuple[str, ...]
    """Months made, by the name of their folder."""
    removed: tuple[str, ...]
    months: int
    """Months that there are now."""
    rows: int
    odd: int
    """Lines that are in no month, for they are no launches that are known."""
    size: int
    """Bytes of all months' files."""
    odd_lines: tuple[str, ...]
    """"FILE:LINE: what is wrong" for the odd lines of the months made; bounded for each day."""
    unread: int = 0
    """Days that were not read, for their files are not those on record."""
    failed: tuple[str, ...] = ()
    """Months that could not be made, each with what is wrong; what there was of them stays."""


class _Stopped(Exception):  # noqa: N818 - not an error: somebody wants us to end
    """The build is to end before its time."""


def keep_in_step(
    data: DataDir,
    *,
    anew: bool = False,
    progress: Progress = lambda _files, _bytes: None,
    stop: threading.Event | None = None,
) -> DatasetReport:
    """Make the months whose days have changed, and take away those of which nothing is held.

    Args:
        data: the data directory; its polls may go on meanwhile.
        anew: whether to make all months.
        progress: told as it goes.
        stop: when set, the build ends before the next file; what was put in place stays.

    Raises:
        ConfigError: DuckDB is not installed.
        LockedError: another process makes the data set.
        StorageError: the disk refused.
    """
    held = load_steady_inventory(data)
    doubted = doubted_days(held)

    def make_plan(inventory: Mapping[str, MonthBooks]) -> DatasetPlan:
        there = list_months(data)
        return plan_dataset(
            held.records.values(), inventory, there=there, doubted=doubted, anew=anew
        )

    plan = make_plan(load_dataset(data))
    if plan.build:
        require_duckdb()
    elif not plan.remove:
        return replace(_report(load_dataset(data), (), ()), unread=len(doubted))
    with storage_errors(data.dataset):
        data.dataset.mkdir(exist_ok=True)
    with dataset_lock(data), _scratch(scratch_of(data)) as scratch:
        # another may have been at work until now
        inventory = load_dataset(data)
        plan = make_plan(inventory)
        builder = _Builder(data, scratch, progress, stop or threading.Event())
        report = _follow(plan, data, inventory, builder)
    return replace(report, unread=len(doubted))


def _follow(
    plan: DatasetPlan, data: DataDir, inventory: dict[str, MonthBooks], builder: "_Builder"
) -> DatasetReport:
    """Make and take away months, and keep the inventory of it."""
    built: list[str] = []
    failed: list[str] = []
    try:
        for month, made in builder.build_all(plan.build):
            if isinstance(made, DatasetError):
                failed.append(f"{month.name}: {made.line()}")
                continue
            inventory[month.name] = made
            built.append(month.name)
            save_dataset_books(data, inventory)
    except _Stopped:
        pass
    for name in plan.remove:
        _remove_month(data, name)
        inventory.pop(name, None)
    save_dataset_books(data, inventory)
    report = _report(inventory, tuple(sorted(built)), plan.remove)
    return replace(report, failed=tuple(failed))


def build_into(
    root: Path, data: DataDir, months: Mapping[Month, tuple[Record, ...]], progress: Progress
) -> dict[Month, MonthBooks]:
    """Make months under another folder than the data set's, for one use.

    Raises:
        ConfigError, StorageError, DatasetError: as for `keep_in_step`.
    """
    with _scratch(root / ".unfinished") as scratch:
        builder = _Builder(data, scratch, progress, threading.Event(), root=root)
        made: dict[Month, MonthBooks] = {}
        for month, inventory in builder.build_all(months):
            if isinstance(inventory, DatasetError):
                raise inventory
            made[month] = inventory
        return made


class _Builder:
    """Makes months, two at a time."""

    def __init__(
        self,
        data: DataDir,
        scratch: Path,
        progress: Progress,
        stop: threading.Event,
        *,
        root: Path | None = None,
    ) -> None:
        self._data = data
        self._root = root or data.dataset
        self._scratch = scratch
        self._progress = progress
        self._stop = stop
        self._reading = threading.Lock()
        """Held by who reads daily files: that is Python's work, of which two only take turns."""

    def build_all(
        self, months: Mapping[Month, tuple[Record, ...]]
    ) -> Iterator[tuple[Month, MonthBooks | DatasetError]]:
        """Yield each month once its file is in place, or why it cannot be made."""
        with ExitStack() as stack:
            # one is read while the other is written
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=2))
            # where one fails the others need not be waited for
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            made = pool.map(lambda item: self._try(*item), sorted(months.items()))
            yield from zip(sorted(months), made, strict=True)

    def _try(self, month: Month, days: tuple[Record, ...]) -> MonthBooks | DatasetError:
        """Make a month; one that cannot be made does not keep the others from it."""
        try:
            return self._build(month, days)
        except DatasetError as error:
            return error

    def _build(self, month: Month, days: tuple[Record, ...]) -> MonthBooks:
        with (
            storage_errors(self._scratch),
            TemporaryDirectory(dir=self._scratch, ignore_cleanup_errors=True) as folder,
            duckdb_errors(f"{month.name} of the data set"),
        ):
            files = _Files(Path(folder))
            with self._reading:
                read = self._read(files, days)
            provenance = Provenance(
                SCHEMA_VERSION,
                f"binder-mirror {__version__}",
                tuple(starmap(_make_provenance, zip(days, read, strict=True))),
            )
            with open_duckdb(memory_bytes=MONTH_MEMORY_BYTES, scratch=files.folder) as connection:
                _make_tables(connection, files, days, read)
                _copy_month(connection, files.rows, provenance)
            return self._publish(files.rows, month, provenance)

    def _read(self, files: "_Files", days: tuple[Record, ...]) -> list[DayRead]:
        """Read daily files, and make sure that they are those on record."""
        read: list[DayRead] = []
        with (
            files.launches.open("xb") as launches,
            files.moments.open("xb") as moments,
            files.lines.open("xb") as lines,
        ):
            reader = MonthReader(launches, moments, lines)
            for record in days:
                if self._stop.is_set():
                    raise _Stopped
                path = self._data.archive / record.name
                with storage_errors(path), open_file(path) as source:
                    read.append(reader.read(record.date.day, source))
                _require_unchanged(path, record)
                self._progress(1, record.size)
        return read

    def _publish(self, made: Path, month: Month, provenance: Provenance) -> MonthBooks:
        """Put a month's file in place."""
        target = month.path(self._root)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with made.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            stats = made.stat()
        publish_durably(made, target)
        return MonthBooks(stats.st_size, stats.st_mtime_ns, sha256, provenance)


class _Files:
    """What is unfinished of a month."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.launches = folder / "launches.jsonl"
        self.moments = folder / "moments.csv"
        self.lines = folder / "lines.csv"
        self.rows = folder / FILE_NAME


def _make_provenance(record: Record, read: DayRead) -> DayProvenance:
    """Return what came of a daily file.

    Raises:
        DatasetError: it is not the one on record.
    """
    if read.sha256 != record.sha256:
        raise DatasetError(
            f"{record.name} has not its recorded SHA-256",
            hint="`binder-mirror verify --repair` puts it right",
        )
    if read.rows + read.odd != record.lines:
        raise DatasetError(
            f"{record.name} has {record.lines:,} lines on record, but {read.rows:,} launches "
            f"and {read.odd:,} odd lines were read",
            hint="`binder-mirror verify` looks at the file",
        )
    return DayProvenance(record.date, record.name, record.sha256, read.rows, read.odd, read.told)


def _make_tables(
    connection: "DuckDBPyConnection",
    files: _Files,
    days: tuple[Record, ...],
    read: list[DayRead],
) -> None:
    lines_before = [0, *accumulate(one.lines for one in read)][: len(read)]
    connection.execute(
        MAKE_FILES, [[day.date.day for day in days], [day.name for day in days], lines_before]
    )
    for sql in (
        *make_launches(path_literal(files.launches)),
        *make_moments(path_literal(files.moments)),
        make_lines(path_literal(files.lines)),
    ):
        connection.execute(sql)


def _copy_month(connection: "DuckDBPyConnection", target: Path, provenance: Provenance) -> None:
    """Write a month's rows, and make sure that they are all there.

    Raises:
        DatasetError: they are not.
    """
    metadata = literal(msgspec.json.encode(provenance).decode())
    written = connection.execute(
        f"COPY ({select_month()}) TO {literal(str(target))} "
        f"({_WRITE_OPTIONS}, KV_METADATA {{{PROVENANCE_KEY}: {metadata}}})"
    ).fetchone()
    expected = sum(day.rows for day in provenance.days)
    if written != (expected,):
        raise DatasetError(f"{expected:,} launches were read, but not all of them written")


def _require_unchanged(path: Path, record: Record) -> None:
    """Make sure that a file is the one on record, by size and time.

    Raises:
        DatasetError: a poll has replaced it meanwhile.
    """
    with storage_errors(path):
        stats = path.lstat()
    if (stats.st_size, stats.st_mtime_ns) != (record.size, record.mtime_ns):
        raise DatasetError(
            f"{record.name} was replaced while it was read", hint="the next build takes it up"
        )


def _remove_month(data: DataDir, name: str) -> None:
    path = data.dataset / name / FILE_NAME
    with storage_errors(path):
        path.unlink(missing_ok=True)
        for folder in (path.parent, path.parent.parent):
            # another month, or a stranger's file, keeps it
            with suppress(OSError):
                folder.rmdir()


@contextmanager
def _scratch(folder: Path) -> Iterator[Path]:
    """Have a folder for what is unfinished, empty at first and gone in the end."""
    with storage_errors(folder):
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(parents=True)
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _report(
    inventory: Mapping[str, MonthBooks], built: tuple[str, ...], removed: tuple[str, ...]
) -> DatasetReport:
    days = [day for month in inventory.values() for day in month.provenance.days]
    made = [day for name in built for day in inventory[name].provenance.days]
    return DatasetReport(
        built=built,
        removed=removed,
        months=len(inventory),
        rows=sum(day.rows for day in days),
        odd=sum(day.odd for day in days),
        size=sum(month.size for month in inventory.values()),
        odd_lines=tuple(
            f"{day.name}:{one.line}: {one.kind}: {one.reason}" for day in made for one in day.told
        ),
    )
