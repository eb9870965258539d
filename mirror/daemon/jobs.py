"""Runs the daemon's jobs, one at a time: polls, rechecks, verification, counting.

Whatever becomes of a job, the daemon goes on. Each job holds the data directory for writing for
itself, so that between two an operator may prune, restore or sync by hand.
"""

import asyncio
import math
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC
from functools import partial

from mirror.archive.plan import PollRange
from mirror.archive.ports import PollEvent
from mirror.config.settings import Config
from mirror.daemon.schedule import SLICE, JobKind, Schedule
from mirror.errors import DataDirGoneError, LockedError, MirrorError, StorageError
from mirror.logs import get_logger
from mirror.model import DamageKind, PollReport, Record
from mirror.store.disk import machine_error
from mirror.store.verification import verify
from mirror.sync.wiring import Mirror
from mirror.text import human_bytes, plural
from mirror.web.site import Site

_BY_HAND = (DamageKind.WRONG_KIND, DamageKind.STRANGER)
"""Damage that no download repairs: logged at each slice until somebody has looked."""
_INSPECT_S = 5  # a slice of counting content: for so long it may hold up a poll that is due
_TRY_AGAIN_S = 60  # after another writer was in the way
OpenWriter = Callable[[Config], AbstractAsyncContextManager[Mirror]]
"""Holds the data directory for writing, with a session."""


class Jobs:
    """Runs what is due by a schedule, which is running by the time of `run_all`.

    The site shows what happens; its settings may be replaced during a job. For `patience_s` a job
    may show no progress, beside the waits that the settings allow.
    """

    def __init__(
        self, site: Site, schedule: Schedule, open_writer: OpenWriter, *, patience_s: float = 300
    ) -> None:
        self.site = site
        self.schedule = schedule
        self.running: JobKind | None = None  # the job that is, if any
        self.last_poll: PollReport | None = None  # of the last poll that ended here
        self._open_writer = open_writer
        self._patience_s = patience_s
        self._verified_slice: int | None = None
        self._pulse: object = None
        self._pulsed_at = time.monotonic()
        self._jobs: Mapping[JobKind, Callable[[], Awaitable[None]]] = {
            JobKind.POLL: partial(self._pass, PollRange()),
            JobKind.RECHECK: self._recheck,
            JobKind.VERIFY: self._verify,
            JobKind.INSPECT: self._inspect,
        }

    async def run_all(self) -> None:
        """Run what is due, for ever; a poll first of all."""
        self.schedule.signal(JobKind.POLL)
        loop = asyncio.get_running_loop()
        while True:
            kind = await self.schedule.next()
            if not await self.run(kind):
                loop.call_later(_TRY_AGAIN_S, self.schedule.signal, kind)

    async def run(self, kind: JobKind) -> bool:
        """Run a job to its end, whatever comes of it.

        False says that it is to be tried again soon: another writer was in the way, or the data
        directory was replaced.
        """
        log, metrics, now = get_logger().bind(job=kind.value), self.site.metrics, self.site.now
        self.running = kind
        metrics.job_began(kind, now())
        try:
            await self._jobs[kind]()
        except LockedError as error:
            metrics.job_failed(kind, "locked")
            log.warning("job.postponed", problem=error.line())
            return False
        except Exception as error:
            refused = error if isinstance(error, MirrorError) else machine_error(error)
            if refused is None:
                metrics.job_failed(kind, "crashed")
                log.exception("job.crashed", hint="a bug: please report it; the daemon goes on")
            else:
                is_local = isinstance(refused, StorageError)
                metrics.job_failed(kind, "storage" if is_local else "refused")
                log.error("job.failed", problem=refused.line())  # noqa: TRY400 - no bug
            if isinstance(error, DataDirGoneError):
                self.last_poll = None
                return False
        finally:
            self.running = None
            metrics.job_ended(kind, now())
            self.site.live.stop()
        return True

    def is_getting_on(self) -> bool:
        """Return whether the running job moves, or the timer does where none runs."""
        now, traffic = time.monotonic(), self.site.metrics.traffic
        pulse = self.running, self.site.live.moved_at, traffic.requests, traffic.kept_bytes
        if pulse != self._pulse:
            self._pulse, self._pulsed_at = pulse, now
        if self.running is None:
            return not self.schedule.is_overdue(self._patience_s)
        http = self.site.config.http
        allowed = http.connect_timeout + 2 * http.read_timeout + http.max_backoff + self._patience_s
        return now - self._pulsed_at < allowed

    def describe(self) -> str:
        """Return in a line what is being done, or how the last poll ended and when the next is."""
        progress = self.site.live.progress
        if progress is not None and progress.days_pending:
            days = plural(progress.days_pending, "day")
            return f"Counting what is in {days}: {progress.days_counted:,} done"
        if progress is not None:
            return (
                f"Polling: {progress.days_done:,} of {plural(progress.days_due, 'day')}, "
                f"{human_bytes(progress.bytes_received)}"
            )
        if self.running is not None:
            return f"At work: {self.running}"
        last, at = self.last_poll, self.schedule.next_poll_at()
        following = f"; next poll {at.astimezone(UTC):%H:%M} UTC" if at is not None else ""
        if last is None:
            return f"No poll has ended yet{following}"
        days = plural(last.held, "day")
        as_of = f"as of {last.started_at:%H:%M} UTC"
        return f"{last.end.headline}, {days} held, {as_of}{following}"

    @asynccontextmanager
    async def _writing(self) -> AsyncIterator[Mirror]:
        """Hold the data directory for writing; what is asked of upstream counts as progress."""
        async with self._open_writer(self.site.config) as mirror:
            with self.site.metrics.following(mirror.traffic):
                yield mirror

    async def _recheck(self) -> None:
        """Ask again about the final days confirmed longest ago: a slice of them."""
        snapshot = await self.site.snapshots.snapshot()
        rules, now = self.site.data.days, self.site.now()
        final = sum(rules.is_final(day, now) for day in snapshot.inventory.records)
        share = SLICE.total_seconds() / self.site.config.schedule.recheck
        if count := math.ceil(final * min(1, share)):
            await self._pass(PollRange(recheck=count))

    async def _pass(self, asked: PollRange) -> None:
        async with self._writing() as mirror:
            self.last_poll = await mirror.poll(asked, self._observe, inspect_s=0)
            if self.last_poll.pending_findings:
                await self._count(mirror)
        await self.site.snapshots.snapshot(fresh=True)
        if self.site.config.dataset.enabled:
            from mirror.dataset.build import update_dataset  # noqa: PLC0415 - for a data set alone

            if await update_dataset(self.site.data, moved=self._read) is not None:
                self.site.metrics.job_failed("dataset", "refused")

    def _observe(self, event: PollEvent) -> None:
        self.site.metrics.observe(event)
        self.site.live.observe(event)

    async def _inspect(self) -> None:
        """Go on counting content: a slice of it."""
        async with self._writing() as mirror:
            await self._count(mirror)

    async def _count(self, mirror: Mirror) -> None:
        if (await mirror.inspect(self._observe, limit_s=_INSPECT_S)).waiting:
            # the least urgent of all: whatever else is due comes before
            self.schedule.signal(JobKind.INSPECT)

    async def _verify(self) -> None:
        """Read a slice of the copy again; what is damaged is repaired at once."""
        number = int(self.site.now().timestamp() // SLICE.total_seconds())
        report = await asyncio.to_thread(
            verify,
            self.site.data,
            choose=self._slice_up_to(number),
            progress=self._read,
            today=self.site.now().date(),
        )
        self._verified_slice = number
        log = get_logger()
        log.info("verify.finished", files=report.checked, damaged=len(report.damage))
        self.site.metrics.verified(report.checked, report.checked_bytes, len(report.damage))
        for damage in report.damage:
            log.error("verify.damaged", file=damage.name, kind=damage.kind, detail=damage.detail)
        repairable = [damage for damage in report.damage if damage.kind not in _BY_HAND]
        if repairable:
            async with self._writing() as mirror:
                await mirror.repair(repairable, self._observe)

    def _slice_up_to(self, number: int) -> Callable[[Sequence[Record]], Sequence[Record]]:
        """Return what chooses the days of this slice, and of those before that were missed."""
        count = max(1, round(self.site.config.schedule.verify / SLICE.total_seconds()))
        done = self._verified_slice
        # a clock that was set back must not leave all unread until it is there again
        first = number if done is None or done > number else done + 1
        slices = {one % count for one in range(max(first, number - count + 1), number + 1)}
        return lambda records: [one for one in records if one.date.toordinal() % count in slices]

    def _read(self, _files: int, _bytes: int) -> None:
        """Count reading as progress; called on threads, where only a plain value may be set."""
        self.site.live.moved_at = time.monotonic()
