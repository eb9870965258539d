"""Polls, adoption, repair and restore in memory: nothing reaches round the destination's port."""

import random
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from mirror.archive.plan import PollRange
from mirror.archive.ports import Listing, ignore
from mirror.model import Damage, DamageKind, Flag, PollReport
from mirror.sync.fetch import Context
from mirror.sync.source import open_source
from mirror.sync.wiring import Mirror
from tests.conftest import World
from tests.store.memory import Memory, MemoryDestination
from tests.upstream.archive import day_name


@asynccontextmanager
async def opened(world: World, memory: Memory) -> AsyncIterator[Mirror]:
    destination = MemoryDestination(memory, now=world.clock)
    rng = random.Random(0)
    async with open_source(world.server.url, world.config.http, now=world.clock) as source:
        yield Mirror(Context(source, destination, world.config, ignore, world.clock, rng))


async def sync(world: World, memory: Memory, asked: PollRange | None = None) -> PollReport:
    async with opened(world, memory) as mirror:
        return await mirror.poll(asked)


def assert_identical(world: World, memory: Memory) -> None:
    bodies = {name: body for name, (body, _) in memory.bodies.items()}
    upstream = {name: stored.body for name, stored in world.archive.objects.items()}
    assert bodies == {name: upstream[name] for name in upstream if name.startswith("events-")}
    assert memory.files[Listing.INDEX] == upstream["index.jsonl"]
    assert memory.files[Listing.SUMS].count(b"\n") == len(bodies)


async def test_a_first_and_a_quiet_poll(world: World) -> None:
    memory = Memory()

    report = await sync(world, memory)

    assert (report.exit_code, report.held, report.pending_findings) == (0, 10, 0)
    assert_identical(world, memory)
    assert set(memory.files) >= set(Listing)
    assert all(claims[-1].findings for claims in memory.claims.values())
    world.forget()
    report = await sync(world, memory)
    assert (report.exit_code, report.requests, len(memory.polls)) == (0, 1, 2)
    assert world.names_asked(304) == ["index.jsonl"]


async def test_a_final_day_that_shrinks_leaves_its_predecessor(world: World) -> None:
    memory, day = Memory(), world.day(3)
    await sync(world, memory)
    before, _ = memory.bodies[day_name(day)]
    world.archive.put_day(day, before[: before.index(b"\n") + 1], world.clock())
    world.archive.publish(world.clock.advance(hours=1))

    assert (await sync(world, memory)).exit_code == 0

    assert_identical(world, memory)
    assert [body for _, body in memory.history[day].values()] == [before]
    (version, _) = next(iter(memory.history[day].values()))
    async with opened(world, memory) as mirror:
        await mirror.restore(version)
    assert memory.bodies[day_name(day)][0] == before
    assert memory.claims[day][-1].flags == (Flag.RESTORED,)
    assert len(memory.history[day]) == 2


async def test_bodies_without_a_record_are_adopted_and_not_fetched(world: World) -> None:
    memory = Memory()
    await sync(world, memory)
    memory.claims.clear()
    world.forget()

    report = await sync(world, memory)

    assert (report.exit_code, report.outcomes) == (0, {"adopted": 10})
    days = [one for one in world.server.requests if one.name.startswith("events-")]
    assert [one.method for one in days] == ["HEAD"] * 10
    assert_identical(world, memory)


async def test_rotten_bodies_are_repaired_from_upstream_else_history_else_given_up(
    world: World,
) -> None:
    memory = Memory()
    await sync(world, memory)
    days = fetched, kept, lost = world.day(2), world.day(3), world.day(4)
    good = {day: memory.bodies[day_name(day)] for day in days}
    (damaged,) = (claim for claim in memory.claims[kept])
    destination = MemoryDestination(memory, now=world.clock)
    async with destination.stage(day_name(kept), lambda chunk: iter([chunk])) as staged:
        await staged.write([good[kept][0]])
        await staged.publish(damaged, predecessor=damaged)
    for day in days:
        body, mtime_ns = memory.bodies[day_name(day)]
        memory.bodies[day_name(day)] = (body.replace(b"GitHub", b"Gitlab"), mtime_ns)
    for day in (kept, lost):
        del world.archive.objects[day_name(day)]

    async with opened(world, memory) as mirror:
        found = [Damage(day_name(day), DamageKind.ALTERED, "rotten", day) for day in days]
        await mirror.repair(found)

    for day in (fetched, kept):
        assert memory.bodies[day_name(day)][0] == good[day][0]
    assert day_name(lost) not in memory.bodies
    assert day_name(lost).encode() not in memory.files[Listing.INDEX]
    assert len(memory.quarantine) == 3
