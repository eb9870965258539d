"""Interrupted, terminated, or not alone: what is published stays, and the next run goes on."""

import asyncio
import os
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path

import pytest

from tests.command import PATIENCE_S, Shell, finish, interrupt
from tests.upstream.faults import Gate, Stall

SIGNALS = [(signal.SIGINT, 130), (signal.SIGTERM, 143)]


async def counted(folder: Path, pattern: str, count: int) -> None:
    """Wait until a folder has so many files."""
    while _count(folder, pattern) < count:
        await asyncio.sleep(0.01)


def _count(folder: Path, pattern: str) -> int:
    return len(list(folder.glob(pattern)))


async def has_read(process: asyncio.subprocess.Process, size: int) -> None:
    """Wait until a command has read so many bytes."""
    facts = Path(f"/proc/{process.pid}/io")
    async with asyncio.timeout(PATIENCE_S):
        while int(facts.read_text().split()[1]) < size:
            await asyncio.sleep(0.01)


async def held_up(shell: Shell, name: str) -> asyncio.subprocess.Process:
    """Start a sync of which one download stands still while all others are done."""
    gate = Gate()
    shell.server.fail(name, gate)
    # as long as the test looks at it, however slow the machine
    shell.set(http__read_timeout="10m")
    process = await shell.start("sync")
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()
        await shell.server.wait_active(1)
        await counted(shell.data.archive, "events-*", len(shell.days) - 1)
    return process


@pytest.mark.parametrize(("number", "code"), SIGNALS)
async def test_an_interrupted_sync_ends_at_once_and_lists_what_it_has(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    late = shell.days[2]
    process = await held_up(shell, f"events-{late}.jsonl")

    started = time.monotonic()
    done = await interrupt(process, number)

    assert time.monotonic() - started < PATIENCE_S / 2
    assert done.refused(code) == "stopped; 5 days held; next run goes on"
    shell.assert_whole()
    assert not shell.path(late).exists()
    assert shell.data.index.read_bytes().count(b"\n") == 5
    assert (await shell.run("verify")).code == 0
    shell.asked()
    await shell.synced()
    assert [name for name in shell.asked() if name.startswith("events-")] == [
        f"events-{late}.jsonl"
    ]
    shell.assert_complete()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
async def test_further_signals_do_not_cut_short_what_the_first_has_it_do(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    process = await held_up(shell, f"events-{shell.days[2]}.jsonl")

    for _ in range(20):
        # by its number: asking the process would take its end from the loop
        with suppress(ProcessLookupError):
            os.kill(process.pid, number)
        await asyncio.sleep(0.01)
    done = await finish(process)

    assert done.code == code
    assert done.said == ["binder-mirror: stopped; 5 days held; next run goes on"]
    assert shell.data.index.read_bytes().count(b"\n") == 5
    assert (await shell.run("verify")).code == 0


@pytest.mark.parametrize("numbers", [[signal.SIGHUP], [signal.SIGSTOP, signal.SIGCONT]])
async def test_a_hangup_that_is_ignored_and_a_pause_change_nothing(
    shell: Shell, numbers: list[signal.Signals]
) -> None:
    gate = Gate()
    shell.server.fail(f"events-{shell.days[2]}.jsonl", gate)
    # as nohup does
    ignore = partial(signal.signal, signal.SIGHUP, signal.SIG_IGN)
    process = await shell.start("sync", preexec_fn=ignore)
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()

    for number in numbers:
        process.send_signal(number)
        await asyncio.sleep(0.3)
    gate.opened.set()

    assert (await finish(process)).code == 0
    shell.assert_complete()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
async def test_a_sync_interrupted_before_the_index_came_leaves_nothing(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    shell.server.fail("index.jsonl", Stall(at=0.3), times=None)
    process = await shell.start("sync")
    await asyncio.wait_for(shell.server.wait_active(1), PATIENCE_S)

    done = await interrupt(process, number)

    done.refused(code)
    shell.server.calm()
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize(("number", "code"), SIGNALS)
async def test_a_verification_can_be_interrupted(
    shell: Shell, number: signal.Signals, code: int
) -> None:
    await shell.synced()
    big = shell.data.archive / f"events-{shell.days[0]}.jsonl"
    with big.open("r+b") as file:
        file.truncate(4 * 1024**4)  # sparse: takes no room, but an hour to read
    process = await shell.start("verify")
    await has_read(process, 500_000_000)

    done = await interrupt(process, number)

    assert done.code == code
    assert "Traceback" not in done.err


async def test_two_syncs_at_once_are_one_too_many(shell: Shell) -> None:
    process = await held_up(shell, f"events-{shell.days[2]}.jsonl")

    second = await shell.run("sync")
    restore = await shell.run("prune", "--history", "--all")

    line = second.refused(6)
    assert f"{shell.data.root} is being written by another binder-mirror" in line
    assert f"(process {process.pid})" in line
    restore.refused(6)
    await interrupt(process, signal.SIGTERM)
    await shell.synced()


async def test_readers_work_beside_a_sync_and_raise_no_false_alarm(shell: Shell) -> None:
    process = await held_up(shell, f"events-{shell.days[2]}.jsonl")

    status = await shell.run("status", "--json")
    verified = await shell.run("verify", "--json")
    dry = await shell.run("prune", "--history", "--dry-run")

    assert status.json["is_syncing"] is True
    assert status.json["held"] == 5
    assert verified.json["damage"] == []
    assert (status.code, verified.code, dry.code) == (0, 0, 0)
    await interrupt(process, signal.SIGTERM)


async def test_a_sync_that_replaces_bodies_raises_no_false_alarm(shell: Shell) -> None:
    await shell.synced()
    at = shell.archive["index.jsonl"].last_modified
    for day in shell.days:
        shell.archive.put_day(day, 55, at)
    shell.archive.write_index(at)
    gate = Gate()
    shell.server.fail(f"events-{shell.days[2]}.jsonl", gate)
    process = await shell.start("sync")
    async with asyncio.timeout(PATIENCE_S):
        await gate.reached.wait()
        await shell.server.wait_active(1)
        await counted(shell.data.history, "*.gz", 5)

    verified = await shell.run("verify")
    gate.opened.set()
    done = await finish(process)

    assert verified.code == 0, verified.out
    assert done.code == 0
    assert (await shell.run("verify")).code == 0
    shell.assert_complete()
