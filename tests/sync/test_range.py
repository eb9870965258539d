"""`--since`, `--until` and `--recheck`: what a poll asks for, and what it judges."""

import pytest

from mirror.archive.plan import PollRange
from mirror.model import DayRange
from mirror.report.anomaly import Kind
from mirror.report.facts import read_report
from mirror.sync.wiring import preview
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (4, None, [4, 3, 2, 1]),
        (None, 8, [10, 9, 8]),
        (6, 5, [6, 5]),
        (7, 7, [7]),
        (300, 200, []),
        (4, 6, []),
    ],
)
async def test_only_days_of_the_range_are_fetched(world: World, since, until, expected) -> None:
    asked = DayRange(
        since=world.day(since) if since is not None else None,
        until=world.day(until) if until is not None else None,
    )

    report = await world.sync(PollRange(asked))

    days = {world.day(back) for back in expected}
    assert (report.exit_code, report.listed, report.held) == (0, len(days), len(days))
    assert set(world.records()) == days
    assert set(world.names_asked()) == {"index.jsonl"} | {day_name(day) for day in days}
    assert world.data.index.read_bytes().count(b'"name"') == len(days)
    world.assert_sound()


async def test_days_held_before_stay_and_the_rest_comes_later(world: World) -> None:
    await world.sync(PollRange(DayRange(since=world.day(3))))
    world.forget()
    await world.sync(PollRange(DayRange(until=world.day(9))))
    assert len(world.records()) == 5
    world.forget()

    report = await world.sync()

    assert report.exit_code == 0
    assert world.server.count() == 6
    assert world.server.requests[0].status == 304
    world.assert_identical()


async def test_only_days_of_the_range_are_judged(world: World) -> None:
    bad = world.day(9)
    world.server.fail(day_name(bad), faults.Status(500), times=None)

    assert (await world.sync()).exit_code == 3
    assert (await world.sync(PollRange(DayRange(since=world.day(3))))).exit_code == 0
    assert (await world.sync(PollRange(DayRange(until=world.day(3))))).exit_code == 3


class TestRecheck:
    async def test_final_days_are_asked_about_those_longest_unconfirmed_first(
        self, world: World
    ) -> None:
        world.archive.publish(world.clock())
        await world.sync()
        seen: list[set[str]] = []
        for _ in range(4):
            world.clock.advance(hours=1)
            world.forget()
            report = await world.sync(PollRange(recheck=3))
            assert report.exit_code == 0
            assert set(world.names_asked(200)) == set()
            asked = {name for name in world.names_asked() if name.startswith("events-")}
            seen.append(asked - {day_name(world.day(0))})

        assert [len(asked) for asked in seen] == [3, 3, 3, 3]
        assert len(set.union(*seen)) == 10, "all ten in four rounds"
        assert seen[0] == {day_name(world.day(back)) for back in (10, 9, 8)}

    async def test_more_than_there_are_is_all(self, world: World) -> None:
        await world.sync()
        world.forget()

        await world.sync(PollRange(recheck=1000))

        assert world.server.count() == 11

    async def test_a_rewrite_that_the_index_does_not_tell_is_found(self, world: World) -> None:
        await world.sync()
        day = world.day(9)
        world.archive.put_day(
            day,
            make_day(day, world.records()[day].lines, seed=1),
            world.clock.advance(hours=1),
        )
        assert (await world.sync()).outcomes == {}

        report = await world.sync(PollRange(recheck=10))

        assert report.outcomes == {"unchanged": 9, "published": 1}
        world.assert_identical()

    async def test_it_keeps_to_the_range(self, world: World) -> None:
        await world.sync()
        world.forget()

        await world.sync(PollRange(DayRange(since=world.day(2)), recheck=1000))

        assert sorted(world.names_asked()) == [
            day_name(world.day(2)),
            day_name(world.day(1)),
            "index.jsonl",
        ]

    async def test_a_day_that_upstream_cannot_give_now_fails_and_stays(self, world: World) -> None:
        await world.sync()
        world.server.fail(day_name(world.day(9)), faults.Status(404), times=None)

        report = await world.sync(PollRange(recheck=10))

        assert (report.exit_code, report.held) == (3, 10)
        world.assert_identical()


class TestDaysToKeep:
    """`storage.since`, and what `sync --since DATE --remember` leaves behind."""

    async def test_by_the_setting_earlier_days_are_neither_asked_for_nor_missed(
        self, world: World
    ) -> None:
        world.configure("storage", since=str(world.day(3)))

        report = await world.sync()

        assert (report.exit_code, report.listed) == (0, 3)
        assert set(world.records()) == {world.day(back) for back in (1, 2, 3)}
        status = world.status()
        assert (status.missing_days, status.since) == ((), world.day(3))
        assert status.sentence.startswith("In step")
        world.assert_sound()

    async def test_who_asks_for_days_before_it_is_told(self, world: World) -> None:
        await world.sync(PollRange(DayRange(since=world.day(3)), remembers=True))
        report = await world.sync(PollRange(DayRange(since=world.day(6))))
        found = await preview(
            world.config, world.data, PollRange(DayRange(since=world.day(6))), now=world.clock
        )

        assert report.exit_code == 0
        for warnings in (report.warnings, found.warnings):
            (warning,) = warnings
            assert f"days before {world.day(3)} were not asked for" in warning.text
        assert (await world.sync(PollRange(DayRange(since=world.day(2))))).warnings == ()

    async def test_remembered_it_holds_until_it_is_told_otherwise(self, world: World) -> None:
        await world.sync(PollRange(DayRange(since=world.day(3)), remembers=True))
        world.archive.put_day(world.day(9), 77, world.clock())
        world.archive.write_index(world.clock())

        report = await world.sync()
        assert (report.exit_code, report.listed, report.held) == (0, 3, 3)
        assert world.status().missing_days == ()
        found = read_report(world.data, world.config, now=world.clock())
        assert Kind.MISSING not in {one.kind for one in found.anomalies}

        await world.sync(PollRange(DayRange(since=world.day(2))))
        assert world.status().since == world.day(3)

        report = await world.sync(PollRange(remembers=True))
        assert (report.exit_code, report.held) == (0, 10)
        assert world.status().since is None
        world.assert_identical()
