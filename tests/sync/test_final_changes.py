"""What upstream does to a final day is heard: in the poll, the log, the status, long after it."""

import os
from collections.abc import Iterator
from datetime import date

import pytest
import structlog
from structlog.testing import capture_logs

from mirror.archive.plan import PollRange
from mirror.model import ChangeKind, Damage, DamageKind, FinalChange, Problem, ProblemKind
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

ALL = PollRange(recheck=20)


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Let loggers that were used before be captured too."""
    yield
    structlog.reset_defaults()


def put(world: World, day: date, body: bytes) -> None:
    """Let upstream replace a day, and its index say so."""
    world.archive.put_day(day, body, world.clock.advance(hours=1))
    world.archive.write_index(world.clock())


def counted(world: World) -> dict[str, int]:
    return {how: n for how, n in world.status().final_changes_total.items() if n}


def told(problems: tuple[Problem, ...]) -> list[Problem]:
    return [one for one in problems if one.kind is ProblemKind.FINAL_CHANGED]


@pytest.mark.parametrize(
    ("lines", "how"),
    [(5, "shrunk"), (0, "shrunk"), (200, "grown"), (None, "rewritten")],
    ids=["shrunk", "emptied", "grown", "rewritten"],
)
async def test_a_change_of_a_final_day_is_told_by_the_poll_and_afterwards(
    world: World, lines: int | None, how: str
) -> None:
    await world.sync()
    day = world.day(4)
    old = world.records()[day]
    put(world, day, make_day(day, old.lines if lines is None else lines, seed=1))

    with capture_logs() as logs:
        report = await world.sync(ALL)
    new = world.records()[day]
    world.clock.advance(hours=1)
    world.archive.write_index(world.clock())
    later = await world.sync()
    status = world.status()

    change = FinalChange(
        day=day,
        how=ChangeKind(how),
        at=report.started_at,
        lines_before=old.lines,
        lines_after=new.lines,
        sha256_before=old.sha256,
        sha256_after=new.sha256,
    )
    assert report.exit_code == later.exit_code == 0
    assert report.final_changes == (change,)
    (warning,) = told(report.warnings)
    assert warning.day == day
    assert f"{old.lines:,}" in warning.text
    assert old.sha256[:12] in warning.text
    (event,) = [one for one in logs if one["event"] == "final_day.changed"]
    assert (event["log_level"], event["how"]) == ("warning", how)
    assert (event["lines_before"], event["lines_after"]) == (old.lines, new.lines)
    assert later.final_changes == ()
    assert told(later.warnings) == []
    assert status.final_changes == (change,)
    assert told(status.problems) == [warning]
    assert counted(world) == {how: 1}
    assert "changed 1 final day" in status.sentence


async def test_it_is_told_for_thirty_days_and_counted_for_ever(world: World) -> None:
    await world.sync()
    put(world, world.day(4), make_day(world.day(4), 5))
    await world.sync()

    world.clock.advance(days=29)
    assert len(told(world.status().problems)) == 1
    world.clock.advance(days=2)
    assert world.status().final_changes == ()
    assert told(world.status().problems) == []
    assert counted(world) == {"shrunk": 1}


async def test_a_day_that_is_put_back_is_no_change_of_upstreams_and_settles_the_matter(
    world: World,
) -> None:
    await world.sync()
    day = world.day(4)
    put(world, day, make_day(day, 5))
    await world.sync()
    (version,) = world.predecessors(day)

    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        await mirror.restore(version)

    assert counted(world) == {"shrunk": 1}
    assert world.status().final_changes == ()
    assert told(world.status().problems) == []


async def test_each_of_several_changes_of_a_day_is_one(world: World) -> None:
    day = world.day(4)
    for lines in (60, 5, 60, 5):
        put(world, day, make_day(day, lines))
        await world.sync(ALL)

    assert counted(world) == {"shrunk": 2, "grown": 1}


async def test_a_poll_that_is_killed_before_it_publishes_counts_a_change_once(
    world: World,
) -> None:
    await world.sync()
    day = world.day(4)
    put(world, day, make_day(day, 5))
    await world.sync()
    line = world.data.final_changes.read_bytes()
    # as if the first of two polls had got no further than to this line
    world.data.final_changes.write_bytes(line + line + line[: len(line) // 2])

    assert counted(world) == {"shrunk": 1}
    assert len(world.status().final_changes) == 1


async def test_what_cannot_be_read_costs_what_it_says(world: World) -> None:
    await world.sync()
    world.data.final_changes.mkdir()

    assert world.status().final_changes == ()
    assert counted(world) == {}


async def test_open_days_change_without_a_word(world: World) -> None:
    await world.sync()
    today = world.day(0)
    for lines in (40, 50, 30):
        put(world, today, make_day(today, lines))
        report = await world.sync()
        assert report.final_changes == ()
    assert counted(world) == {}


async def test_a_rotten_final_day_that_upstream_has_rewritten_is_told(world: World) -> None:
    await world.sync()
    day = world.day(4)
    path = world.data.archive / day_name(day)
    times = path.stat()
    path.write_bytes(b"X" + path.read_bytes()[1:])
    os.utime(path, ns=(times.st_atime_ns, times.st_mtime_ns))
    put(world, day, make_day(day, world.records()[day].lines, seed=1))
    damage = Damage(path.name, DamageKind.ALTERED, "", day)

    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        (change,) = (await mirror.repair([damage])).changes

    assert (change.day, change.how) == (day, ChangeKind.REWRITTEN)
    assert world.predecessors(day) == []
    assert counted(world) == {"rewritten": 1}


async def test_a_rotten_day_that_is_mended_is_no_change(world: World) -> None:
    await world.sync()
    day = world.day(4)
    path = world.data.archive / day_name(day)
    path.write_bytes(b"X" + path.read_bytes()[1:])
    damage = Damage(path.name, DamageKind.ALTERED, "", day)

    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        assert (await mirror.repair([damage])).changes == ()

    assert counted(world) == {}
    world.assert_identical()


async def test_a_final_day_whose_file_is_gone_here_and_gutted_there_is_told(world: World) -> None:
    await world.sync()
    day = world.day(4)
    (world.data.archive / day_name(day)).unlink()
    put(world, day, make_day(day, 5))

    report = await world.sync()

    assert [one.how for one in report.final_changes] == [ChangeKind.SHRUNK]


async def test_a_mass_of_changes_is_bounded_where_it_is_shown_and_counted_whole(
    world: World,
) -> None:
    days = [world.day(back) for back in range(2, 32)]
    for day in days:
        world.archive.put_day(day, make_day(day, 6), world.clock())
    world.archive.write_index(world.clock())
    await world.sync()
    for day in days:
        world.archive.put_day(day, make_day(day, 3), world.clock.advance(minutes=1))
    world.archive.write_index(world.clock())

    report = await world.sync()

    assert len(report.final_changes) == 20
    assert report.final_changes[0].day == days[0]
    assert len(told(report.warnings)) == 21
    assert "10 more" in told(report.warnings)[-1].text
    assert len(told(world.status().problems)) == 21
    assert counted(world) == {"shrunk": 30}


async def test_a_final_day_whose_body_is_refused_stays_due_until_it_is_settled(
    world: World,
) -> None:
    await world.sync()
    day = world.day(4)
    lines = world.records()[day].lines
    # the index goes on as before
    world.archive.claims[day] = lines
    put(world, day, make_day(day, 5))
    assert (await world.sync(ALL)).exit_code == 3

    world.clock.advance(hours=1)
    waiting = await world.sync()
    world.clock.advance(hours=6)
    taken = await world.sync()

    assert [one.day for one in waiting.problems] == [day]
    assert waiting.exit_code == 3
    assert [one.how for one in taken.final_changes] == [ChangeKind.SHRUNK]
    assert (await world.sync()).outcomes == {}
