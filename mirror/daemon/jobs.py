"""What the daemon does when something is due: each job to its end, whatever becomes of it.

The data directory is held for writing by each job for itself, so that between two polls an operator
may prune, restore or sync by hand beside a running daemon.
"""

import asyncio
import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol

from mirror.archive.plan import PollRange
from mirror.archive.ports import Observer, Observers, Traffic
from mirror.config.settings import Config
from mirror.daemon.schedule import SLICE, JobKind
from mirror.dataset.update import update_dataset
from mirror.errors import LockedError, MirrorError, StorageError
from mirror.logs import get_logger
from mirror.model import Damage, DamageKind, PollReport, Record
from mirror.status.metrics import Metrics
from mirror.status.poll_progress import PollProgress
from mirror.status.snapshot import SnapshotCache
from mirror.store.layout import DataDir
from mirror.store.verification import verify
from mirror.sync.inspect import Inspected

_BY_HAND = (DamageKind.WRONG_KIND, DamageKind.STRANGER)
"""Damage that no download mends: told again at each slice until somebody has looked."""


_INSPECT_S = 5
"""A slice of counting what is in the days: for so long it may hold up a poll that is due."""


class Writer(Protocol):
    """A data directory held for writing, and a session with upstream.

    See `mirror.sync.wiring.Mirror`.
    """

    @property
    def traffic(self) -> Traffic:
        """What was asked of upstream so far."""

    async def poll(self, observer: Observer, asked: PollRange, *, inspect_s: float) -> PollReport:
        """Make one pass."""

    async def inspect(self, observer: Observer, *, limit_s: float) -> Inspected:
        """Count what is in the days that are pending."""

    async def repair(self, damage: Sequence[Damage], observer: Observer) -> None:
        """Put right what a verification found."""


OpenWriter = Callable[[Config], AbstractAsyncContextManager[Writer]]


class Jobs:
    """Does what is due.

    Args:
        config: the settings.
        data: the data directory.
        open_writer: holds it for writing, with a session.
        snapshots: how readers see it.
        metrics: counts what happens.
        live: remembers how a poll stands.
        now: the clock, aware UTC.

    Attributes:
        config: the settings; to be replaced between jobs or during one, which keeps its own.
        running: the job that is being done, if any.
        last_poll: the report of the last poll that ended here.
        waiting: days whose content could not be counted yet, for want of time.
    """

    def __init__(
        self,
        config: Config,
        data: DataDir,
        *,
        open_writer: OpenWriter,
        snapshots: SnapshotCache,
        metrics: Metrics,
        live: PollProgress,
        now: Callable[[], datetime],
    ) -> None:
        self.config = config
        self.running: JobKind | None = None
        self.last_poll: PollReport | None = None
        self.waiting = 0
        self._data = data
        self._open_writer = open_writer
        self._snapshots = snapshots
        self._metrics = metrics
        self._live = live
        self._now = now
        self._traffic: Traffic | None = None
        self._verified_slice: int | None = None
        self._work: Mapping[JobKind, Callable[[], Awaitable[None]]] = {
            JobKind.POLL: self._poll,
            JobKind.RECHECK: self._recheck,
            JobKind.VERIFY: self._verify,
            JobKind.TIDY: self._tidy_up,
            JobKind.INSPECT: self._inspect,
        }

    async def run(self, kind: JobKind) -> bool:
        """Do a job to its end, whatever comes of it.

        Returns:
            False where another writer was in the way: to be tried again soon.
        """
        log = get_logger().bind(job=kind.value)
        self.running = kind
        self._metrics.job_began(kind, self._now())
        try:
            await self._work[kind]()
        except LockedError as error:
            self._metrics.job_failed(kind, "locked")
            log.warning("job.postponed", problem=error.line())
            return False
        except MirrorError as error:
            outcome = "storage" if isinstance(error, StorageError) else "refused"
            self._metrics.job_failed(kind, outcome)
            log.error("job.failed", problem=error.line())  # noqa: TRY400 - no bug: no traceback
        except Exception:
            self._metrics.job_failed(kind, "crashed")
            log.exception("job.crashed", hint="a bug: please report it; the daemon goes on")
        finally:
            self.running = None
            self._metrics.job_ended(kind, self._now())
            self._live.stop()
        return True

    def pulse(self) -> object:
        """Return something that differs whenever the running job has got on."""
        traffic = self._traffic
        asked = (traffic.requests, traffic.received_bytes) if traffic is not None else ()
        return self.running, self._live.moved_at, asked

    async def _poll(self) -> None:
        await self._pass(PollRange())

    async def _recheck(self) -> None:
        """Ask again about the final days confirmed longest ago: a slice of them."""
        snapshot = await self._snapshots.snapshot()
        data, now = self._data.with_settings(self.config), self._now()
        final = sum(data.days.is_final(day, now) for day in snapshot.inventory.records)
        share = SLICE.total_seconds() / self.config.schedule.recheck
        if count := math.ceil(final * min(1, share)):
            await self._pass(PollRange(recheck=count))

    async def _pass(self, asked: PollRange) -> None:
        async with self._open_writer(self.config) as mirror:
            self._traffic = mirror.traffic
            try:
                with self._metrics.following(mirror.traffic):
                    observer = Observers((self._metrics, self._live))
                    self.last_poll = await mirror.poll(observer, asked, inspect_s=0)
                    if self.last_poll.pending_findings:
                        await self._count(mirror, observer)
            finally:
                self._traffic = None
        await self._snapshots.snapshot(fresh=True)
        if self.config.dataset.enabled:
            data = self._data.with_settings(self.config)
            if await update_dataset(data, moved=self._read) is not None:
                self._metrics.job_failed("dataset", "refused")

    async def _inspect(self) -> None:
        """Go on counting what is in the days: a slice of them."""
        self.waiting = 0
        async with self._open_writer(self.config) as mirror:
            await self._count(mirror, Observers((self._metrics, self._live)))

    async def _count(self, mirror: Writer, observer: Observer) -> None:
        self.waiting = (await mirror.inspect(observer, limit_s=_INSPECT_S)).waiting

    async def _verify(self) -> None:
        """Read a slice of the copy again; what is damaged is put right at once."""
        number = int(self._now().timestamp() // SLICE.total_seconds())
        count = max(1, round(self.config.schedule.verify / SLICE.total_seconds()))
        first = number if self._verified_slice is None else self._verified_slice + 1
        slices = {one % count for one in range(max(first, number - count + 1), number + 1)}

        def choose(records: Sequence[Record]) -> Sequence[Record]:
            return [one for one in records if one.date.toordinal() % count in slices]

        report = await asyncio.to_thread(
            verify,
            self._data.with_settings(self.config),
            choose=choose,
            progress=self._read,
            today=self._now().date(),
        )
        self._verified_slice = number
        log = get_logger()
        log.info("verify.finished", files=report.checked, damaged=len(report.damage))
        self._metrics.verified(report.checked, report.checked_bytes, len(report.damage))
        for damage in report.damage:
            log.error("verify.damaged", file=damage.name, kind=damage.kind, detail=damage.detail)
        mendable = [damage for damage in report.damage if damage.kind not in _BY_HAND]
        if mendable:
            async with self._open_writer(self.config) as mirror:
                with self._metrics.following(mirror.traffic):
                    await mirror.repair(mendable, Observers((self._metrics, self._live)))

    def _read(self, _files: int, _bytes: int) -> None:
        """Files are being read, on threads, where only a plain value may be set."""
        self._live.moved_at = time.monotonic()

    async def _tidy_up(self) -> None:
        """Bound what is bounded by number or size; the rest is bounded as it grows."""
