"""A clock of ours that was wrong: what it left behind heals at the next poll once it is right."""

from datetime import timedelta

import pytest

from mirror.model import IndexState, ProblemKind, Reason
from tests.conftest import NOON, World
from tests.upstream.archive import day_name

YEAR = timedelta(days=365)


async def test_lines_refused_by_a_clock_that_was_behind_are_read_again(world: World) -> None:
    world.clock.now = NOON - timedelta(days=5)
    behind = await world.sync()
    assert (behind.exit_code, behind.held) == (3, 7)
    assert {one.kind for one in behind.problems} == {ProblemKind.INDEX_LINE}
    world.forget()

    world.clock.now = NOON
    report = await world.sync()

    assert "index.jsonl" in world.names_asked(304)
    assert (report.exit_code, report.problems, report.held) == (0, (), 10)
    world.assert_identical()
    world.forget()
    assert (await world.sync()).requests == 1


async def test_days_that_a_clock_ahead_let_in_are_refused_again(world: World) -> None:
    bogus = (NOON + timedelta(days=30)).date()
    world.archive.claims[bogus] = 5
    world.archive.put_day(bogus, 5, world.clock())
    world.archive.write_index(world.clock())
    world.archive.remove(day_name(bogus))
    world.clock.now = NOON + YEAR
    assert (await world.sync()).exit_code == 3

    world.clock.now = NOON
    report = await world.sync()

    assert [one.kind for one in report.problems] == [ProblemKind.INDEX_LINE]
    assert report.listed == 10
    assert world.status().missing_days == ()
    world.archive.write_index(world.clock.advance(hours=2))
    report = await world.sync()
    assert (report.exit_code, report.index_state) == (0, IndexState.FRESH)
    world.assert_identical()


async def test_a_local_index_is_verbatim_again_once_the_clock_is_right(world: World) -> None:
    await world.sync()
    verbatim = world.data.index.read_bytes()
    world.clock.now = NOON - timedelta(days=5)
    world.archive.write_index(world.clock() - timedelta(hours=1))
    await world.sync()
    assert world.data.index.read_bytes() != verbatim

    world.clock.now = NOON
    await world.sync()

    assert world.data.index.read_bytes() == verbatim


async def test_days_confirmed_by_a_clock_ahead_are_confirmed_once_more(world: World) -> None:
    world.clock.now = NOON + YEAR
    await world.sync()
    world.clock.now = NOON
    plans: list[dict[str, int]] = []

    for _ in range(2):
        await world.sync(
            observer=lambda event: hasattr(event, "due") and plans.append(event.reasons())
        )

    assert plans == [{Reason.SETTLING.value: 10}, {}]
    assert {one.checked_at for one in world.records().values()} == {NOON}


@pytest.mark.parametrize("wrong_by", [YEAR, -YEAR])
async def test_a_search_of_a_wrong_clock_is_made_again(world: World, wrong_by: timedelta) -> None:
    await world.sync()
    for back in (1, 0):
        world.archive.put_day(world.day(back), 20, world.clock())
    world.clock.now = NOON + wrong_by
    await world.sync()
    world.clock.now = NOON + timedelta(days=2)
    day = world.day(1)
    world.archive.put_day(day, 20, world.clock())

    report = await world.sync()

    assert (report.exit_code, report.index_state) == (0, IndexState.STALE)
    assert world.body(day) == world.archive[day_name(day)].body


async def test_days_dropped_under_a_clock_ahead_vanish_a_week_after_it_is_right(
    world: World,
) -> None:
    await world.sync()
    world.archive.remove(day_name(world.day(5)))
    world.clock.now = NOON + YEAR
    world.archive.write_index(NOON)
    await world.sync()
    states = []
    for days in range(8):
        world.clock.now = NOON + timedelta(days=days, hours=1)
        world.archive.write_index(world.clock())
        states.append((await world.sync()).index_state)
    assert states[:7] == [IndexState.SHRUNK] * 7
    assert states[7].is_healthy
