"""Keeps a snapshot of a data directory fresh while others write there."""

import asyncio
import time
from contextlib import suppress
from pathlib import Path

from mirror.errors import MirrorError
from mirror.status.snapshot import Snapshot, load_snapshot
from mirror.store.layout import DataDir

_FRESH_S = 1.0  # a snapshot younger than this is not looked at again
_LOAD_SHARE = 20  # it takes at most 1/20 of the time, while a first sync journals file after file

Fingerprint = tuple[tuple[int, int, int] | None, ...]


class SnapshotCache:
    """Keeps a snapshot of a data directory fresh. To be used on one event loop."""

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

    @property
    def _is_to_be_proved(self) -> bool:
        return self.latest is not None and not self.latest.is_proved

    async def snapshot(self, *, fresh: bool = False) -> Snapshot:
        """Return a snapshot, at most about a second old; at once while `keep_fresh` runs.

        A `fresh` one is looked at again in any case, as when a file is not the one on record.
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
                await asyncio.sleep(0 if self._is_to_be_proved else self._pause_s)
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
