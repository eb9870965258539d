"""Killed at any moment: what is published is whole, and one more run converges.

`make kill` runs all the moments; a plain run takes a slice of them.
"""

import asyncio
import hashlib
import json
import os
import random
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from mirror.archive.listings import parse_sums
from mirror.archive.ports import Listing, State
from mirror.store.aside import list_versions, read_version
from mirror.store.inventory import load_inventory
from mirror.store.polls import load_polls
from tests.command import PATIENCE_S, Shell, long_final_days, open_shell
from tests.upstream.archive import UpstreamArchive

FILES = 200
MOMENTS = 50
_ARCHIVE = long_final_days(FILES, events_per_day=60)


def moments(seed: int, plain: int) -> list[object]:
    """Return seeds for the moments, those beyond the first few marked as slow."""
    return [
        pytest.param(seed + n, marks=[pytest.mark.slow] if n >= plain else [])
        for n in range(MOMENTS)
    ]


@pytest.fixture
async def many(tmp_path: Path) -> AsyncIterator[Shell]:
    """Two hundred final days upstream."""
    archive = UpstreamArchive(objects=dict(_ARCHIVE.objects))
    async with open_shell(tmp_path / "data", archive) as shell:
        shell.set(log__level="warning")
        yield shell


async def kill_at(shell: Shell, moment: random.Random, *arguments: str, requests: int) -> None:
    """Start a command and kill it a little after a random one of its requests, if it lives."""
    goal = moment.randrange(requests + 1)
    later_s = moment.choice([0, moment.uniform(0, 0.03), moment.uniform(0, 0.3)])
    process = await shell.start(*arguments)
    async with asyncio.timeout(PATIENCE_S):
        while len(shell.server.requests) < goal and process.returncode is None:
            await asyncio.sleep(0.002)
    await asyncio.sleep(later_s)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await asyncio.wait_for(process.communicate(), PATIENCE_S)


def check_sums(archive: Path) -> None:
    """Have coreutils check what is published."""
    check = ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"]
    subprocess.run(check, cwd=archive, check=True, capture_output=True)


def assert_sound(shell: Shell, *upstreams: UpstreamArchive) -> None:
    """Each published file is a body that upstream served; listed is only what is held."""
    held = set()
    for path in shell.data.archive.glob("events-*"):
        assert path.read_bytes() in [archive[path.name].body for archive in upstreams], path.name
        held.add(path.name)
    if shell.data.index.exists():
        for line in shell.data.index.read_bytes().splitlines():
            entry = json.loads(line)
            assert entry["name"] in held
            counts = {archive[entry["name"]].body.count(b"\n") for archive in upstreams}
            assert int(entry["count"]) in counts
    if shell.data.sums.exists():
        check_sums(shell.data.archive)
        assert parse_sums(shell.data.sums.read_bytes()).keys() <= held


def journalled(shell: Shell) -> set[str]:
    """Return the names of the files that are on record as they are."""
    if not shell.data.archive.exists():
        return set()
    records = load_inventory(shell.data).records
    return {record.name for record in records.values()}


async def converge(shell: Shell) -> None:
    """Sync once more; what was on record must not be fetched again."""
    on_record = journalled(shell)
    shell.asked()
    await shell.synced()
    fetched = [name for name in shell.asked() if name.startswith("events-")]
    assert not on_record & set(fetched)
    shell.assert_complete()


@pytest.mark.parametrize("seed", moments(1000, 5))
async def test_a_first_sync_killed_at_any_moment_converges(many: Shell, seed: int) -> None:
    moment = random.Random(seed)

    await kill_at(many, moment, "sync", requests=FILES + 1)

    assert_sound(many, many.archive)
    await converge(many)


@pytest.mark.parametrize("seed", moments(2000, 3))
async def test_a_poll_that_replaces_bodies_killed_at_any_moment_loses_none(
    shell: Shell, seed: int
) -> None:
    moment = random.Random(seed)
    await shell.synced()
    before = UpstreamArchive(objects=dict(shell.archive.objects))
    at = shell.archive["index.jsonl"].last_modified
    for day in shell.days:
        shell.archive.put_day(day, moment.choice([10, 70]), at)
    shell.archive.write_index(at)
    shell.asked()

    await kill_at(shell, moment, "sync", requests=7)

    assert_sound(shell, before, shell.archive)
    on_record = load_inventory(shell.data).records
    replaced = {
        record.name
        for record in on_record.values()
        if shell.path(record.date).stat().st_size
        and shell.path(record.date).read_bytes() == shell.body(record.date)
    }
    shell.asked()
    await shell.synced()
    assert not replaced & set(shell.asked())
    shell.assert_complete()
    versions = list_versions(shell.data)
    assert {version.date for version in versions} == set(shell.days)
    for version in versions:
        body = b"".join(read_version(shell.data, version.date, version.sha256))
        assert hashlib.sha256(body).hexdigest() == version.sha256


@pytest.mark.parametrize("seed", moments(3000, 2))
async def test_a_repair_killed_at_any_moment_ends_well(shell: Shell, seed: int) -> None:
    moment = random.Random(seed)
    await shell.synced()
    for day in shell.days:
        path = shell.path(day)
        stats = path.stat()
        path.write_bytes(bytes(stats.st_size))
        os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    shell.asked()

    await kill_at(shell, moment, "verify", "--repair", requests=6)

    done = await shell.run("verify", "--repair")
    assert done.code == 0, done.out
    # where nothing was left to repair, nothing was swept either: the next poll does it
    await converge(shell)


def lose_journal(shell: Shell) -> None:
    shell.data.journal.unlink(missing_ok=True)
    shell.data.manifest.unlink()


def tear_journal(shell: Shell) -> None:
    lines = shell.data.manifest.read_bytes().splitlines()[1:]
    events = [b'{"event":"held","record":' + line + b"}" for line in lines]
    shell.data.manifest.unlink()
    shell.data.journal.write_bytes(b"\n".join(events)[:-40])


def truncate_manifest(shell: Shell) -> None:
    os.truncate(shell.data.manifest, shell.data.manifest.stat().st_size // 2)


def empty_manifest(shell: Shell) -> None:
    os.truncate(shell.data.manifest, 0)


def zero_manifest(shell: Shell) -> None:
    # what some file systems leave of a file that was not flushed
    shell.data.manifest.write_bytes(bytes(shell.data.manifest.stat().st_size))


def spoil_upstream(shell: Shell) -> None:
    shell.data.upstream.write_bytes(b'{"url": 7\xff')


def spoil_index_body(shell: Shell) -> None:
    (shell.data.root / State.UPSTREAM_INDEX).write_bytes(b"")


def litter(shell: Shell) -> None:
    (shell.data.staging / "events-2024-01-01.jsonl.0a0a0a0a").write_bytes(b"half")
    (shell.data.staging / "manifest.jsonl.0b0b0b0b").write_bytes(b"")
    (shell.data.staging / "link").symlink_to(shell.data.manifest)


def tear_polls(shell: Shell) -> None:
    os.truncate(shell.data.polls, shell.data.polls.stat().st_size - 7)


def lose_listings(shell: Shell) -> None:
    for path in (shell.data.sums, shell.data.archive / Listing.PAGE, shell.data.index):
        path.unlink()


@pytest.mark.parametrize(
    "cut",
    [
        lose_journal,
        tear_journal,
        truncate_manifest,
        empty_manifest,
        zero_manifest,
        spoil_upstream,
        spoil_index_body,
        litter,
        tear_polls,
        lose_listings,
    ],
)
async def test_what_a_power_cut_leaves_is_put_right_without_fetching_a_day_again(
    shell: Shell, cut: Callable[[Shell], None]
) -> None:
    await shell.synced()
    cut(shell)
    status = await shell.run("status")
    shell.server.requests.clear()

    await shell.synced()

    fetched = [
        record.name
        for record in shell.server.requests
        if record.name.startswith("events-") and record.method == "GET" and record.status == 200
    ]
    assert status.code == 0, status.err
    assert fetched == []
    shell.assert_complete()
    assert load_polls(shell.data, 1).last[-1].exit_code == 0


async def test_bodies_that_a_power_cut_emptied_are_fetched_again(shell: Shell) -> None:
    await shell.synced()
    for day in shell.days[:3]:
        path = shell.path(day)
        times = path.stat().st_mtime_ns
        path.write_bytes(b"")
        os.utime(path, ns=(times, times))

    await shell.synced()

    shell.assert_complete()
