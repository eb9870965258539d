"""A dry run: the same survey and the same plan as a poll's, and nothing is written."""

from datetime import timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.archive.ports import Asking, PollEvent
from mirror.errors import IndexUnusableError
from mirror.model import DayRange, IndexState, ProblemKind, Reason
from mirror.sync.wiring import Preview, preview
from tests.conftest import World
from tests.sync.answers import Header
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


async def look(world: World, asked: PollRange | None = None) -> Preview:
    """Do as `sync --dry-run` does."""
    return await preview(world.config, world.data, asked or PollRange(), now=world.clock)


def due(found: Preview) -> dict[str, Reason]:
    return {one.name: one.reason for one in found.plan.due}


async def test_before_the_first_poll_every_day_is_due_and_nothing_is_made(world: World) -> None:
    found = await look(world)

    days = [world.day(back) for back in range(1, 11)]
    assert [one.date for one in found.plan.due] == days
    assert {one.reason for one in found.plan.due} == {Reason.NEW}
    assert (found.plan.listed, found.unverified) == (10, 0)
    assert (found.index_state, found.warnings) == (IndexState.FRESH, ())
    assert world.names_asked() == ["index.jsonl"]
    assert not world.data.root.exists()


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [(4, None, [1, 2, 3, 4]), (None, 8, [8, 9, 10]), (6, 5, [5, 6]), (300, 200, [])],
)
async def test_the_days_asked_for_bound_it(world: World, since, until, expected) -> None:
    days = DayRange(
        since=world.day(since) if since else None, until=world.day(until) if until else None
    )

    found = await look(world, PollRange(days))

    assert [one.date for one in found.plan.due] == [world.day(back) for back in expected]
    assert found.plan.listed == len(expected)


@pytest.mark.parametrize("remembered", [True, False], ids=["remembered", "as set"])
async def test_days_that_are_not_to_be_kept_are_not_due(world: World, remembered: bool) -> None:
    first = world.day(3)
    if remembered:
        await world.sync(PollRange(DayRange(since=first), remembers=True))
        world.data.manifest.unlink()
        for path in world.data.archive.glob("events-*"):
            path.unlink()
    else:
        world.configure("storage", since=str(first))

    found = await look(world)

    assert set(due(found)) == {day_name(world.day(back)) for back in (1, 2, 3)}


async def test_what_would_be_remembered_counts_already_and_is_not_remembered(world: World) -> None:
    await world.sync(PollRange(DayRange(since=world.day(2)), remembers=True))

    found = await look(world, PollRange(DayRange(since=world.day(5)), remembers=True))

    assert set(due(found)) == {day_name(world.day(back)) for back in (3, 4, 5)}
    assert set(due(await look(world))) == set()


async def test_after_a_poll_only_what_changed_is_due_and_no_file_is_touched(world: World) -> None:
    await world.sync()
    changed, new = world.day(4), world.day(0)
    world.archive.put_day(changed, 99, world.clock.advance(hours=1))
    world.archive.put_day(new, 9, world.clock())
    world.archive.write_index(world.clock())
    (world.data.archive / day_name(world.day(300))).write_bytes(make_day(world.day(300), 3))
    before = {path: path.stat() for path in world.data.root.rglob("*") if path.is_file()}

    found = await look(world)

    assert due(found) == {day_name(changed): Reason.CHANGED, day_name(new): Reason.NEW}
    assert found.unverified == 1
    now = {path: path.stat() for path in world.data.root.rglob("*") if path.is_file()}
    assert {path: stats.st_mtime_ns for path, stats in now.items()} == {
        path: stats.st_mtime_ns for path, stats in before.items()
    }


async def test_final_days_to_ask_about_again_are_in_it(world: World) -> None:
    await world.sync()

    found = await look(world, PollRange(recheck=2))

    assert [one.reason for one in found.plan.due] == [Reason.RECHECK] * 2
    # a poll would ask for the index in the same way: a 304 does
    assert world.names_asked(304) == ["index.jsonl"]


async def test_no_day_is_expected_to_be_larger_than_may_be(world: World) -> None:
    world.configure("http", max_file_size=123_456)
    world.archive.claims[world.day(3)] = 10**9
    world.archive.write_index(world.clock())

    sizes = {one.date: one.estimated_bytes for one in (await look(world)).plan.due}

    assert sizes.pop(world.day(3)) == 123_456
    assert max(sizes.values()) < 123_456


async def test_a_day_that_cannot_be_kept_is_not_due(world: World) -> None:
    (world.data.archive / day_name(world.day(3))).mkdir(parents=True)

    assert day_name(world.day(3)) not in due(await look(world))


async def test_days_looked_for_by_name_are_in_it_where_the_index_stands_still(
    world: World,
) -> None:
    await world.sync()
    world.clock.advance(days=3)

    found = await look(world)

    assert found.index_state is IndexState.STALE
    names = {day_name(world.day(back)): Reason.BY_NAME for back in (0, 1, 2, 3)}
    assert due(found) == names


async def test_what_speaks_against_the_index_is_said(world: World) -> None:
    world.archive.publish(world.clock())
    await world.sync()
    world.archive.publish(world.clock() - timedelta(hours=2))

    found = await look(world)

    assert [one.kind for one in found.warnings] == [ProblemKind.INDEX_ROLLED_BACK]


async def test_a_page_that_cannot_be_read_is_said_too(world: World) -> None:
    await world.sync()
    world.clock.advance(days=3)
    del world.archive.objects["index.html"]
    world.archive.put("index.html", b"x" * 9_000_000, world.clock())

    (warning,) = (await look(world)).warnings

    assert "index.html could not be read as a second listing" in warning.text


async def test_each_try_is_shown(world: World) -> None:
    seen: list[PollEvent] = []

    await preview(world.config, world.data, PollRange(), seen.append, now=world.clock)

    # a connection is waited for, then an answer
    assert seen == [Asking("index.jsonl", 1, 3, 10), Asking("index.jsonl", 1, 3, 2)]


async def test_the_clock_is_the_real_one_where_none_is_given(world: World) -> None:
    await world.sync()

    found = await preview(world.config, world.data, PollRange())

    assert found.index_state is IndexState.STALE, "the archive of the tests ends in 2024"


async def test_a_mirror_of_itself_is_refused(world: World) -> None:
    await world.sync()
    chain = Header({"x-binder-mirror": f"0123456789ab, {world.data.identity()}"})
    world.server.fail("index.jsonl", chain, times=None)

    with pytest.raises(IndexUnusableError, match="this mirror itself"):
        await look(world)
