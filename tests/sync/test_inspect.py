"""Content is counted when all is safe, and taken up again where that was cut short."""

import asyncio
import os
import signal
import subprocess
import sys
from contextlib import suppress
from datetime import date
from pathlib import Path

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import capture_logs

from mirror.archive.plan import PollRange
from mirror.archive.ports import Counted, PollEvent
from mirror.archive.upstream import Upstream
from mirror.events.findings import FINDINGS_VERSION, is_pending
from mirror.model import Findings, PollReport
from mirror.store.destination import open_store
from mirror.store.inventory import load_inventory, save_manifest
from mirror.store.polls import load_polls
from mirror.sync.inspect import Inspected, inspect_pending
from mirror.sync.wiring import open_mirror
from tests.command import ROOT, Shell
from tests.conftest import World
from tests.upstream.archive import day_name


def pending(world: World) -> list[date]:
    """Return the days whose content is still to be counted."""
    return [day for day, record in world.records().items() if is_pending(record)]


async def sync_uncounted(world: World) -> None:
    """Make a pass that leaves the content of all days to the next one."""
    world.configure("storage", findings=False)
    await world.sync()
    world.configure("storage", findings=True)


async def inspect(world: World, **bounds: float) -> Inspected:
    """Count what is pending, in workers whatever there is of it."""
    with open_store(world.data, now=world.clock) as store:
        return await inspect_pending(store, Upstream(""), workers_from_bytes=0, **bounds)


class AtTheReport:
    """Remembers what was there when a poll was judged."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.published: dict[str, bytes] = {}
        self.pending: list[date] = []
        self.counted: list[tuple[int, int, int]] = []

    def __call__(self, event: PollEvent) -> None:
        if isinstance(event, PollReport):
            self.see(event)
        elif isinstance(event, Counted):
            self.counted.append((event.days, event.pending, event.size))

    def see(self, report: PollReport) -> None:
        self.published = self.world.published()
        self.pending = pending(self.world)
        assert report.exit_code == 0
        assert report.pending_findings == len(self.pending)
        assert load_polls(self.world.data, 1).last[-1] == report


async def test_all_is_published_and_judged_before_anything_is_counted(world: World) -> None:
    seen = AtTheReport(world)

    report = await world.sync(observer=seen)

    assert report.pending_findings == 0
    assert len(seen.pending) == 10
    assert {"SHA256SUMS", "index.jsonl", "index.html"} <= seen.published.keys()
    told = {name: body for name, body in seen.published.items() if name.startswith("events-")}
    assert told == {name: (world.data.archive / name).read_bytes() for name in told}
    sizes = sum(map(len, told.values()))
    assert [one[:2] for one in seen.counted] == [(n, 10) for n in range(1, 11)]
    assert seen.counted[-1] == (10, 10, sizes)
    assert pending(world) == []
    world.assert_sound()


async def test_what_was_counted_is_in_the_metadata(world: World) -> None:
    await sync_uncounted(world)
    before = world.data.croissant.read_bytes()

    await world.sync()

    assert world.data.croissant.read_bytes() != before


async def test_workers_count_what_a_thread_counts(world: World) -> None:
    await world.sync()
    by_thread = world.records()
    save_manifest(world.data, {d: replace(r, findings=None) for d, r in by_thread.items()})

    assert await inspect(world) == Inspected(counted=10)

    assert world.records() == by_thread


class WorkerKiller:
    """Kills workers on sight."""

    def __init__(self) -> None:
        self.killed = 0

    async def run(self) -> None:
        children = Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")
        while True:
            for pid in children.read_text().split():
                with suppress(OSError):
                    if b"mirror.processes" in Path(f"/proc/{pid}/cmdline").read_bytes():
                        os.kill(int(pid), signal.SIGKILL)
                        self.killed += 1
            await asyncio.sleep(0.01)


async def test_workers_that_die_leave_the_days_pending_and_are_no_failure(world: World) -> None:
    await sync_uncounted(world)
    killer = WorkerKiller()
    killing = asyncio.create_task(killer.run())

    with capture_logs() as logs:
        inspected = await inspect(world)

    killing.cancel()
    structlog.reset_defaults()
    assert inspected == Inspected(failed=10)
    died = [one for one in logs if one["event"] == "inspect.worker_died"]
    # all at once, and then each alone
    assert [one["days"] for one in died] == [10, *[1] * 10]
    assert {(one["log_level"], one["signal"]) for one in died} == {("warning", "SIGKILL")}
    assert killer.killed >= 10
    assert len(pending(world)) == 10
    assert (await world.sync()).pending_findings == 0


async def test_for_want_of_time_the_rest_waits(world: World) -> None:
    await sync_uncounted(world)

    assert await inspect(world, limit_s=0) == Inspected(waiting=10)
    assert world.status().pending_findings == 10

    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        report = await mirror.poll(inspect_s=0)
        assert (report.exit_code, report.pending_findings) == (0, 10)
        assert await mirror.inspect(limit_s=60) == Inspected(counted=10)
    assert pending(world) == []
    assert world.status().pending_findings == 0
    world.assert_sound()


async def test_a_file_that_is_not_the_one_on_record_is_left_alone(world: World) -> None:
    await sync_uncounted(world)
    with open_store(world.data, now=world.clock) as store:
        altered = world.data.archive / day_name(world.day(3))
        altered.write_bytes(altered.read_bytes().replace(b"GitHub", b"Gitlab"))
        (world.data.archive / day_name(world.day(4))).unlink()

        inspected = await inspect_pending(store, Upstream(""))

        assert inspected == Inspected(counted=8, failed=2)
        assert is_pending(store.inventory.records[world.day(3)])
        assert is_pending(store.inventory.records[world.day(4)])


async def test_a_disk_that_refuses_is_no_failure_and_not_asked_again(world: World) -> None:
    await sync_uncounted(world)
    with open_store(world.data, now=world.clock) as store:
        world.data.journal.unlink(missing_ok=True)
        world.data.journal.mkdir()

        assert await inspect_pending(store, Upstream("")) == Inspected(failed=10)

    world.data.journal.rmdir()
    assert (await world.sync()).pending_findings == 0


class Interruption:
    """Cancels a poll once a day is counted."""

    poll: "asyncio.Task[PollReport]"

    def __call__(self, event: PollEvent) -> None:
        if isinstance(event, Counted):
            self.poll.cancel()


async def test_what_was_counted_before_an_interruption_is_kept(world: World) -> None:
    interruption = Interruption()
    interruption.poll = asyncio.create_task(world.sync(observer=interruption))

    with pytest.raises(asyncio.CancelledError):
        await interruption.poll

    left = len(pending(world))
    assert 0 < left < 10
    world.assert_identical()
    assert len(load_polls(world.data, 9).last) == 1
    world.forget()
    assert (await world.sync()).pending_findings == 0
    assert world.names_asked() == ["index.jsonl"]
    assert pending(world) == []
    world.assert_sound()


async def test_days_counted_by_an_earlier_version_are_counted_again_without_a_fetch(
    world: World,
) -> None:
    await world.sync()
    outdated = Findings(versions={"5": 1})
    save_manifest(
        world.data, {d: replace(r, findings=outdated) for d, r in world.records().items()}
    )
    assert b'"findings":{"versions":{"5":1}},"crc32"' in world.data.manifest.read_bytes()
    assert len(pending(world)) == 10
    world.forget()

    report = await world.sync()

    assert (report.exit_code, report.pending_findings) == (0, 0)
    assert world.names_asked() == ["index.jsonl"]
    found = [record.findings for record in world.records().values()]
    assert all(one is not None and one.version == FINDINGS_VERSION for one in found)
    assert all(one is not None and sum(one.versions.values()) > 1 for one in found)


async def test_a_body_that_came_again_as_it_was_is_not_counted_again(world: World) -> None:
    world.server.style.etag = "none"
    await world.sync()
    world.clock.advance(hours=1)
    for day, stored in world.archive.days().items():
        world.archive.put_day(day, stored.body, world.clock())
    world.forget()
    seen = AtTheReport(world)

    await world.sync(PollRange(recheck=10), observer=seen)

    assert world.names_asked(200) != []
    assert (seen.pending, seen.counted) == ([], [])


@pytest.fixture
async def synced(shell: Shell) -> Shell:
    await shell.synced()
    return shell


async def test_a_quiet_sync_imports_nothing_that_counts(synced: Shell) -> None:
    code = """
import os, sys
from mirror.cli.app import run
code = run(["sync"], os.environ)
print(code, "mirror.sync.inspect" in sys.modules, "mirror.processes" in sys.modules)
"""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", code, env=synced.environ, cwd=ROOT, stdout=subprocess.PIPE
    )
    out, _ = await process.communicate()
    assert out.decode().splitlines()[-1] == "0 False False"


async def test_status_says_how_many_days_are_pending(synced: Shell) -> None:
    done = await synced.run("status")
    assert "pending" not in done.out
    records = load_inventory(synced.data).records
    save_manifest(synced.data, {d: replace(r, findings=None) for d, r in records.items()})

    done = await synced.run("status")
    assert f"pending       the content of {len(records)} days is still to be counted" in done.out
    done = await synced.run("status", "--json")
    assert done.json["pending_findings"] == len(records)

    synced.set(storage__findings="false")
    assert "pending" not in (await synced.run("status")).out
    assert (await synced.run("sync", "--json")).json["pending_findings"] == 0
    assert all(one.findings is None for one in load_inventory(synced.data).records.values())
