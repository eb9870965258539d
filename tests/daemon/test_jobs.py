"""Each job for itself, on a real data directory and an upstream behind a real socket."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace
from structlog.testing import capture_logs

from mirror.archive.ports import Counted, Observer, ignore
from mirror.config.loading import load_config
from mirror.config.settings import Config
from mirror.daemon.jobs import Jobs, OpenWriter
from mirror.daemon.schedule import JobKind, Schedule
from mirror.events.findings import is_pending
from mirror.store.inventory import load_inventory
from mirror.sync.inspect import Inspected
from mirror.sync.wiring import Mirror, open_mirror
from tests.command import PATIENCE_S, Shell, long_final_days, open_shell
from tests.conftest import Clock
from tests.web.serving import make_site

HOUR = 3600


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data", long_final_days(24)) as shell:
        yield shell


def make_jobs(
    shell: Shell,
    *,
    clock: Clock | None = None,
    open_writer: OpenWriter | None = None,
    patience_s: float = 300,
) -> Jobs:
    config = load_config(None, shell.environ)
    return Jobs(
        make_site(shell.data, now=clock or (lambda: datetime.now(UTC)), config=config),
        Schedule(config.schedule),
        open_writer or (lambda current: open_mirror(current, shell.data)),
        patience_s=patience_s,
    )


@asynccontextmanager
async def running(jobs: Jobs) -> AsyncIterator[None]:
    """Run what is due meanwhile."""
    async with jobs.schedule:
        task = asyncio.create_task(jobs.run_all())
        yield
        task.cancel()
        await asyncio.wait({task})


async def test_a_poll_leaves_its_report(shell: Shell) -> None:
    jobs = make_jobs(shell)

    assert await jobs.run(JobKind.POLL)

    assert jobs.last_poll is not None
    assert (jobs.last_poll.exit_code, jobs.last_poll.held) == (0, 24)
    shell.assert_complete()


async def test_a_bug_is_logged_and_ends_nothing(shell: Shell) -> None:
    @asynccontextmanager
    async def broken(_config: Config) -> AsyncIterator[Mirror]:
        raise RuntimeError("unheard of")
        yield

    jobs = make_jobs(shell, open_writer=broken)

    with capture_logs() as logs:
        assert await jobs.run(JobKind.POLL)

    (crash,) = (event for event in logs if event["event"] == "job.crashed")
    assert crash["log_level"] == "error"
    assert jobs.running is None


async def test_rechecks_go_through_the_archive_in_the_time_set(shell: Shell) -> None:
    shell.set(schedule__recheck=str(8 * HOUR))
    jobs = make_jobs(shell)
    await jobs.run(JobKind.POLL)
    asked = []
    for _ in range(8):
        shell.asked()
        await jobs.run(JobKind.RECHECK)
        days = [name for name in shell.asked() if name.startswith("events-")]
        assert len(days) == 3
        asked += days

    assert sorted(asked) == sorted(path.name for path in map(shell.path, shell.days))


async def test_a_body_that_upstream_changed_in_silence_is_found_by_a_recheck(
    shell: Shell,
) -> None:
    shell.set(schedule__recheck=str(HOUR))
    jobs = make_jobs(shell)
    await jobs.run(JobKind.POLL)
    day = shell.days[3]
    name = f"events-{day}.jsonl"
    lines = shell.body(day).splitlines(keepends=True)
    shell.archive.put_day(day, b"".join((lines[1], lines[0], *lines[2:])), datetime.now(UTC))
    assert shell.archive[name].body != shell.path(day).read_bytes()
    await jobs.run(JobKind.POLL)
    assert shell.archive[name].body != shell.path(day).read_bytes()

    await jobs.run(JobKind.RECHECK)

    assert shell.archive[name].body == shell.path(day).read_bytes()


async def test_slices_verify_the_whole_copy_in_the_time_set(shell: Shell) -> None:
    shell.set(schedule__verify=str(6 * HOUR))
    clock = Clock(datetime.now(UTC))
    jobs = make_jobs(shell, clock=clock)
    await jobs.run(JobKind.POLL)
    read = []
    with capture_logs() as logs:
        for _ in range(6):
            await jobs.run(JobKind.VERIFY)
            clock.advance(hours=1)
    read = [event["files"] for event in logs if event["event"] == "verify.finished"]

    assert len(read) == 6
    assert sum(read) == 24
    assert max(read) <= 5


async def test_slices_that_were_slept_through_are_made_up_for(shell: Shell) -> None:
    shell.set(schedule__verify=str(6 * HOUR))
    clock = Clock(datetime.now(UTC))
    jobs = make_jobs(shell, clock=clock)
    await jobs.run(JobKind.POLL)
    with capture_logs() as logs:
        await jobs.run(JobKind.VERIFY)
        clock.advance(days=100)
        await jobs.run(JobKind.VERIFY)
    read = [event["files"] for event in logs if event["event"] == "verify.finished"]

    assert read[1] == 24


async def test_a_clock_that_is_set_back_leaves_nothing_unread(shell: Shell) -> None:
    shell.set(schedule__verify=str(HOUR))
    clock = Clock(datetime.now(UTC))
    jobs = make_jobs(shell, clock=clock)
    await jobs.run(JobKind.POLL)
    with capture_logs() as logs:
        clock.advance(days=365)
        await jobs.run(JobKind.VERIFY)
        clock.advance(days=-365)
        await jobs.run(JobKind.VERIFY)
    read = [event["files"] for event in logs if event["event"] == "verify.finished"]

    assert read == [24, 24]


async def test_a_flipped_bit_is_found_and_put_right(shell: Shell) -> None:
    shell.set(schedule__verify=str(HOUR))
    jobs = make_jobs(shell)
    await jobs.run(JobKind.POLL)
    path = shell.path(shell.days[5])
    stats = path.stat()
    body = bytearray(path.read_bytes())
    body[100] ^= 1
    path.write_bytes(body)
    times = (stats.st_atime_ns, stats.st_mtime_ns)
    os.utime(path, ns=times)

    with capture_logs() as logs:
        await jobs.run(JobKind.VERIFY)

    (damaged,) = (event for event in logs if event["event"] == "verify.damaged")
    assert (damaged["file"], damaged["kind"]) == (path.name, "altered")
    shell.assert_complete()


async def test_what_only_a_hand_can_mend_is_told_and_left(shell: Shell) -> None:
    jobs = make_jobs(shell)
    await jobs.run(JobKind.POLL)
    (shell.data.archive / "notes.txt").write_text("mine")
    shell.asked()

    with capture_logs() as logs:
        await jobs.run(JobKind.VERIFY)

    assert [event["kind"] for event in logs if event["event"] == "verify.damaged"] == ["stranger"]
    assert shell.asked() == []
    assert (shell.data.archive / "notes.txt").read_text() == "mine"


async def test_work_that_does_not_move_is_noticed(shell: Shell) -> None:
    entered = asyncio.Event()

    @asynccontextmanager
    async def stuck(_config: Config) -> AsyncIterator[Mirror]:
        entered.set()
        await asyncio.Event().wait()
        yield

    shell.set(http__read_timeout="0.001", http__connect_timeout="0.001", http__max_backoff="0")
    jobs = make_jobs(shell, open_writer=stuck, patience_s=0.2)
    async with running(jobs):
        await entered.wait()
        assert jobs.is_getting_on()
        await asyncio.sleep(0.4)
        assert not jobs.is_getting_on()


async def test_new_settings_hold_from_the_next_job_on(shell: Shell) -> None:
    jobs = make_jobs(shell)
    schedule = replace(jobs.site.config.schedule, recheck=24 * HOUR)
    jobs.site.config = replace(jobs.site.config, schedule=schedule)
    await jobs.run(JobKind.POLL)
    shell.asked()

    await jobs.run(JobKind.RECHECK)

    assert sum(name.startswith("events-") for name in shell.asked()) == 1
    assert timedelta(seconds=jobs.site.config.schedule.recheck) == timedelta(days=1)


async def test_a_poll_keeps_the_data_set_in_step_where_it_is_wanted(shell: Shell) -> None:
    pytest.importorskip("duckdb")
    shell.set(dataset__enabled="true")
    jobs = make_jobs(shell)
    assert await jobs.run(JobKind.POLL)
    months = {(day.year, day.month) for day in shell.days}
    assert len(list(shell.data.dataset.glob("*/*/launches.parquet"))) == len(months)
    # with nothing new it stays as it is
    before = {path: path.stat().st_mtime_ns for path in shell.data.dataset.rglob("*")}
    assert await jobs.run(JobKind.POLL)
    assert {path: path.stat().st_mtime_ns for path in shell.data.dataset.rglob("*")} == before


async def test_a_data_set_that_cannot_be_made_fails_no_poll(shell: Shell) -> None:
    pytest.importorskip("duckdb")
    shell.set(dataset__enabled="true")
    shell.data.root.mkdir(parents=True)
    shell.data.dataset.write_text("in the way")
    jobs = make_jobs(shell)
    with capture_logs() as logs:
        assert await jobs.run(JobKind.POLL)
    assert jobs.last_poll is not None
    assert jobs.last_poll.exit_code == 0
    (told,) = [log for log in logs if log["event"] == "dataset.failed"]
    assert str(shell.data.dataset) in told["problem"]
    assert not [log for log in logs if log["event"] in ("job.failed", "job.crashed")]
    shell.assert_complete()


async def test_no_data_set_is_made_that_nobody_wants(shell: Shell) -> None:
    assert await make_jobs(shell).run(JobKind.POLL)
    assert not shell.data.dataset.exists()


class HastyMirror(Mirror):
    """One that has no time to count anything, for so many times."""

    times = 1

    async def inspect(self, observer: Observer = ignore, *, limit_s: float) -> Inspected:
        if self.times:
            type(self).times -= 1
            limit_s = 0
        return await super().inspect(observer, limit_s=limit_s)


def pending(shell: Shell) -> int:
    """Return how many days' content is still to be counted."""
    return sum(map(is_pending, load_inventory(shell.data).records.values()))


async def test_an_idle_daemon_counts_what_a_poll_had_no_time_for(shell: Shell) -> None:
    @asynccontextmanager
    async def hasty(config: Config) -> AsyncIterator[Mirror]:
        async with open_mirror(config, shell.data) as mirror:
            mirror.__class__ = HastyMirror
            yield mirror

    HastyMirror.times = 3
    jobs = make_jobs(shell, open_writer=hasty)
    with capture_logs() as logs:
        async with running(jobs), asyncio.timeout(PATIENCE_S):
            while HastyMirror.times or jobs.running or pending(shell):
                await asyncio.sleep(0.01)

    assert pending(shell) == 0
    assert shell.asked().count("index.jsonl") == 1
    assert [event["event"] for event in logs].count("poll.finished") == 1
    shell.assert_complete()


async def test_counting_waits_for_what_is_due(shell: Shell) -> None:
    async with Schedule(load_config(None, shell.environ).schedule) as schedule:
        for kind in reversed(JobKind):
            schedule.signal(kind)
        assert [await schedule.next() for _ in JobKind] == [*JobKind]
    assert [*JobKind][-1] is JobKind.INSPECT


async def test_counting_moves_the_pulse(shell: Shell) -> None:
    jobs = make_jobs(shell)
    live = jobs.site.live
    before = live.moved_at
    live.observe(Counted(3, 24, 1000, 8000))
    assert live.moved_at > before
    assert live.progress is not None
    assert (live.progress.days_counted, live.progress.days_pending) == (3, 24)
    assert jobs.describe() == "Counting what is in 24 days: 3 done"
    live.stop()
    assert live.progress is None
