"""Bodies and indexes older than those accepted: a stale cache's, until they have stood."""

from datetime import date, timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.model import IndexState
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

PAST_CACHES = "no-cache"


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

    async def test_an_older_body_is_refused_and_the_newer_stays(
        self, world: World, day: date
    ) -> None:
        newer = world.body(day)

        report = await world.sync(PollRange(recheck=10))

        assert report.exit_code == 3
        asked = [one.headers.get("cache-control") for one in world.asked_for(day)]
        assert asked == [None, PAST_CACHES]
        assert world.body(day) == newer
        assert "older" in world.quarantined(day)[0].reason
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

        assert report.exit_code == 3
        assert "older" in world.quarantined(day)[0].reason


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

        assert refused.exit_code == 0
        assert any("older" in warning.text for warning in refused.warnings)
        assert refused.index_state is IndexState.UNCHANGED
        assert refused.listed == 11
        assert world.published() == before
        world.clock.advance(hours=6)
        taken = await world.sync()
        assert taken.index_state is IndexState.SHRUNK
        assert world.data.index.read_bytes().count(b"\n") == 11, "what is held stays listed"
        world.assert_sound()
