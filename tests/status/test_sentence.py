"""The sentence of a status, and that it says no more than is so."""

from datetime import timedelta

from mirror.model import IndexState, ProblemKind
from mirror.status.standing import Health, judge_health
from tests.conftest import World
from tests.upstream import faults


async def test_a_lost_manifest_is_not_in_step(world: World) -> None:
    await world.sync()
    assert world.status().sentence.startswith("In step")
    world.data.manifest.unlink()

    status = world.status()

    assert status.sentence.endswith(", but manifest.jsonl must be made anew.")
    assert ProblemKind.UNREADABLE_RECORDS in {one.kind for one in status.problems}
    health, _ = judge_health(status, interval=timedelta(hours=1), now=world.clock())
    assert health is Health.ATTENTION
    await world.sync()
    assert world.status().sentence.startswith("In step")


async def test_a_state_comes_with_its_own_time(world: World) -> None:
    await world.sync()
    in_step_since = world.clock()
    assert world.status().index_state_since == in_step_since
    world.server.fail("index.jsonl", faults.Status(503), times=None)
    world.clock.advance(hours=1)
    unusable_since = world.clock()

    for _ in range(3):
        await world.sync()
        world.clock.advance(hours=1)

    status = world.status()
    assert (status.index_state, status.index_state_since) == (IndexState.UNUSABLE, unusable_since)


async def test_of_one_day_that_is_dropped_it_says_is(world: World) -> None:
    await world.sync()
    del world.archive.objects[f"events-{world.day(4)}.jsonl"]
    world.clock.advance(hours=1)
    world.archive.write_index(world.clock())

    (warning,) = (await world.sync()).warnings

    assert "1 day that it listed before is kept" in warning.text
