"""Upstream's loss is never ours: what goes to history when a body is replaced, and comes back."""

import gzip
import hashlib
from collections.abc import Callable
from datetime import timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.errors import StorageError
from mirror.store.aside import read_version
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.upstream.launches import make_day


def rewrite(world: World, day, body: bytes) -> None:
    """Let upstream replace a day, and its index say so."""
    world.archive.put_day(day, body, world.clock.advance(hours=1))
    world.archive.write_index(world.clock())


def kept(world: World, day) -> list[bytes]:
    """Return the predecessors of a day, the oldest first, and see that each is what it says."""
    bodies = []
    for version in world.predecessors(day):
        body = b"".join(read_version(world.data, version.date, version.sha256))
        assert hashlib.sha256(body).hexdigest() == version.sha256
        assert (version.size, version.lines) == (len(body), body.count(b"\n"))
        bodies.append(body)
    return bodies


async def test_a_final_day_that_loses_events_leaves_its_predecessor(world: World) -> None:
    await world.sync()
    day = world.day(4)
    old = world.body(day)
    rewrite(world, day, make_day(day, 5))

    report = await world.sync()

    assert report.exit_code == 0
    assert kept(world, day) == [old]
    (version,) = world.predecessors(day)
    assert version.was_final
    assert version.kept_at == world.clock()
    world.assert_identical()


async def test_a_final_day_that_gains_events_leaves_its_predecessor_too(world: World) -> None:
    await world.sync()
    day = world.day(4)
    old = world.body(day)
    rewrite(world, day, make_day(day, 200))

    await world.sync()

    assert kept(world, day) == [old]


async def test_a_final_day_rewritten_with_its_count_leaves_its_predecessor(world: World) -> None:
    await world.sync()
    day = world.day(4)
    old = world.body(day)
    rewrite(world, day, make_day(day, world.records()[day].lines, seed=1))

    await world.sync()
    assert world.body(day) == old, "nothing tells of it but a recheck"
    await world.sync(PollRange(recheck=10))

    assert kept(world, day) == [old]
    world.assert_identical()


async def test_a_day_emptied_by_upstream_is_kept(world: World) -> None:
    await world.sync()
    day = world.day(4)
    old = world.body(day)
    rewrite(world, day, b"")

    await world.sync()

    assert world.body(day) == b""
    assert kept(world, day) == [old]


async def test_each_version_is_kept_once(world: World) -> None:
    day = world.day(4)
    versions = [make_day(day, 30, seed=seed) for seed in range(3)]
    for body in (*versions, *versions):
        rewrite(world, day, body)
        await world.sync(PollRange(recheck=10))

    assert sorted(kept(world, day)) == sorted(versions)
    assert world.body(day) == versions[-1]


async def test_an_open_day_that_grows_and_settles_leaves_nothing(world: World) -> None:
    await world.sync()
    for _ in range(10):
        world.archive.publish(world.clock.advance(hours=4))
        await world.sync()

    day = world.day(1)
    assert world.records()[day].checked_at.date() > day
    assert world.predecessors(day) == []
    assert list(world.data.history.glob("*.gz")) == []


async def test_an_open_day_that_loses_events_leaves_its_predecessor(world: World) -> None:
    today = world.day(0)
    rewrite(world, today, make_day(today, 40))
    await world.sync()
    rewrite(world, today, make_day(today, 30))

    assert (await world.sync()).exit_code == 0

    assert kept(world, today) == [make_day(today, 40)]
    assert not world.predecessors(today)[0].was_final


async def test_a_day_last_seen_open_is_settled_without_history(world: World) -> None:
    today = world.day(0)
    rewrite(world, today, make_day(today, 20))
    await world.sync()
    world.clock.advance(days=3)
    world.archive.put_day(today, make_day(today, 60), world.clock() - timedelta(days=2))
    world.archive.write_index(world.clock())

    await world.sync()

    assert world.records()[today].lines == 60
    assert world.predecessors(today) == []


async def test_a_day_confirmed_when_final_is_kept_when_it_is_replaced(world: World) -> None:
    today = world.day(0)
    rewrite(world, today, make_day(today, 20))
    await world.sync()
    world.clock.advance(days=1)
    world.archive.write_index(world.clock())
    await world.sync()
    assert [one.status for one in world.asked_for(today)][-1] == 304, "settled without a body"
    rewrite(world, today, make_day(today, 25))

    await world.sync()

    assert kept(world, today) == [make_day(today, 20)]


async def test_a_refused_body_leaves_history_as_it_is(world: World) -> None:
    await world.sync()
    day = world.day(4)
    world.archive.claims[day] = 999
    rewrite(world, day, make_day(day, 5))

    assert (await world.sync()).exit_code == 3

    assert world.predecessors(day) == []


@pytest.mark.parametrize(
    "damage",
    [lambda packed: packed[:-40], lambda packed: gzip.compress(b"another body\n"), lambda _: b""],
    ids=["cut", "altered", "empty"],
)
async def test_a_predecessor_that_is_damaged_is_not_put_back(
    world: World, damage: Callable[[bytes], bytes]
) -> None:
    await world.sync()
    day = world.day(4)
    rewrite(world, day, make_day(day, 5))
    await world.sync()
    (version,) = world.predecessors(day)
    (path,) = world.data.history.glob("*.gz")
    path.write_bytes(damage(path.read_bytes()))

    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        with pytest.raises(StorageError, match=f"of {day} is damaged in history"):
            await mirror.restore(version)

    assert world.body(day) == make_day(day, 5)
    assert not list(world.data.staging.iterdir())
    world.assert_identical()
