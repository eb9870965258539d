"""What a poll says while it goes and when it is over: its log and its events."""

import os
from collections.abc import Iterator
from typing import Any

import pytest
import structlog
from structlog.testing import capture_logs

from mirror.archive.ports import Asking, Counted, PollEvent, Proved, Received, Retrying
from mirror.model import Outcome, OutcomeKind, Plan, PollReport
from mirror.status.poll_progress import PollProgress, Progress
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.sync.answers import Body
from tests.upstream import faults
from tests.upstream.archive import day_name

Log = list[dict[str, Any]]


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Let loggers that were used before be captured too."""
    yield
    structlog.reset_defaults()


@pytest.fixture
async def world(world: World) -> World:
    world.configure("http", backoff=0.001)
    return world


def events(logs: Log, name: str) -> Log:
    """Return the log's events of a name, without it and without times measured."""
    measured = {"event", "duration_s", "delay_s"}
    return [
        {key: value for key, value in one.items() if key not in measured}
        for one in logs
        if one["event"] == name
    ]


class TestLog:
    async def test_of_a_first_and_a_quiet_poll(self, world: World) -> None:
        sizes = [
            len(world.archive[name].body) for name in world.archive.objects if "events-" in name
        ]
        with capture_logs() as logs:
            report = await world.sync()

        (planned,) = events(logs, "poll.planned")
        assert planned == {"log_level": "debug", "due": 10, "listed": 10, "new": 10}
        published = events(logs, "file.published")
        assert {(one["log_level"], one["reason"]) for one in published} == {("debug", "new")}
        assert sorted(one["size"] for one in published) == sorted(sizes)
        (finished,) = events(logs, "poll.finished")
        assert finished == {
            "log_level": "info",
            "exit_code": 0,
            "held": 10,
            "index_state": "fresh",
            "listed": 10,
            "requests": 11,
            "downloaded_bytes": report.downloaded_bytes,
            "published": 10,
        }
        (counted,) = events(logs, "inspect.finished")
        assert counted == {"log_level": "debug", "counted": 10, "failed": 0, "waiting": 0}
        with capture_logs() as logs:
            await world.sync()
        assert [one["event"] for one in logs] == ["poll.planned", "poll.finished"]
        (finished,) = events(logs, "poll.finished")
        assert finished == {
            "log_level": "info",
            "exit_code": 0,
            "held": 10,
            "index_state": "unchanged",
        }
        assert {one.get("duration_s") for one in logs} > {None}

    async def test_of_one_that_is_incomplete(self, world: World) -> None:
        bad, late = world.day(2), world.day(3)
        world.server.fail(day_name(bad), faults.Status(500), times=None)
        world.server.fail(day_name(late), faults.Status(503), times=1)
        with capture_logs() as logs:
            report = await world.sync()

        (problem,) = report.problems
        assert (problem.day, problem.text) == (bad, "upstream answered 500 Internal Server Error")
        assert events(logs, "file.failed") == [
            {"log_level": "warning", "problem": problem.text, "reason": "new", "size": 0}
        ]
        retried = events(logs, "file.retrying")
        assert [one["log_level"] for one in retried] == ["debug"] * 3
        assert sorted(one["problem"] for one in retried) == [
            *[problem.text] * 2,
            "upstream answered 503 Service Unavailable",
        ]
        (finished,) = events(logs, "poll.finished")
        assert finished["log_level"] == "warning"
        assert finished["failed_tries"] == "http_5xx 4"
        assert (finished["problems"], finished["problem"]) == (1, problem.line())
        assert (finished["published"], finished["failed"]) == (9, 1)
        assert "warnings" not in finished

    async def test_of_an_upstream_that_dies(self, world: World) -> None:
        world.configure("http", retries=0)
        world.server.fail(day_name(world.day(1)), faults.Status(404), times=None)
        world.server.fail("events-*", faults.Status(503), times=None)
        with capture_logs() as logs:
            report = await world.sync()

        assert report.outcomes == {"failed": 10}
        failed = [one["log_level"] for one in events(logs, "file.failed")]
        assert sorted(failed) == ["debug"] * 8 + ["warning"] * 2
        (more,) = events(logs, "files.failed")
        assert (more["log_level"], more["more"]) == ("warning", 8)
        assert more["problem"].endswith("upstream answered 503 Service Unavailable")

    async def test_of_one_with_a_warning_and_nothing_missing(self, world: World) -> None:
        await world.sync()
        world.clock.advance(days=3)
        with capture_logs() as logs:
            report = await world.sync()

        (finished,) = events(logs, "poll.finished")
        assert len(report.warnings) == finished["warnings"] == 1
        assert (finished["log_level"], finished["exit_code"]) == ("info", 0)
        assert finished["absent"] == 4

    async def test_of_an_index_that_came_late_with_a_line_that_is_none(self, world: World) -> None:
        index = world.archive["index.jsonl"].body + b'\n{"name": "x\x1b"}\n'
        world.server.fail("index.jsonl", faults.Status(503), times=2)
        world.server.fail("index.jsonl", Body(index), times=None)
        with capture_logs() as logs:
            await world.sync()

        retried = events(logs, "index.retrying")
        assert (
            retried
            == [{"log_level": "debug", "problem": "upstream answered 503 Service Unavailable"}] * 2
        )
        assert all(one["delay_s"] == round(one["delay_s"], 3) for one in logs if "delay_s" in one)
        (refused,) = events(logs, "index.line_refused")
        assert (refused["log_level"], refused["line"]) == ("warning", 11)
        assert refused["reason"]
        assert "\x1b" not in refused["text"]

    async def test_of_an_adoption(self, world: World) -> None:
        world.server.style.etag = "opaque"
        await world.sync()
        world.data.manifest.unlink()
        unproved, altered = world.day(2), world.day(3)
        (world.data.archive / day_name(altered)).write_bytes(b"altered\n")
        world.data.sums.write_bytes(
            b"".join(
                line
                for line in world.data.sums.read_bytes().splitlines(keepends=True)
                if day_name(unproved).encode() not in line
            )
        )
        world.configure("http", retries=0, concurrency=1)
        world.server.fail(day_name(unproved), faults.Status(500), times=1)
        with capture_logs() as logs:
            report = await world.sync()

        assert events(logs, "file.not_proved") == [
            {
                "log_level": "debug",
                "file": day_name(unproved),
                "problem": "upstream answered 500 Internal Server Error",
            }
        ]
        assert events(logs, "files.adopted") == [
            {"log_level": "debug", "adopted": 8, "unverified": 2}
        ]
        assert report.outcomes == {"published": 2, "adopted": 8}

    async def test_of_a_file_that_goes_while_it_is_proved(self, world: World) -> None:
        await world.sync()
        world.data.manifest.unlink()
        world.configure("http", concurrency=1)
        path = world.data.archive / day_name(world.day(1))
        seen: list[PollEvent] = []

        def observe(event: PollEvent) -> None:
            seen.append(event)
            if isinstance(event, Asking) and path.exists():
                path.unlink()
                os.mkfifo(path)

        with capture_logs() as logs:
            report = await world.sync(observer=observe)

        (told,) = events(logs, "file.not_adopted")
        assert (told["log_level"], told["file"]) == ("debug", path.name)
        assert f"{path} is a FIFO, not a file" in told["problem"]
        assert [one for one in seen if isinstance(one, Proved)] == [
            Proved(number, 10) for number in range(1, 11)
        ]
        assert (report.exit_code, report.outcomes) == (3, {"adopted": 9, "failed": 1})

    async def test_of_a_state_that_is_lost(self, world: World) -> None:
        await world.sync()
        world.data.upstream.write_bytes(b"rotten")
        with capture_logs() as logs:
            await world.sync()

        assert events(logs, "state.lost") == [{"log_level": "warning", "file": "upstream.json"}]
        world.configure("upstream", url=world.server.url.replace("127.0.0.1", "localhost"))
        with capture_logs() as logs:
            await world.sync()
        assert events(logs, "state.lost") == [], "another upstream is no loss"

    async def test_of_a_day_that_cannot_be_counted(self, world: World) -> None:
        world.configure("storage", findings=False)
        await world.sync()
        world.configure("storage", findings=True)
        gone, altered = world.day(1), world.day(2)
        counted: list[PollEvent] = []
        async with open_mirror(world.config, world.data, now=world.clock) as mirror:
            (world.data.archive / day_name(gone)).unlink()
            os.utime(world.data.archive / day_name(altered))
            with capture_logs() as logs:
                inspected = await mirror.inspect(counted.append, limit_s=60)

        left = {one["file"]: one for one in events(logs, "inspect.day_left")}
        assert {one["log_level"] for one in left.values()} == {"warning"}
        assert left[day_name(altered)]["problem"] == "its size or time is not the one on record"
        assert "No such file" in left[day_name(gone)]["problem"]
        assert (inspected.counted, inspected.failed, inspected.waiting) == (8, 2, 0)
        whole = sum(record.size for record in world.records().values()) + sum(
            len(world.archive[day_name(day)].body) for day in (gone, altered)
        )
        assert counted[-1] == Counted(10, 10, whole, whole)


class TestInspect:
    async def test_it_stops_where_time_is_up_and_where_nobody_wants_it(self, world: World) -> None:
        world.configure("storage", findings=False)
        await world.sync()
        async with open_mirror(world.config, world.data, now=world.clock) as mirror:
            none = await mirror.inspect(limit_s=60)
            assert (none.counted, none.failed, none.waiting) == (0, 0, 0)
        world.configure("storage", findings=True)
        async with open_mirror(world.config, world.data, now=world.clock) as mirror:
            inspected = await mirror.inspect(limit_s=0)
            assert (inspected.counted, inspected.failed, inspected.waiting) == (0, 0, 10)
            inspected = await mirror.inspect(limit_s=60)
            assert (inspected.counted, inspected.failed, inspected.waiting) == (10, 0, 0)


class TestEvents:
    async def test_of_a_poll_from_the_first_question_to_the_last_day_counted(
        self, world: World
    ) -> None:
        seen: list[PollEvent] = []
        report = await world.sync(observer=seen.append)

        kinds = [type(one) for one in seen]
        assert kinds[:3] == [Asking, Asking, Plan]
        # a connection, then an answer
        assert seen[:2] == [Asking("index.jsonl", 1, 3, within_s) for within_s in (10, 2)]
        (plan,) = (one for one in seen if isinstance(one, Plan))
        assert len(plan.due) == plan.listed == 10
        received = dict.fromkeys((due.date for due in plan.due), 0)
        for one in seen:
            if isinstance(one, Received):
                received[one.day] += one.size
        ended = {one.date: one for one in seen if isinstance(one, Outcome)}
        assert {day: one.size for day, one in ended.items()} == received
        assert {one.kind for one in ended.values()} == {OutcomeKind.PUBLISHED}
        told = [one for one in seen if isinstance(one, PollReport)]
        assert [replaced(one) for one in told] == [replaced(report)]
        assert told[0].pending_findings == 10
        counted = [one for one in seen if isinstance(one, Counted)]
        assert kinds[-len(counted) :] == [Counted] * len(counted)
        size = sum(received.values())
        assert counted[-1] == Counted(10, 10, size, size)

    async def test_of_tries_that_fail(self, world: World) -> None:
        world.server.fail("index.jsonl", faults.Status(503), times=1)
        day = world.day(4)
        world.server.fail(day_name(day), faults.Status(500), times=1)
        seen: list[PollEvent] = []
        assert (await world.sync(observer=seen.append)).exit_code == 0

        asked = [one for one in seen if isinstance(one, Asking)]
        problem = "upstream answered 503 Service Unavailable"
        assert asked[:2] == [Asking("index.jsonl", 1, 3, within_s) for within_s in (10, 2)]
        wait_s = asked[2].within_s
        assert asked[2] == Asking("index.jsonl", 2, 3, wait_s, problem, is_waiting=True)
        assert 0 < wait_s <= 0.001
        assert asked[3:] == [Asking("index.jsonl", 2, 3, within_s, problem) for within_s in (10, 2)]
        (retrying,) = (one for one in seen if isinstance(one, Retrying))
        assert retrying.day == day
        assert retrying.problem == "upstream answered 500 Internal Server Error"
        assert 0 < retrying.delay_s <= 0.001

    async def test_of_the_listings_that_are_asked_for_in_trouble(self, world: World) -> None:
        await world.sync()
        world.clock.advance(days=3)
        seen: list[PollEvent] = []
        await world.sync(observer=seen.append)

        asked = dict.fromkeys(one.name for one in seen if isinstance(one, Asking))
        assert list(asked) == ["index.jsonl", "index.html", "events-2000-01-01.jsonl"]

    async def test_of_days_that_fail_no_progress_is_made(self, world: World) -> None:
        world.server.fail(day_name(world.day(4)), faults.Status(404))
        live = PollProgress()
        seen: list[Progress | None] = []

        def observe(event: PollEvent) -> None:
            live.observe(event)
            if isinstance(event, Outcome):
                seen.append(live.progress)

        await world.sync(observer=observe)
        last = seen[-1]
        assert last is not None
        assert (last.days_due, last.days_done, last.days_failed) == (10, 9, 1)
        # nothing is left that would still be waited for
        assert last.bytes_expected == last.bytes_received


def replaced(report: PollReport) -> tuple[object, ...]:
    """Return what of a report is settled before the days are counted."""
    return report.poll_id, report.exit_code, report.outcomes, report.started_at, report.requests
