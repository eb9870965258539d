"""The main job on the real material: the real index, 76 snapshots of it, polled one by one."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mirror.archive.ports import PollEvent
from mirror.config.settings import Config, HttpConfig, StorageConfig, UpstreamConfig
from mirror.model import Plan, Reason
from mirror.store.layout import DataDir
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.conftest import Clock
from tests.system.material import REAL_DAYS, Snapshot, real_day, snapshots
from tests.upstream.archive import UpstreamArchive, day_name
from tests.upstream.launches import make_day
from tests.upstream.server import ArchiveServer


class Watcher:
    """An observer that keeps the last plan."""

    plan: Plan

    def __call__(self, event: PollEvent) -> None:
        if isinstance(event, Plan):
            self.plan = event


def _changed(before: dict[date, int], after: dict[date, int]) -> set[date]:
    return {day for day, count in after.items() if before.get(day) != count}


async def test_every_real_poll_fetches_just_the_new_and_changed_days(
    real_data: Path, tmp_path: Path
) -> None:
    """With bodies of the real counts, but of short lines: 19 million events in 58 MB."""
    archive, clock = UpstreamArchive(), Clock()
    data = DataDir(tmp_path / "data")
    before: dict[date, int] = {}
    async with ArchiveServer(archive) as server:
        config = Config(
            upstream=UpstreamConfig(url=server.url),
            storage=StorageConfig(min_free=0, findings=False),
            http=HttpConfig(concurrency=16),
        )
        for snapshot in snapshots(real_data):
            clock.now = snapshot.at
            for day in _changed(before, snapshot.counts):
                archive.put_day(day, b"{}\n" * snapshot.counts[day], snapshot.at)
            archive.put("index.jsonl", snapshot.body, snapshot.at)
            server.requests.clear()
            watcher = Watcher()
            async with open_mirror(config, data, now=clock) as mirror:
                report = await mirror.poll(observer=watcher)

            assert report.exit_code == 0, report.problems
            _assert_plan(watcher.plan, before, snapshot)
            fetched = {r.name for r in server.requests if r.status == 200} - {"index.jsonl"}
            assert fetched == {day_name(d) for d in _changed(before, snapshot.counts)}
            before = snapshot.counts

    assert len(before) == 997
    assert data.index.read_bytes() == archive["index.jsonl"].body
    found = verify(data, today=clock().date())
    assert (found.checked, found.damage) == (997, ())


def _assert_plan(plan: Plan, before: dict[date, int], snapshot: Snapshot) -> None:
    """New and changed days are due; beside them only days not known to be final, conditionally."""
    due = {one.date: one for one in plan.due}
    changed = _changed(before, snapshot.counts)
    assert {d for d, one in due.items() if one.reason in (Reason.NEW, Reason.CHANGED)} == changed
    for day in due.keys() - changed:
        assert due[day].reason in (Reason.OPEN, Reason.SETTLING)
        assert due[day].conditional


@pytest.mark.slow
async def test_the_whole_archive_of_2021_by_the_installed_command(
    real_data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Bodies of real size, 4 GB, the two real days among them; a process for each poll."""
    archive = UpstreamArchive()
    data = tmp_path / "data"
    before: dict[date, int] = {}
    figures: list[dict[str, float]] = []
    async with ArchiveServer(archive) as server:
        for snapshot in [*snapshots(real_data), None]:
            now = datetime.now(UTC) - timedelta(seconds=1)
            counts = snapshot.counts if snapshot else {**before, REAL_DAYS[1]: 32_394}
            for day in _changed(before, counts):
                body = real_day(real_data, day) if day in REAL_DAYS else make_day(day, counts[day])
                archive.put_day(day, body, now)
            if snapshot:
                archive.put("index.jsonl", snapshot.body, now)
            else:
                archive.write_index(now)
            figures.append(await _run_sync(server.url, data))
            assert figures[-1]["published"] == len(_changed(before, counts))
            before = counts
        quiet = await _run_sync(server.url, data)
        assert quiet["requests"] == 1

    assert (data / "archive" / "index.jsonl").read_bytes() == archive["index.jsonl"].body
    for name, stored in archive.objects.items():
        if name.startswith("events-"):
            assert (data / "archive" / name).read_bytes() == stored.body
    command = [sys.executable, "-m", "mirror", "verify", "--data-dir", str(data), "--json"]
    done = await asyncio.to_thread(subprocess.run, command, capture_output=True, check=True)
    assert json.loads(done.stdout)["checked"] == 998
    with capsys.disabled():
        _print_figures(figures, quiet)


async def _run_sync(url: str, data: Path) -> dict[str, float]:
    """Run one poll as a process; return what it reports and what it cost."""
    return await asyncio.to_thread(_run_process, url, data)


def _run_process(url: str, data: Path) -> dict[str, float]:
    command = [sys.executable, "-m", "mirror", "sync", "--upstream", url]
    peak_kb = 0
    with subprocess.Popen(
        [*command, "--data-dir", str(data), "--json"],
        stdout=subprocess.PIPE,
        env={**os.environ, "BINDER_MIRROR_LOG__LEVEL": "warning"},
    ) as process:
        # not ru_maxrss, which begins with the size of the process that forked it: ours
        while process.poll() is None:
            peak_kb = max(peak_kb, _high_water_kb(process.pid))
            time.sleep(0.01)
        assert process.stdout is not None
        output = process.stdout.read()
    report = json.loads(output)
    assert process.returncode == 0, report["problems"]
    return {
        "requests": report["requests"],
        "bytes": report["downloaded_bytes"],
        "published": report["outcomes"].get("published", 0),
        "seconds": report["duration_s"],
        "peak_mb": peak_kb / 1024,
    }


def _high_water_kb(pid: int) -> int:
    with contextlib.suppress(OSError):
        for line in Path(f"/proc/{pid}/status").read_text().splitlines():
            if line.startswith("VmHWM:"):
                return int(line.split()[1])
    return 0


def _print_figures(figures: list[dict[str, float]], quiet: dict[str, float]) -> None:
    first, rest = figures[0], figures[1:]
    print()
    for label, rows in (("first poll", [first]), (f"{len(rest)} polls after", rest)):
        print(
            f"{label}: {sum(r['requests'] for r in rows):.0f} requests, "
            f"{sum(r['published'] for r in rows):.0f} days, "
            f"{sum(r['bytes'] for r in rows) / 1e6:.0f} MB, "
            f"{sum(r['seconds'] for r in rows):.1f} s, "
            f"peak {max(r['peak_mb'] for r in rows):.0f} MB"
        )
    print(f"a quiet poll: {quiet['requests']:.0f} request, {quiet['seconds']:.3f} s")
