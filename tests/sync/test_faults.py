"""Every fault of the wire against a sync: one bad day blocks no other, and the next poll heals."""

import asyncio
import gc
import gzip
import random
import time
from datetime import timedelta
from itertools import pairwise

import pytest

from mirror.archive.ports import PollEvent, Retrying
from mirror.model import Outcome, PollReport
from mirror.text import shown
from tests.conftest import NOON, World
from tests.sync.answers import Body, Header, Raw
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day
from tests.upstream.wire import Exchange

HALF = make_day(NOON.date(), 30)

PASSING = {
    "hangup": faults.Hangup(),
    "reset": faults.Reset(),
    "reset before the body": faults.Reset(at=0),
    "cut": faults.Cut(),
    "cut by a byte": faults.Cut(at=-1),
    "cut before the body": faults.Cut(at=0),
    "stall": faults.Stall(),
    "stall before the body": faults.Stall(at=0),
    "no answer": faults.Delay(30),
    "corrupt": faults.Corrupt(),
    "corrupt newline": faults.Corrupt(at=-1),
    "too short a length": faults.WrongLength(by=-10),
    "too long a length": faults.WrongLength(by=10),
    "changing": faults.Changing(HALF),
    "unsized and cut": faults.Unsized(),
    "chunked and cut": faults.CutChunked(),
    "gzip cut short": faults.Encoded("gzip", cut=8),
    "gzip cut by a byte": faults.Encoded("gzip", cut=1),
    "zstd cut short": faults.Encoded("zstd", cut=4),
    "gzip that is none": Header({"content-encoding": "gzip"}),
    "zstd that is none": Header({"content-encoding": "zstd"}),
    "an empty gzip": Body(b"", {"content-encoding": "gzip"}),
    "sign-in": faults.SignIn(),
    "empty": Body(b"", {}),
    "408": faults.Status(408),
    "425": faults.Status(425),
    "429": faults.Status(429),
    "429 for a second": faults.Status(429, retry_after=1),
    "500": faults.Status(500),
    "502": faults.Status(502),
    "503": faults.Status(503),
    "503 for an hour": faults.Status(503, retry_after=3600),
    "503 till a date": faults.Status(503, retry_after=NOON + timedelta(hours=1)),
    "503 till a past date": faults.Status(503, retry_after=NOON - timedelta(hours=1)),
    "not HTTP": Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
    "half a head": Raw(b"HTTP/1.1 200 OK\r\nContent-Le"),
    "a bad length": Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    "a head without end": Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
}
"""Faults that another try may mend."""

LASTING = {
    "401": faults.Status(401),
    "403": faults.Status(403),
    "404": faults.Status(404),
    "410": faults.Status(410),
    "204": faults.Status(204, body=b""),
    "206": faults.Status(206, body=b"x"),
    "another host": faults.Redirect("http://other.invalid{path}"),
    "another port": faults.Redirect("http://127.0.0.1:1{path}"),
    "https": faults.Redirect("https://{host}{path}", code=301),
    "another scheme": faults.Redirect("file:///etc/passwd"),
    "no URL": faults.Redirect("http://[{path}"),
    "gzip bomb": faults.Bomb(size=20_000_000),
    "zstd bomb": faults.Bomb(size=20_000_000, coding="zstd"),
    "endless": faults.Endless(),
    "endless line": faults.Endless(line=b"x" * 1000),
    "unknown coding": Header({"content-encoding": "br"}),
}
"""Faults of which one try is enough."""

ALL = (
    PASSING
    | LASTING
    | {"a loop": faults.Redirect("{path}"), "a redirect to nowhere": faults.Redirect("")}
)


class Capital:
    """A whole gzip body under a `Content-Encoding` in capitals."""

    async def __call__(self, exchange: Exchange, /) -> None:
        body = gzip.compress(exchange.reply.body)
        await exchange.send(exchange.reply.having(body=body, content_encoding="GZIP", etag="W/x"))


@pytest.fixture
def world(world: World) -> World:
    for back in range(5, 11):
        world.archive.remove(day_name(world.day(back)))
    world.archive.write_index(world.clock() - timedelta(hours=1))
    world.configure("http", read_timeout=0.25, max_backoff=0.02, max_file_size=1_000_000)
    return world


@pytest.mark.parametrize("name", ALL)
async def test_one_bad_day_blocks_no_other_and_the_next_poll_heals(world: World, name: str) -> None:
    bad = world.day(3)
    world.server.fail(day_name(bad), ALL[name], times=None)

    report = await world.sync()

    assert report.exit_code == 3
    assert report.held == 3
    (problem,) = report.problems
    assert problem.day == bad
    assert problem.text.isprintable()
    assert world.body(bad) is None
    assert len(world.asked_for(bad)) <= (1 if name in LASTING else 6)
    world.assert_sound()
    world.server.calm()
    world.forget()

    healed = await world.sync()

    assert (healed.exit_code, healed.outcomes) == (0, {"published": 1})
    assert world.names_asked() == ["index.jsonl", day_name(bad)]
    world.assert_identical()
    world.assert_sound()


@pytest.mark.parametrize("name", PASSING)
async def test_a_fault_that_passes_is_got_past_in_the_same_poll(world: World, name: str) -> None:
    bad = world.day(3)
    world.server.fail(day_name(bad), PASSING[name])

    report = await world.sync()

    assert report.exit_code == 0
    assert len(world.asked_for(bad)) == 2
    world.assert_identical()
    world.assert_sound()


@pytest.mark.parametrize("name", ["cut", "corrupt", "too short a length", "404", "gzip bomb"])
async def test_a_day_that_is_held_stays_as_it_was(world: World, name: str) -> None:
    day = world.day(3)
    await world.sync()
    old = world.body(day)
    world.archive.put_day(day, 77, world.clock.advance(hours=1))
    world.archive.write_index(world.clock())
    world.server.fail(day_name(day), ALL[name], times=None)

    report = await world.sync()

    assert report.exit_code == 3
    assert world.body(day) == old
    assert report.held == 4
    world.assert_sound()
    world.server.calm()
    assert (await world.sync()).exit_code == 0
    world.assert_identical()


@pytest.mark.parametrize(
    "fault",
    [
        faults.Encoded("gzip"),
        faults.Encoded("zstd"),
        faults.Drip(size=4000, interval=0.001),
        faults.Unsized(at=1.0),
        Header({"content-encoding": "identity"}),
        Capital(),
    ],
    ids=["gzip", "zstd", "drip", "unsized", "identity", "GZIP"],
)
async def test_an_odd_but_whole_answer_is_taken_at_once(world: World, fault) -> None:
    world.configure("http", read_timeout=5)
    world.server.fail("events-*", fault, times=None)

    report = await world.sync()

    assert report.exit_code == 0
    assert world.server.count() == 5
    world.assert_identical()


async def test_a_drip_that_never_ends_is_given_up(world: World) -> None:
    world.configure("http", read_timeout=0.1, retries=0)
    bad = world.day(3)
    world.server.fail(day_name(bad), faults.Drip(size=1, interval=0.01), times=None)
    world.configure("http", min_speed=10_000)

    report = await world.sync()

    assert report.exit_code == 3
    assert "bytes came in" in report.problems[0].text
    assert report.held == 3


async def test_a_redirect_within_the_host_is_followed(world: World) -> None:
    day = world.day(3)
    world.archive.objects["moved"] = world.archive[day_name(day)]
    world.server.fail(day_name(day), faults.Redirect("/moved"), times=None)

    assert (await world.sync()).exit_code == 0

    world.assert_identical()


async def test_upstream_moved_to_https_says_what_to_do(world: World) -> None:
    world.server.fail("*", faults.Redirect("https://{host}{path}", code=301), times=None)

    report = await world.sync()

    assert report.exit_code == 4
    assert "upstream moved to https://" in report.problems[0].text
    assert "upstream.url" in report.problems[0].text


class Retries:
    """Collects how long each retry waits."""

    def __init__(self) -> None:
        self.delays: list[float] = []

    def __call__(self, event: PollEvent) -> None:
        if isinstance(event, Retrying):
            self.delays.append(event.delay_s)


@pytest.mark.parametrize(
    ("retry_after", "cap", "expected"),
    [
        (1, 0.05, 0.05),
        (NOON + timedelta(hours=1), 0.05, 0.05),
        (0, 0.05, None),
        (NOON - timedelta(hours=1), 0.05, None),
        (1, 5, 1.0),
    ],
)
async def test_retry_after_is_kept_up_to_the_cap(world: World, retry_after, cap, expected) -> None:
    world.configure("http", max_backoff=cap, read_timeout=5)
    world.server.fail(day_name(world.day(3)), faults.Status(503, retry_after=retry_after))
    seen = Retries()
    began = time.monotonic()

    report = await world.sync(observer=seen)

    assert report.exit_code == 0
    assert len(seen.delays) == 1
    if expected is not None:
        assert seen.delays == [expected]
        assert time.monotonic() - began >= expected
    else:
        assert seen.delays[0] <= 0.05


async def test_a_day_that_waits_gives_its_place_to_others(world: World) -> None:
    world.configure("http", concurrency=1, backoff=0.5, max_backoff=0.5, read_timeout=5)
    slow = world.day(1)
    world.server.fail(day_name(slow), faults.Status(503))

    assert (await world.sync()).exit_code == 0

    names = world.names_asked()
    assert names[1] == names[-1] == day_name(slow), "the newest first, and again at the end"


async def test_a_retry_after_holds_back_the_host(world: World) -> None:
    world.configure("http", concurrency=1, max_backoff=0.5, read_timeout=5)
    asked_off = world.day(1)
    world.server.fail(day_name(asked_off), faults.Status(503, retry_after=60))

    assert (await world.sync()).exit_code == 0

    index, first, *others = world.server.requests
    assert (index.name, first.name) == ("index.jsonl", day_name(asked_off))
    assert len(others) == 4
    assert min(request.at for request in others) - first.at >= 0.5, "capped by max_backoff"


async def test_a_retry_after_at_every_turn_does_not_add_up_over_the_days(world: World) -> None:
    world.configure("http", concurrency=1, retries=1, backoff=0, max_backoff=0.2, read_timeout=5)
    for back in range(5, 35):
        world.archive.put_day(world.day(back), 3, world.clock() - timedelta(days=1))
    world.archive.write_index(world.clock() - timedelta(hours=1))
    world.server.fail("events-*", faults.Status(429, retry_after=60), times=None)
    began = time.monotonic()

    report = await world.sync()

    assert (report.exit_code, world.server.count("index.jsonl")) == (3, 1)
    assert world.server.count() == 1 + 2 * 34
    assert time.monotonic() - began < 34 * 0.2


@pytest.mark.parametrize("bad", [4, 12])
async def test_days_that_are_put_off_for_ever_hold_back_the_others_a_few_times_only(
    world: World, bad: int
) -> None:
    pause_s = 0.2
    world.configure("http", concurrency=1, retries=1, backoff=0, max_backoff=pause_s)
    for back in range(5, 35):
        world.archive.put_day(world.day(back), 3, world.clock() - timedelta(days=1))
    world.archive.write_index(world.clock() - timedelta(hours=1))
    for back in range(5, 5 + 2 * bad, 2):
        refusal = faults.Status(429, retry_after=60)
        world.server.fail(day_name(world.day(back)), refusal, times=None)

    report = await world.sync()

    assert (report.exit_code, len(report.problems)) == (3, bad)
    at = [request.at for request in world.server.requests]
    assert 2 <= sum(later - earlier >= pause_s for earlier, later in pairwise(at)) <= 4


async def test_no_more_downloads_run_at_once_than_asked_for(world: World) -> None:
    world.configure("http", concurrency=3, read_timeout=5)
    world.server.delay = 0.01

    await world.sync()

    assert 1 < world.server.peak <= 3


async def test_a_bad_upstream_on_all_sides_heals_poll_by_poll(world: World) -> None:
    rng = random.Random(7)
    world.configure("http", retries=0)
    world.archive.publish(world.clock())
    noise = [fault for name, fault in ALL.items() if "no answer" not in name]
    seen: list[PollReport] = []
    for _ in range(6):
        world.server.chaos(rng, noise, rate=0.5)
        seen.append(await world.sync())
        world.server.calm()
        held = {day: world.body(day) for day in world.records()}
        stored = world.archive.days()
        assert all(stored[day].body == body for day, body in held.items())
        world.assert_sound()
    assert {report.exit_code for report in seen} <= {0, 3, 4}

    assert (await world.sync()).exit_code == 0
    world.assert_identical()


class Finished:
    """Tells when so many days have ended."""

    def __init__(self, count: int) -> None:
        self.left = count
        self.enough = asyncio.Event()

    def __call__(self, event: PollEvent) -> None:
        self.left -= isinstance(event, Outcome)
        if not self.left:
            self.enough.set()


async def test_a_cancelled_poll_leaves_nothing_behind_and_keeps_what_came(world: World) -> None:
    gate = faults.Gate()
    world.configure("http", concurrency=2, read_timeout=30)
    world.server.fail(day_name(world.day(4)), gate)
    seen = Finished(3)
    poll = asyncio.create_task(world.sync(observer=seen))
    await gate.reached.wait()
    await seen.enough.wait()

    poll.cancel()
    with pytest.raises(asyncio.CancelledError):
        await poll

    assert list(world.data.staging.iterdir()) == []
    world.assert_sound()
    assert len(world.records()) == 3
    world.forget()
    assert (await world.sync()).exit_code == 0
    assert [name for name in world.names_asked() if name != "index.jsonl"] == [
        day_name(world.day(4))
    ]


async def test_no_task_and_no_connection_is_left_after_a_poll(world: World) -> None:
    for number, fault in enumerate([faults.Stall(), faults.Endless(), faults.Reset()]):
        world.server.fail(day_name(world.day(number + 2)), fault, times=None)
    before = asyncio.all_tasks()

    await world.sync()

    gc.collect()
    await asyncio.wait_for(world.server.wait_active(0), timeout=5)
    leaked = {task for task in asyncio.all_tasks() - before if "_serve" not in repr(task)}
    assert leaked == set()


async def test_what_upstream_says_is_shown_escaped(world: World) -> None:
    day = world.day(3)
    evil = b"HTTP/1.1 403 \x1b[2J\x1b]0;pwned\x07\xe2\x80\xae\r\nContent-Length: 0\r\n\r\n"
    world.server.fail(day_name(day), Raw(evil), times=None)

    report = await world.sync()

    assert report.exit_code == 3
    assert all(problem.text.isprintable() for problem in report.problems)
    assert shown(report.problems[0].text, 1000) == report.problems[0].text
