"""The task that takes one due job at a time, and whether it makes progress."""

import asyncio
import time
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from mirror.config.settings import Config
from mirror.daemon.jobs import Jobs
from mirror.daemon.schedule import JobKind, Schedule
from mirror.logs import get_logger
from mirror.status.poll_progress import PollProgress
from mirror.text import human_bytes, plural

_TRY_AGAIN_S = 60
"""After another writer was in the way."""


class Work:
    """Takes what is due, one job at a time; owns the schedule: use with `async with`.

    Args:
        schedule: says what is due.
        jobs: does it.
        live: how a poll stands.
        patience_s: how long a job may show no progress, beside the waits that the settings allow.
    """

    def __init__(
        self,
        schedule: Schedule,
        jobs: Jobs,
        live: PollProgress,
        *,
        patience_s: float = 300,
    ) -> None:
        self._schedule = schedule
        self._jobs = jobs
        self._live = live
        self._patience_s = patience_s
        self._pulse: object = None
        self._got_on_at = time.monotonic()

    async def __aenter__(self) -> Self:
        await self._schedule.__aenter__()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        await self._schedule.__aexit__(kind, error, trace)

    async def run(self) -> None:
        """Do what is due, for ever; a poll first of all."""
        self._schedule.signal(JobKind.POLL)
        loop = asyncio.get_running_loop()
        while True:
            kind = await self._schedule.next()
            if not await self._jobs.run(kind):
                loop.call_later(_TRY_AGAIN_S, self._schedule.signal, kind)
            elif self._jobs.waiting:
                # the least urgent of all: whatever else is due comes before
                self._schedule.signal(JobKind.INSPECT)

    def apply(self, config: Config) -> None:
        """Take new settings; a job that runs ends by the old ones."""
        self._jobs.config = config
        self._schedule.apply(config.schedule)

    def check_clock_jump(self) -> None:
        """See whether the wall clock was set; to be called at each beat."""
        if jump_s := self._schedule.check_clock_jump():
            get_logger().warning("clock.jumped", seconds=round(jump_s))

    def next_poll_at(self) -> datetime | None:
        """Return when the next poll is due."""
        return self._schedule.next_poll_at()

    def is_getting_on(self) -> bool:
        """Return whether the running job moves, or the timer does where none runs."""
        now = time.monotonic()
        pulse = self._jobs.pulse()
        if pulse != self._pulse:
            self._pulse, self._got_on_at = pulse, now
        http = self._jobs.config.http
        if self._jobs.running is None:
            return not self._schedule.is_overdue(self._patience_s)
        allowed = http.connect_timeout + 2 * http.read_timeout + http.max_backoff + self._patience_s
        return now - self._got_on_at < allowed

    def describe(self) -> str:
        """Return in a line what is being done, or how the last poll ended and when the next is."""
        progress = self._live.progress
        if progress is not None and progress.days_pending:
            days = plural(progress.days_pending, "day")
            return f"Counting what is in {days}: {progress.days_counted:,} done"
        if progress is not None:
            return (
                f"Polling: {progress.days_done:,} of {plural(progress.days_due, 'day')}, "
                f"{human_bytes(progress.bytes_received)}"
            )
        if self._jobs.running is not None:
            return f"At work: {self._jobs.running}"
        last, at = self._jobs.last_poll, self._schedule.next_poll_at()
        following = f"; next poll {at.astimezone(UTC):%H:%M} UTC" if at is not None else ""
        if last is None:
            return f"No poll has ended yet{following}"
        days = plural(last.held, "day")
        as_of = f"as of {last.started_at:%H:%M} UTC"
        return f"{last.end.headline}, {days} held, {as_of}{following}"
