"""A data directory as readers see it: a frozen snapshot, kept fresh beside whoever writes.

No lock is taken and nothing is written, so that a snapshot can be had of a read-only disk and while
a sync runs. A snapshot is loaded again when one of the files behind it has changed.
"""

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path

from msgspec import Struct

from mirror.archive.manifest import Inventory
from mirror.archive.upstream import Upstream
from mirror.errors import MirrorError
from mirror.events.series import CopyTotal, Months, sum_months, total_of
from mirror.model import PollReport, Record
from mirror.store.inventory import compare_inventory, load_claims, load_upstream
from mirror.store.layout import DataDir
from mirror.store.polls import load_polls
from mirror.store.quarantine import Quarantined, list_quarantined

LOADED_POLLS = 200
"""The last polls that a snapshot has."""
_FRESH_S = 1.0
"""A snapshot younger than this is not looked at again."""
_LOAD_SHARE = 20
"""Loading takes at most this part of the time, while a first sync journals file after file."""

Fingerprint = tuple[tuple[int, int, int] | None, ...]


class Snapshot(Struct, frozen=True):
    """What a data directory says at one moment."""

    inventory: Inventory
    claims: Mapping[str, tuple[Record, ...]]
    """By file name: the records that may speak of the file there, oldest first. Which one does is
    told by the opened file's size and time (`mirror.archive.manifest.match_record`)."""
    upstream: Upstream
    polls: tuple[PollReport, ...]
    """The last polls, latest last; at most `LOADED_POLLS`."""
    last_complete: PollReport | None
    """The complete poll that ended last, however long ago that was."""
    quarantined: tuple[Quarantined, ...]
    months: Months
    """What the held days come to, by month."""
    total: CopyTotal
    """What all of them come to."""


def load_snapshot(data: DataDir, before: Snapshot | None = None) -> Snapshot:
    """Return the snapshot of now.

    Args:
        data: the data directory.
        before: an earlier snapshot, whose sums are taken over where nothing has changed.

    Raises:
        StorageError, ConfigError: the inventory cannot be read.
    """
    claims = load_claims(data)
    polls = load_polls(data, LOADED_POLLS)
    inventory = compare_inventory(claims, data)
    months = sum_months(inventory.records.values(), before.months if before else None)
    return Snapshot(
        inventory=inventory,
        claims={records[-1].name: records for records in claims.candidates.values()},
        upstream=load_upstream(data, ""),
        polls=polls.last,
        last_complete=polls.last_complete,
        quarantined=tuple(list_quarantined(data)),
        months=months,
        total=total_of(months),
    )


class SnapshotCache:
    """Keeps a snapshot fresh. To be used on one event loop.

    Args:
        data: the data directory.

    Attributes:
        free_bytes: room on the disk, at the last look.
    """

    def __init__(self, data: DataDir) -> None:
        self.free_bytes = 0
        self._data = data
        self._view: Snapshot | None = None
        self._trouble: MirrorError | None = None
        self._fingerprint: Fingerprint = ()
        self._looked_at = -_FRESH_S
        self._pause_s = _FRESH_S
        self._lock = asyncio.Lock()
        self._keepers = 0

    async def snapshot(self, *, fresh: bool = False) -> Snapshot:
        """Return a snapshot, at most about a second old.

        It is had at once while `keep_fresh` runs, for then no reader has to wait for a look.

        Args:
            fresh: look again in any case, as when a file is not the one on record.

        Raises:
            StorageError, ConfigError: the inventory cannot be read.
        """
        asked_at = time.monotonic()
        if not fresh and self._is_fresh(asked_at):
            return self._seen()
        async with self._lock:
            # whoever waited for another's look has what it came for
            if self._looked_at < asked_at:
                await asyncio.to_thread(self._look)
            return self._seen()

    async def keep_fresh(self) -> None:
        """Look again and again, for ever: a long load is then nobody's wait."""
        self._keepers += 1
        try:
            while True:
                with suppress(MirrorError):  # told to whoever asks for the snapshot
                    await self.snapshot(fresh=True)
                await asyncio.sleep(self._pause_s)
        finally:
            self._keepers -= 1

    def _is_fresh(self, now: float) -> bool:
        if self._view is None and self._trouble is None:
            return False
        return self._keepers > 0 or now - self._looked_at < self._pause_s

    def _seen(self) -> Snapshot:
        if self._trouble is not None:
            raise self._trouble
        if self._view is None:
            raise RuntimeError("a look without a snapshot")
        return self._view

    def _look(self) -> None:
        # of the thread's own time: a busy loop that makes it wait must not make the snapshot older
        started = time.thread_time()
        self.free_bytes = self._data.free_bytes()
        try:
            fingerprint = _fingerprint(self._data)
            if self._view is None or self._trouble or fingerprint != self._fingerprint:
                self._view = load_snapshot(self._data, self._view)
                self._fingerprint = fingerprint
            self._trouble = None
        except MirrorError as error:
            self._trouble = error
        self._looked_at = time.monotonic()
        self._pause_s = max(_FRESH_S, _LOAD_SHARE * (time.thread_time() - started))


def _fingerprint(data: DataDir) -> Fingerprint:
    watched = (
        data.manifest,
        data.journal,
        data.upstream,
        data.polls,
        data.archive,
        data.quarantine,
    )
    return tuple(_stamp(path) for path in watched)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stats = path.lstat()
    except OSError:
        return None
    return stats.st_mtime_ns, stats.st_size, stats.st_ino
