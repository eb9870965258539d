"""What is due, and when: on a real scheduler and a real event loop."""

import asyncio
import time
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from mirror.config.cron import longest_interval
from mirror.config.settings import ScheduleConfig
from mirror.daemon.schedule import JobKind, Schedule

SOON = ScheduleConfig(interval=1, jitter=0)
NEVER = ScheduleConfig(interval=10 * 86400, jitter=0)
NOW = datetime(2026, 11, 22, 12, tzinfo=UTC)


class Clock:
    """A wall clock that can be set."""

    def __init__(self) -> None:
        self.ahead_s = 0.0

    def __call__(self) -> float:
        return time.time() + self.ahead_s


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def idle(clock: Clock) -> AsyncIterator[Schedule]:
    """A schedule of which nothing is due for days."""
    async with Schedule(NEVER, wall=clock) as schedule:
        yield schedule


async def test_a_poll_is_due_again_and_again() -> None:
    async with Schedule(SOON) as schedule:
        started = time.monotonic()
        for _ in range(2):
            assert await asyncio.wait_for(schedule.next(), 5) is JobKind.POLL

        assert time.monotonic() - started > 1.5


async def test_what_was_signalled_several_times_is_one_job(idle: Schedule) -> None:
    for _ in range(3):
        idle.signal(JobKind.POLL)

    assert await idle.next() is JobKind.POLL
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(idle.next(), 0.05)


async def test_the_most_urgent_comes_first_and_none_is_lost(idle: Schedule) -> None:
    for kind in (JobKind.INSPECT, JobKind.VERIFY, JobKind.POLL, JobKind.RECHECK):
        idle.signal(kind)

    assert [await idle.next() for _ in JobKind] == list(JobKind)


async def test_a_job_that_takes_long_delays_the_next_and_loses_none() -> None:
    async with Schedule(SOON) as schedule:
        await schedule.next()
        await asyncio.sleep(2.2)  # two more have become due

        assert await asyncio.wait_for(schedule.next(), 0.01) is JobKind.POLL


async def test_new_settings_set_the_next_poll_anew(idle: Schedule) -> None:
    idle.apply(SOON)

    assert await asyncio.wait_for(idle.next(), 5) is JobKind.POLL


@pytest.mark.parametrize("jump_s", [-86400.0, 86400.0, -31.0])
async def test_a_clock_that_jumps_makes_a_poll_due_and_sets_the_jobs_anew(
    idle: Schedule, clock: Clock, jump_s: float
) -> None:
    before = idle.next_poll_at()
    await asyncio.sleep(0.01)
    clock.ahead_s = jump_s

    assert idle.check_clock_jump() == pytest.approx(jump_s, abs=1)
    assert await asyncio.wait_for(idle.next(), 1) is JobKind.POLL
    assert idle.next_poll_at() != before
    assert idle.check_clock_jump() == 0


async def test_a_clock_that_drifts_does_not(idle: Schedule, clock: Clock) -> None:
    clock.ahead_s = 5

    assert idle.check_clock_jump() == 0
    with pytest.raises(TimeoutError):
        await asyncio.wait_for(idle.next(), 0.05)


async def test_a_timer_that_does_not_fire_is_noticed(idle: Schedule, clock: Clock) -> None:
    assert not idle.is_overdue(60)
    clock.ahead_s = 11 * 86400

    assert idle.is_overdue(60)


def test_jitter_is_never_more_than_half_of_the_interval() -> None:
    config = ScheduleConfig(interval=2, jitter=60)

    assert longest_interval(config, now=NOW) == timedelta(seconds=3)


@pytest.mark.parametrize(
    ("cron", "longest"),
    [
        ("*/15 * * * *", timedelta(minutes=15)),
        ("5 */2 * * *", timedelta(hours=2)),
        ("0 8,9 * * *", timedelta(hours=23)),
        ("0 6 * * 1-5", timedelta(days=3)),
        ("0 12 13 * 5", timedelta(days=7)),
        ("*/5 * 1 * *", timedelta(days=30, minutes=5)),
        ("0 0 30 2 1", timedelta(days=350)),
        ("0 0 29 2 *", timedelta(days=1461)),
        ("* * * * *", timedelta(minutes=1)),
    ],
)
def test_the_longest_interval_of_a_crontab_line(cron: str, longest: timedelta) -> None:
    config = ScheduleConfig(cron=cron, jitter=0)

    assert longest_interval(config, now=NOW) == longest
