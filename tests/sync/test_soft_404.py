"""Hosts that answer 200 for what they have not: nothing of it is published, and nothing fails."""

from collections.abc import Callable
from datetime import date, timedelta

import pytest

from mirror.model import IndexState, PollReport, ProblemKind
from tests.conftest import World
from tests.sync.answers import HTML, Body
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

NO_DAY = day_name(date(2000, 1, 1))


@pytest.fixture
async def world(world: World) -> World:
    """A mirror whose upstream's index has stood still for five days; three came without it."""
    await world.sync()
    world.clock.advance(days=5)
    world.archive.remove("index.html")
    for back in (4, 3, 2):
        world.archive.put_day(world.day(back), 20, world.clock())
    world.forget()
    return world


def newest(world: World) -> bytes:
    """Return the body of the newest day that upstream has."""
    return world.archive[max(name for name in world.archive.objects if "events-" in name)].body


BODIES: dict[str, Callable[[World], bytes]] = {
    "an error": lambda _: b'{"error": "not found"}\n',
    "text": lambda _: b"404\n",
    "nothing": lambda _: b"",
    "blank lines": lambda _: b"\n\n\n",
    "a page": lambda _: HTML,
    "its newest day": newest,
    "its index": lambda world: world.archive["index.jsonl"].body,
    "a launch of the day before": lambda world: make_day(world.day(6), 3),
    "an unfinished line": lambda world: newest(world)[:-30].rpartition(b"\n")[2],
    "another kind of event": lambda world: newest(world).replace(b"/launch", b"/lunch"),
    "one endless line": lambda _: b"[" * 3_000_000,
}
ANSWERS: dict[str, Callable[[World], faults.Fault]] = {
    name: lambda world, make=make: Body(make(world), {"content-type": "text/plain"})
    for name, make in BODIES.items()
} | {
    "a redirect to itself": lambda world: faults.Redirect(day_name(world.day(0))),
    "a redirect elsewhere": lambda _: faults.Redirect("http://other.example/404"),
    "400": lambda _: faults.Status(400),
    "410": lambda _: faults.Status(410),
    "405": lambda _: faults.Status(405),
}


def believed(world: World, report: PollReport) -> None:
    """The three days that are there are held, and those that are not there are not."""
    assert (report.exit_code, report.problems, report.held) == (0, (), 13)
    assert report.index_state is IndexState.STALE
    assert world.body(world.day(1)) is None
    assert world.body(world.day(0)) is None
    assert str(world.day(0)) not in world.data.index.read_text()
    assert world.status().missing_days == ()
    world.assert_sound()


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_of_a_host_that_has_every_name_nothing_is_asked_by_name(world: World, answer) -> None:
    for name in (NO_DAY, *(day_name(world.day(back)) for back in range(5))):
        world.server.fail(name, answer(world), times=None)

    report = await world.sync()

    assert (report.exit_code, report.problems, report.held) == (0, (), 10)
    assert world.names_asked().count(NO_DAY) == 1
    if report.warnings[0].kind is ProblemKind.SOFT_404:
        assert sum(one.kind is ProblemKind.SOFT_404 for one in report.warnings) == 1
        assert day_name(world.day(1)) not in world.names_asked()
    world.assert_sound()
    world.forget()
    assert (await world.sync()).exit_code == 0
    assert NO_DAY not in world.names_asked(), "not before the next search is due"


@pytest.mark.parametrize("answer", ANSWERS.values(), ids=ANSWERS)
async def test_what_is_no_daily_file_is_not_believed_and_not_asked_for_again(
    world: World, answer
) -> None:
    for back in (1, 0):
        world.server.fail(day_name(world.day(back)), answer(world), times=None)

    report = await world.sync()

    believed(world, report)
    soft = [one for one in report.warnings if one.kind is ProblemKind.SOFT_404]
    assert len(soft) == (answer is not ANSWERS["410"])
    assert all("2 days" in one.text for one in soft)
    assert world.quarantined(world.day(0)) == []
    world.forget()
    believed(world, await world.sync())
    assert world.asked_for(world.day(0)) == []
    world.clock.advance(hours=7)
    world.server.calm()
    world.archive.put_day(world.day(0), 5, world.clock())
    assert (await world.sync()).held == 14


async def test_a_host_that_fails_is_asked_again_at_the_next_poll(world: World) -> None:
    world.server.fail(NO_DAY, faults.Status(503), times=None)
    report = await world.sync()
    assert (report.exit_code, report.held) == (0, 10)
    assert "503" in report.warnings[0].text
    world.server.calm()
    believed(world, await world.sync())


async def test_what_the_page_alone_lists_must_be_a_daily_file_too(world: World) -> None:
    soft, real = world.day(4), world.day(3)
    page = "".join(
        f"<tr><td>{day}</td><td>{day_name(day)}</td><td>{count}</td></tr>"
        for day, count in ((soft, 1), (real, 20))
    )
    world.archive.put("index.html", f"<table>{page}</table>".encode(), world.clock())
    error = Body(b'{"error": "not found"}\n', {"content-type": "text/plain"})
    for name in (NO_DAY, day_name(soft)):
        world.server.fail(name, error, times=None)

    report = await world.sync()

    assert [(one.kind, one.day) for one in report.problems] == [(ProblemKind.MISMATCH, soft)]
    assert (world.body(soft), report.exit_code) == (None, 3)
    assert world.body(real) == world.archive[day_name(real)].body


async def test_an_empty_day_that_the_page_lists_as_such_is_one(world: World) -> None:
    day = world.day(4)
    world.archive.put_day(day, b"", world.clock())
    row = f"<table><tr><td>{day}</td><td>{day_name(day)}</td><td>0</td></tr></table>"
    world.archive.put("index.html", row.encode(), world.clock())
    assert (await world.sync()).exit_code == 0
    assert world.body(day) == b""


async def test_a_day_found_by_name_keeps_its_body_when_an_error_comes_for_it(world: World) -> None:
    day = world.day(2)
    world.archive.put_day(world.day(0), 20, world.clock())
    await world.sync()
    world.clock.advance(hours=2)
    error = Body(b'{"error": "not found"}\n', {"content-type": "text/plain"})
    world.server.fail("events-*", error, times=None)
    held = world.body(world.day(0))
    report = await world.sync()
    assert (report.exit_code, report.held) == (0, 14)
    assert world.body(world.day(0)) == held
    assert [one.day for one in report.warnings if one.kind is ProblemKind.SOFT_404] == [
        world.day(0)
    ]
    assert world.body(day) is not None


async def test_a_launch_late_in_a_long_file_proves_it(world: World) -> None:
    day = world.day(4)
    others = make_day(day - timedelta(days=1), 400)
    body = others + b"\n" + b"x" * 2_000_000 + b"\n" + make_day(day, 1).rstrip(b"\n")
    stored = world.archive.put_day(day, body, world.clock())
    stored.meta["events-count"] = str(body.count(b"\n"))
    await world.sync()
    assert world.body(day) == body
