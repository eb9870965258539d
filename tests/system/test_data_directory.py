"""A data directory that is removed, made again, or comes and goes under whoever uses it."""

import asyncio
import shutil

import pytest

from mirror.store.layout import daemon_lock, make_folders
from tests.command import PATIENCE_S, Shell, finish
from tests.running import Daemon, poll_every_second, running
from tests.upstream.faults import Gate


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)


@pytest.mark.parametrize("again", ["", "made again", "copied back"])
async def test_a_daemon_sees_that_its_directory_is_another_and_takes_it_up(
    shell: Shell, again: str
) -> None:
    aside = shell.data.root.with_name("aside")
    async with running(shell) as daemon:
        await daemon.logged("inspect.finished")
        after = len(daemon.logs)
        shell.data.root.rename(aside)
        if again == "made again":
            shell.data.root.mkdir()
        elif again:
            shutil.copytree(aside, shell.data.root)

        await daemon.logged("job.failed", after=after)
        told = len(daemon.logs)
        await daemon.logged("poll.finished", after=told, held=6, exit_code=0)
        shell.assert_complete()
        assert (await daemon.end())[0] == 0

    # one that was under way may have failed by the way, before it was seen
    problems = [one["problem"] for one in daemon.logs if one["event"] == "job.failed"]
    assert all(one.startswith(str(shell.data.root)) for one in problems)
    assert f"{shell.data.root} was removed or replaced while it was being" in problems[-1]
    assert daemon.said == []


async def test_another_daemon_of_the_new_directory_is_not_joined(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("inspect.finished")
        shell.data.root.rename(shell.data.root.with_name("aside"))
        make_folders(shell.data)
        with daemon_lock(shell.data):
            postponed = await daemon.logged("job.postponed")
            assert "is kept by another binder-mirror (process" in postponed["problem"]


@pytest.mark.parametrize("again", [False, True])
async def test_a_sync_whose_directory_was_removed_is_not_in_step(shell: Shell, again: bool) -> None:
    gate = Gate()
    shell.server.fail(f"events-{shell.days[0]}.jsonl", gate)
    process = await shell.start("sync")
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()
    # at once, for other days come in while it is removed
    aside = shell.data.root.rename(shell.data.root.with_name("aside"))
    shutil.rmtree(aside)
    if again:
        shell.data.root.mkdir()
    gate.opened.set()

    done = await finish(process)

    assert str(shell.data.root) in done.refused(5)
    assert not shell.data.archive.exists()
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize("emptied", [False, True])
async def test_who_serves_says_503_until_it_is_back(shell: Shell, emptied: bool) -> None:
    await shell.synced()
    aside = shell.data.root.with_name("aside")
    paths = ["index.jsonl", f"events-{shell.days[0]}.jsonl", "", "status.json", "metrics", "readyz"]
    async with running(shell, "serve") as daemon:
        before = [(await daemon.get(path)).status for path in paths]
        shell.data.root.rename(aside)
        if emptied:
            # as the mount point without its mount
            shell.data.root.mkdir()

        await until(daemon, paths, 503)
        alive = (await daemon.get("healthz")).status
        if emptied:
            shell.data.root.rmdir()
        aside.rename(shell.data.root)
        await until(daemon, paths, 200)
        body = (await daemon.get(f"events-{shell.days[0]}.jsonl")).text
        code, _ = await daemon.end()

    assert (before, alive, code) == ([200] * len(paths), 200, 0)
    assert body.encode() == shell.body(shell.days[0])
    assert "request.failed" not in {one["event"] for one in daemon.logs}


async def until(daemon: Daemon, paths: list[str], status: int) -> None:
    """Wait until all these pages have a status."""
    async with asyncio.timeout(PATIENCE_S):
        while {(await daemon.get(path)).status for path in paths} != {status}:
            await asyncio.sleep(0.1)
