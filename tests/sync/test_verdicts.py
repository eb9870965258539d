"""What a body is, seen against what was expected of it, and what follows: DESIGN 5, verdicts."""

from datetime import date

import pytest

from mirror.model import Flag
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import StoredObject, day_name
from tests.upstream.launches import make_day

PAST_CACHES = "no-cache"


def claim(world: World, day: date, count: int) -> None:
    """Let the index state a count against the truth."""
    world.archive.claims[day] = count
    world.archive.write_index(world.clock())


def put(world: World, day: date, body: bytes, count: int) -> StoredObject:
    """Write a daily file whose metadata and index say `count`."""
    meta = {"events-count": str(count), "events-date": day.isoformat()}
    stored = world.archive.put(day_name(day), body, world.clock(), meta=meta)
    world.archive.write_index(world.clock())
    return stored


def lines_of(world: World, day: date) -> int:
    return world.archive[day_name(day)].body.count(b"\n")


def past_caches(world: World, day: date) -> list[bool]:
    """Return of each request for a day whether it went past the caches."""
    return [one.headers.get("cache-control") == PAST_CACHES for one in world.asked_for(day)]


class TestOk:
    async def test_a_last_line_without_newline_counts(self, world: World) -> None:
        day = world.day(3)
        put(world, day, make_day(day, 30).rstrip(b"\n"), 30)

        assert (await world.sync()).exit_code == 0

        assert (world.records()[day].lines, world.records()[day].flags) == (30, ())
        world.assert_identical()

    async def test_blank_lines_are_kept_and_do_not_count(self, world: World) -> None:
        day = world.day(3)
        body = make_day(day, 30)
        put(world, day, b"\n" + body.replace(b"\n", b"\r\n \n\n", 5) + b"\n\n\t", 30)

        assert (await world.sync()).exit_code == 0

        assert world.records()[day].lines == 30
        world.assert_identical()

    async def test_a_day_without_events_is_held_as_an_empty_file(self, world: World) -> None:
        day = world.day(3)
        put(world, day, b"", 0)

        assert (await world.sync()).exit_code == 0

        assert world.body(day) == b""
        world.assert_sound()
        world.forget()
        await world.sync()
        assert world.names_asked() == ["index.jsonl"]


class TestAhead:
    async def test_it_is_published_where_the_publishers_own_count_vouches(
        self, world: World
    ) -> None:
        day = world.day(3)
        truth = lines_of(world, day)
        claim(world, day, truth - 7)

        report = await world.sync()

        assert (report.exit_code, report.outcomes) == (0, {"published": 10})
        record = world.records()[day]
        assert (record.flags, record.lines, record.index_count) == ((Flag.AHEAD,), truth, truth - 7)
        assert len(world.asked_for(day)) == 1
        assert b'"count": "%d"' % truth in world.data.index.read_bytes()
        world.assert_sound()
        world.forget()
        await world.sync()
        assert world.names_asked() == ["index.jsonl"], "ahead and accepted: not due again"

    async def test_when_the_index_catches_up_nothing_is_fetched_again(self, world: World) -> None:
        day = world.day(3)
        claim(world, day, lines_of(world, day) - 7)
        await world.sync()
        del world.archive.claims[day]
        world.archive.write_index(world.clock.advance(hours=1))
        world.forget()

        report = await world.sync()

        assert report.exit_code == 0
        assert [one.status for one in world.asked_for(day)] == [304]
        assert world.records()[day].flags == ()
        world.assert_identical()

    async def test_a_final_day_that_nothing_vouches_for_is_refused(self, world: World) -> None:
        world.server.style.hide_meta = True
        day = world.day(3)
        truth = lines_of(world, day)
        claim(world, day, truth - 7)

        report = await world.sync()

        assert (report.exit_code, report.outcomes) == (3, {"published": 9, "refused": 1})
        assert past_caches(world, day) == [False, True]
        (refused,) = world.quarantined(day)
        assert "mismatch" in refused.reason
        assert (world.data.quarantine / refused.file).read_bytes() == world.archive[
            day_name(day)
        ].body
        assert world.body(day) is None
        assert day in world.status().missing_days
        world.assert_sound()

    @pytest.mark.parametrize("whole", [True, False])
    async def test_an_open_day_is_published_if_its_last_line_is_whole(
        self, world: World, whole: bool
    ) -> None:
        world.server.style.hide_meta = True
        today = world.day(0)
        body = make_day(today, 30)
        put(world, today, body if whole else body[:-1], 20)

        report = await world.sync()

        assert report.exit_code == (0 if whole else 3)
        assert world.body(today) == (body if whole else None)
        world.assert_sound()


class TestBehind:
    async def test_a_final_day_is_asked_for_past_the_caches_and_then_refused(
        self, world: World
    ) -> None:
        day = world.day(3)
        truth = lines_of(world, day)
        await world.sync()
        old = world.body(day)
        world.archive.put_day(day, make_day(day, truth - 5), world.clock.advance(hours=1))
        claim(world, day, truth + 7)
        world.forget()

        report = await world.sync()

        assert (report.exit_code, report.outcomes) == (3, {"refused": 1})
        assert any(one.day == day and "behind" in one.text for one in report.problems)
        assert past_caches(world, day) == [False, True]
        assert world.body(day) == old
        assert len(world.quarantined(day)) == 1
        assert world.records()[day].index_count == truth
        world.assert_sound()
        world.forget()
        again = await world.sync()
        assert again.exit_code == 3, "the day stays due"
        assert len(world.asked_for(day)) == 2
        assert len(world.quarantined(day)) == 1

    async def test_a_stale_cache_is_got_past(self, world: World) -> None:
        day = world.day(3)
        old = world.archive[day_name(day)]
        await world.sync()
        world.archive.put_day(day, 99, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        world.server.fail(day_name(day), faults.Stale(old))
        world.forget()

        report = await world.sync()

        assert report.exit_code == 0
        # the cache answers our own ETag with 304, and the index knows better
        assert [one.status for one in world.asked_for(day)] == [304, 200]
        assert past_caches(world, day) == [False, True]
        assert world.quarantined(day) == []
        world.assert_identical()

    async def test_an_open_day_is_published_as_far_as_it_goes_and_stays_due(
        self, world: World
    ) -> None:
        today = world.day(0)
        put(world, today, make_day(today, 20), 20)
        claim(world, today, 50)

        first = await world.sync()

        assert first.exit_code == 3
        assert world.records()[today].flags == (Flag.BEHIND,)
        assert world.body(today) == make_day(today, 20)
        assert b'"count": "20"' in world.data.index.read_bytes()
        assert world.quarantined(today) == []
        world.assert_sound()
        put(world, today, make_day(today, 35), 35)
        grown = await world.sync()
        assert (grown.exit_code, world.records()[today].lines) == (3, 35)
        del world.archive.claims[today]
        put(world, today, make_day(today, 50), 50)
        done = await world.sync()
        assert (done.exit_code, world.records()[today].flags) == (0, ())
        world.assert_identical()

    async def test_an_open_day_that_fell_behind_what_is_held_is_not_published(
        self, world: World
    ) -> None:
        today = world.day(0)
        put(world, today, make_day(today, 40), 40)
        await world.sync()
        world.clock.advance(hours=1)
        put(world, today, make_day(today, 30), 30)
        claim(world, today, 41)

        report = await world.sync()

        assert report.exit_code == 3
        assert world.records()[today].lines == 40
        assert len(world.quarantined(today)) == 1
        world.assert_sound()

    async def test_an_open_day_with_half_a_last_line_is_not_published(self, world: World) -> None:
        today = world.day(0)
        put(world, today, make_day(today, 20)[:-10], 20)
        claim(world, today, 50)

        report = await world.sync()

        assert report.exit_code == 3
        assert world.body(today) is None

    async def test_an_open_day_that_stays_behind_is_in_step_once_it_has_stood(
        self, world: World
    ) -> None:
        today = world.day(0)
        put(world, today, make_day(today, 20), 20)
        claim(world, today, 50)

        codes = []
        for _ in range(9):
            codes.append((await world.sync()).exit_code)
            world.clock.advance(hours=1)

        assert codes[:6] == [3] * 6
        assert codes[-1] == 0
        assert world.records()[today].flags == (Flag.DISPUTED,)
        assert world.quarantined(today) == [], "what is published is not refused"


class TestDisagreement:
    """Only the index's count says otherwise, and upstream serves the same body for long."""

    @pytest.fixture
    async def day(self, world: World) -> date:
        day = world.day(3)
        world.server.style.hide_meta = True
        claim(world, day, lines_of(world, day) + 7)
        await world.sync()
        assert world.body(day) is None
        return day

    async def test_the_body_is_taken_after_six_hours_with_a_flag(
        self, world: World, day: date
    ) -> None:
        world.clock.advance(hours=5, minutes=59)
        assert (await world.sync()).exit_code == 3
        world.clock.advance(minutes=1)

        report = await world.sync()

        assert (report.exit_code, report.outcomes) == (0, {"published": 1})
        assert world.records()[day].flags == (Flag.DISPUTED,)
        assert any("contradict" in warning.text for warning in report.warnings)
        assert world.upstream().disputes == {}
        world.assert_sound()
        world.forget()
        assert (await world.sync()).exit_code == 0
        assert world.names_asked() == ["index.jsonl"], "due again only when upstream changes"

    async def test_it_is_due_again_when_the_count_changes(self, world: World, day: date) -> None:
        world.clock.advance(hours=6)
        await world.sync()
        del world.archive.claims[day]
        world.archive.write_index(world.clock())

        report = await world.sync()

        assert report.exit_code == 0
        assert world.records()[day].flags == ()
        assert report.warnings == ()
        world.assert_identical()

    async def test_another_body_begins_the_trial_anew(self, world: World, day: date) -> None:
        world.clock.advance(hours=5)
        world.archive.put_day(day, make_day(day, 20, seed=1), world.clock())
        assert (await world.sync()).exit_code == 3
        world.clock.advance(hours=5)
        assert (await world.sync()).exit_code == 3
        world.clock.advance(hours=1)

        assert (await world.sync()).exit_code == 0
        assert world.body(day) == make_day(day, 20, seed=1)

    async def test_two_polls_in_one_moment_are_not_enough(self, world: World, day: date) -> None:
        for _ in range(3):
            assert (await world.sync()).exit_code == 3

    async def test_a_web_page_is_never_taken_however_long_it_stands(
        self, world: World, day: date
    ) -> None:
        world.server.fail(day_name(day), faults.SignIn(), times=None)
        for _ in range(4):
            assert (await world.sync()).exit_code == 3
            world.clock.advance(hours=6)
        assert world.body(day) is None
