"""The two outages of the real archive, replayed poll by poll: nothing is lost, nothing is missed.

2025-06-17..10-14 both index files stood still while the daily files went on; 2025-10-14..2026-02-17
`index.jsonl` was its last line alone while `index.html` stayed whole. Nobody was alerted.
"""

import json
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.archive.upstream import ARCHIVE_BEGINS
from mirror.model import DayRange, Flag, IndexState, PollReport, Record
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import UpstreamArchive, day_name
from tests.upstream.launches import make_day
from tests.upstream.server import ArchiveServer

POLL_EVERY_H = 8


async def live(world: World, days: float, *, page: bool = True) -> list[PollReport]:
    """Let upstream publish and the mirror poll for some days; check after each poll."""
    reports: list[PollReport] = []
    held: Mapping[date, Record] = {}
    for _ in range(int(days * 24 / POLL_EVERY_H)):
        world.archive.publish(world.clock.advance(hours=POLL_EVERY_H))
        if not page:
            world.archive.remove("index.html")
        world.forget()
        reports.append(await world.sync())
        before, held = held, world.records()
        assert before.keys() <= held.keys(), "nothing that was held is lost"
        assert len(world.server.requests) < 20
    world.assert_sound()
    return reports


def days_asked(world: World) -> list[str]:
    """Return the daily files asked for, but for the one that cannot exist."""
    names = [name for name in world.names_asked() if name.startswith("events-")]
    return [name for name in names if name != day_name(date(2000, 1, 1))]


def assert_complete(world: World) -> None:
    """Every final day of upstream's is held as it is there, and the local index lists it."""
    index = world.data.index.read_text()
    for day, stored in world.archive.days().items():
        if day < world.day(1):
            assert world.body(day) == stored.body
    parsed = {line["name"]: line["count"] for line in map(json.loads, index.splitlines())}
    assert parsed == {record.name: str(record.lines) for record in world.records().values()}


@pytest.fixture
async def following(world: World) -> World:
    """A mirror that is in step on an ordinary day."""
    world.archive.events_per_day = 20
    await live(world, 2)
    assert (await world.sync()).index_state is IndexState.UNCHANGED
    return world


@pytest.mark.parametrize("page", ["standing still", "gone", "failing"])
class TestTheIndexStandsStill:
    async def test_daily_files_are_found_all_the_same(self, following: World, page: str) -> None:
        world = following
        begins = world.day(0)
        world.archive.index_frozen = True
        if page == "gone":
            world.archive.remove("index.html")
        if page == "failing":
            world.server.fail("index.html", faults.Status(403), times=None)
        old_index = world.archive["index.jsonl"].body

        first = await live(world, 1)
        assert {report.index_state for report in first} == {IndexState.UNCHANGED}
        assert max(world.records()) == begins, "not yet stale: nothing is asked for by name"
        reports = await live(world, 8)

        assert {report.exit_code for report in reports} == {0}
        assert {report.index_state for report in reports[2:]} == {IndexState.STALE}
        assert any("stands still" in warning.text for warning in reports[-1].warnings)
        assert world.status().index_state is IndexState.STALE
        assert "stale" in world.status().sentence
        assert_complete(world)
        assert max(world.records()) == world.day(0)
        assert world.archive["index.jsonl"].body == old_index
        # the day that was open when the index stopped grew on, and is whole
        assert world.records()[begins].lines == world.archive[day_name(begins)].body.count(b"\n")

    async def test_all_is_in_step_when_the_index_is_back(self, following: World, page: str) -> None:
        world = following
        world.archive.index_frozen = True
        if page == "gone":
            world.archive.remove("index.html")
        await live(world, 4)
        world.archive.index_frozen = False

        (report,) = await live(world, POLL_EVERY_H / 24)

        assert (report.exit_code, report.index_state, report.warnings) == (0, IndexState.FRESH, ())
        fetched = world.names_asked(200)
        assert set(fetched) <= {"index.jsonl", day_name(world.day(0)), day_name(world.day(1))}
        world.assert_identical()
        upstream = world.upstream()
        assert (upstream.found, upstream.absent, upstream.floor) == ({}, {}, None)
        assert all(Flag.UNLISTED not in record.flags for record in world.records().values())


async def sleep(world: World, days: int) -> None:
    """Let the mirror sleep while the index stands still and daily files go on."""
    await world.sync()
    world.archive.index_frozen = True
    start = world.clock().date()
    world.clock.advance(days=days)
    for day in (start + timedelta(days=after) for after in range(days)):
        world.archive.put_day(day, make_day(day, 2), world.clock())


async def test_the_newest_come_first_and_at_most_200_a_poll(world: World) -> None:
    await sleep(world, 250)
    world.forget()

    first = await world.sync()

    asked = days_asked(world)
    assert len(asked) == 200
    assert min(asked) == day_name(world.day(199))
    assert first.exit_code == 0
    world.forget()
    soon = await world.sync()
    # yesterday, still open, is all there is to ask about before six hours are over
    assert len(world.names_asked()) <= 2
    assert soon.index_state is IndexState.STALE
    world.clock.advance(hours=6)
    await world.sync()
    assert len(world.records()) == 260
    world.assert_sound()


class TestSearchingByName:
    @pytest.fixture
    async def world(self, world: World) -> World:
        """A mirror that slept for a month while the index stood still."""
        await sleep(world, 30)
        return world

    async def test_a_404_is_no_failure_and_is_remembered(self, world: World) -> None:
        gap = [world.day(back) for back in (2, 20, 21)]
        for day in gap:
            world.archive.remove(day_name(day))
        for _ in range(2):
            assert (await world.sync()).exit_code == 0
            world.clock.advance(hours=6)
        asked: dict[date, int] = dict.fromkeys(gap, 0)
        world.forget()

        for _ in range(2 * 8):
            assert (await world.sync()).exit_code == 0
            world.clock.advance(hours=12)

        asked = {day: len(world.asked_for(day)) for day in gap}
        # one of the last three days is asked for again after 6 h, else after 7 days
        assert 2 <= asked[gap[0]] <= 6
        assert asked[gap[1]] == asked[gap[2]] == 1

    async def test_a_day_that_turns_up_late_is_found(self, world: World) -> None:
        late = world.day(20)
        stored = world.archive[day_name(late)]
        world.archive.remove(day_name(late))
        await world.sync()
        world.archive.objects[day_name(late)] = stored
        for _ in range(8 * 2):
            world.clock.advance(hours=12)
            await world.sync()

        assert world.body(late) == stored.body

    async def test_a_day_that_fails_by_name_is_tried_again_at_the_next_poll(
        self, world: World
    ) -> None:
        day = world.day(5)
        world.server.fail(day_name(day), faults.Cut(), times=None)
        assert (await world.sync()).exit_code == 3
        world.server.calm()

        assert (await world.sync()).exit_code == 0

        assert world.body(day) == world.archive[day_name(day)].body

    async def test_a_store_that_answers_403_for_what_it_has_not_is_no_failure(
        self, world: World
    ) -> None:
        world.archive.remove(day_name(world.day(5)))
        world.server.fail(day_name(world.day(5)), faults.Status(403), times=None)

        assert (await world.sync()).exit_code == 0
        world.forget()
        assert (await world.sync()).exit_code == 0
        assert world.asked_for(world.day(5)) == []

    async def test_without_any_count_a_whole_body_is_taken_and_flagged(self, world: World) -> None:
        world.server.style.hide_meta = True
        torn, whole = world.day(5), world.day(6)
        body = world.archive[day_name(torn)].body
        world.archive.put_day(torn, body[:-1], world.clock())

        report = await world.sync()

        assert report.exit_code == 3
        assert world.records()[whole].flags == (Flag.UNLISTED,)
        assert world.body(torn) is None
        assert [one.date for one in world.quarantined(torn)] == [torn]

    async def test_a_range_bounds_what_is_asked_for_by_name(self, world: World) -> None:
        world.forget()

        await world.sync(PollRange(DayRange(since=world.day(3))))

        days = days_asked(world)
        assert sorted(days) == [day_name(world.day(back)) for back in (3, 2, 1, 0)]


@pytest.mark.parametrize("page", [True, False], ids=["page whole", "no page"])
class TestTheIndexIsItsLastLine:
    async def test_nothing_held_is_lost_and_new_days_come(
        self, following: World, page: bool
    ) -> None:
        world = following
        world.archive.index_shrunk = True

        reports = await live(world, 8, page=page)

        assert world.archive["index.jsonl"].body.count(b'"name"') == 1
        assert {report.exit_code for report in reports} == {0}
        assert {report.index_state for report in reports} == {IndexState.SHRUNK}
        assert any("shrunk" in warning.text for warning in reports[-1].warnings)
        assert world.status().index_state is IndexState.SHRUNK
        assert_complete(world)

    async def test_days_missed_while_the_mirror_slept_are_found(
        self, following: World, page: bool
    ) -> None:
        world = following
        world.archive.index_shrunk = True
        await live(world, 1, page=page)
        for _ in range(30):
            world.archive.publish(world.clock.advance(hours=12))
        if not page:
            world.archive.remove("index.html")

        report = await world.sync()

        assert (report.exit_code, report.index_state) == (0, IndexState.SHRUNK)
        assert_complete(world)
        world.assert_sound()

    async def test_all_is_in_step_when_the_index_is_back(
        self, following: World, page: bool
    ) -> None:
        world = following
        world.archive.index_shrunk = True
        await live(world, 3, page=page)
        world.archive.index_shrunk = False

        (report,) = await live(world, POLL_EVERY_H / 24)

        assert (report.exit_code, report.index_state, report.warnings) == (0, IndexState.FRESH, ())
        assert set(world.names_asked(200)) <= {
            "index.jsonl",
            day_name(world.day(0)),
            day_name(world.day(1)),
        }
        world.assert_identical()
        assert world.upstream().unlisted == {}

    async def test_a_first_sync_in_the_outage_finds_all_days(
        self, world: World, page: bool
    ) -> None:
        world.archive.index_shrunk = True
        world.archive.publish(world.clock())
        if not page:
            world.archive.remove("index.html")

        report = await world.sync()

        assert report.exit_code == 0
        assert report.held == 11
        asked = days_asked(world)
        # 200 unknown days are asked for by name: the archive might go back to 2018
        assert len(asked) == (211 if page else 201)
        assert_complete(world)
        world.assert_sound()


async def test_the_search_by_name_ends_where_the_archive_begins(tmp_path, clock) -> None:
    clock.now = datetime(2018, 11, 20, 12, tzinfo=UTC)
    archive = UpstreamArchive.with_days(
        date(2018, 11, 3), date(2018, 11, 19), events_per_day=5, now=clock()
    )
    archive.index_shrunk = True
    archive.write_index(clock())
    archive.remove("index.html")
    async with ArchiveServer(archive) as server:
        world = World(archive, server, clock, tmp_path / "data")
        await world.sync()
        assert len(world.records()) == 17
        asked = sorted(days_asked(world))
        assert asked[0] == day_name(ARCHIVE_BEGINS)
        assert len(asked) == 18, "17 days and today, which is not there yet"


class TestVanished:
    @pytest.fixture
    async def gone(self, world: World) -> date:
        """A held final day that upstream has withdrawn, from bucket and both listings."""
        world.archive.publish(world.clock())
        await world.sync()
        day = world.day(5)
        world.archive.remove(day_name(day))
        return day

    async def test_a_withdrawn_day_stays_and_is_vanished_after_a_week(
        self, world: World, gone: date
    ) -> None:
        body = world.body(gone)
        reports = await live(world, 7)
        assert {(one.exit_code, one.index_state) for one in reports} == {(0, IndexState.SHRUNK)}
        assert world.status().vanished_days == ()

        (report,) = await live(world, POLL_EVERY_H / 24)

        assert (report.exit_code, report.index_state) == (0, IndexState.FRESH)
        assert world.status().vanished_days == (gone,)
        assert world.body(gone) == body
        assert day_name(gone) in world.data.index.read_text()
        assert day_name(gone) in world.data.sums.read_text()
        world.forget()
        await live(world, 1)
        assert world.asked_for(gone) == []

    async def test_a_day_that_comes_back_is_listed_as_ever(self, world: World, gone: date) -> None:
        await live(world, 9)
        assert world.status().vanished_days == (gone,)
        world.archive.put_day(gone, world.body(gone) or b"", world.clock())

        (report,) = await live(world, POLL_EVERY_H / 24)

        assert (report.exit_code, report.index_state) == (0, IndexState.FRESH)
        assert world.status().vanished_days == ()
        world.assert_identical()

    async def test_a_withdrawn_day_that_was_never_held_is_missing_until_it_has_vanished(
        self, world: World
    ) -> None:
        day = world.day(5)
        world.server.fail(day_name(day), faults.Status(403), times=None)
        world.archive.publish(world.clock())
        await world.sync()
        world.archive.remove(day_name(day))
        world.server.calm()

        codes = [report.exit_code for report in await live(world, 9)]

        assert codes[0] == 3
        assert codes[-1] == 0
        assert world.status().missing_days == ()


class TestNeverThere:
    """A day that only `index.html` ever had, and upstream never."""

    @pytest.fixture
    async def bogus(self, following: World) -> date:
        """A day without a file that the page lists while the index stands still."""
        world = following
        world.archive.index_frozen = True
        await live(world, 2)
        bogus = world.day(400)
        self.list_it(world, bogus)
        world.clock.advance(hours=6)
        assert (await world.sync()).exit_code == 3
        assert world.upstream().found.keys() >= {bogus}
        return bogus

    def list_it(self, world: World, bogus: date) -> None:
        """Have the page list a day."""
        name = day_name(bogus)
        row = f"<tr><td>{bogus}</td><td><a href='{name}'>{name}</a></td><td>7</td></tr></table>"
        page = world.archive["index.html"].body.replace(b"</table>", row.encode())
        world.archive.put("index.html", page, world.clock())

    async def test_it_is_forgotten_once_a_healthy_index_does_not_list_it(
        self, following: World, bogus: date
    ) -> None:
        world = following
        world.archive.index_frozen = False

        reports = await live(world, 2)

        assert {report.exit_code for report in reports} == {0}
        assert len(world.asked_for(bogus)) == 0
        assert bogus not in world.upstream().found
        assert world.status().missing_days == ()

    async def test_in_trouble_it_vanishes_a_week_after_the_page_has_listed_it(
        self, following: World, bogus: date
    ) -> None:
        world = following
        for _ in range(20):
            world.clock.advance(hours=12)
            assert (await world.sync()).exit_code == 3, "the page lists it all the time"
        page = world.archive["index.html"].body
        row = page[page.index(f"<tr><td>{bogus}".encode()) :]
        world.archive.put("index.html", page.replace(row, b"</table>"), world.clock())

        codes = [(await world.sync()).exit_code]
        for _ in range(16):
            world.clock.advance(hours=12)
            codes.append((await world.sync()).exit_code)

        assert codes[:13] == [3] * 13
        assert codes[-1] == 0
        assert bogus not in world.upstream().found

    async def test_a_day_that_is_held_stays_and_vanishes_likewise(self, following: World) -> None:
        world = following
        world.archive.index_frozen = True
        await live(world, 4)
        found = world.day(0)
        body = world.body(found)
        assert found in world.upstream().found
        lines = world.archive["index.jsonl"].body.decode().splitlines()
        world.archive.remove(day_name(found))
        world.archive.write_index(world.clock(), lines=lines)

        for _ in range(20):
            world.clock.advance(hours=12)
            world.archive.write_index(world.clock(), lines=lines)
            report = await world.sync()

        assert report.exit_code == 0
        assert world.body(found) == body
        world.forget()
        await world.sync()
        assert world.asked_for(found) == []
