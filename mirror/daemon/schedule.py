"""Decides which job is due: APScheduler only signals, the daemon's task takes one job at a time.

So a job is never run twice at once, none is lost to a late timer, several signals of one kind are
one job, and the scheduler's own shutdown has nothing to cancel.
"""

import asyncio
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from types import TracebackType
from typing import Self

from apscheduler.schedulers.asyncio import AsyncIOScheduler
from apscheduler.triggers.base import BaseTrigger
from apscheduler.triggers.cron import CronTrigger
from apscheduler.triggers.interval import IntervalTrigger

from mirror.config.crontab import crontab_fields
from mirror.config.settings import ScheduleConfig

SLICE = timedelta(hours=1)
"""The slow jobs go through the archive in slices, one an hour."""
_FIRES_LOOKED_AT = 50
_JUMP_S = 30


class JobKind(StrEnum):
    """What can be due, most urgent first."""

    POLL = "poll"
    RECHECK = "recheck"
    VERIFY = "verify"
    INSPECT = "inspect"
    """Never due by the clock: wanted while days wait for their content to be counted."""


class Schedule:
    """Says which job is due; owns the scheduler: use with `async with`.

    Args:
        config: when to poll.
        wall: the wall clock, in seconds.
        monotonic: a clock that nobody sets.
    """

    def __init__(
        self,
        config: ScheduleConfig,
        *,
        wall: Callable[[], float] = time.time,
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._config = config
        self._wall = wall
        self._monotonic = monotonic
        self._offset = wall() - monotonic()
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

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._scheduler.shutdown(wait=False)

    def apply(self, config: ScheduleConfig) -> None:
        """Take new settings; all jobs are set anew from now."""
        self._config = config
        triggers = {
            JobKind.POLL: poll_trigger(config),
            JobKind.RECHECK: IntervalTrigger(seconds=SLICE.total_seconds(), timezone=UTC),
            JobKind.VERIFY: IntervalTrigger(seconds=SLICE.total_seconds(), timezone=UTC),
        }
        for kind, trigger in triggers.items():
            self._scheduler.add_job(
                self._fire, trigger, args=[kind], id=kind.value, replace_existing=True
            )

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
        job = self._scheduler.get_job(JobKind.POLL.value)
        return job.next_run_time if job is not None else None

    def is_overdue(self, patience_s: float) -> bool:
        """Return whether a poll should have been signalled long ago: the timer is dead."""
        at = self.next_poll_at()
        return at is not None and self._wall() - at.timestamp() > patience_s

    def check_clock_jump(self) -> float:
        """Set the jobs anew where the wall clock was set; to be called every few seconds.

        Jobs are due by the wall clock: without this a clock set back would stop them for as long.

        Returns:
            The seconds by which it jumped; 0 where it did not.
        """
        offset = self._wall() - self._monotonic()
        jump = offset - self._offset
        self._offset = offset
        if abs(jump) < _JUMP_S:
            return 0
        self.apply(self._config)
        self.signal(JobKind.POLL)
        return jump

    async def _fire(self, kind: JobKind) -> None:
        self.signal(kind)


def poll_trigger(config: ScheduleConfig) -> BaseTrigger:
    """Return when to poll: by `schedule.cron`, else by `schedule.interval`; jitter on top."""
    if config.cron:
        fields = crontab_fields(config.cron)
        return CronTrigger(**fields, timezone=UTC, jitter=config.jitter or None)
    # more than half the interval would be no rhythm any more
    jitter = min(config.jitter, config.interval / 2)
    return IntervalTrigger(seconds=config.interval, timezone=UTC, jitter=jitter or None)


def longest_interval(config: ScheduleConfig, *, now: datetime) -> timedelta:
    """Return the longest time between two polls, jitter included."""
    if not config.cron:
        return timedelta(seconds=config.interval + min(config.jitter, config.interval / 2))
    trigger = CronTrigger(**crontab_fields(config.cron), timezone=UTC)
    longest, last = timedelta(), trigger.get_next_fire_time(None, now)
    for _ in range(_FIRES_LOOKED_AT):
        if last is None:
            break
        following = trigger.get_next_fire_time(last, last)
        if following is None:
            break
        longest = max(longest, following - last)
        last = following
    return longest + timedelta(seconds=config.jitter)
