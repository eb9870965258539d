"""The metrics of a daemon: the names that are promised, and counters that count as it happens."""

import asyncio
import itertools
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prometheus_client.parser import text_string_to_metric_families

from mirror.config.loading import load_config
from mirror.daemon.jobs import Jobs
from mirror.daemon.schedule import JobKind, Schedule
from mirror.errors import Failure
from mirror.store.layout import make_folders
from mirror.sync.wiring import open_mirror
from tests.command import PATIENCE_S, Shell, long_final_days, open_shell
from tests.running import running
from tests.samples import read_samples, render
from tests.upstream import faults
from tests.web.serving import make_site

PROMISED = {
    "binder_mirror_build_info": ("gauge", {"version"}),
    "binder_mirror_last_success_timestamp_seconds": ("gauge", set()),
    "binder_mirror_last_poll_timestamp_seconds": ("gauge", set()),
    "binder_mirror_polls": ("counter", {"outcome"}),
    "binder_mirror_poll_duration_seconds": ("histogram", {"le"}),
    "binder_mirror_newest_day_timestamp_seconds": ("gauge", set()),
    "binder_mirror_index_state": ("gauge", {"state"}),
    "binder_mirror_days": ("gauge", {"state"}),
    "binder_mirror_events": ("gauge", set()),
    "binder_mirror_archive_bytes": ("gauge", set()),
    "binder_mirror_downloads": ("counter", {"outcome"}),
    "binder_mirror_downloaded_bytes": ("counter", set()),
    "binder_mirror_upstream_requests": ("counter", {"status"}),
    "binder_mirror_problems": ("gauge", set()),
    "binder_mirror_final_days_changed": ("counter", {"how"}),
}
"""The parser leaves a counter's `_total` to its samples."""


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data", long_final_days(24)) as shell:
        yield shell


class Watched:
    """A daemon's jobs, and what a scrape would see of them."""

    def __init__(self, shell: Shell) -> None:
        config = load_config(None, shell.environ)
        site = make_site(shell.data, now=lambda: datetime.now(UTC), config=config)
        self.site = site
        schedule = Schedule(config.schedule)
        self.jobs = Jobs(site, schedule, lambda current: open_mirror(current, shell.data))

    async def scrape(self) -> dict[tuple[str, ...], float]:
        status = self.site.status(await self.site.snapshots.snapshot(fresh=True))
        return read_samples(render(self.site.metrics, status, self.site.now()))


async def test_what_a_poll_asks_and_receives_is_seen_before_it_ends(shell: Shell) -> None:
    watched = Watched(shell)
    gate = faults.Gate()
    shell.server.fail(f"events-{shell.days[3]}.jsonl", faults.Status(503))
    shell.server.fail(f"events-{shell.days[0]}.jsonl", gate)

    poll = asyncio.create_task(watched.jobs.run(JobKind.POLL))
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()
        while (running := await watched.scrape())["binder_mirror_downloads_due",] > 1:
            await asyncio.sleep(0.01)
    gate.opened.set()
    await poll
    over = await watched.scrape()

    assert running["binder_mirror_downloads_total", "published"] == 23
    assert running["binder_mirror_downloaded_bytes_total",] > 0
    assert running["binder_mirror_upstream_requests_total", "200"] == 25
    assert running["binder_mirror_upstream_requests_total", "503"] == 1
    assert running["binder_mirror_download_failures_total", Failure.HTTP_5XX] == 1
    assert running["binder_mirror_job_running_since_timestamp_seconds", "poll"] > 1.7e9
    assert running["binder_mirror_polls_total", "complete"] == 0
    assert over["binder_mirror_downloads_total", "published"] == 24
    assert (
        over["binder_mirror_downloaded_bytes_total",]
        > running["binder_mirror_downloaded_bytes_total",]
    )
    assert over["binder_mirror_upstream_requests_total", "200"] == 25
    assert over["binder_mirror_job_running_since_timestamp_seconds", "poll"] == 0
    assert over["binder_mirror_job_last_end_timestamp_seconds", "poll"] > 1.7e9
    assert over["binder_mirror_downloads_due",] == 0
    assert over["binder_mirror_polls_total", "complete"] == 1
    assert over["binder_mirror_ready",] == 1


async def test_counters_never_go_back_when_a_session_ends(shell: Shell) -> None:
    make_folders(shell.data)
    shell.set(schedule__verify="1h")
    watched = Watched(shell)
    seen = [await watched.scrape()]
    for kind in (JobKind.POLL, JobKind.RECHECK, JobKind.POLL, JobKind.VERIFY):
        job = asyncio.create_task(watched.jobs.run(kind))
        while not job.done():
            seen.append(await watched.scrape())
        seen.append(await watched.scrape())

    for before, after in itertools.pairwise(seen):
        for key, value in before.items():
            if key[0].endswith("_total"):
                assert after[key] >= value, key
    assert seen[-1]["binder_mirror_job_runs_total", "poll"] == 2
    assert seen[-1]["binder_mirror_verified_files_total",] > 0
    assert seen[-1]["binder_mirror_verified_bytes_total",] > 0


async def test_every_metric_that_is_promised_is_there_by_its_name_type_and_labels(
    shell: Shell,
) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        page = await daemon.get("metrics")

    families = {one.name: one for one in text_string_to_metric_families(page.text)}
    for name, (kind, labels) in PROMISED.items():
        family = families[name]
        assert family.type == kind, name
        assert family.documentation, name
        assert {label for sample in family.samples for label in sample.labels} == labels, name
    states = {one.labels["state"] for one in families["binder_mirror_days"].samples}
    changes = families["binder_mirror_final_days_changed"].samples
    assert {one.labels["how"]: one.value for one in changes} == {
        "shrunk": 0,
        "grown": 0,
        "rewritten": 0,
    }
    assert states == {"held", "open", "vanished", "quarantined", "missing"}
    assert all(one.documentation for one in families.values())


async def test_changes_of_final_days_are_counted_across_restarts(shell: Shell) -> None:
    day = shell.days[3]
    how = "binder_mirror_final_days_changed_total", "shrunk"
    await Watched(shell).jobs.run(JobKind.POLL)
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 5, at)
    shell.archive.write_index(at)
    watched = Watched(shell)
    before = await watched.scrape()
    await watched.jobs.run(JobKind.POLL)
    after = await watched.scrape()
    await watched.jobs.run(JobKind.POLL)

    assert (before[how], after[how]) == (0, 1)
    assert (await watched.scrape())[how] == 1
    assert (await Watched(shell).scrape())[how] == 1


async def test_a_scrape_of_a_daemon_tells_what_is_next_and_what_it_holds_open(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = read_samples((await daemon.get("metrics")).text)
                if found["binder_mirror_next_poll_timestamp_seconds",]:
                    break
                await asyncio.sleep(0.1)

    next_poll = found["binder_mirror_next_poll_timestamp_seconds",]
    assert 0 < next_poll - found["binder_mirror_last_poll_timestamp_seconds",] < 2000
    assert found["binder_mirror_poll_interval_seconds",] == 1860
    assert found["process_open_fds",] > 3
    assert found["binder_mirror_disk_free_bytes",] > 0


async def test_no_label_is_of_upstreams_making(shell: Shell) -> None:
    watched = Watched(shell)
    for number in (299, 418, 599, 999):
        shell.server.fail("index.jsonl", faults.Status(number))
        await watched.jobs.run(JobKind.POLL)

    found = await watched.scrape()

    statuses = {key[1] for key in found if key[0] == "binder_mirror_upstream_requests_total"}
    assert statuses == {"200", "304", "404", "418", "none", "other"}
