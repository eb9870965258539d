"""The log of polls: bounded, and never without the last complete one."""

from datetime import UTC, datetime, timedelta

import msgspec
import pytest
from msgspec.structs import replace

from mirror.model import IndexState, PollReport, Problem, ProblemKind
from mirror.status.snapshot import load_snapshot
from mirror.store.layout import make_folders
from mirror.store.polls import KEPT_POLLS, LOADED_POLLS, MAX_BYTES, append_poll, load_polls
from tests.command import Shell
from tests.conftest import NOON, World

COMPLETE = PollReport(
    exit_code=0,
    index_state=IndexState.FRESH,
    listed=1,
    held=1,
    events=1,
    archive_bytes=1,
    outcomes={},
    started_at=NOON,
    duration_s=60,
)


def failed(number: int, *, problem: str = "a day is missing") -> PollReport:
    started_at = NOON + timedelta(minutes=30 * number)
    return replace(
        COMPLETE,
        exit_code=3,
        started_at=started_at,
        problems=(Problem(ProblemKind.OTHER, problem),),
    )


async def test_what_was_complete_last_stays_known_behind_many_that_were_not(world: World) -> None:
    await world.sync()
    (complete,) = load_polls(world.data, 1).last
    for number in range(1, LOADED_POLLS + 10):
        append_poll(world.data, failed(number))

    view = load_snapshot(world.data)

    assert len(view.polls) == LOADED_POLLS
    assert view.successes == (complete.ended_at,)
    assert world.status().last_success_at == complete.ended_at


async def test_health_sees_it_as_the_pages_do(shell: Shell) -> None:
    await shell.synced()
    (complete,) = load_polls(shell.data, 1).last
    for number in range(1, LOADED_POLLS + 10):
        # of the same minutes: what counts is when the complete one ended, not how many came after
        append_poll(shell.data, replace(failed(number), started_at=complete.started_at))

    done = await shell.run("health")

    assert done.code == 0
    assert f"{complete.ended_at:%Y-%m-%d %H:%M:%S} UTC" in done.out


async def test_it_outlives_the_bound_of_the_log(world: World) -> None:
    await world.sync()
    (complete,) = load_polls(world.data, 1).last
    long = "x" * 4000
    for number in range(1, 3 * MAX_BYTES // len(long)):
        append_poll(world.data, failed(number, problem=long))
        assert world.data.polls.stat().st_size <= MAX_BYTES

    polls = load_polls(world.data, KEPT_POLLS)

    assert polls.successes == (complete.ended_at,)
    assert polls.last[0] == complete
    assert polls.last[-1] == failed(3 * MAX_BYTES // len(long) - 1, problem=long)


@pytest.mark.parametrize(
    ("length", "left"), [(230, KEPT_POLLS), (900, None)], ids=["many", "long ones"]
)
def test_beyond_its_bound_it_keeps_the_latest_in_half_the_room(
    world: World, length: int, left: int | None
) -> None:
    make_folders(world.data)
    line = b"x" * length + b"%08d"
    count = MAX_BYTES // (length + 9)
    world.data.polls.write_bytes(b"".join(line % number + b"\n" for number in range(count)))
    last = failed(1)
    while world.data.polls.stat().st_size > MAX_BYTES // 2:
        append_poll(world.data, last)

    *before, ours = world.data.polls.read_bytes().splitlines()

    assert msgspec.json.decode(ours, type=PollReport) == last
    strangers = [one for one in before if one.startswith(b"x")]
    assert strangers[-1] == line % (count - 1)
    size = world.data.polls.stat().st_size
    if left is not None:
        assert len(before) == left - 1
    else:
        assert MAX_BYTES // 2 - length - 9 < size <= MAX_BYTES // 2
    assert load_polls(world.data, 1).last == (last,)


def test_a_log_that_has_a_copy_of_the_same_file_leaves_the_copy_alone(world: World) -> None:
    make_folders(world.data)
    append_poll(world.data, failed(1))
    copy = world.data.root / "backup"
    copy.hardlink_to(world.data.polls)
    before = copy.read_bytes()

    append_poll(world.data, failed(2))

    assert copy.read_bytes() == before
    assert load_polls(world.data, 9).last == (failed(1), failed(2))


async def test_the_latest_is_so_by_time_and_not_by_place(world: World) -> None:
    await world.sync()
    for hours in (5, 9, 7):
        append_poll(world.data, replace(COMPLETE, started_at=NOON + timedelta(hours=hours)))

    assert load_polls(world.data, 1).successes[-1] == NOON + timedelta(hours=9, minutes=1)


@pytest.mark.parametrize(
    "line",
    [
        b'{"exit_code":0,"started_',
        b'{"exit_code":0,"started_at":"2031-01-01T00:00:00"}',
        b"\xff\xfe",
        b"[]",
    ],
)
async def test_a_torn_line_counts_for_nothing(world: World, line: bytes) -> None:
    await world.sync()
    with world.data.polls.open("ab") as log:
        log.write(b"\n" + line)
    append_poll(world.data, failed(1))

    polls = load_polls(world.data, 9)

    assert [poll.exit_code for poll in polls.last] == [0, 3]
    assert polls.successes == (polls.last[0].ended_at,)


def test_a_poll_at_the_end_of_time_ends_nobody_knows_when(world: World) -> None:
    make_folders(world.data)
    last = replace(COMPLETE, started_at=datetime(9999, 12, 31, 23, 59, 59, tzinfo=UTC))
    append_poll(world.data, COMPLETE)
    append_poll(world.data, last)

    polls = load_polls(world.data, 9)

    assert (polls.last, polls.successes) == ((COMPLETE, last), (COMPLETE.ended_at,))


async def test_no_complete_poll_is_none(world: World) -> None:
    world.data.root.mkdir()
    append_poll(world.data, failed(1))

    assert load_polls(world.data, 9).successes == ()
    assert msgspec.json.decode(world.data.polls.read_bytes())["exit_code"] == 3


async def test_polls_of_version_0_1_are_read_whose_problems_were_lines_of_text(
    world: World,
) -> None:
    world.data.root.mkdir()
    old = msgspec.to_builtins(failed(1), str_keys=True)
    old |= {"problems": ["2024-05-10: mismatch: it has 2 lines"], "warnings": ["stands still"]}
    world.data.polls.write_bytes(msgspec.json.encode(old) + b"\n")
    append_poll(world.data, failed(2))

    old.pop("warnings")
    world.data.polls.write_bytes(world.data.polls.read_bytes() + msgspec.json.encode(old) + b"\n")
    before, after, without = load_polls(world.data, 9).last

    assert without.warnings == ()
    assert without.problems == before.problems
    assert before.problems == (Problem(ProblemKind.OTHER, "2024-05-10: mismatch: it has 2 lines"),)
    assert before.warnings == (Problem(ProblemKind.OTHER, "stands still"),)
    assert after == failed(2)


def test_a_line_that_was_torn_takes_no_other_with_it_and_none_is_blank(world: World) -> None:
    make_folders(world.data)
    append_poll(world.data, failed(1))
    with world.data.polls.open("ab") as file:
        file.write(b'{"exit_code": 3, "list')
    append_poll(world.data, failed(2))
    append_poll(world.data, COMPLETE)

    lines = world.data.polls.read_bytes().split(b"\n")

    assert lines.pop() == b""
    assert [len(line) > 0 for line in lines] == [True] * 4
    assert load_polls(world.data, 10).last == (failed(1), failed(2), COMPLETE)
