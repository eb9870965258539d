"""Makes the data set: a month's daily files read, checked, sorted and written as one Parquet file.

The daily files are read by us (`mirror.dataset.rows`), the rows put together and written by
DuckDB (`mirror.dataset.columns`). A month is written aside and put in place whole, so that
readers see the old one or the new one. Each core makes months in a process of its own.
"""

import asyncio
import os
import shutil
import threading
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import get_ident

import msgspec
from msgspec import Struct

from mirror import __version__
from mirror.dataset import months
from mirror.dataset.columns import SCHEMA_VERSION, make_tables, select_month
from mirror.dataset.rows import MonthReader
from mirror.errors import DatasetError, MirrorError
from mirror.logs import get_logger
from mirror.model import Record
from mirror.processes import Worker, WorkerDiedError
from mirror.progress import Advance, show_nothing
from mirror.reading import duck
from mirror.store.disk import digest_of, open_file, publish_durably, storage_errors
from mirror.store.layout import DataDir, dataset_lock

_MAX_WORKERS = 4
_LOOK_S = 0.2
_MEMORY_BYTES = 1536 * 1024**2
"""What the months made at a time may take of it together; more goes to disk."""
_WRITE_OPTIONS = "FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE 122880"


class DatasetReport(Struct, frozen=True):
    """What a build came to."""

    built: tuple[str, ...]  # months made
    removed: tuple[str, ...]
    months: int  # months that there are now
    rows: int
    odd: int  # lines that are in no month, for they are no launches that are known
    size: int  # bytes of all months' files
    odd_lines: tuple[str, ...]
    """"FILE:LINE: what is wrong" for the odd lines of the months made; bounded for each day."""
    unread: int = 0  # days that were not read, for their files are not those on record
    failed: tuple[str, ...] = ()
    """Months that could not be made, each with what is wrong; what there was of them stays."""


async def update_dataset(data: DataDir, *, moved: Advance) -> str | None:
    """Make the months whose days a poll has changed; a failure here never is one of the poll.

    Where nothing has changed, that is a look at a few files' names, sizes and times. Nobody holds
    the data directory for writing, or a poll of another process; `moved` is called from any thread.
    Return what kept the data set from being in step; None where it is.
    """
    stop = threading.Event()
    work = asyncio.ensure_future(asyncio.to_thread(keep_in_step, data, progress=moved, stop=stop))
    log = get_logger()
    try:
        report = await asyncio.shield(work)
    except asyncio.CancelledError:
        # a thread cannot be called back
        stop.set()
        with suppress(MirrorError):
            await work
        raise
    except MirrorError as error:
        log.warning("dataset.failed", problem=error.line())
        return error.line()
    if report.built or report.removed:
        log.info(
            "dataset.built",
            months=len(report.built),
            removed=len(report.removed),
            rows=report.rows,
            odd=report.odd,
        )
    for problem in report.failed:
        log.warning("dataset.failed", problem=problem)
    return "; ".join(report.failed) or None


def keep_in_step(
    data: DataDir,
    *,
    rebuild: bool = False,
    progress: Advance = show_nothing,
    stop: threading.Event | None = None,
) -> DatasetReport:
    """Make the months whose days have changed, and take away those of which nothing is held.

    All months are made to `rebuild`. Polls may go on meanwhile; another build is a LockedError.
    `progress` is called, from any thread, with the daily files and bytes of each month made; when
    `stop` is set, the build ends, and what was put in place stays.
    """
    plan = months.plan_dataset(data, rebuild=rebuild)
    outcome: dict[str, str] = {}
    if plan.build:
        duck.require_duckdb()
    if plan.build or plan.remove:
        with storage_errors(data.dataset):
            data.dataset.mkdir(exist_ok=True)
        with dataset_lock(data), _scratch(months.scratch_of(data)) as scratch:
            # another may have been at work until now
            plan = months.plan_dataset(data, rebuild=rebuild)
            with _making(data, data.dataset, scratch, plan.build, progress) as making:
                outcome = _follow(data, plan, making, stop or threading.Event())
    return _report(plan, outcome)


def _follow(
    data: DataDir,
    plan: months.DatasetPlan,
    making: Mapping[str, Future[months.MonthRecord]],
    stop: threading.Event,
) -> dict[str, str]:
    """Record the months and take some away; return what went wrong, by month; "" for nothing."""
    outcome: dict[str, str] = {}
    for month, made in making.items():
        while not stop.is_set() and not wait([made], _LOOK_S).done:
            pass
        if not made.done():
            continue
        try:
            plan.made[month] = made.result()
            outcome[month] = ""
            months.save_months(data, plan.made)
        except DatasetError as error:
            outcome[month] = error.line()
    for month in plan.remove:
        _remove_month(data, month)
        plan.made.pop(month, None)
    months.save_months(data, plan.made)
    return outcome


def build_into(root: Path, data: DataDir, wanted: Mapping[str, tuple[Record, ...]]) -> None:
    """Make months under another folder than the data set's, for one use."""
    with _making(data, root, root, wanted) as made:
        for one in made.values():
            one.result()


@contextmanager
def _making(
    data: DataDir,
    root: Path,
    scratch: Path,
    wanted: Mapping[str, tuple[Record, ...]],
    progress: Advance = show_nothing,
) -> Iterator[dict[str, Future[months.MonthRecord]]]:
    """Have what comes of each month; one that fails keeps no other from being made."""
    hands = max(1, min(len(wanted), len(os.sched_getaffinity(0)), _MAX_WORKERS))
    idle: dict[int, Worker] = {}  # by the thread that calls it

    def make(month: str, days: tuple[Record, ...]) -> months.MonthRecord:
        try:
            worker = idle.pop(get_ident(), None) or workers.enter_context(Worker())
            made = worker.call(
                _make_month, data, root, scratch, month, days, _MEMORY_BYTES // hands
            )
        except WorkerDiedError as error:
            raise DatasetError(
                f"its process was ended from outside ({error})",
                hint="the system does so when it runs out of memory",
            ) from error
        idle[get_ident()] = worker
        progress(len(days), sum(day.size for day in days))
        return made

    # the workers are closed first, with what is still waited for
    with ThreadPoolExecutor(max_workers=hands) as pool, ExitStack() as workers:
        try:
            yield {month: pool.submit(make, month, days) for month, days in wanted.items()}
        finally:
            # where the build ends early the others need not be waited for
            pool.shutdown(wait=False, cancel_futures=True)


def _make_month(
    data: DataDir,
    root: Path,
    scratch: Path,
    month: str,
    days: tuple[Record, ...],
    memory_bytes: int,
) -> months.MonthRecord:
    """Make a month's file; in a worker."""
    with (
        storage_errors(scratch),
        TemporaryDirectory(dir=scratch, ignore_cleanup_errors=True) as name,
        duck.duckdb_errors(f"{month} of the data set"),
    ):
        folder = Path(name)
        parts = [folder / part for part in ("launches.jsonl", "moments.csv", "lines.csv")]
        read = _read(data, parts, days)
        provenance = months.Provenance(SCHEMA_VERSION, f"binder-mirror {__version__}", read.days)
        made, target = folder / months.FILE_NAME, months.path_of(root, month)
        with duck.open_duckdb(memory_bytes=memory_bytes, scratch=folder) as connection:
            launches, moments, lines = map(duck.path_literal, parts)
            for sql in make_tables(launches, moments, lines, read.files):
                connection.execute(sql)
            _copy_month(connection, made, provenance)
        with storage_errors(target):
            target.parent.mkdir(parents=True, exist_ok=True)
            stats, sha256 = made.stat(), digest_of(made)
        publish_durably(made, target)
        return months.MonthRecord(stats.st_size, stats.st_mtime_ns, sha256, provenance)


def _read(data: DataDir, parts: Iterable[Path], days: Iterable[Record]) -> MonthReader:
    """Read daily files into the parts that DuckDB is to put together."""
    with ExitStack() as stack:
        reader = MonthReader(*[stack.enter_context(part.open("xb")) for part in parts])
        for record in days:
            path = data.archive / record.name
            with storage_errors(path), open_file(path) as source:
                day = reader.read(record.date, record.name, source)
            _check_day(day, record, path)
    return reader


def _check_day(read: months.DayProvenance, record: Record, path: Path) -> None:
    if read.sha256 != record.sha256:
        if not months.is_intact(path, record):
            raise DatasetError(
                f"{record.name} was replaced while it was read", hint="the next build takes it up"
            )
        raise DatasetError(
            f"{record.name} has not its recorded SHA-256",
            hint="`binder-mirror verify --repair` puts it right",
        )
    if read.rows + read.odd != record.lines:
        raise DatasetError(
            f"{record.name} has {record.lines:,} lines on record, but {read.rows:,} launches and "
            f"{read.odd:,} odd lines were read",
            hint="`binder-mirror verify` looks at the file",
        )


def _copy_month(connection: duck.Connection, target: Path, provenance: months.Provenance) -> None:
    """Write a month's rows; a DatasetError says that they are not all there."""
    metadata = duck.literal(msgspec.json.encode(provenance).decode())
    written = connection.execute(
        f"COPY ({select_month()}) TO {duck.literal(str(target))} "
        f"({_WRITE_OPTIONS}, KV_METADATA {{{months.PROVENANCE_KEY}: {metadata}}})"
    ).fetchone()
    expected = sum(day.rows for day in provenance.days)
    if written != (expected,):
        raise DatasetError(f"{expected:,} launches were read, but not all of them written")


def _remove_month(data: DataDir, month: str) -> None:
    path = months.path_of(data.dataset, month)
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


def _report(plan: months.DatasetPlan, outcome: Mapping[str, str]) -> DatasetReport:
    built = [month for month, problem in outcome.items() if not problem]
    days = [day for month in plan.made.values() for day in month.provenance.days]
    made = [day for month in built for day in plan.made[month].provenance.days]
    return DatasetReport(
        built=tuple(built),
        removed=plan.remove,
        months=len(plan.made),
        rows=sum(day.rows for day in days),
        odd=sum(day.odd for day in days),
        size=sum(month.size for month in plan.made.values()),
        odd_lines=tuple(
            f"{day.name}:{one.line}: {one.kind}: {one.reason}"
            for day in made
            for one in day.reported_lines
        ),
        unread=len(plan.doubted),
        failed=tuple(f"{month}: {problem}" for month, problem in outcome.items() if problem),
    )
