"""Makes the data set: a month's daily files read, checked, sorted and written as one Parquet file.

Each step is a query of DuckDB's; Python looks at a line only where a day's findings are not clean,
or where DuckDB's reading does not account for every byte of the file
(`mirror.data.dataset_schema`). A month is written aside and put in place whole, so that readers see
the old one or the new one. Months are made side by side, one a processor, each within its own bound
of memory.
"""

import hashlib
import mmap
import os
import secrets
import shutil
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager, suppress
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mirror import __version__
from mirror.data.dataset import (
    FILE_NAME,
    PROVENANCE_KEY,
    DayProvenance,
    Month,
    MonthBooks,
    OddReport,
    Provenance,
    load_dataset,
    plan_dataset,
    save_dataset_books,
    scratch_of,
)
from mirror.data.dataset_lines import write_decoded
from mirror.data.dataset_schema import (
    RAW_TABLE,
    SCHEMA_VERSION,
    insert_day,
    insert_decoded,
    select_month,
)
from mirror.data.dataset_specs import make_specs
from mirror.data.duck import duckdb_errors, literal, open_duckdb, path_literal, require_duckdb
from mirror.edges.books import load_books
from mirror.edges.disk import open_file, publish_durably, storage_errors
from mirror.edges.findings_worker import inspect_file
from mirror.edges.folder import DataDir, dataset_lock
from mirror.errors import DatasetError
from mirror.model import Record

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

MONTH_MEMORY_BYTES = 768 * 1024**2
"""What making one month may take; more goes to disk."""
_LOGGER_FIELD = b'"python_logger": null'
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


class _Stopped(Exception):  # noqa: N818 - not an error: somebody wants us to end
    """The build is to end before its time."""


def keep_in_step(
    data: DataDir,
    name_template: str,
    *,
    anew: bool = False,
    progress: Progress = lambda _files, _bytes: None,
    stop: threading.Event | None = None,
) -> DatasetReport:
    """Make the months whose days have changed, and take away those of which nothing is held.

    Args:
        data: the data directory; its polls may go on meanwhile.
        name_template: what a daily file is called.
        anew: whether to make all months.
        progress: told as it goes.
        stop: when set, the build ends before the next file; what was put in place stays.

    Raises:
        ConfigError: DuckDB is not installed.
        LockedError: another process makes the data set.
        StorageError: the disk refused.
        DatasetError: a month could not be made.
    """
    records = load_books(data, name_template).records
    plan = plan_dataset(records.values(), load_dataset(data), anew=anew)
    if plan.build:
        require_duckdb()
    elif not plan.remove:
        return _report(load_dataset(data), (), ())
    with storage_errors(data.dataset):
        data.dataset.mkdir(exist_ok=True)
    with dataset_lock(data), _scratch(scratch_of(data)) as scratch:
        # another may have been at work until now
        books = load_dataset(data)
        plan = plan_dataset(records.values(), books, anew=anew)
        builder = _Builder(data, scratch, progress, stop or threading.Event())
        built: list[str] = []
        try:
            for month, made in builder.build_all(plan.build):
                books[month.name] = made
                built.append(month.name)
                save_dataset_books(data, books)
        except _Stopped:
            pass
        for name in plan.remove:
            _remove_month(data, name)
            books.pop(name, None)
        save_dataset_books(data, books)
    return _report(books, tuple(sorted(built)), plan.remove)


def build_into(
    root: Path, data: DataDir, months: Mapping[Month, tuple[Record, ...]], progress: Progress
) -> dict[Month, MonthBooks]:
    """Make months under another folder than the data set's, for one use.

    Raises:
        ConfigError, StorageError, DatasetError: as for `keep_in_step`.
    """
    with _scratch(root / ".unfinished") as scratch:
        builder = _Builder(data, scratch, progress, threading.Event(), root=root)
        return dict(builder.build_all(months))


class _Builder:
    """Makes months, one a processor."""

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

    def build_all(
        self, months: Mapping[Month, tuple[Record, ...]]
    ) -> Iterator[tuple[Month, MonthBooks]]:
        """Yield each month once its file is in place."""
        with ExitStack() as stack:
            pool = stack.enter_context(ThreadPoolExecutor(max_workers=os.cpu_count() or 1))
            # where one fails the others need not be waited for
            stack.callback(pool.shutdown, wait=False, cancel_futures=True)
            made = pool.map(lambda item: self._build(*item), sorted(months.items()))
            yield from zip(sorted(months), made, strict=True)

    def _build(self, month: Month, days: tuple[Record, ...]) -> MonthBooks:
        with (
            open_duckdb(memory_bytes=MONTH_MEMORY_BYTES, scratch=self._scratch) as connection,
            duckdb_errors(f"{month.name} of the data set"),
        ):
            raw = _Raw(connection, self._data, self._scratch)
            connection.execute(RAW_TABLE)
            for record in days:
                if self._stop.is_set():
                    raise _Stopped
                raw.take(record)
                self._progress(1, record.size)
            provenance = Provenance(
                SCHEMA_VERSION, f"binder-mirror {__version__}", tuple(raw.provenances(days))
            )
            return self._write(connection, month, provenance, in_order=raw.is_in_order())

    def _write(
        self,
        connection: "DuckDBPyConnection",
        month: Month,
        provenance: Provenance,
        *,
        in_order: bool,
    ) -> MonthBooks:
        make_specs(connection)
        unfinished = self._scratch / f"{month.year}-{month.month}.{secrets.token_hex(4)}"
        metadata = literal(msgspec.json.encode(provenance).decode())
        connection.execute(
            f"COPY ({select_month(in_order=in_order)}) TO {literal(str(unfinished))} "
            f"({_WRITE_OPTIONS}, KV_METADATA {{{PROVENANCE_KEY}: {metadata}}})"
        )
        target = month.path(self._root)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            with unfinished.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            stats = unfinished.stat()
        publish_durably(unfinished, target)
        return MonthBooks(stats.st_size, stats.st_mtime_ns, sha256, provenance)


class _Raw:
    """The launches of a month's daily files, taken into the table raw."""

    def __init__(self, connection: "DuckDBPyConnection", data: DataDir, scratch: Path) -> None:
        self._connection = connection
        self._data = data
        self._scratch = scratch
        self._odd: dict[date, tuple[int, tuple[OddReport, ...]]] = {}

    def take(self, record: Record) -> None:
        """Take in a daily file, and make sure that it is the one on record."""
        import duckdb  # noqa: PLC0415 - heavy, and an extra

        path = self._data.archive / record.name
        day = record.date.day
        regular = _is_clean(path, record)
        if regular:
            try:
                self._connection.execute(insert_day(day, path_literal(path)))
                regular = self._accounts_for(day, path, record.size)
            except (duckdb.InvalidInputException, duckdb.ConversionException):
                regular = False
        if not regular:
            self._connection.execute("DELETE FROM raw WHERE day = ?", [day])
            self._decode(record, path)
        _require_unchanged(path, record)

    def provenances(self, days: tuple[Record, ...]) -> Iterator[DayProvenance]:
        """Yield what came of each daily file."""
        rows = dict(
            self._connection.execute("SELECT day, count(*) FROM raw GROUP BY day").fetchall()
        )
        self._connection.execute("CREATE OR REPLACE TEMP TABLE files (day INTEGER, name VARCHAR)")
        for record in days:
            count = rows.get(record.date.day, 0)
            odd, told = self._odd.get(record.date, (0, ()))
            if count + odd != record.lines:
                raise DatasetError(
                    f"{record.name} has {record.lines:,} lines on record, but {count:,} launches "
                    f"and {odd:,} odd lines were read",
                    hint="`binder-mirror verify` looks at the file",
                )
            self._connection.execute(
                "INSERT INTO files VALUES (?, ?)", [record.date.day, record.name]
            )
            yield DayProvenance(record.date, record.name, record.sha256, count, odd, told)

    def is_in_order(self) -> bool:
        """Return whether the rows are sorted by time as they were taken in."""
        if self._odd:
            return False
        late = self._connection.execute(
            "SELECT count(*) FROM (SELECT timestamp < lag(timestamp) OVER () AS late FROM raw) "
            "WHERE late"
        ).fetchone()
        return late == (0,)

    def _accounts_for(self, day: int, path: Path, size: int) -> bool:
        counted = self._connection.execute(
            "SELECT count(*) = count(bytes), coalesce(sum(bytes), 0)::BIGINT "
            "FROM raw WHERE day = ?",
            [day],
        ).fetchone()
        if counted is None or not counted[0]:
            return False
        # the last line may lack its newline
        last = (0, -1)
        return size - counted[1] in last or size - counted[1] - _logger_bytes(path) in last

    def _decode(self, record: Record, path: Path) -> None:
        """Take in a file by our own decoder, which knows what to make of any line."""
        decoded = self._scratch / f"{record.name}.{secrets.token_hex(4)}"
        with storage_errors(decoded):
            odd, told = write_decoded(path, decoded)
        if decoded.stat().st_size:
            self._connection.execute(insert_decoded(record.date.day, path_literal(decoded)))
        decoded.unlink()
        self._odd[record.date] = (odd, told)


def _is_clean(path: Path, record: Record) -> bool:
    """Return whether each line is an event of a known version with all fields of their types."""
    findings = record.findings
    if findings is None:
        with storage_errors(path):
            findings = inspect_file(path, record.date)
    return not (
        findings.not_objects
        or findings.unknown_schema
        or findings.unknown_version
        or findings.missing_fields
    )


def _logger_bytes(path: Path) -> int:
    """Return the bytes of a logger's own field, null, that upstream lets slip through at times."""
    count, start = 0, 0
    with open_file(path) as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as body:
        while (start := body.find(_LOGGER_FIELD, start) + 1) > 0:
            count += 1
    return count * len(b", " + _LOGGER_FIELD)


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
    books: Mapping[str, MonthBooks], built: tuple[str, ...], removed: tuple[str, ...]
) -> DatasetReport:
    days = [day for month in books.values() for day in month.provenance.days]
    made = [day for name in built for day in books[name].provenance.days]
    return DatasetReport(
        built=built,
        removed=removed,
        months=len(books),
        rows=sum(day.rows for day in days),
        odd=sum(day.odd for day in days),
        size=sum(month.size for month in books.values()),
        odd_lines=tuple(
            f"{day.name}:{one.line}: {one.kind}: {one.reason}" for day in made for one in day.told
        ),
    )
