"""A day's life, poll by poll: open, settling, final, and what each poll asks of upstream."""

from datetime import timedelta
from pathlib import Path

from mirror.archive.plan import PollRange
from mirror.model import DayRange, Flag, IndexState
from tests.conftest import World
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


async def test_a_week_of_polls_asks_for_open_days_and_settles_each_once(world: World) -> None:
    world.archive.publish(world.clock())
    await world.sync()
    settled: list[str] = []
    for _ in range(6 * 7):
        world.archive.publish(world.clock.advance(hours=4))
        world.clock.advance(minutes=30)
        world.forget()

        report = await world.sync()

        hour = world.clock().hour
        today, yesterday = day_name(world.day(0)), day_name(world.day(1))
        assert report.exit_code == 0
        asked = [(one.name, one.status) for one in world.server.requests]
        assert asked[0] == ("index.jsonl", 200)
        about = {name for name, _ in asked[1:]}
        if hour < 8:
            assert about == {today, yesterday}, "both are open"
        elif hour < 12:
            assert about == {today, yesterday}
            assert (yesterday, 304) in asked, "asked about once more, now that it is final"
            settled.append(yesterday)
        else:
            assert about == {today}
        assert len(asked) == 1 + len(about)
        world.assert_identical()
        world.clock.advance(minutes=-30)
    assert len(settled) == len(set(settled)) == 7
    assert list(world.data.quarantine.iterdir()) == []


async def test_a_poll_between_two_rounds_is_one_request_and_one_for_each_open_day(
    world: World,
) -> None:
    world.clock.advance(hours=12, minutes=30)
    world.archive.publish(world.clock())
    await world.sync()
    world.forget()

    for _ in range(3):
        world.clock.advance(minutes=30)
        assert (await world.sync()).exit_code == 0

    today, yesterday = day_name(world.day(0)), day_name(world.day(1))
    assert [one.status for one in world.server.requests] == [304] * 9
    assert sorted(world.names_asked()) == sorted([today, yesterday, "index.jsonl"] * 3)


def written(path: Path) -> tuple[int, int, int]:
    """Return which file it is and when it was written; that it was read is nothing to remark."""
    stats = path.stat()
    return stats.st_ino, stats.st_mtime_ns, stats.st_ctime_ns


async def test_a_quiet_poll_leaves_the_books_alone(world: World) -> None:
    world.archive.publish(world.clock())
    await world.sync()
    await world.sync()
    before = written(world.data.manifest), world.published()
    upstream = written(world.data.upstream)

    world.clock.advance(hours=1)
    await world.sync()

    assert (written(world.data.manifest), world.published()) == before
    assert written(world.data.upstream) == upstream
    assert not world.data.journal.exists()


async def test_a_day_fetched_when_final_is_not_settled_again(world: World) -> None:
    await world.sync()
    world.forget()
    for _ in range(3):
        world.clock.advance(days=1)
        world.archive.write_index(world.clock())
        await world.sync()

    assert set(world.names_asked()) == {"index.jsonl"}


async def test_an_index_rewritten_as_it_was_is_not_stale(world: World) -> None:
    """Its body and so its ETag are the same; the 304 tells the new date."""
    await world.sync()
    for _ in range(3):
        world.clock.advance(days=1)
        world.archive.write_index(world.clock())

        report = await world.sync()

        assert (report.index_state, report.warnings) == (IndexState.UNCHANGED, ())
    assert world.status().index_changed_at == world.clock()


async def test_when_a_day_becomes_final_is_a_setting(world: World) -> None:
    world.configure("schedule", final_after=20 * 3600)
    await world.sync()
    world.forget()
    await world.sync()
    assert [one.status for one in world.asked_for(world.day(1))] == [304], "open until 20:00"
    world.clock.advance(hours=8)
    await world.sync()
    world.forget()

    await world.sync()

    assert world.names_asked() == ["index.jsonl"]


async def test_data_before_the_index_is_taken_ahead_and_then_in_step(world: World) -> None:
    """The publisher writes data first, and each may be an hour stale by itself."""
    world.archive.publish(world.clock())
    await world.sync()
    for _ in range(4):
        world.clock.advance(hours=2)
        world.archive.index_frozen = True
        world.archive.publish(world.clock())
        ahead = await world.sync()
        assert ahead.exit_code == 0
        today = world.day(0)
        assert Flag.AHEAD in world.records()[today].flags
        lines = world.records()[today].lines
        assert f'"count": "{lines}"' in world.data.index.read_text().splitlines()[-1]
        world.assert_sound()
        world.archive.index_frozen = False
        world.archive.write_index(world.clock())
        world.forget()
        assert (await world.sync()).exit_code == 0
        assert [one.status for one in world.asked_for(today)] == [304]
        assert world.records()[today].flags == ()
        world.assert_identical()


async def test_the_index_before_data_is_behind_until_the_data_comes(world: World) -> None:
    today = world.day(0)
    world.archive.put_day(today, make_day(today, 20), world.clock())
    world.archive.write_index(world.clock())
    await world.sync()
    world.archive.claims[today] = 40
    world.archive.write_index(world.clock.advance(hours=1))

    behind = await world.sync()

    assert behind.exit_code == 3
    assert world.quarantined(today) == []
    world.archive.put_day(today, make_day(today, 40), world.clock())
    assert (await world.sync()).exit_code == 0
    world.assert_identical()


async def test_days_missed_in_a_long_sleep_are_all_fetched_and_none_settled_twice(
    world: World,
) -> None:
    world.archive.publish(world.clock())
    await world.sync()
    partial = world.day(0)
    for _ in range(10):
        world.archive.publish(world.clock.advance(hours=12))
        world.archive.rebuild(world.day(1), world.clock())
    world.archive.write_index(world.clock())
    world.forget()

    report = await world.sync()

    assert report.exit_code == 0
    assert len(world.asked_for(partial)) == 1
    assert world.predecessors(partial) == []
    world.assert_identical()
    world.forget()
    await world.sync()
    assert set(world.names_asked()) == {"index.jsonl", day_name(world.day(0))}


async def test_a_backfill_of_old_days_is_fetched_like_any_new_day(world: World) -> None:
    await world.sync()
    old = [world.day(back) for back in range(40, 51)]
    for day in old:
        world.archive.put_day(day, make_day(day, 7), world.clock.advance(minutes=1))
    world.archive.write_index(world.clock())
    world.forget()

    report = await world.sync()

    assert report.outcomes == {"published": 11}
    assert set(world.names_asked()) == {"index.jsonl"} | {day_name(day) for day in old}
    world.assert_identical()


async def test_tomorrow_may_be_there_already(world: World) -> None:
    tomorrow = world.clock().date() + timedelta(days=1)
    world.archive.put_day(tomorrow, b"", world.clock())
    world.archive.write_index(world.clock())

    assert (await world.sync(PollRange(DayRange(since=tomorrow)))).exit_code == 0
    assert world.body(tomorrow) == b""
