"""The local disk as a destination: stage, publish, quarantine; one writer, every step atomic.

A body is written under `staging/`, and only what is complete and judged is renamed into `archive/`.
What a step leaves behind when it is cut off is either invisible or whole.
"""

import asyncio
import hashlib
import io
import os
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import TypeVar, cast

import aiofiles.threadpool
from msgspec.structs import replace

from mirror.archive.ports import Staged, Transform
from mirror.clock import utc_now
from mirror.errors import WrongKindError
from mirror.model import Problem, ProblemKind, Record
from mirror.store import history, quarantine
from mirror.store.disk import (
    SharedSync,
    append_line,
    kind_of,
    read_file,
    require_file_or_nothing,
    storage_error,
    storage_errors,
    write_durably,
)
from mirror.store.inventory import Inventory, append_journal, load_inventory, save_manifest
from mirror.store.layout import DataDir, make_folders, writer_lock
from mirror.text import shown

WRITERS = 2
"""Threads that digest, count and write: more would only take the interpreter from each other."""
FLUSHERS = 16
"""Bodies flushed at a time: a disk takes many at once better than one after the other."""

T = TypeVar("T")


class _Through(io.FileIO):
    """A file that passes what is written to it through a transform first.

    aiofiles hands each call to a thread; so hashing, counting and writing a block take one hop off
    the event loop instead of three.
    """

    def __init__(self, path: Path, through: Transform) -> None:
        # "x": never onto something that is there; staging names are random anyway
        super().__init__(path, "xb")
        self._through = through

    def writelines(self, block: Sequence[bytes], /) -> None:  # type: ignore[override]
        for chunk in block:
            for piece in self._through(chunk):
                view = memoryview(piece)
                while view:
                    view = view[self.write(view) :]


def _discard(path: Path, file: _Through) -> None:
    """Take an unfinished body away; one that is published is closed, and has left its place."""
    if not file.closed:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


async def _to_its_end(work: Awaitable[T]) -> T:
    """Await work on a thread, to its end even when cancelled.

    A thread cannot be called back, and closing the file under it would let its next write reach
    whatever the descriptor's number stands for by then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        # that it failed is of no interest any more, and nothing to be logged at exit
        if not task.cancelled():
            task.exception()
        raise


class StagedFile:
    """A body in `staging/`; see `mirror.archive.ports.Staged`."""

    def __init__(self, path: Path, file: _Through, writers: Executor) -> None:
        self.path = path
        self.file = file
        self._async_file = aiofiles.threadpool.wrap(file, executor=writers)

    async def write(self, block: Sequence[bytes]) -> None:
        """Pass a block through the transform and write what comes out."""
        try:
            await _to_its_end(self._async_file.writelines(block))
        except OSError as error:
            raise storage_error(error, self.path) from error


class LocalStore:
    """A data directory held for writing. Made by `open_store`.

    Attributes:
        data: its paths.
        inventory: what is held; kept in step by every method.
    """

    def __init__(
        self,
        data: DataDir,
        inventory: Inventory,
        *,
        now: Callable[[], datetime],
        history_versions: int = 0,
    ) -> None:
        self.data = data
        self.inventory = inventory
        self._now = now
        self._history_versions = history_versions
        self._sync_archive = SharedSync(data.archive)
        self._writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self._flushers = ThreadPoolExecutor(FLUSHERS, thread_name_prefix="publish")

    @property
    def records(self) -> Mapping[date, Record]:
        """The days held."""
        return self.inventory.records

    def path_of(self, name: str) -> Path:
        """Return where a daily file is published."""
        return self.data.archive / name

    @asynccontextmanager
    async def stage(self, name: str, through: Transform) -> AsyncIterator[Staged]:
        """Begin a body; see `mirror.archive.ports.Destination.stage`."""
        path = self.data.staging / f"{name}.{secrets.token_hex(4)}"
        opening = asyncio.ensure_future(asyncio.to_thread(_Through, path, through))
        try:
            with storage_errors(path):
                file = await _to_its_end(opening)
            yield StagedFile(path, file, self._writers)
        finally:
            if not opening.cancelled() and opening.exception() is None:
                _discard(path, opening.result())

    async def publish(
        self, staged: Staged, record: Record, *, predecessor: Record | None, is_final: bool
    ) -> Record:
        """Make a body durable and visible; see `mirror.archive.ports.Destination.publish`."""
        body = cast("StagedFile", staged)
        return await _to_its_end(
            asyncio.get_running_loop().run_in_executor(
                self._flushers, self._publish, body, record, predecessor, is_final
            )
        )

    def close(self) -> None:
        """Wait for what is being written."""
        self._writers.shutdown()
        self._flushers.shutdown()

    async def note(self, record: Record) -> None:
        """Journal a record of a body that stays; see `mirror.archive.ports.Destination.note`."""
        await _to_its_end(asyncio.to_thread(self._note, record))

    async def quarantine(self, staged: Staged, day: date, sha256: str, reason: str) -> Path:
        """Keep a refused body aside; see `mirror.archive.ports.Destination.quarantine`."""
        body = cast("StagedFile", staged)
        return await asyncio.to_thread(self._quarantine, body.path, day, sha256, reason)

    def doubt(self, day: date) -> None:
        """Take a day off the inventory whose file is rotten or gone; what is there stays for now.

        When the day is published again, the rotten file goes to quarantine. On disk nothing changes
        until the manifest is written: a repair that is killed begins anew with all it knew.
        """
        record = self.inventory.records.pop(day, None) or self.inventory.missing.pop(day, None)
        self.inventory.unverified[day] = (record,) if record is not None else ()
        self.inventory.is_clean = False

    def retire(self, name: str, day: date, reason: str) -> None:
        """Take a rotten file away into quarantine. The listings must not name it any more."""
        target = self.path_of(name)
        if kind_of(target) == "file":
            with storage_errors(target), target.open("rb") as file:
                sha256 = hashlib.file_digest(file, "sha256").hexdigest()
            self._quarantine(target, day, sha256, reason)
        self.inventory.unverified.pop(day, None)
        self.inventory.is_clean = False

    def save_listings(self, listings: Mapping[Path, bytes]) -> tuple[Problem, ...]:
        """Write the files that are made from the records, in order, where they differ.

        Returns:
            A problem for each at whose path something other than a file stands; it costs that one.

        Raises:
            StorageError: the disk refused.
        """
        in_the_way: list[Problem] = []
        for path, content in listings.items():
            try:
                self._require_folder(path.parent)
                if read_file(path) != content:
                    write_durably(path, content, staging=self.data.staging)
            except WrongKindError as error:
                in_the_way.append(Problem(ProblemKind.IN_THE_WAY, str(error)))
        return tuple(in_the_way)

    def _require_folder(self, folder: Path) -> None:
        """Make the folder of a listing where there is none; a link elsewhere will not do."""
        if folder == self.data.archive or (kind := kind_of(folder)) == "directory":
            return
        if kind is not None:
            raise WrongKindError(
                f"{shown(str(folder), 300)} is a {kind}, not a directory",
                hint="move it away; it is not followed",
            )
        with storage_errors(folder):
            folder.mkdir()

    def unsettle(self) -> None:
        """Mark that the listings may have to change, for a poll after a kill to see too."""
        append_line(self.data.journal, b"\n")
        self.inventory.is_clean = False

    def save_manifest_if_changed(self) -> None:
        """Write the manifest where it does not yet say it all.

        What is on record of a file that could be neither proved nor replaced yet is kept.
        """
        inventory = self.inventory
        if not inventory.is_clean or not self.data.manifest.exists():
            claims = {day: claims[-1] for day, claims in inventory.unverified.items() if claims}
            save_manifest(self.data, claims | inventory.records)
            inventory.is_clean = True

    def _publish(
        self, staged: StagedFile, record: Record, predecessor: Record | None, is_final: bool
    ) -> Record:
        target = self.path_of(record.name)
        require_file_or_nothing(target)
        with storage_errors(target):
            descriptor = staged.file.fileno()
            if record.last_modified is not None:
                when = int(record.last_modified.timestamp()) * 10**9
                os.utime(descriptor, ns=(when, when))
            os.fsync(descriptor)
            record = replace(record, mtime_ns=os.fstat(descriptor).st_mtime_ns)
            rotten = predecessor is not None and not history.keep(
                self.data,
                target,
                predecessor,
                kept_at=self._now(),
                is_final=is_final,
                versions=self._history_versions,
            )
            if rotten or record.date in self.inventory.unverified:
                self._set_aside(target, record.date)
            # The record goes first: a kill between the two leaves a claim that the file's size and
            # time refute, never a file that nobody knows.
            _differ_in_time(target, record)
            append_journal(self.data, record)
            staged.path.replace(target)
            # on this thread: whoever awaits it may be cancelled, and the body is there all the same
            self._take_up(record)
            staged.file.close()
            self._sync_archive()
        return record

    def _note(self, record: Record) -> None:
        append_journal(self.data, record)
        self._take_up(record)

    def _set_aside(self, target: Path, day: date) -> None:
        """Keep a file that nobody could prove, or that is rotten, before it is replaced."""
        copy = self.data.staging / f"{target.name}.{secrets.token_hex(4)}"
        try:
            copy.hardlink_to(target)
        except FileNotFoundError:
            return
        with target.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        self._quarantine(copy, day, sha256, "it was published and is not what upstream has")

    def _quarantine(self, body: Path, day: date, sha256: str, reason: str) -> Path:
        with storage_errors(body):
            size = body.lstat().st_size
        why = quarantine.Quarantined(
            date=day,
            sha256=sha256,
            size=size,
            reason=shown(reason, 500),
            at=self._now(),
            file=quarantine.file_name(day, sha256),
        )
        return quarantine.put(self.data, body, why)

    def _take_up(self, record: Record) -> None:
        self.inventory.records[record.date] = record
        self.inventory.unverified.pop(record.date, None)
        self.inventory.missing.pop(record.date, None)
        self.inventory.is_clean = False


@contextmanager
def open_store(
    data: DataDir,
    *,
    now: Callable[[], datetime] = utc_now,
    history_versions: int = 0,
) -> Iterator[LocalStore]:
    """Hold a data directory for writing: made, locked, swept, its inventory loaded.

    Raises:
        ConfigError: it cannot be one, or was written by a later version.
        LockedError: another process holds it.
        StorageError: the disk refused.
    """
    make_folders(data)
    with writer_lock(data):
        _sweep(data.staging)
        inventory = load_inventory(data)
        store = LocalStore(data, inventory, now=now, history_versions=history_versions)
        with closing(store):
            yield store


def _differ_in_time(target: Path, record: Record) -> None:
    """Make sure that the claim for a new body is not taken for one of the file still there."""
    with suppress(FileNotFoundError):
        stats = target.lstat()
        if (stats.st_size, stats.st_mtime_ns) == (record.size, record.mtime_ns):
            os.utime(target, ns=(stats.st_atime_ns, stats.st_mtime_ns + 1))


def _sweep(staging: Path) -> None:
    with storage_errors(staging):
        for path in staging.iterdir():
            if not path.is_dir() or path.is_symlink():
                path.unlink(missing_ok=True)
