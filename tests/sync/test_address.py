"""Upstream's address: known by any spelling, and its user and password sent and nowhere else."""

import base64

import msgspec
import pytest
from structlog.testing import capture_logs

from mirror.archive.plan import PollRange
from mirror.model import IndexState, PollReport, ProblemKind
from mirror.sync.wiring import preview
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import StoredObject, day_name

SECRET = "hunter2"
AUTHORIZATION = "Basic " + base64.b64encode(f"me:{SECRET}".encode()).decode()


def spell(world: World, start: str = "http://", end: str = "/") -> None:
    """Write upstream's address in another way."""
    host = world.server.url.removeprefix("http://").rstrip("/")
    world.configure("upstream", url=f"{start}{host}{end}")


def written(world: World) -> bytes:
    """Return all that is in the data directory, names too."""
    files = [path for path in world.data.root.rglob("*") if path.is_file()]
    return b"".join(str(path).encode() + path.read_bytes() for path in files)


@pytest.fixture
def private(world: World) -> World:
    """An upstream whose address has a password in it."""
    spell(world, f"http://me:{SECRET}@")
    return world


@pytest.mark.parametrize(
    ("start", "end"),
    [
        ("http://", ""),
        ("HTTP://", "/"),
        ("http://", "//"),
        ("http://", "/a/.."),
        ("http://u:p@", ""),
    ],
)
async def test_an_upstream_spelt_otherwise_is_the_same(world: World, start: str, end: str) -> None:
    world.archive.publish(world.clock())
    await world.sync()
    world.archive.index_shrunk = True
    world.archive.publish(world.clock.advance(hours=2))
    spell(world, start, end)

    report = await world.sync()

    assert (report.listed, report.index_state) == (11, IndexState.SHRUNK)
    assert switches(report) == []
    assert world.upstream().url == world.server.url


def switches(report: PollReport) -> list[str]:
    """Return what a poll says of another upstream than the last."""
    return [one.text for one in report.warnings if one.kind is ProblemKind.OTHER_UPSTREAM]


async def test_another_upstream_is_another_and_told_once(world: World) -> None:
    first = await world.sync()
    world.archive.objects |= {f"a/{name}": it for name, it in world.archive.objects.items()}
    spell(world, "http://me:word@", "/a")
    seen = await preview(world.config, world.data, PollRange(), now=world.clock)
    with capture_logs() as logs:
        report = await world.sync()
    again = await world.sync()

    assert report.index_state is IndexState.FRESH
    assert world.upstream().url == world.server.url + "a/"
    text = f"upstream is {world.server.url}a/, but the last good poll was from {world.server.url}"
    assert switches(report) == [one.text for one in seen.warnings] == [text]
    assert switches(first) == switches(again) == []
    (logged,) = [one for one in logs if one["event"] == "upstream.changed"]
    assert (logged["log_level"], logged["problem"]) == ("warning", text)


async def test_another_upstream_that_is_unusable_changes_nothing_of_what_is_known(
    world: World,
) -> None:
    await world.sync()
    known = world.data.upstream.read_bytes()
    spell(world, "http://me:word@", "/a/")
    report = await world.sync()
    assert report.exit_code == 4
    assert len(switches(report)) == 1
    assert world.data.upstream.read_bytes() == known


async def test_user_and_password_are_sent_with_each_request(private: World) -> None:
    world = private
    world.server.fail(day_name(world.day(3)), faults.Redirect("/" + day_name(world.day(4))))
    await world.sync()
    assert {one.headers.get("authorization") for one in world.server.requests} == {AUTHORIZATION}


async def test_what_only_looks_like_an_address_costs_nothing_that_is_known(private: World) -> None:
    world = private
    world.archive.publish(world.clock())
    index = world.archive["index.jsonl"]
    body = index.body + b'\n{"name": "//me:word@else", "date": "x", "count": "1"}'
    world.archive.objects["index.jsonl"] = StoredObject(body, index.last_modified)
    await world.sync()
    world.archive.index_shrunk = True
    world.archive.publish(world.clock.advance(hours=2))

    report = await world.sync()

    assert report.index_state is IndexState.SHRUNK
    assert world.upstream().accepted.keys() > {world.day(1)}


@pytest.mark.parametrize(
    "fault",
    [faults.Status(403), faults.Hangup(), faults.Delay(3), faults.Redirect("http://else/")],
)
async def test_they_are_neither_written_nor_logged(
    private: World, capsys: pytest.CaptureFixture[str], fault: faults.Fault
) -> None:
    world = private
    world.configure("http", read_timeout=0.5, retries=0)
    await world.sync()
    world.server.fail("*", fault, times=None)
    assert (await world.sync()).exit_code == 4
    await world.server.close()
    assert (await world.sync()).exit_code == 4
    assert world.data.polls.read_bytes().count(b"upstream is unusable") == 2
    assert SECRET.encode() not in written(world)
    assert SECRET not in "".join(capsys.readouterr())
    assert SECRET not in str(world.status())


async def test_what_was_written_before_is_rewritten_even_if_upstream_is_unusable(
    private: World,
) -> None:
    world = private
    await world.sync()
    raw = world.config.upstream.url
    old = msgspec.structs.replace(world.upstream(), url=raw)
    # before there were checksums
    world.data.upstream.write_bytes(msgspec.json.encode(old))
    last = msgspec.json.decode(world.data.polls.read_bytes().splitlines()[-1])
    last["problems"] = [{"kind": "other", "text": f"cannot find the host of {raw}"}]
    world.data.polls.write_bytes(msgspec.json.encode(last) + b"\n")
    world.server.fail("index.jsonl", faults.Status(403), times=None)

    assert (await world.sync()).exit_code == 4

    assert SECRET.encode() not in written(world)
    assert b"cannot find the host of http://***@" in world.data.polls.read_bytes()
    world.server.calm()
    world.forget()
    assert ((await world.sync()).requests, world.names_asked(304)) == (1, ["index.jsonl"])
