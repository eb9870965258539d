"""Single requests: what is sent, what is counted, and the one line that each failure is told in."""

import os
import resource
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest

from mirror import __version__
from mirror.archive.ports import Ask, Traffic
from mirror.config.settings import HttpConfig
from mirror.errors import ConfigError, Failure, MirrorError, StorageError, UpstreamError
from mirror.sync.source import open_source
from tests.conftest import World
from tests.sync.answers import Header, Raw
from tests.upstream import faults
from tests.upstream.wire import RequestRecord

NAME = "index.jsonl"
MOVED = datetime(2024, 5, 1, 9, 30, tzinfo=UTC)


async def ask(world: World, ask: Ask | None = None, *, name: str = NAME) -> tuple[int, Traffic]:
    """Ask for an object and read it to its end; return the status and what was counted."""
    ask = ask or Ask()
    async with open_source(world.server.url, world.config.http, now=world.clock) as source:
        async with source.open(name, ask) as reply:
            came: list[int] = []
            # the answer to a HEAD, or a 304, has nothing to be read
            if reply.status == 200 and not ask.head_only:
                async for block in reply.blocks(partial(sum, came)):
                    came += map(len, block)
        return reply.status, source.traffic


async def failing(world: World, *, url: str = "") -> MirrorError:
    """Ask, which must fail; return how."""

    async def read() -> None:
        async with (
            open_source(url or world.server.url, world.config.http, now=world.clock) as source,
            source.open(NAME, Ask()) as reply,
        ):
            async for _ in reply.blocks(lambda: 0):
                pass

    with pytest.raises(MirrorError) as caught:
        await read()
    return caught.value


def sent(world: World) -> dict[str, str]:
    """Return the headers of the last request, but for those of the connection."""
    headers = dict(world.server.requests[-1].headers)
    return {name: headers[name] for name in headers.keys() - {"host", "accept"}}


class TestRequests:
    async def test_a_plain_one_says_who_asks_and_for_plain_bytes(self, world: World) -> None:
        await ask(world)
        agent = f"binder-mirror/{__version__}"
        assert sent(world) == {"user-agent": agent, "accept-encoding": "identity"}
        world.configure("http", user_agent="us")
        await ask(world)
        assert sent(world)["user-agent"] == "us"

    async def test_conditions_are_sent_as_upstream_gave_them(self, world: World) -> None:
        await ask(world, Ask(if_none_match='W/"a"', if_modified_since=MOVED))
        assert sent(world)["if-none-match"] == 'W/"a"'
        assert "if-modified-since" not in sent(world), "the ETag says it better"
        await ask(world, Ask(if_modified_since=MOVED, past_caches=True))
        assert sent(world)["if-modified-since"] == "Wed, 01 May 2024 09:30:00 GMT"
        assert sent(world)["cache-control"] == "no-cache"

    async def test_the_head_alone_can_be_asked_for(self, world: World) -> None:
        await ask(world, Ask(head_only=True))
        assert [one.method for one in world.server.requests] == ["HEAD"]

    async def test_no_cookie_is_kept(self, world: World) -> None:
        world.server.fail(NAME, Header({"set-cookie": "a=b"}), times=None)
        async with open_source(world.server.url, world.config.http, now=world.clock) as source:
            for _ in range(2):
                async with source.open(NAME, Ask()):
                    pass
        assert "cookie" not in sent(world)

    async def test_a_connection_is_used_again_where_the_answer_was_read(self, world: World) -> None:
        async with open_source(world.server.url, world.config.http, now=world.clock) as source:
            for reads in (True, False, True):
                async with source.open(NAME, Ask()) as reply:
                    async for _ in reply.blocks(lambda: 10**9):
                        if not reads:
                            break
        connections = [one.connection for one in world.server.requests]
        assert connections[:2] == [1, 1]

    async def test_what_came_is_counted(self, world: World) -> None:
        body = len(world.archive[NAME].body)
        status, traffic = await ask(world)
        assert status == 200
        assert (traffic.requests, traffic.unanswered) == (1, 0)
        assert (traffic.received_bytes, traffic.kept_bytes) == (body, body)
        assert (traffic.statuses, traffic.failures) == ({200: 1}, {})
        status, traffic = await ask(world, name="none.jsonl")
        assert (status, traffic.statuses) == (404, {404: 1})


ANSWERED = "upstream answered"
ALLOWED = "is upstream.url right, and are we allowed to read it?"
RIGHT = "if that is right, set upstream.url"


class TestFailures:
    @pytest.mark.parametrize(
        ("fault", "line", "failure", "transient"),
        [
            (faults.Status(500), f"{ANSWERED} 500 Internal Server Error", Failure.HTTP_5XX, True),
            (faults.Status(429), f"{ANSWERED} 429 Too Many Requests", Failure.HTTP_429, True),
            (faults.Status(403), f"{ANSWERED} 403 Forbidden ({ALLOWED})", Failure.HTTP_4XX, False),
            (
                faults.Status(206),
                f"{ANSWERED} 206 Partial Content ({ALLOWED})",
                Failure.HTTP_OTHER,
                False,
            ),
            (
                faults.Redirect("http://me:secret@other.invalid/a"),
                f"upstream moved to http://***@other.invalid/a ({RIGHT})",
                Failure.REDIRECT,
                False,
            ),
            (
                faults.Redirect("http://[broken"),
                f"upstream moved to http://[broken ({RIGHT})",
                Failure.REDIRECT,
                False,
            ),
            (faults.Cut(), "the body is cut short", Failure.CUT, True),
        ],
    )
    async def test_each_is_told_in_one_line(
        self, world: World, fault: faults.Fault, line: str, failure: Failure, transient: bool
    ) -> None:
        world.server.fail(NAME, fault, times=None)
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        assert (error.line(), error.failure, error.transient) == (line, failure, transient)
        assert world.server.count() == 1
        if failure is not Failure.CUT:
            assert error.status == world.server.requests[0].status

    async def test_a_redirect_in_circles_ends(self, world: World) -> None:
        world.server.fail("*", faults.Redirect("{path}"), times=None)
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        assert error.line() == f"upstream redirects in circles at {world.server.url}{NAME}"
        assert (error.failure, error.transient) == (Failure.REDIRECT, False)
        assert world.server.count() == 6

    async def test_so_many_redirects_as_are_allowed_are_followed(self, world: World) -> None:
        for _ in range(5):
            world.server.fail(NAME, faults.Redirect("{path}"))
        assert (await ask(world))[0] == 200

    async def test_a_reason_is_shown_as_text_and_bounded(self, world: World) -> None:
        head = b"HTTP/1.1 503 \x1b[31m" + b"x" * 100 + b"\r\nContent-Length: 0\r\n\r\n"
        world.server.fail(NAME, Raw(head), times=None)
        line = (await failing(world)).line()

        assert line.startswith(r"upstream answered 503 \x1b[31mxxx")
        assert len(line) < 80

    async def test_a_pause_that_upstream_wants_is_told(self, world: World) -> None:
        world.configure("http", max_backoff=0.1)
        world.server.fail(NAME, faults.Status(503, retry_after=77), times=None)
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        assert error.retry_after_s == 77

    async def test_no_answer_is_told_with_the_setting(self, world: World) -> None:
        world.configure("http", connect_timeout=0.1, read_timeout=0.1)
        world.server.fail(NAME, faults.Delay(30), times=None)
        began = time.monotonic()
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        url = world.server.url
        assert error.line() == f"no byte came from {url} in time (see http.read_timeout)"
        assert (error.failure, error.transient) == (Failure.TIMEOUT, True)
        assert time.monotonic() - began < 5

    async def test_a_body_that_stops_is_told_by_its_name(self, world: World) -> None:
        world.configure("http", read_timeout=0.6)
        world.server.fail(NAME, faults.Stall(), times=None)

        line = (await failing(world)).line()
        assert line == f"no byte came from {NAME} in time (see http.read_timeout)"

    async def test_no_upstream_is_told_by_host_and_port(self, world: World) -> None:
        await world.server.close()
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        place = world.server.url.removeprefix("http://").rstrip("/")
        assert error.line() == (
            f"cannot connect to {place}: Connection refused (is upstream.url right?)"
        )
        assert (error.failure, error.transient) == (Failure.CONNECTION, True)

    async def test_no_host_is_told_by_the_url(self, world: World) -> None:
        error = await failing(world, url="http://nowhere.invalid/")

        assert isinstance(error, UpstreamError)
        assert error.line() == (
            "cannot find the host of http://nowhere.invalid/ (is the name right, and is there a "
            "network?)"
        )
        assert error.failure is Failure.DNS

    async def test_a_hang_up_is_told(self, world: World) -> None:
        world.server.fail(NAME, faults.Hangup(), times=None)
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        assert error.line() == (f"the connection to {world.server.url} broke: Server disconnected")

    async def test_what_is_no_http_is_told_in_bounds(self, world: World) -> None:
        world.server.fail(NAME, Raw(b"SSH-2.0 " + b"x" * 500 + b"\r\n"), times=None)
        error = await failing(world)

        assert isinstance(error, UpstreamError)
        assert error.failure is Failure.NOT_HTTP
        assert error.line().startswith("not an HTTP answer: ")
        assert error.line().isprintable()
        assert len(error.line()) < 240

    async def test_what_got_no_answer_is_counted(self, world: World) -> None:
        world.server.fail(NAME, faults.Hangup(), times=None)
        async with open_source(world.server.url, world.config.http, now=world.clock) as source:
            for _ in range(2):
                with pytest.raises(UpstreamError):
                    async with source.open(NAME, Ask()):
                        pass
            assert (source.traffic.requests, source.traffic.unanswered) == (2, 2)

    async def test_too_few_open_files_are_our_own_trouble(self, world: World) -> None:
        await ask(world)
        with few_open_files():
            error = await failing(world)

        assert isinstance(error, StorageError)
        assert error.line() == (
            "a connection: Too many open files (raise the limit of open files (ulimit -n), or "
            "lower http.concurrency)"
        )


@contextmanager
def few_open_files() -> Iterator[None]:
    """Let no more files be opened than are open."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    highest = max(int(path.name) for path in Path("/proc/self/fd").iterdir())
    with ExitStack() as filled:
        resource.setrlimit(resource.RLIMIT_NOFILE, (highest + 1, hard))
        filled.callback(resource.setrlimit, resource.RLIMIT_NOFILE, (soft, hard))
        with suppress(OSError):
            while True:
                filled.callback(os.close, os.dup(0))
        yield


async def status_of_far(world: World) -> int:
    """Ask a host that can only be reached by a proxy."""
    async with (
        open_source("http://far.invalid/", HttpConfig(), now=world.clock) as source,
        source.open(NAME, Ask()) as reply,
    ):
        return reply.status


class TestProxy:
    # aiohttp is about to have another way
    @pytest.mark.filterwarnings("ignore:The 'proxy_auth' parameter:DeprecationWarning")
    async def test_the_one_that_the_environment_names_is_asked(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        proxy = world.server.url.removeprefix("http://").rstrip("/")
        monkeypatch.setenv("http_proxy", f"http://me:secret@{proxy}")
        monkeypatch.delenv("no_proxy", raising=False)
        assert await status_of_far(world) == 200

        (request,) = world.server.requests
        assert request.target == f"http://far.invalid/{NAME}"
        assert request.headers["proxy-authorization"] == "Basic bWU6c2VjcmV0"
        assert "authorization" not in request.headers

        monkeypatch.setenv("http_proxy", proxy)
        assert await status_of_far(world) == 200
        assert "proxy-authorization" not in last(world).headers

        monkeypatch.setenv("no_proxy", "127.0.0.1")
        monkeypatch.setenv("http_proxy", "http://far.invalid/")
        assert (await ask(world))[0] == 200
        assert last(world).target == f"/{NAME}"

    async def test_one_that_is_no_url_is_told_without_its_password(
        self, world: World, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setenv("http_proxy", "http://me:secret@host:port")
        monkeypatch.delenv("no_proxy", raising=False)
        with pytest.raises(ConfigError) as caught:
            async with open_source(world.server.url, HttpConfig(), now=world.clock):
                pass

        assert caught.value.line() == (
            "the proxy that the environment names is not a URL (see http_proxy)"
        )


def last(world: World) -> RequestRecord:
    return world.server.requests[-1]
