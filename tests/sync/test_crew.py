"""Transfers made by worker processes: what comes is what comes without them, faults too."""

import asyncio
import os
import resource
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from functools import partial
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import pytest

from mirror.archive.ports import Ask, Destination
from mirror.errors import StorageError, UpstreamError
from mirror.store.destination import open_store
from mirror.sync.crew import open_crew
from mirror.sync.source import HttpSource, open_source
from mirror.sync.transfer import Carry, Transfer, carry
from tests.command import PATIENCE_S, Shell, finish, interrupt
from tests.conftest import World
from tests.store.test_destination import record_of
from tests.sync.test_faults import ALL
from tests.test_processes import is_alive
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


class Ways(NamedTuple):
    """Both ways to have a transfer made, from one upstream into one data directory."""

    here: Carry
    apart: Carry
    source_here: HttpSource
    source_apart: HttpSource
    destination: Destination


@asynccontextmanager
async def ways(world: World, workers: int = 1) -> AsyncIterator[Ways]:
    async with AsyncExitStack() as stack:
        destination = stack.enter_context(open_store(world.data, now=world.clock))
        source_here, source_apart = [
            await stack.enter_async_context(
                open_source(world.server.url, world.config.http, now=world.clock)
            )
            for _ in range(2)
        ]
        apart = await stack.enter_async_context(
            open_crew(source_apart, destination, world.config, workers)
        )
        here = partial(carry, source_here, destination.stage)
        yield Ways(here, apart, source_here, source_apart, destination)


def children(pid: int) -> set[int]:
    """Return the processes that one has started and that are alive."""
    listed = [one.read_text().split() for one in Path(f"/proc/{pid}/task").glob("*/children")]
    return {child for child in map(int, chain.from_iterable(listed)) if is_alive(child)}


async def outcome(way: Carry, transfer: Transfer) -> tuple[object, ...]:
    """Return all that is told of a transfer."""
    kept: list[int] = []
    try:
        async with way(transfer, kept.append) as one:
            told = (one.status, one.meta, one.evidence, one.has_launch, one.staged is None)
    except UpstreamError as error:
        # time goes on in a worker, and stands still here
        pause_min = round((error.retry_after_s or 0) / 60)
        return (error.line(), error.failure, error.transient, pause_min, error.status)
    return (*told, sum(kept))


async def test_each_fault_is_told_as_it_is_without_workers(world: World) -> None:
    world.configure("http", read_timeout=0.25, connect_timeout=0.5, max_backoff=0.02)
    world.configure("http", max_file_size=1_000_000)
    name = day_name(world.day(3))
    transfer = Transfer(name, Ask(), 1_000_000, world.day(3))
    async with ways(world) as both:
        for kind, fault in ALL.items():
            if kind == "too short a length":
                continue  # whether what is too much is seen depends on when it comes
            world.server.fail(name, fault, times=None)
            told = [await outcome(way, transfer) for way in (both.here, both.apart)]
            world.server.calm()
            assert told[0] == told[1], kind
    here, apart = both.source_here.traffic, both.source_apart.traffic
    assert (apart.requests, apart.statuses) == (here.requests, here.statuses)
    assert (apart.unanswered, apart.failures) == (here.unanswered, here.failures)


async def test_each_kind_of_answer_is_the_same(world: World) -> None:
    day = world.day(3)
    etag = world.archive[day_name(day)].etag
    async with ways(world) as both:
        for transfer in (
            Transfer(day_name(day), Ask(), 10**9),
            Transfer(day_name(day), Ask(), 10**9, day),
            Transfer(day_name(day), Ask(), 10**9, world.day(4)),
            Transfer(day_name(day), Ask(if_none_match=etag), 10**9),
            Transfer("events-2018-01-01.jsonl", Ask(), 10**9),
            Transfer(day_name(day), Ask(), 10),
        ):
            assert await outcome(both.apart, transfer) == await outcome(both.here, transfer)


async def test_what_a_worker_wrote_is_published_whole(world: World) -> None:
    day = world.day(3)
    body = world.archive[day_name(day)].body
    async with ways(world, workers=2) as both:
        async with both.apart(Transfer(day_name(day), Ask(), 10**9), lambda _: None) as arrival:
            assert world.body(day) is None
            assert arrival.staged is not None
            await arrival.staged.publish(record_of(body, day), predecessor=None)
        async with both.apart(Transfer(day_name(world.day(4)), Ask(), 10**9), lambda _: None):
            pass
        assert list(world.data.staging.iterdir()) == []
    assert world.body(day) == body
    assert world.body(world.day(4)) is None


async def test_a_worker_that_dies_costs_its_transfer_a_try_and_is_replaced(world: World) -> None:
    name = day_name(world.day(3))
    transfer = Transfer(name, Ask(), 10**9)
    before = children(os.getpid())
    async with ways(world) as both:
        gate = faults.Gate()
        world.server.fail(name, gate)
        held = asyncio.create_task(outcome(both.apart, transfer))
        await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
        (worker,) = children(os.getpid()) - before
        os.kill(worker, signal.SIGKILL)
        text, _, is_transient, *_ = await held
        gate.opened.set()

        assert text == "the worker process that fetched it ended (SIGKILL)"
        assert is_transient
        assert (await outcome(both.apart, transfer))[0] == 200
        assert len(children(os.getpid()) - before) == 1
    assert children(os.getpid()) == before


async def test_a_worker_that_dies_while_upstream_wants_to_be_left_alone_is_not_waited_for(
    world: World,
) -> None:
    transfer = Transfer(day_name(world.day(3)), Ask(), 10**9)
    before = children(os.getpid())
    async with ways(world) as both:
        assert (await outcome(both.apart, transfer))[0] == 200
        (worker,) = children(os.getpid()) - before
        both.source_apart.heed(transfer.name, 1)
        waiting = asyncio.create_task(outcome(both.apart, transfer))
        await asyncio.sleep(0.2)
        os.kill(worker, signal.SIGKILL)
        assert (await asyncio.wait_for(waiting, 10))[0] == 200


async def test_a_crew_that_is_cancelled_as_it_begins_leaves_no_process(world: World) -> None:
    before = children(os.getpid())
    async with ways(world) as both:
        work = outcome(both.apart, Transfer(day_name(world.day(3)), Ask(), 10**9))
        task = asyncio.create_task(work)
        async with asyncio.timeout(PATIENCE_S):
            while children(os.getpid()) == before:
                await asyncio.sleep(0.001)
        task.cancel()
        await asyncio.wait({task})
        assert children(os.getpid()) == before


async def test_a_disk_that_fails_in_a_worker_is_told_as_such(world: World) -> None:
    transfer = Transfer(day_name(world.day(3)), Ask(), 10**9)
    before = children(os.getpid())
    async with ways(world) as both:
        assert (await outcome(both.apart, transfer))[0] == 200
        (worker,) = children(os.getpid()) - before
        resource.prlimit(worker, resource.RLIMIT_FSIZE, (1000, 1000))
        with pytest.raises(StorageError, match=r"staging.*too large"):
            await outcome(both.apart, transfer)
    assert list(world.data.staging.iterdir()) == []


async def test_without_a_process_to_be_had_transfers_are_made_here(
    world: World, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    async with ways(world, workers=2) as both:
        done = await outcome(both.apart, Transfer(day_name(world.day(3)), Ask(), 10**9))
    assert done[0] == 200
    assert "no process can be started" in "".join(capfd.readouterr())


@pytest.fixture
def big(shell: Shell) -> Shell:
    """An upstream of so many lines that workers are started: by them the bytes are estimated."""
    for day, stored in shell.archive.days().items():
        body = make_day(day, 1000) + b"{}\n" * 300_000
        shell.archive.put_day(day, body, stored.last_modified)
    shell.archive.publish(shell.archive["index.jsonl"].last_modified)
    shell.set(storage__findings="false", sync__workers="2")
    return shell


async def workers_of(process: asyncio.subprocess.Process) -> set[int]:
    """Wait until a command has two workers; return their numbers."""
    async with asyncio.timeout(PATIENCE_S):
        while len(found := children(process.pid)) < 2:
            await asyncio.sleep(0.01)
    return found


async def test_a_sync_of_many_bytes_is_complete(big: Shell) -> None:
    process = await big.start("sync", "--json")
    workers = await workers_of(process)
    done = await finish(process)

    assert done.code == 0
    assert done.json["requests"] == 1 + len(big.days)
    index = len(big.archive["index.jsonl"].body)
    assert done.json["downloaded_bytes"] == index + sum(len(big.body(day)) for day in big.days)
    assert not any(map(is_alive, workers))
    big.assert_complete()
    assert (await big.run("verify")).code == 0


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
async def test_a_signal_ends_the_workers_too_and_the_next_sync_goes_on(
    big: Shell, number: signal.Signals
) -> None:
    gate = faults.Gate()
    big.server.fail(day_name(big.days[0]), gate)
    process = await big.start("sync")
    workers = await workers_of(process)
    await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
    done = await interrupt(process, number)

    assert done.code == 128 + number
    assert not any(map(is_alive, workers))
    big.assert_whole()
    gate.opened.set()
    assert (await big.run("sync")).code == 0
    big.assert_complete()


async def test_workers_do_not_outlive_a_sync_that_is_killed(big: Shell) -> None:
    gate = faults.Gate()
    big.server.fail(day_name(big.days[0]), gate)
    process = await big.start("sync")
    workers = await workers_of(process)
    await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
    process.kill()
    await finish(process)
    async with asyncio.timeout(PATIENCE_S):
        while any(map(is_alive, workers)):
            await asyncio.sleep(0.01)

    gate.opened.set()
    assert (await big.run("sync")).code == 0
    big.assert_complete()
