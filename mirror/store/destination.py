"""The local disk as a destination: stage, publish, quarantine; one writer, every step atomic.

What a kill or a power cut leaves is either invisible or whole, by the order of the steps. A body is
written under `staging/`, which the next writer sweeps, and only one that is complete and judged is
published: its bytes are flushed; the body that it replaces is copied to history, if it goes there,
and that copy is flushed; its record goes to the journal, flushed, and the line of `SHA256SUMS` that
will be wrong is taken out (`mirror.store.journal`); then it is renamed into `archive/`, and the
folder is flushed.

The record goes before the rename, and is durable before it. Cut off between the two, the journal
claims a body that never came, and the file that is still there refutes the claim by its size and
time (the new body's time is made to differ, if it does not). The other way round there would be a
file that nobody knows: if upstream has another by the next run, nothing would prove it, and it
would not be ours to keep. At the end of a poll the manifest, flushed, takes the journal's place.

A record of a body that stays is flushed too, as adoption and upstream's confirmation cannot be had
again for certain; but not where only findings are new, for they can be counted again.

Many bodies are flushed at a time on threads of their own, and share the flushes of journal and
folder.
"""

import asyncio
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, closing, contextmanager, suppress
from datetime import date, datetime
from functools import partial
from pathlib import Path

import aiofiles.threadpool
from msgspec.structs import replace

from mirror.archive.manifest import Inventory
from mirror.archive.ports import Listing, Stage, State, Transform
from mirror.errors import StorageError, WrongKindError
from mirror.model import FinalChange, PollReport, Record
from mirror.store import aside, disk
from mirror.store.inventory import load_inventory, open_daily, time_for
from mirror.store.journal import Journal
from mirror.store.layout import DataDir, RequireHeld, make_folders, writer_lock
from mirror.store.polls import append_poll
from mirror.store.staging import StagingFile, to_its_end, write_at
from mirror.text import human_bytes, shown

WRITERS = 2  # threads that digest, count and write: more would only take turns
FLUSHERS = 16  # bodies flushed at a time: a disk takes many at once better than one after the other


class StagedFile:
    """A body in `staging/`; see `mirror.archive.ports.Staged`."""

    def __init__(self, store: "LocalStore", path: Path, file: StagingFile) -> None:
        self.path = path
        self.file = file
        self._store = store
        self._async_file = aiofiles.threadpool.wrap(file, executor=store.writers)

    async def write(self, block: Sequence[bytes]) -> None:
        """Pass a block through the transform and write what comes out."""
        with disk.storage_errors(self.path):
            await to_its_end(self._async_file.writelines(block))

    @property
    def elsewhere(self) -> Stage:
        """How another process writes it."""
        return partial(write_at, self.path)

    async def publish(
        self,
        record: Record,
        *,
        predecessor: Record | None,
        change: FinalChange | None = None,
    ) -> Record:
        """Make the body durable and visible, and journal its record."""
        work = partial(self._store.publish, self, record, predecessor, change)
        loop = asyncio.get_running_loop()
        return await to_its_end(loop.run_in_executor(self._store.flushers, work))

    async def quarantine(self, day: date, reason: str) -> None:
        """Keep the refused body aside."""
        await asyncio.to_thread(self._store.quarantine, self.path, day, reason)


class LocalStore:
    """A data directory that `open_store` holds for writing; see `mirror.archive.ports`."""

    def __init__(
        self,
        data: DataDir,
        inventory: Inventory,
        *,
        now: Callable[[], datetime],
        require_held: RequireHeld,
        history_versions: int = 0,
    ) -> None:
        self.data = data
        self.days = data.days
        self.inventory = inventory
        self.identity = data.identity()
        self.opener = partial(open_daily, data.archive)
        self.writers = ThreadPoolExecutor(WRITERS, thread_name_prefix="write")
        self.flushers = ThreadPoolExecutor(FLUSHERS, thread_name_prefix="publish")
        self._now = now
        self._require_held = require_held
        self._history_versions = history_versions
        self._journal = Journal(data)
        self._sync_archive = disk.GroupWork[None](lambda _: disk.sync_folder(data.archive))

    @asynccontextmanager
    async def stage(self, name: str, through: Transform) -> AsyncIterator[StagedFile]:
        """Begin a body."""
        path = self.data.staging / f"{name}.{secrets.token_hex(4)}"
        opening = asyncio.ensure_future(asyncio.to_thread(StagingFile, path, through))
        try:
            with disk.storage_errors(path):
                file = await to_its_end(opening)
            yield StagedFile(self, path, file)
        finally:
            if not opening.cancelled() and opening.exception() is None:
                opening.result().discard()

    def close(self) -> None:
        """Wait for what is being written."""
        self.writers.shutdown()
        self.flushers.shutdown()

    async def note(self, record: Record) -> None:
        """Journal a record of a body that stays."""

        def note() -> None:
            self._require_held()
            held = self.inventory.records.get(record.date)
            is_new = held is None or replace(held, findings=record.findings) != record
            self._journal.note(record, durably=is_new)
            self.inventory.take_up(record)

        await to_its_end(asyncio.to_thread(note))

    def retire(self, day: date, reason: str) -> None:
        """Take a rotten file away into quarantine."""
        target = self.data.archive / self.days.name_of(day)
        if disk.kind_of(target) == "file":
            self.quarantine(target, day, reason, was_published=True)
            with disk.storage_errors(self.data.archive):
                self._sync_archive(None)
        self.inventory.unverified.pop(day, None)
        self.inventory.is_clean = False

    def has(self, listing: Listing) -> bool:
        """Return whether there is a file at the listing's path."""
        return disk.kind_of(self.data.archive / listing) == "file"

    def read(self, name: Listing | State) -> bytes | None:
        """Return a listing or state whole."""
        return disk.read_file(self._path_of(name))

    def write(self, name: Listing | State, content: bytes) -> None:
        """Replace a listing or state."""
        self._require_held()
        path = self._path_of(name)
        with disk.storage_errors(path.parent):
            path.parent.mkdir(exist_ok=True)
        disk.write_durably(path, content, staging=self.data.staging)
        self._journal.forget_sums()

    def unsettle(self) -> None:
        """Have a journal: with one, the manifest does not say it all."""
        self._require_held()
        self._journal.unsettle()
        self.inventory.is_clean = False

    def save_manifest(self) -> None:
        """Write the manifest where it does not say it all, claims without a proof included."""
        self._require_held()
        inventory = self.inventory
        if not inventory.is_clean or disk.kind_of(self.data.manifest) is None:
            self._journal.settle(inventory.claimed() | inventory.records)
            inventory.is_clean = True

    def append_poll(self, report: PollReport) -> None:
        """Add to `polls.jsonl`."""
        self._require_held()
        append_poll(self.data, report)

    def read_version(self, day: date, sha256: str) -> Iterator[bytes]:
        """Yield a predecessor's body."""
        return aside.read_version(self.data, day, sha256)

    def require_room(self, needed: int, min_free: int) -> None:
        """Make sure that there is room on the data directory's file system."""
        root, free = self.data.root, needed + min_free
        with (
            disk.storage_errors(root),
            disk.optional("figures of free room: it is not looked for", root),
        ):
            there = shutil.disk_usage(root)
            # some in user space say that there is nothing of anything
            free = there.free if there.total else free
        if free < needed + min_free:
            raise StorageError(
                f"not enough room in {shown(str(root), 300)}: the poll needs about "
                f"{human_bytes(needed)} and {human_bytes(min_free)} are to stay free, "
                f"{human_bytes(free)} are there",
                hint="free some room, or lower storage.min_free or the range of days",
            )

    def publish(
        self,
        staged: StagedFile,
        record: Record,
        predecessor: Record | None,
        change: FinalChange | None,
    ) -> Record:
        """Publish a staged body; see `mirror.archive.ports.Staged.publish`."""
        self._require_held()
        target = self.data.archive / record.name
        disk.require_file_or_nothing(target)
        with disk.storage_errors(target):
            descriptor = staged.file.fileno()
            held = self.inventory.records.get(record.date)
            when = time_for(record, held, target, now=self._now())
            record = replace(record, mtime_ns=disk.set_other_mtime(descriptor, when, target))
            disk.flush(descriptor, target)
            self._make_way(target, record.date, predecessor)
            if change is not None:
                aside.log_change(self.data, change)
            self._journal.announce(record)
            staged.path.replace(target)
            # on this thread: whoever awaits it may be cancelled, and the body is there all the same
            self.inventory.take_up(record)
            staged.file.close()
            self._sync_archive(None)
        return record

    def quarantine(
        self, body: Path, day: date, reason: str, *, was_published: bool = False
    ) -> None:
        """Move a body, staged or published, into quarantine."""
        at = self._now()
        aside.quarantine(self.data, body, day, reason=reason, at=at, was_published=was_published)

    def _make_way(self, target: Path, day: date, predecessor: Record | None) -> None:
        """Keep what is about to be replaced: in history what was asked for, if it is sound.

        A file that is rotten, or that nobody could prove, is kept in quarantine. Where it is the
        one that `SHA256SUMS` lists, its record is wrong, not the file.
        """
        is_rotten = False
        if predecessor is not None:
            listed = self._journal.listed().get(target.name, predecessor.sha256)
            is_rotten = not any(
                aside.keep_predecessor(
                    self.data,
                    target,
                    replace(predecessor, sha256=digest),
                    kept_at=self._now(),
                    versions=self._history_versions,
                )
                for digest in dict.fromkeys((predecessor.sha256, listed))
            )
        if is_rotten or day in self.inventory.unverified:
            copy = self.data.staging / f"{target.name}.{secrets.token_hex(4)}"
            with suppress(FileNotFoundError):
                disk.link_or_copy(target, copy)
                reason = "it was published and is not what upstream has"
                self.quarantine(copy, day, reason, was_published=True)

    def _path_of(self, name: Listing | State) -> Path:
        """Return where a listing or state is; its folder must be one, and no link to one."""
        if isinstance(name, State):
            return self.data.root / name
        path = self.data.archive / name
        kind = disk.kind_of(path.parent)
        if kind not in (None, "directory"):
            raise WrongKindError(
                f"{shown(str(path.parent), 300)} is a {kind}, not a directory",
                hint="move it away; it is not followed",
            )
        return path


@contextmanager
def open_store(
    data: DataDir,
    *,
    now: Callable[[], datetime],
    history_versions: int = 0,
) -> Iterator[LocalStore]:
    """Hold a data directory for writing: made, locked, swept, its inventory loaded.

    A ConfigError says that it cannot be one, a LockedError that another process holds it.
    """
    make_folders(data)
    with writer_lock(data) as require_held:
        _sweep(data.staging)
        aside.set_aside_odd(data)
        inventory = load_inventory(data, looks=1)
        if not inventory.is_clean:
            # what a process that was killed renamed is believed, and put on record for good
            disk.sync_folder(data.archive)
        store = LocalStore(
            data,
            inventory,
            now=now,
            require_held=require_held,
            history_versions=history_versions,
        )
        with closing(store):
            yield store


def _sweep(staging: Path) -> None:
    with disk.storage_errors(staging):
        for path in staging.iterdir():
            if not path.is_dir() or path.is_symlink():
                path.unlink(missing_ok=True)
