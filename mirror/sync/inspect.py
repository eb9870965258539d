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
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial

from msgspec import Struct
from msgspec.structs import asdict, replace

from mirror.archive.ports import Counted, Destination, Observer, ignore
from mirror.archive.upstream import Upstream
from mirror.errors import StorageError
from mirror.events.findings import is_pending
from mirror.logs import get_logger
from mirror.model import Findings, Record
from mirror.processes import Worker, WorkerDiedError
from mirror.sync.count import count_days
from mirror.sync.fetch import task_group
from mirror.sync.publish import publish

_WORKERS_FROM_BYTES = 64 * 1024**2  # from here on the start of a process (0.1 s) is little
_BATCH_BYTES = 16 * 1024**2
_BATCH_DAYS = 64


class Inspected(Struct, frozen=True):
    """What became of the pending days."""

    counted: int = 0
    failed: int = 0  # days that stay pending: a file unreadable, or not the one on record
    waiting: int = 0  # days that stay pending because time ran out


async def inspect_pending(
    destination: Destination,
    upstream: Upstream,
    observer: Observer = ignore,
    *,
    limit_s: float = float("inf"),
    workers_from_bytes: int = _WORKERS_FROM_BYTES,
) -> Inspected:
    """Count what is in the days that are pending, newest first, and put it on record.

    Nothing that goes wrong is an error: it is logged, and the day stays pending.

    The observer is notified after each day; at the end the listings are written again. After
    `limit_s` seconds no further file is begun. From `workers_from_bytes` on days are counted in
    other processes.
    """
    pending = [record for record in destination.inventory.records.values() if is_pending(record)]
    if not pending:
        return Inspected()
    newest_first = sorted(pending, key=lambda record: record.date, reverse=True)
    inspection = _Inspection(
        destination,
        observer,
        batches=list(_batches(newest_first))[::-1],
        total=len(pending),
        total_size=(total_size := sum(record.size for record in pending)),
        in_workers=total_size >= workers_from_bytes,
        ends_at=time.monotonic() + limit_s,
    )
    log, inspected = get_logger(), None
    try:
        await inspection.run()
        if inspection.counted:
            await asyncio.to_thread(publish, destination, upstream)
        waiting = len(pending) - inspection.counted - inspection.failed
        inspected = Inspected(inspection.counted, inspection.failed, waiting)
    except StorageError as error:
        log.warning("inspect.failed", problem=error.line())
    except Exception:
        log.exception("inspect.crashed", hint="a bug: please report it; the days wait")
    # whoever asks for what waits must not ask again and again for what cannot be had
    inspected = inspected or Inspected(inspection.counted, len(pending) - inspection.counted)
    log.debug("inspect.finished", **asdict(inspected))
    return inspected


@dataclass
class _Inspection:
    """The pending days on their way through the workers."""

    destination: Destination
    observer: Observer
    batches: list[list[Record]]  # what is still to be counted, the next one last
    total: int  # days that were pending
    total_size: int
    in_workers: bool
    ends_at: float
    counted: int = 0
    failed: int = 0
    size: int = 0  # bytes of the days that are done

    async def run(self) -> None:
        """Count until there is nothing left, or no time."""
        hands = min(len(os.sched_getaffinity(0)), len(self.batches)) if self.in_workers else 1
        async with task_group() as group:
            for _ in range(hands):
                group.create_task(self._take_batches())

    async def _take_batches(self) -> None:
        """Have batch after batch counted: by a worker, a new one where it has died."""
        worker: Worker | None = None
        with ExitStack() as workers:
            while self.batches and time.monotonic() < self.ends_at:
                batch = self.batches.pop()
                if worker is None and self.in_workers:
                    worker = self._start(workers)
                count = partial(count_days, self.destination.opener, batch)
                try:
                    found = await asyncio.to_thread(
                        partial(worker.call, count) if worker else count
                    )
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
            get_logger().warning("inspect.no_worker", problem=error.line())
            self.in_workers = False
            return None

    def _give_up(self, batch: Sequence[Record], error: WorkerDiedError) -> None:
        """Leave the day pending that a worker died of; those beside it are tried alone."""
        get_logger().warning("inspect.worker_died", signal=str(error), days=len(batch))
        if len(batch) == 1:
            self.failed += 1
        else:
            self.batches += [[record] for record in reversed(batch)]

    async def _keep(self, batch: Sequence[Record], found: Sequence[Findings | str]) -> None:
        for record, findings in zip(batch, found, strict=True):
            held = self.destination.inventory.records.get(record.date)
            if isinstance(findings, str):
                self.failed += 1
                get_logger().warning("inspect.day_left", file=record.name, problem=findings)
            elif held is not None and held.sha256 == record.sha256:
                await self.destination.note(replace(held, findings=findings))
                self.counted += 1
            self.size += record.size
            done = self.counted + self.failed
            self.observer(Counted(done, self.total, self.size, self.total_size))


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
