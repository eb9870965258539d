"""Loads a data directory as one frozen snapshot, and keeps it fresh while others write.

No lock is taken and nothing is written, so that a snapshot can be had of a read-only disk and while
a sync runs. A snapshot is loaded again when one of the files behind it has changed.
"""

import asyncio
import time
from contextlib import suppress
from datetime import datetime
from pathlib import Path

from msgspec import Struct

from mirror.archive.headers import MAX_MIRRORS
from mirror.archive.manifest import Inventory
from mirror.archive.upstream import Upstream
from mirror.errors import MirrorError
from mirror.events.findings import merge
from mirror.events.series import Months, sum_months
from mirror.model import FinalChange, Findings, PollReport
from mirror.store.aside import Quarantined, list_quarantined, load_changes
from mirror.store.disk import kind_of, read_if_file
from mirror.store.inventory import load_inventory, load_upstream
from mirror.store.layout import DataDir
from mirror.store.polls import load_polls
from mirror.store.proof import prove

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
    upstream: Upstream
    mirrors: tuple[str, ...]
    """The identities of this mirror and of those that it follows, as `X-Binder-Mirror` has them."""
    polls: tuple[PollReport, ...]
    """The last polls, latest last; at most `LOADED_POLLS`."""
    successes: tuple[datetime, ...]
    """When complete polls ended, ascending; the last one is there, however long ago that was."""
    quarantined: tuple[Quarantined, ...]
    final_changes: tuple[FinalChange, ...]
    """What upstream has done to final days, oldest first."""
    months: Months
    """What the held days come to, by month."""
    findings: Findings
    """Sums over the days that were looked into, the names bounded as a day's are."""
    is_proved: bool
    """Whether all was tried to prove files that are not as recorded."""
    unreadable: tuple[Path, ...]
    """Files of ours that are gone, or no files, or say nothing that can be read."""
    is_overstated: bool
    """Whether the listings on disk list a day whose file is gone or not the one on record."""


def load_snapshot(
    data: DataDir, before: Snapshot | None = None, *, proving: bool = True
) -> Snapshot:
    """Return the snapshot of now.

    Args:
        data: the data directory.
        before: an earlier snapshot, whose sums are taken over where nothing has changed.
        proving: whether to prove files that have lost their recorded time, which may take long.
    """
    inventory = load_inventory(data, looks=1)
    polls = load_polls(data, LOADED_POLLS)
    upstream = load_upstream(data, "")
    unreadable = [path for path in data.books if kind_of(path) not in (None, "file")]
    if not upstream.url and kind_of(data.upstream) == "file":
        unreadable.append(data.upstream)
    if kind_of(data.manifest) is None and (inventory.records or inventory.unverified):
        unreadable.append(data.manifest)
    is_proved = proving or not inventory.unverified
    if is_proved:
        prove(data, inventory)
    months = sum_months(inventory.records.values(), before.months if before else None)
    return Snapshot(
        inventory=inventory,
        upstream=upstream,
        mirrors=tuple(filter(None, (data.identity(), *upstream.mirrors)))[:MAX_MIRRORS],
        unreadable=tuple(unreadable),
        polls=polls.last,
        successes=polls.successes,
        quarantined=tuple(list_quarantined(data)),
        final_changes=load_changes(data),
        months=months,
        findings=merge(one.findings for one in months.values() if one.findings is not None),
        is_proved=is_proved,
        is_overstated=is_proved and _is_overstated(data, inventory),
    )


def _is_overstated(data: DataDir, inventory: Inventory) -> bool:
    lost = (*inventory.missing, *inventory.unverified, *inventory.wrong_kind)
    names = [data.days.name_of(day).encode() for day in lost]
    paths = (data.sums, data.index) if names else ()
    listed = b"".join(read_if_file(path) or b"" for path in paths)
    return any(name in listed for name in names)


class SnapshotCache:
    """Keeps a snapshot fresh. To be used on one event loop.

    Args:
        data: the data directory.
    """

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._seen: Snapshot | MirrorError | None = None
        self._fingerprint: Fingerprint = ()
        self._looked_at = -_FRESH_S
        self._pause_s = _FRESH_S
        self._lock = asyncio.Lock()
        self._keepers = 0

    @property
    def latest(self) -> Snapshot | None:
        """The snapshot that there is, however old; None where none is, or could be, loaded."""
        return self._seen if isinstance(self._seen, Snapshot) else None

    async def snapshot(self, *, fresh: bool = False) -> Snapshot:
        """Return a snapshot, at most about a second old.

        While `keep_fresh` runs it is there at once.

        Args:
            fresh: look again in any case, as when a file is not the one on record.
        """
        asked_at = time.monotonic()
        is_old = not self._keepers and asked_at - self._looked_at >= self._pause_s
        if fresh or is_old or self._seen is None:
            async with self._lock:
                # another's look, waited for, will do
                if self._looked_at < asked_at:
                    await asyncio.to_thread(self._look)
        if isinstance(self._seen, Snapshot):
            return self._seen
        raise self._seen or RuntimeError("a look without a snapshot")

    def doubt(self) -> None:
        """Load all again at the next look: a file is not the one on record any more."""
        self._fingerprint = ()

    async def keep_fresh(self) -> None:
        """Look again and again, until cancelled, so that no request waits for a long load."""
        self._keepers += 1
        try:
            while True:
                with suppress(MirrorError):  # raised again to whoever asks for the snapshot
                    await self.snapshot(fresh=True)
                await asyncio.sleep(self._pause_s)
        finally:
            self._keepers -= 1

    def _look(self) -> None:
        # of the thread's own time: a busy loop that makes it wait must not make the snapshot older
        started = time.thread_time()
        before = self.latest
        try:
            fingerprint = _fingerprint(self._data)
            if before is None:
                # what has to be proved can be long: the next look does it, and nobody waits for it
                self._seen = load_snapshot(self._data, proving=False)
                self._fingerprint = fingerprint if self._seen.is_proved else ()
            elif fingerprint != self._fingerprint:
                self._seen = load_snapshot(self._data, before)
                self._fingerprint = fingerprint
        except MirrorError as error:
            self._seen = error
        self._looked_at = time.monotonic()
        self._pause_s = max(_FRESH_S, _LOAD_SHARE * (time.thread_time() - started))


def _fingerprint(data: DataDir) -> Fingerprint:
    return tuple(map(_stamp, (*data.books, data.final_changes, data.archive, data.quarantine)))


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stats = path.lstat()
    except OSError:
        return None
    return stats.st_mtime_ns, stats.st_size, stats.st_ino
