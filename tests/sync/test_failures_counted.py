"""Each fault of the wire is counted under its own word, and what is none is not."""

from collections.abc import Mapping
from datetime import timedelta

import pytest

from mirror.errors import Failure
from mirror.status.metrics import Metrics
from mirror.sync.wiring import open_mirror
from tests.conftest import NOON, World
from tests.samples import read_samples, render
from tests.sync.answers import Body, Header, Raw
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.faults import Fault
from tests.upstream.launches import make_day

HALF = make_day(NOON.date(), 30)

COUNTED: Mapping[str, tuple[Fault, Failure]] = {
    "hangup": (faults.Hangup(), Failure.CONNECTION),
    "reset in the body": (faults.Reset(), Failure.CUT),
    "cut": (faults.Cut(), Failure.CUT),
    "cut in chunks": (faults.CutChunked(), Failure.CUT),
    "too long a length": (faults.WrongLength(by=10), Failure.CUT),
    "stall": (faults.Stall(), Failure.TIMEOUT),
    "no answer": (faults.Delay(30), Failure.TIMEOUT),
    "403": (faults.Status(403), Failure.HTTP_4XX),
    "404": (faults.Status(404), Failure.HTTP_4XX),
    "429": (faults.Status(429), Failure.HTTP_429),
    "503": (faults.Status(503), Failure.HTTP_5XX),
    "206": (faults.Status(206, body=b"x"), Failure.HTTP_OTHER),
    "in circles": (faults.Redirect("{path}"), Failure.REDIRECT),
    "another host": (faults.Redirect("http://other.invalid{path}"), Failure.REDIRECT),
    "sign-in": (faults.SignIn(), Failure.PAGE),
    "corrupt": (faults.Corrupt(), Failure.DIGEST),
    "changing": (faults.Changing(HALF), Failure.DIGEST),
    "half of it, no digest": (Body(HALF, {}), Failure.COUNT),
    "gzip cut short": (faults.Encoded("gzip", cut=8), Failure.ENCODING),
    "gzip that is none": (Header({"content-encoding": "gzip"}), Failure.ENCODING),
    "unknown coding": (Header({"content-encoding": "br"}), Failure.ENCODING),
    "bomb": (faults.Bomb(size=20_000_000), Failure.TOO_LARGE),
    "endless": (faults.Endless(), Failure.TOO_LARGE),
    "not HTTP": (Raw(b"SSH-2.0-OpenSSH_9.2\r\n"), Failure.NOT_HTTP),
}


async def polled(world: World, metrics: Metrics) -> dict[tuple[str, ...], float]:
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        with metrics.following(mirror.traffic):
            await mirror.poll(observer=metrics.observe)
    return read_samples(render(metrics, world.status(), world.clock()))


def failures(samples: Mapping[tuple[str, ...], float]) -> dict[str, float]:
    name = "binder_mirror_download_failures_total"
    return {key[1]: count for key, count in samples.items() if key[0] == name and count}


@pytest.mark.parametrize(("fault", "word"), COUNTED.values(), ids=COUNTED)
async def test_a_fault_is_counted_under_its_word(world: World, fault: Fault, word: Failure) -> None:
    world.configure("http", retries=0, read_timeout=0.5, max_file_size=1_000_000)
    world.server.fail(day_name(world.day(3)), fault, times=None)

    samples = await polled(world, Metrics())

    assert failures(samples) == {word: 1}
    assert samples["binder_mirror_polls_total", "incomplete"] == 1


async def test_a_length_that_is_too_short_is_told_by_what_is_left_over(world: World) -> None:
    world.configure("http", retries=0)
    world.server.fail(day_name(world.day(3)), faults.WrongLength(by=-10), times=None)

    (word,) = failures(await polled(world, Metrics()))

    # what is left over is no answer of HTTP, where it comes along with the rest
    assert word in (Failure.NOT_HTTP, Failure.DIGEST)


@pytest.mark.parametrize(
    ("fault", "word"),
    [
        (faults.SignIn(), Failure.INDEX),
        (faults.Status(404), Failure.HTTP_4XX),
        (faults.Cut(), Failure.CUT),
        (faults.Hangup(), Failure.CONNECTION),
    ],
)
async def test_so_is_one_of_the_index(world: World, fault: Fault, word: Failure) -> None:
    world.configure("http", retries=0)
    world.server.fail("index.jsonl", fault, times=None)

    samples = await polled(world, Metrics())

    assert failures(samples) == {word: 1}
    assert samples["binder_mirror_polls_total", "unusable"] == 1
    assert samples["binder_mirror_index_state", "unusable"] == 1


async def test_an_older_body_and_an_older_index_are_told_as_such(world: World) -> None:
    await world.sync()
    day, index = world.day(3), "index.jsonl"
    old_day, old_index = world.archive[day_name(day)], world.archive[index]
    later = world.clock.advance(hours=3)
    world.archive.put_day(day, 90, later)
    world.archive.write_index(later)
    await world.sync()
    newest = later + timedelta(hours=1)
    world.archive.put_day(day, 100, newest)
    world.archive.write_index(newest)
    world.configure("http", retries=0)
    world.clock.advance(hours=2)
    world.server.fail(day_name(day), faults.Stale(old_day))
    world.server.fail(index, faults.Stale(old_index))

    samples = await polled(world, Metrics())

    assert failures(samples) == {Failure.ROLLED_BACK: 2}


async def test_what_was_mended_by_another_try_is_counted_all_the_same(world: World) -> None:
    for _ in range(2):
        world.server.fail(day_name(world.day(3)), faults.Status(500))

    samples = await polled(world, Metrics())

    assert failures(samples) == {Failure.HTTP_5XX: 2}
    assert samples["binder_mirror_retries_total",] == 2
    assert samples["binder_mirror_polls_total", "complete"] == 1
    assert samples["binder_mirror_upstream_requests_total", "500"] == 2


@pytest.mark.parametrize(
    "fault", [faults.Drip(size=2000), faults.Delay(0.01), faults.Encoded("gzip")]
)
async def test_slow_but_whole_is_no_failure(world: World, fault: Fault) -> None:
    world.server.fail("*", fault, times=5)

    samples = await polled(world, Metrics())

    assert failures(samples) == {}
    assert samples["binder_mirror_downloads_total", "published"] == 10


async def test_no_upstream_at_all(world: World) -> None:
    world.configure("http", retries=1)
    await world.server.close()

    samples = await polled(world, Metrics())

    assert failures(samples) == {Failure.CONNECTION: 2}
    assert samples["binder_mirror_upstream_requests_total", "none"] == 2
