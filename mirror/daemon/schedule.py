"""Decides which job is due: APScheduler only signals, the daemon's task takes one job at a time.

So a job is never run twice at once, none is lost to a late timer, several signals of one kind are
one job, and the scheduler's own shutdown has nothing to cancel. When the wall clock is set, all
jobs are set anew.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Self

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.interval import IntervalTrigger

from mirror.config.cron import crontab_trigger, jitter_s
from mirror.config.settings import ScheduleConfig

SLICE = timedelta(hours=1)  # the slow jobs go through the archive in slices, one an hour
_JUMP_S = 30


class JobKind(StrEnum):
    """What can be due, most urgent first."""

    POLL = "poll"
    RECHECK = "recheck"
    VERIFY = "verify"
    INSPECT = "inspect"
    """Never due by the clock: wanted while days wait for their content to be counted."""


class Schedule:
    """Says which job is due, by the wall clock; owns the scheduler: use with `async with`."""

    def __init__(self, config: ScheduleConfig, *, wall: Callable[[], float] = time.time) -> None:
        self._config = config
        self._wall = wall
        self._offset = wall() - time.monotonic()
        self._due: set[JobKind] = set()
        self._signalled = asyncio.Event()
        self._scheduler = AsyncIOScheduler(
            timezone=UTC,
            # a late wake-up (its default allows 1 s) is no reason to skip; several are one
            job_defaults={"misfire_grace_time": None, "coalesce": True, "max_instances": 1},
        )

    async def __aenter__(self) -> Self:
        self._scheduler.start()
        self.apply(self._config)
        return self

    async def __aexit__(self, *_: object) -> None:
        self._scheduler.shutdown(wait=False)

    def apply(self, config: ScheduleConfig) -> None:
        """Take new settings; all jobs are set anew from now."""
        self._config = config
        hourly = IntervalTrigger(seconds=SLICE.total_seconds(), timezone=UTC)
        triggers = {
            JobKind.POLL: _poll_trigger(config),
            JobKind.RECHECK: hourly,
            JobKind.VERIFY: hourly,
        }
        for kind, trigger in triggers.items():
            self._scheduler.add_job(self._fire, trigger, [kind], id=kind, replace_existing=True)

    def signal(self, kind: JobKind) -> None:
        """Make a job due now."""
        self._due.add(kind)
        self._signalled.set()

    async def next(self) -> JobKind:
        """Wait for a job to be due, and take it."""
        while not self._due:
            self._signalled.clear()
            await self._signalled.wait()
        kind = next(kind for kind in JobKind if kind in self._due)
        self._due.discard(kind)
        return kind

    def next_poll_at(self) -> datetime | None:
        """Return when the next poll is due."""
        job = self._scheduler.get_job(JobKind.POLL)
        return job.next_run_time if job is not None else None

    def is_overdue(self, patience_s: float) -> bool:
        """Return whether a poll should have been signalled long ago: the timer is dead."""
        at = self.next_poll_at()
        return at is not None and self._wall() - at.timestamp() > patience_s

    def check_clock_jump(self) -> float:
        """Set the jobs anew where the wall clock was set; to be called every few seconds.

        Jobs are due by the wall clock: without this a clock set back would stop them for as long.
        Return the seconds by which it jumped; 0 where it did not.
        """
        offset = self._wall() - time.monotonic()
        jump = offset - self._offset
        self._offset = offset
        if abs(jump) < _JUMP_S:
            return 0
        self.apply(self._config)
        self.signal(JobKind.POLL)
        return jump

    async def _fire(self, kind: JobKind) -> None:
        self.signal(kind)


def _poll_trigger(config: ScheduleConfig) -> BaseTrigger:
    """Return when to poll: by `schedule.cron`, else by `schedule.interval`; jitter on top."""
    jitter = jitter_s(config) or None
    if config.cron:
        return crontab_trigger(config.cron, jitter)
    return IntervalTrigger(seconds=config.interval, timezone=UTC, jitter=jitter)
