"""Every index upstream may serve: one bad line costs that line, an unusable body costs nothing."""

import json
from datetime import date, timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.model import DayRange, IndexState
from tests.conftest import World
from tests.sync.answers import HTML, Header, Raw
from tests.upstream import faults
from tests.upstream.archive import day_name

LAST = date(2024, 5, 14)


def line(name: object = day_name(LAST), day: object = str(LAST), count: object = "3") -> str:
    return json.dumps({"name": name, "date": day, "count": count})


def serve(world: World, body: bytes) -> None:
    """Replace the index by `body`."""
    world.archive.put("index.jsonl", body, world.clock(), content_type="text/plain")


def good_lines(world: World) -> list[str]:
    return world.archive["index.jsonl"].body.decode().splitlines()


BAD_LINES = {
    "no JSON": "hello",
    "an array": "[1, 2]",
    "a number": "5",
    "null": "null",
    "unfinished": '{"name": "events-2024-05-14.jsonl", "date": "2024-05-14"',
    "two objects": line() + line(),
    "100,000 brackets": "[" * 100_000,
    "100,000 braces": '{"a":' * 100_000 + "1" + "}" * 100_000,
    "no name": '{"date": "2024-05-14", "count": "3"}',
    "no date": '{"name": "events-2024-05-14.jsonl", "count": "3"}',
    "no count": '{"name": "events-2024-05-14.jsonl", "date": "2024-05-14"}',
    "1e999": line().replace('"3"', "1e999"),
    "a fraction": line(count=3.5),
    "a negative string": line(count="-3"),
    "a negative number": line(count=-3),
    "a plus": line(count="+3"),
    "a full-width digit": line(count="\uff17"),
    "a digit of another script": line(count="\u0663"),
    "true": line(count=True),
    "null count": line(count=None),
    "an empty count": line(count=""),
    "blanks around a count": line(count=" 3 "),
    "an underscore": line(count="1_000"),
    "30 digits": line(count="1" * 30),
    "30 digits as a number": line(count=int("1" * 30)),
    "one over the largest count": line(count=10**9 + 1),
    "a path": line("../" + day_name(LAST)),
    "an absolute path": line("/etc/passwd"),
    "a folder": line("a/" + day_name(LAST)),
    "a backslash": line("..\\" + day_name(LAST)),
    "a NUL": line(day_name(LAST) + "\0"),
    "a newline": line(day_name(LAST) + "\n"),
    "an escape": line("\x1b[2J" + day_name(LAST)),
    "percent escapes": line("%2e%2e/" + day_name(LAST)),
    "another scheme": line("file:///etc/passwd"),
    "another host": line("//evil.invalid/" + day_name(LAST)),
    "a whole URL": line("http://evil.invalid/" + day_name(LAST)),
    "a reserved name": line("index.jsonl"),
    "SHA256SUMS": line("SHA256SUMS"),
    "5,000 characters": line("e" * 5000),
    "a query": line(day_name(LAST) + "?x=1"),
    "another day's name": line(day_name(LAST - timedelta(days=1))),
    "February 30th": line("events-2024-02-30.jsonl", "2024-02-30"),
    "before 2018": line("events-2017-12-31.jsonl", "2017-12-31"),
    "after tomorrow": line("events-2024-05-17.jsonl", "2024-05-17"),
    "a date with a time": line(day="2024-05-14T00:00:00"),
    "an ordinal date": line("events-2024-135.jsonl", "2024-135"),
    "a date in other digits": line("events-\uff12024-05-14.jsonl", "\uff12024-05-14"),
    "the wrong suffix": line("events-2024-05-14.json"),
    "lone surrogate": '{"name": "\\ud800", "date": "2024-05-14", "count": "3"}',
}


@pytest.mark.parametrize("bad", BAD_LINES.values(), ids=BAD_LINES.keys())
async def test_a_bad_line_costs_that_line_alone(world: World, bad: str) -> None:
    *good, _ = good_lines(world)
    serve(world, "\n".join([*good[:4], bad, *good[4:]]).encode() + b"\n")

    report = await world.sync()

    assert report.exit_code == 3
    assert report.held == report.listed == 9
    assert len(report.problems) == 1
    assert report.problems[0].text.startswith("index line 5 refused: ")
    assert report.problems[0].text.isprintable()
    assert len(report.problems[0].text) < 400
    assert set(world.names_asked()) == {"index.jsonl"} | {json.loads(one)["name"] for one in good}
    world.assert_sound()


async def test_a_line_that_is_not_utf8_costs_that_line_alone(world: World) -> None:
    body = world.archive["index.jsonl"].body
    serve(world, body + b'\n{"name": "\xff\xfe", "date": "2024-05-14", "count": "3"}\n')

    report = await world.sync()

    assert (report.exit_code, report.held) == (3, 10)
    world.assert_sound()


async def test_a_bad_line_is_told_again_at_every_poll_until_it_is_gone(world: World) -> None:
    good = good_lines(world)
    serve(world, "\n".join([*good, "hello"]).encode())
    first = await world.sync()
    world.forget()

    quiet = await world.sync()

    assert [(r.name, r.status) for r in world.server.requests] == [("index.jsonl", 304)]
    assert (quiet.exit_code, quiet.problems) == (3, first.problems)
    assert world.data.index.read_bytes() == ("\n".join(good) + "\n").encode()


async def test_thousands_of_bad_lines_are_counted_and_told_in_bounds(world: World) -> None:
    good = good_lines(world)
    serve(world, "\n".join([*good, *["x" * 1000] * 5000]).encode())

    report = await world.sync()

    assert (report.exit_code, report.held) == (3, 10)
    assert sum(len(problem.text) for problem in report.problems) < 10_000
    assert any("more" in problem.text for problem in report.problems)
    assert world.data.upstream.stat().st_size < 50_000


@pytest.mark.parametrize(
    "spell",
    [
        lambda lines: ("\r\n".join(lines) + "\r\n").encode(),
        lambda lines: b"\xef\xbb\xbf" + "\n".join(lines).encode(),
        lambda lines: ("\n\n".join(lines) + "\n\n \t\n").encode(),
        lambda lines: "\n".join(lines).encode(),
        lambda lines: ("\n".join(lines) + "\n").encode(),
        lambda lines: ("\n".join([*lines, lines[3], lines[3]]) + "\n").encode(),
        lambda lines: "\n".join(reversed(lines)).encode(),
        lambda lines: "\n".join(
            json.dumps({**json.loads(one), "count": int(json.loads(one)["count"]), "x": [1]})
            for one in lines
        ).encode(),
    ],
    ids=["CRLF", "BOM", "blank lines", "no last newline", "newline", "repeats", "order", "ints"],
)
async def test_an_odd_but_good_index_is_taken_whole_and_kept_verbatim(world: World, spell) -> None:
    serve(world, spell(good_lines(world)))

    report = await world.sync()

    assert (report.exit_code, report.held, report.problems) == (0, 10, ())
    world.assert_identical()
    world.assert_sound()


@pytest.mark.parametrize("held_before", [False, True])
async def test_two_counts_for_a_day_refuse_the_change_of_that_day(
    world: World, held_before: bool
) -> None:
    if held_before:
        await world.sync()
    changed, other = world.day(3), world.day(4)
    old = world.body(changed)
    world.archive.put_day(changed, 33, world.clock.advance(hours=1))
    world.archive.put_day(other, 44, world.clock())
    world.archive.write_index(world.clock())
    lines = good_lines(world)
    serve(world, "\n".join([*lines, line(day_name(changed), str(changed), "999")]).encode())
    world.forget()

    report = await world.sync()

    assert (report.exit_code, report.index_state) == (3, IndexState.CONFLICTING)
    assert changed in {problem.day for problem in report.problems}
    assert world.body(changed) == old
    assert world.asked_for(changed) == []
    assert world.body(other) == world.archive[day_name(other)].body
    world.assert_sound()
    world.archive.write_index(world.clock.advance(hours=1))
    healed = await world.sync()
    assert (healed.exit_code, healed.index_state) == (0, IndexState.FRESH)
    world.assert_identical()


async def test_a_conflict_outside_the_range_asked_for_is_no_failure(world: World) -> None:
    lines = good_lines(world)
    day = world.day(9)
    serve(world, "\n".join([*lines, line(day_name(day), str(day), "999")]).encode())

    report = await world.sync(PollRange(DayRange(since=world.day(3))))

    assert (report.exit_code, report.held) == (0, 3)


UNUSABLE = {
    "empty": b"",
    "blank": b"\n \n\r\n",
    "a sign-in page": HTML,
    "not one good line": b"hello\nworld\n",
    "binary": bytes(range(256)) * 10,
    "one JSON array": b'[{"name": "events-2024-05-14.jsonl"}]',
    "brackets": b"[" * 100_000,
}


@pytest.mark.parametrize("body", UNUSABLE.values(), ids=UNUSABLE.keys())
async def test_an_unusable_index_changes_not_one_file(world: World, body: bytes) -> None:
    await world.sync()
    before, inventory = world.published(), world.data.manifest.read_bytes()
    upstream = world.data.upstream.read_bytes()
    good = world.archive["index.jsonl"]
    serve(world, body)
    world.clock.advance(days=2)

    report = await world.sync()

    assert (report.exit_code, report.index_state) == (4, IndexState.UNUSABLE)
    assert len(report.problems) == 1
    assert report.problems[0].text.isprintable()
    assert world.published() == before
    assert world.data.manifest.read_bytes() == inventory
    assert world.data.upstream.read_bytes() == upstream
    assert world.status().index_state is IndexState.UNUSABLE
    world.archive.objects["index.jsonl"] = good
    world.clock.advance(days=-2)
    assert (await world.sync()).exit_code == 0


@pytest.mark.parametrize("cut", [1, 5, 40])
async def test_an_index_cut_in_its_last_line_is_unusable(world: World, cut: int) -> None:
    serve(world, world.archive["index.jsonl"].body[:-cut])

    report = await world.sync()

    assert report.exit_code == 4
    assert world.names_asked() == ["index.jsonl"] * 3
    assert "cut short" in report.problems[0].text


@pytest.mark.parametrize(
    "fault",
    [
        faults.Hangup(),
        faults.Reset(),
        faults.Cut(),
        faults.CutChunked(),
        faults.WrongLength(by=5),
        faults.SignIn(),
        faults.Status(404),
        faults.Status(403),
        faults.Status(500),
        faults.Status(204),
        faults.Status(304),
        faults.Redirect("{path}"),
        faults.Redirect("http://other.invalid{path}"),
        faults.Redirect("http://[broken{path}"),
        faults.Redirect("http://{host}9999{path}"),
        faults.Encoded(cut=4),
        faults.Bomb(size=4_000_000),
        faults.Endless(),
        faults.Endless(line=b"x"),
        faults.Stall(),
        faults.Stall(at=0),
        Header({"content-encoding": "br"}),
        Header({"repr-digest": "sha-256=:" + "A" * 43 + "=:"}),
        Raw(b"SSH-2.0-OpenSSH_9.2\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nX: " + b"y" * 100_000 + b"\r\n\r\n"),
        Raw(b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n"),
    ],
    # a backslash is escaped again wherever one process collects twice, as under mutmut
    ids=lambda fault: repr(fault).replace("\\", "/"),
)
async def test_an_index_that_cannot_be_had_ends_in_4_with_nothing_made(world: World, fault) -> None:
    world.configure("http", max_file_size=1_000_000, read_timeout=0.1)
    world.server.fail("index.jsonl", fault, times=None)

    report = await world.sync()

    assert (report.exit_code, report.held) == (4, 0)
    assert world.published() == {}
    assert world.server.count() <= 6
    world.server.calm()
    assert (await world.sync()).exit_code == 0
    world.assert_identical()


async def test_an_upstream_that_is_not_there_ends_in_4(world: World) -> None:
    await world.sync()
    before = world.published()
    await world.server.close()

    report = await world.sync()

    assert report.exit_code == 4
    assert world.published() == before


async def test_an_index_answered_badly_once_is_asked_for_again(world: World) -> None:
    for fault in (faults.Status(503), faults.Cut()):
        world.server.fail("index.jsonl", fault)

    report = await world.sync()

    assert report.exit_code == 0
    assert world.server.count("index.jsonl") == 3


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
async def test_an_index_compressed_unasked_is_decoded(world: World, coding) -> None:
    world.server.fail("index.jsonl", faults.Encoded(coding))

    assert (await world.sync()).exit_code == 0
    world.assert_identical()


async def test_a_byte_flipped_in_the_index_is_noticed_by_its_etag(world: World) -> None:
    body = world.archive["index.jsonl"].body
    world.server.fail("index.jsonl", faults.Corrupt(at=body.rindex(b'"') - 1))

    report = await world.sync()

    assert report.exit_code == 0
    assert world.server.count("index.jsonl") == 2
    assert world.server.requests[1].headers["cache-control"] == "no-cache"
    world.assert_identical()


async def test_an_index_without_an_etag_is_asked_for_by_its_date(world: World) -> None:
    world.server.style.etag = "none"
    await world.sync()
    world.forget()

    report = await world.sync()

    assert report.exit_code == 0
    assert [(r.name, r.status) for r in world.server.requests] == [("index.jsonl", 304)]


async def test_a_poll_answered_304_plans_from_what_was_accepted(world: World) -> None:
    failing = world.day(2)
    world.server.fail(day_name(failing), faults.Status(503), times=None)
    assert (await world.sync()).exit_code == 3
    world.server.calm()
    world.forget()

    report = await world.sync()

    assert [(r.name, r.status) for r in world.server.requests] == [
        ("index.jsonl", 304),
        (day_name(failing), 200),
    ]
    assert (report.exit_code, report.index_state) == (0, IndexState.UNCHANGED)


async def test_what_upstream_said_is_kept_before_any_day_is_fetched(world: World) -> None:
    world.server.fail("events-*", faults.Status(403), times=None)

    report = await world.sync()

    assert (report.exit_code, report.held) == (3, 0)
    assert len(world.upstream().accepted) == 10
    assert world.status().missing_days == tuple(sorted(world.upstream().accepted))
