"""What a poll's report says: its figures, its problems and its warnings, in bounds."""

import re
from datetime import UTC, datetime

import pytest

from mirror.archive.plan import PollRange
from mirror.archive.ports import Listing
from mirror.errors import StorageError
from mirror.model import DayRange, ProblemKind
from mirror.store.polls import load_polls
from mirror.sync.wiring import open_mirror, preview
from mirror.text import human_bytes
from tests.conftest import NOON, World
from tests.upstream import faults
from tests.upstream.archive import day_name


async def test_it_has_the_figures_of_the_pass_and_of_the_copy(world: World) -> None:
    world.configure("storage", findings=False)
    report = await world.sync()

    records = world.records().values()
    assert re.fullmatch(r"20240515T120000-[0-9a-f]{6}", report.poll_id)
    assert report.started_at == NOON
    assert report.started_at.tzinfo is UTC
    assert 0 < report.duration_s < 30
    assert report.duration_s == round(report.duration_s, 3)
    assert report.requests == 11
    index = len(world.archive["index.jsonl"].body)
    assert report.downloaded_bytes == report.archive_bytes + index
    assert report.events == sum(record.lines for record in records)
    assert report.archive_bytes == sum(record.size for record in records)
    assert report.pending_findings == 0
    assert load_polls(world.data, 9).last == (report,)


async def test_each_pass_has_an_id_of_its_own(world: World) -> None:
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        ids = {(await mirror.poll()).poll_id for _ in range(3)}

    assert len(ids) == 3


async def test_the_real_clock_is_the_default(world: World) -> None:
    async with open_mirror(world.config, world.data) as mirror:
        report = await mirror.poll(PollRange(DayRange(until=world.day(10))))

    assert abs((datetime.now(UTC) - report.started_at).total_seconds()) < 60


async def test_a_long_list_of_problems_is_cut_and_counted(world: World) -> None:
    for back in range(11, 30):
        world.archive.put_day(world.day(back), 3, world.clock())
    world.archive.write_index(world.clock())
    world.configure("http", retries=0)
    world.server.fail("events-*", faults.Status(404), times=None)

    report = await world.sync()

    assert [one.day for one in report.problems[:20]] == [world.day(back) for back in range(1, 21)]
    text = "upstream lists it, but answers 404: no such file"
    assert {one.text for one in report.problems[:20]} == {text}
    (more,) = report.problems[20:]
    assert (more.kind, more.text, more.day) == (ProblemKind.OTHER, "and 9 more", None)


async def test_what_stands_in_the_way_is_a_problem_of_its_day(world: World) -> None:
    day = world.day(3)
    (world.data.archive / day_name(day)).mkdir(parents=True)
    (world.data.archive / day_name(world.day(4))).mkdir()

    report = await world.sync(PollRange(DayRange(until=day)))

    (first, second) = report.problems
    assert (first.kind, first.day) == (ProblemKind.IN_THE_WAY, world.day(4))
    assert (second.kind, second.day) == (ProblemKind.IN_THE_WAY, day)
    assert second.text == "a directory stands where its file belongs"
    report = await world.sync(PollRange(DayRange(since=day)))
    assert [one.day for one in report.problems] == [day]


async def test_a_published_body_that_is_contradicted_is_a_warning(world: World) -> None:
    world.server.style.hide_meta = True
    days = [world.day(back) for back in (2, 3, 4, 5)]
    for day in days:
        world.archive.claims[day] = 999
    world.archive.write_index(world.clock())
    assert (await world.sync()).exit_code == 3
    world.clock.advance(hours=6)

    (warning,) = (await world.sync()).warnings

    assert warning.kind is ProblemKind.DISPUTED
    latest = ", ".join(str(world.day(back)) for back in (4, 3, 2))
    assert warning.text == (f"4 days published although index or ETag contradict: {latest}")


async def test_an_index_that_stands_still_or_shrinks_is_a_warning(world: World) -> None:
    await world.sync()
    world.clock.advance(days=3)
    still = f"{world.clock():%Y-%m-%d %H:%M} UTC"
    (warning,) = (await world.sync()).warnings
    assert warning.kind is ProblemKind.INDEX_STALE
    assert warning.text == (
        f"upstream's index stands still (noticed {still}): newer days are looked for in "
        "index.html and by name"
    )
    since = world.clock.advance(hours=1)
    for gone, what in (
        (13, "1 day that it listed before is"),
        (12, "2 days that it listed before are"),
    ):
        world.archive.remove(day_name(world.day(gone)))
        world.archive.write_index(world.clock())
        warnings = {one.kind: one.text for one in (await world.sync()).warnings}
        assert warnings[ProblemKind.INDEX_SHRUNK] == (
            f"upstream's index has shrunk (noticed {since:%Y-%m-%d %H:%M} UTC): {what} kept, "
            "and looked for elsewhere"
        )


async def test_something_in_a_listings_place_is_a_problem_and_the_others_are_written(
    world: World,
) -> None:
    page = world.data.archive / "index.html"
    page.mkdir(parents=True)

    report = await world.sync()

    assert report.exit_code == 3
    (problem,) = report.problems
    assert (problem.kind, problem.day) == (ProblemKind.IN_THE_WAY, None)
    assert problem.text == f"{page} is a directory, not a file"
    world.assert_identical()
    page.rmdir()
    assert (await world.sync()).exit_code == 0
    assert b"<html" in page.read_bytes()


@pytest.mark.parametrize("name", Listing)
async def test_a_listing_that_is_gone_comes_back_with_the_next_poll(
    world: World, name: Listing
) -> None:
    await world.sync()
    path = world.data.archive / name
    before = path.read_bytes()
    path.unlink()

    assert (await world.sync()).exit_code == 0

    assert path.read_bytes() == before
    assert world.server.count("index.jsonl") == 2


async def test_where_there_is_no_room_for_what_is_due_nothing_is_begun(world: World) -> None:
    world.configure("storage", min_free=10**18)
    plan = (await preview(world.config, world.data, PollRange(), now=world.clock)).plan
    world.forget()

    with pytest.raises(StorageError) as caught:
        await world.sync()

    assert f"the poll needs about {human_bytes(plan.estimated_bytes)} " in str(caught.value)
    assert f"{human_bytes(10**18)} are to stay free" in str(caught.value)
    assert caught.value.hint == "free some room, or lower storage.min_free or the range of days"
    assert world.names_asked() == ["index.jsonl"]
    world.configure("storage", min_free=0)
    await world.sync()
    world.configure("storage", min_free=10**18)
    # a poll that has nothing to fetch needs no room, nor one whose days may be unchanged
    assert (await world.sync()).exit_code == 0
    assert (await world.sync(PollRange(recheck=10))).exit_code == 0
