"""A clock that was wrong once: what is dated in the future stands for nothing, and is told."""

from datetime import timedelta

from mirror.model import IndexState, ProblemKind
from mirror.report.facts import read_report
from mirror.status.metrics import Metrics
from mirror.status.readiness import judge_readiness
from mirror.status.standing import Health, judge_health
from tests.conftest import World
from tests.samples import read_samples, render

INTERVAL = timedelta(minutes=30)
LAST_POLL = ("binder_mirror_last_poll_timestamp_seconds",)
LAST_SUCCESS = ("binder_mirror_last_success_timestamp_seconds",)
READY = ("binder_mirror_ready",)


def is_ready(world: World) -> bool:
    at = world.status().last_success_at
    return judge_readiness(at, interval=INTERVAL, now=world.clock()).is_ready


def scraped(world: World) -> dict[tuple[str, ...], float]:
    return read_samples(render(Metrics(), world.status(), world.clock()))


async def test_a_poll_dated_a_year_ahead_is_no_recent_one(world: World) -> None:
    world.clock.advance(days=365)
    await world.sync()
    world.clock.advance(days=-365)

    status = world.status()
    health, sentence = judge_health(status, interval=INTERVAL, now=world.clock())
    found = scraped(world)

    assert not is_ready(world)
    assert (health, "in the future" in sentence) == (Health.FAILING, True)
    (problem,) = [one for one in status.problems if one.kind is ProblemKind.CLOCK]
    assert problem.text == "the last poll is dated 2025-05-15 12:00 UTC, in the future"
    # what an alert takes for a last poll long ago
    assert (found[LAST_POLL], found[LAST_SUCCESS], found[READY]) == (0, 0, 0)


async def test_the_next_poll_puts_it_right(world: World) -> None:
    world.clock.advance(days=365)
    await world.sync()
    world.clock.advance(days=-365)
    await world.sync()

    found = scraped(world)

    assert is_ready(world)
    assert not [one for one in world.status().problems if one.kind is ProblemKind.CLOCK]
    now = world.clock().timestamp()
    assert 0 <= found[LAST_POLL] - now < 60
    assert 0 <= found[LAST_SUCCESS] - now < 60
    world.clock.advance(days=1)
    assert not is_ready(world), "the one ahead is still on record"


async def test_a_poll_before_it_still_counts(world: World) -> None:
    await world.sync()
    world.clock.advance(days=365)
    await world.sync()
    world.clock.advance(days=-365, minutes=20)

    assert is_ready(world)
    assert [one for one in world.status().problems if one.kind is ProblemKind.CLOCK]


async def test_no_report_has_an_index_stand_still_into_the_future(world: World) -> None:
    await world.sync()
    world.clock.advance(days=90)
    assert (await world.sync()).index_state is IndexState.STALE
    world.clock.advance(days=-90)
    world.archive.write_index(world.clock())
    await world.sync()

    found = read_report(world.data, world.config, now=world.clock())

    assert all(one.last <= world.clock().date() for one in found.anomalies)
