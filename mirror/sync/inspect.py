"""Counts what published days contain, from their files: the last step of a poll.

By then all is safe, so nothing waits for it and nothing fails with it. A day is pending while its
record has no findings, or those of an earlier version (`mirror.events.findings.is_pending`); that
is all there is to remember, so whoever comes next goes on where this was cut off. Many bytes are
counted by worker processes, one for each processor, for decoding holds the interpreter's lock; a
few on a thread, for starting a process takes longer.
"""

import asyncio
import os
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import ExitStack

from msgspec import Struct
from msgspec.structs import asdict, replace

from mirror.archive.ports import Counted, Destination, Observer, ignore
from mirror.errors import StorageError
from mirror.events.findings import is_pending
from mirror.logs import get_logger
from mirror.model import Findings, Record
from mirror.processes import Worker, WorkerDiedError
from mirror.sync.count import count_days
from mirror.sync.fetch import task_group

_WORKERS_FROM_BYTES = 64 * 1024**2
"""From here on the start of a process (0.1 s) is little beside the counting."""
_BATCH_BYTES = 16 * 1024**2
_BATCH_DAYS = 64


class Inspected(Struct, frozen=True):
    """What became of the pending days."""

    counted: int = 0
    failed: int = 0
    """Days that stay pending: their file could not be read, or is not the one on record."""
    waiting: int = 0
    """Days that stay pending because time ran out."""

    @property
    def pending(self) -> int:
        """Days that stay pending."""
        return self.failed + self.waiting


async def inspect_pending(
    destination: Destination,
    publish: Callable[[], Awaitable[object]],
    observer: Observer = ignore,
    *,
    limit_s: float = float("inf"),
    workers_from_bytes: int = _WORKERS_FROM_BYTES,
) -> Inspected:
    """Count what is in the days that are pending, newest first, and put it on record.

    Nothing that goes wrong is an error: it is logged, and the day stays pending.

    Args:
        destination: where the days are.
        publish: writes the listings and the manifest again, with what was counted.
        observer: notified after each day.
        limit_s: after so many seconds no further file is begun.
        workers_from_bytes: from so many bytes on they are counted in other processes.
    """
    pending = [record for record in destination.inventory.records.values() if is_pending(record)]
    if not pending:
        return Inspected()
    log, inspected, ends_at = get_logger(), None, time.monotonic() + limit_s
    in_workers = sum(record.size for record in pending) >= workers_from_bytes
    inspection = _Inspection(destination, observer, pending, in_workers=in_workers)
    try:
        await inspection.run(ends_at)
        if inspection.counted:
            await publish()
        inspected = inspection.result()
    except StorageError as error:
        log.warning("inspect.failed", problem=error.line())
    except Exception:
        log.exception("inspect.crashed", hint="a bug: please report it; the days wait")
    # whoever asks for what waits must not ask again and again for what cannot be had
    inspected = inspected or Inspected(inspection.counted, len(pending) - inspection.counted)
    log.info("inspect.finished", **asdict(inspected))
    return inspected


class _Inspection:
    """The pending days on their way through the workers."""

    def __init__(
        self,
        destination: Destination,
        observer: Observer,
        pending: Sequence[Record],
        *,
        in_workers: bool,
    ) -> None:
        self.counted = 0
        self._failed = 0
        self._bytes = 0
        self._total = len(pending)
        self._destination = destination
        self._observer = observer
        self._in_workers = in_workers
        self._log = get_logger()
        newest_first = sorted(pending, key=lambda record: record.date, reverse=True)
        # the next one last
        self._batches = list(_batches(newest_first))[::-1]

    async def run(self, ends_at: float) -> None:
        """Count until there is nothing left, or no time."""
        hands = min(len(os.sched_getaffinity(0)), len(self._batches)) if self._in_workers else 1
        async with task_group() as group:
            for _ in range(hands):
                group.create_task(self._take_batches(ends_at))

    def result(self) -> Inspected:
        """Return what became of the days."""
        waiting = self._total - self.counted - self._failed
        return Inspected(self.counted, self._failed, waiting)

    async def _take_batches(self, ends_at: float) -> None:
        """Have batch after batch counted: by a worker, a new one where it has died."""
        worker: Worker | None = None

        def count(batch: Sequence[Record]) -> Sequence[Findings | str]:
            opener = self._destination.opener
            if worker is None:
                return count_days(opener, batch)
            return worker.call(count_days, opener, batch)

        with ExitStack() as workers:
            while self._batches and time.monotonic() < ends_at:
                batch = self._batches.pop()
                if worker is None and self._in_workers:
                    worker = self._start(workers)
                try:
                    found = await asyncio.to_thread(count, batch)
                except WorkerDiedError as error:
                    workers.close()
                    worker = None
                    self._give_up(batch, error)
                else:
                    await self._keep(batch, found)

    def _start(self, workers: ExitStack) -> Worker | None:
        try:
            return workers.enter_context(Worker())
        except StorageError as error:
            self._log.warning("inspect.no_worker", problem=error.line())
            self._in_workers = False
            return None

    def _give_up(self, batch: Sequence[Record], error: WorkerDiedError) -> None:
        """Leave the day pending that a worker died of; those beside it are tried alone."""
        self._log.warning("inspect.worker_died", signal=str(error), days=len(batch))
        if len(batch) == 1:
            self._failed += 1
        else:
            self._batches += [[record] for record in reversed(batch)]

    async def _keep(self, batch: Sequence[Record], found: Sequence[Findings | str]) -> None:
        for record, findings in zip(batch, found, strict=True):
            held = self._destination.inventory.records.get(record.date)
            if isinstance(findings, str):
                self._failed += 1
                self._log.warning("inspect.day_left", file=record.name, problem=findings)
            elif held is not None and held.sha256 == record.sha256:
                await self._destination.note(replace(held, findings=findings))
                self.counted += 1
            self._bytes += record.size
            self._observer(Counted(self.counted + self._failed, self._total, self._bytes))


def _batches(records: Sequence[Record]) -> Iterator[list[Record]]:
    """Part days into what is worth one call."""
    batch: list[Record] = []
    size = 0
    for record in records:
        batch.append(record)
        size += record.size
        if size >= _BATCH_BYTES or len(batch) >= _BATCH_DAYS:
            yield batch
            batch, size = [], 0
    if batch:
        yield batch
