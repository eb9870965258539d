"""304s that do not count: of another version, with a body, to a question that was not asked."""

from dataclasses import dataclass, replace
from datetime import timedelta

import pytest

from tests.conftest import World
from tests.upstream.archive import day_name
from tests.upstream.wire import Exchange

LENGTH = b"Content-Length: 5\r\n"
CHUNKS = b"Transfer-Encoding: chunked\r\n"


@dataclass(frozen=True, slots=True)
class NotModified:
    """A 304 to whatever asks with a condition (or, if `always`, to all), and the rest honestly."""

    headers: bytes = b""
    body: bytes = b""
    always: bool = False
    status: bytes = b"304 Not Modified"
    names: bool = False
    """Whether the ETag that was sent is named."""

    async def __call__(self, exchange: Exchange, /) -> None:
        sent = exchange.request.headers
        if not self.always and not sent.keys() & {"if-none-match", "if-modified-since"}:
            await exchange.send(exchange.reply)
            return
        exchange.record.status = int(self.status[:3])
        etag = sent.get("if-none-match", "").encode()
        named = b"ETag: %s\r\n" % etag if self.names and etag else b""
        head = b"HTTP/1.1 %s\r\n" % self.status + named + self.headers
        exchange.writer.write(head + b"\r\n" + self.body)
        await exchange.writer.drain()


REFUSED = {
    "of another ETag": NotModified(b'ETag: "another"\r\n'),
    "of two ETags": NotModified(b'ETag: "another"\r\n', names=True),
    "with an empty last chunk": NotModified(CHUNKS, b"0\r\n\r\n", names=True),
    "with a body": NotModified(LENGTH, b"hello", names=True),
    "with a body of no length": NotModified(b"", b"{}\n{}\n", names=True),
    "that are 412s": NotModified(b"Content-Length: 0\r\n", status=b"412 Precondition Failed"),
}


@pytest.fixture
async def world(world: World) -> World:
    world.archive.put_day(world.day(0), 10, world.clock())
    world.archive.write_index(world.clock() - timedelta(hours=1))
    assert (await world.sync()).exit_code == 0
    world.forget()
    return world


@pytest.mark.parametrize("name", REFUSED)
async def test_index_and_day_are_asked_for_again_without_conditions(
    world: World, name: str
) -> None:
    open_day = world.day(0)
    world.archive.put_day(open_day, 20, world.clock())
    world.archive.write_index(world.clock())
    world.server.fail("*", REFUSED[name], times=None)

    report = await world.sync()

    assert (report.exit_code, report.problems) == (0, ())
    world.assert_identical()
    first, again = world.asked_for(open_day)
    assert "if-none-match" in first.headers
    assert not again.headers.keys() & {"if-none-match", "if-modified-since"}
    assert again.headers["cache-control"] == "no-cache"
    assert world.server.count("index.jsonl") == 2


TAKEN = {
    "naming it": NotModified(names=True),
    "naming nothing": NotModified(),
    "with the length of the 200": NotModified(b"Content-Length: 99999\r\n", names=True),
    "with the coding of the 200": NotModified(CHUNKS, names=True),
    "with no length": NotModified(b"Content-Length: 0\r\n", names=True),
}


@pytest.mark.parametrize("name", TAKEN)
async def test_one_that_answers_is_taken_at_once(world: World, name: str) -> None:
    world.server.fail("*", TAKEN[name], times=None)

    report = await world.sync()

    assert report.exit_code == 0
    assert world.names_asked(304) == ["index.jsonl", day_name(world.day(0))]
    assert world.server.count() == 2


async def test_one_that_was_not_asked_for_fails_what_it_is_given_for(world: World) -> None:
    new = world.day(11)
    world.archive.put_day(new, 10, world.clock())
    world.archive.write_index(world.clock())
    world.server.fail(day_name(new), NotModified(always=True), times=None)

    report = await world.sync()

    assert report.exit_code == 3
    assert report.problems[0].text == "upstream answered 304 Not Modified"
    world.server.calm()
    assert (await world.sync()).exit_code == 0
    world.assert_identical()


async def test_one_that_was_not_asked_for_once_is_got_past(world: World) -> None:
    new = world.day(11)
    world.archive.put_day(new, 10, world.clock())
    world.archive.write_index(world.clock())
    world.server.fail(day_name(new), NotModified(always=True))

    assert (await world.sync()).exit_code == 0

    assert len(world.asked_for(new)) == 2
    world.assert_identical()


@pytest.mark.parametrize(
    "fault",
    [
        NotModified(),
        NotModified(names=True),
        NotModified(b'ETag: "another"\r\n'),
        NotModified(b'ETag: "another"\r\n', names=True),
        replace(NotModified(names=True), body=b"x"),
    ],
    ids=["naming nothing", "naming it", "naming another", "naming two", "with a body"],
)
async def test_wrong_bytes_without_a_record_are_not_taken_for_upstreams(
    world: World, fault: NotModified
) -> None:
    for path in world.data.archive.glob("events-*"):
        path.write_bytes(path.read_bytes().replace(b"GitHub", b"GitLab"))
    for path in (world.data.manifest, world.data.journal, world.data.sums):
        path.unlink(missing_ok=True)
    world.server.fail("events-*", fault, times=None)

    report = await world.sync()

    assert report.exit_code == 0
    assert "adopted" not in report.outcomes
    world.assert_identical()
