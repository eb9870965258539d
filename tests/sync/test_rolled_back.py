"""Bodies and indexes older than those accepted: a stale cache's, until they have stood."""

from dataclasses import replace
from datetime import date, timedelta

import msgspec
import pytest

from mirror.archive.plan import PollRange
from mirror.archive.upstream import render_upstream
from mirror.model import Flag, IndexState, ProblemKind
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

PAST_CACHES = "no-cache"
ROLLED_BACK = ProblemKind.ROLLED_BACK


class TestRolledBack:
    @pytest.fixture
    async def day(self, world: World) -> date:
        """A day held in its newer version while the server serves the older one."""
        day = world.day(3)
        old = world.archive[day_name(day)]
        world.archive.put_day(
            day,
            make_day(day, world.archive[day_name(day)].body.count(b"\n"), seed=1),
            world.clock.advance(hours=1),
        )
        world.archive.write_index(world.clock())
        await world.sync()
        world.server.fail(day_name(day), faults.Stale(old), times=None)
        world.forget()
        return day

    async def test_an_older_body_is_a_warning_where_the_newer_is_what_the_index_asks_for(
        self, world: World, day: date
    ) -> None:
        newer = world.body(day)

        report = await world.sync(PollRange(recheck=10))

        assert (report.exit_code, report.problems) == (0, ())
        assert [(one.kind, one.day) for one in report.warnings] == [(ROLLED_BACK, day)]
        asked = [one.headers.get("cache-control") for one in world.asked_for(day)]
        assert asked == [None, PAST_CACHES]
        assert world.body(day) == newer
        assert world.quarantined(day) == []
        world.assert_sound()

    async def test_an_older_body_is_refused_where_the_index_asks_for_another(
        self, world: World, day: date
    ) -> None:
        newer = world.body(day)
        world.archive.claims[day] = (newer or b"").count(b"\n") + 5
        world.archive.write_index(world.clock.advance(hours=1))

        report = await world.sync()

        assert report.exit_code == 3
        assert world.body(day) == newer
        assert "older" in world.quarantined(day)[0].reason
        world.clock.advance(hours=6)
        assert (await world.sync()).exit_code == 0
        assert world.records()[day].flags == (Flag.DISPUTED,)
        assert [one.lines for one in world.predecessors(day)] == [(newer or b"").count(b"\n")]
        world.assert_sound()

    async def test_it_is_taken_if_it_stands_and_the_newer_goes_to_history(
        self, world: World, day: date
    ) -> None:
        newer = world.records()[day].sha256
        await world.sync(PollRange(recheck=10))
        world.clock.advance(hours=6)

        report = await world.sync(PollRange(recheck=10))

        assert report.exit_code == 0
        assert world.records()[day].sha256 != newer
        assert world.records()[day].flags == (Flag.DISPUTED,)
        assert [one.sha256 for one in world.predecessors(day)] == [newer]
        world.assert_sound()

    async def test_a_generation_tells_it_too(self, world: World) -> None:
        world.server.style.goog_hash = True
        day = world.day(3)
        old = world.archive[day_name(day)]
        half_a_second = timedelta(milliseconds=500)
        world.archive.put_day(
            day,
            make_day(day, world.archive[day_name(day)].body.count(b"\n"), seed=1),
            old.last_modified + half_a_second,
        )
        await world.sync()
        world.server.fail(day_name(day), faults.Stale(old), times=None)

        report = await world.sync(PollRange(recheck=10))

        assert [(one.kind, one.day) for one in report.warnings] == [(ROLLED_BACK, day)]

    @pytest.mark.parametrize("again", ["304", "body"])
    async def test_an_answer_that_is_not_older_ends_its_trial(
        self, world: World, day: date, again: str
    ) -> None:
        newer, old = world.body(day), world.archive[day_name(day)]
        stale = faults.Stale(replace(old, last_modified=old.last_modified - timedelta(hours=1)))
        for _ in range(4):
            world.server.calm()
            world.server.fail(day_name(day), stale, times=None)
            await world.sync(PollRange(recheck=10))
            world.clock.advance(hours=4)
            world.server.calm()
            if again == "body":
                world.server.style.etag = "none"
                world.archive.objects[day_name(day)] = replace(old, last_modified=world.clock())
            await world.sync(PollRange(recheck=10))
            world.clock.advance(hours=4)
        assert world.body(day) == newer

    async def test_older_bodies_that_differ_each_time_are_one_trial(
        self, world: World, day: date
    ) -> None:
        old, held = world.archive[day_name(day)], world.body(day)
        lines = old.body.count(b"\n")
        for hours in range(0, 8, 2):
            other = replace(
                old,
                body=make_day(day, lines, seed=10 + hours),
                etag="",
                last_modified=old.last_modified - timedelta(days=2),
            )
            world.server.calm()
            world.server.fail(day_name(day), faults.Stale(other), times=None)
            await world.sync(PollRange(recheck=10))
            assert (world.body(day) == held) is (hours < 6)
            world.clock.advance(hours=2)
        assert world.body(day) == other.body
        world.assert_sound()


class TestRolledBackIndex:
    async def test_it_is_got_past_where_only_a_cache_has_it(self, world: World) -> None:
        old = world.archive["index.jsonl"]
        world.archive.publish(world.clock())
        await world.sync()
        world.archive.publish(world.clock.advance(hours=2))
        world.server.fail("index.jsonl", faults.Stale(old))
        world.forget()

        report = await world.sync()

        index = [one for one in world.server.requests if one.name == "index.jsonl"]
        assert [one.headers.get("cache-control") for one in index] == [None, PAST_CACHES]
        assert (report.exit_code, report.warnings) == (0, ())
        world.assert_identical()

    async def test_it_is_not_accepted_until_it_has_stood(self, world: World) -> None:
        old = world.archive["index.jsonl"]
        world.archive.publish(world.clock())
        await world.sync()
        before = world.published()
        world.server.fail("index.jsonl", faults.Stale(old), times=None)
        world.clock.advance(hours=1)

        refused = await world.sync()

        assert refused.exit_code == 3
        assert [one.kind for one in refused.problems] == [ProblemKind.INDEX_ROLLED_BACK]
        assert "older" in refused.problems[0].text
        assert "Incomplete" in world.status().sentence
        assert refused.index_state is IndexState.UNCHANGED
        assert refused.listed == 11
        assert world.published() == before
        world.clock.advance(hours=6)
        taken = await world.sync()
        assert (taken.exit_code, taken.index_state) == (0, IndexState.SHRUNK)
        assert world.data.index.read_bytes().count(b"\n") == 11, "what is held stays listed"
        world.assert_sound()

    async def test_a_date_ahead_of_the_clock_refuses_no_later_index(self, world: World) -> None:
        world.archive.write_index(world.clock() + timedelta(days=365))
        await world.sync()
        for _ in range(3):
            world.archive.publish(world.clock.advance(hours=8))
            report = await world.sync()
            assert (report.exit_code, report.problems) == (0, ())
            world.assert_identical()

    async def test_a_date_that_was_ahead_refuses_none_after_it_has_passed(
        self, world: World
    ) -> None:
        world.archive.write_index(world.clock() + timedelta(hours=3))
        await world.sync()
        world.archive.publish(world.clock.advance(hours=2))
        world.clock.advance(hours=2)
        assert (await world.sync()).exit_code == 0
        world.assert_identical()

    async def test_such_a_date_on_record_is_no_better(self, world: World) -> None:
        await world.sync()
        known = world.upstream()
        assert known.index is not None
        in_a_year = world.clock() + timedelta(days=365)
        index = msgspec.structs.replace(known.index, last_modified=in_a_year)
        known = msgspec.structs.replace(known, index=index)
        world.data.upstream.write_bytes(render_upstream(known))
        world.archive.publish(world.clock.advance(hours=1))
        assert (await world.sync()).exit_code == 0
        world.assert_identical()

    async def test_generations_that_went_backwards_are_taken_though_the_index_changes(
        self, world: World
    ) -> None:
        world.server.style.goog_hash = True
        world.archive.write_index(world.clock())
        await world.sync()
        codes = []

        for hours in range(0, 10, 2):
            world.archive.publish(world.clock.advance(hours=2))
            stored = world.archive["index.jsonl"]
            world.archive.objects["index.jsonl"] = replace(stored, generation=hours + 1)
            codes.append((await world.sync()).exit_code)

        assert codes == [3, 3, 3, 0, 0]
        world.assert_identical()

    async def test_two_caches_in_turn_do_not_make_the_older_one_true(self, world: World) -> None:
        old = world.archive["index.jsonl"]
        world.archive.publish(world.clock())
        await world.sync()
        for _ in range(5):
            world.server.fail("index.jsonl", faults.Stale(old), times=None)
            world.clock.advance(hours=4)
            assert (await world.sync()).exit_code == 3
            world.server.calm()
            world.clock.advance(hours=4)
            assert (await world.sync()).listed == 11
        assert world.upstream().unlisted == {}

    async def test_the_trial_goes_on_after_a_poll_that_fails(self, world: World) -> None:
        old = world.archive["index.jsonl"]
        world.archive.publish(world.clock())
        await world.sync()
        world.server.fail("index.jsonl", faults.Stale(old), times=None)
        world.clock.advance(hours=1)
        await world.sync()
        world.server.calm()
        world.server.fail("index.jsonl", faults.Status(403), times=None)
        world.clock.advance(hours=3)
        assert (await world.sync()).exit_code == 4
        world.server.calm()
        world.server.fail("index.jsonl", faults.Stale(old), times=None)
        world.clock.advance(hours=3)
        assert (await world.sync()).index_state is IndexState.SHRUNK

    async def test_the_same_bytes_are_no_older_index_whatever_their_date(
        self, world: World
    ) -> None:
        world.server.style.etag = "none"
        world.archive.publish(world.clock())
        await world.sync()
        stored = world.archive["index.jsonl"]
        older = replace(stored, last_modified=stored.last_modified - timedelta(minutes=5))
        world.server.fail("index.jsonl", faults.Stale(older), times=None)
        world.clock.advance(hours=1)
        report = await world.sync()
        assert (report.exit_code, report.problems, report.warnings) == (0, (), ())
