"""Pipes, terminals and closed streams."""

import asyncio
import json
import os
import re
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mirror.cli.streams import LossyWriter
from mirror.store.polls import load_polls
from tests.command import COMMAND, PATIENCE_S, Shell, interrupt
from tests.terminal import shown_on_terminal
from tests.upstream.faults import Status

_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


async def test_a_pipe_gets_neither_progress_nor_colour(shell: Shell) -> None:
    done = await shell.run("sync")

    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err
    assert len(done.out.splitlines()) == 2


async def test_a_dumb_terminal_gets_no_escapes(shell: Shell) -> None:
    shell.environ["TERM"] = "dumb"
    shell.server.fail(f"events-{shell.days[0]}.jsonl", Status(503))

    code, shown = await shown_on_terminal(shell, "sync", "-v")

    assert code == 0
    assert "\x1b" not in shown
    assert "days due" not in shown
    # the log is for people there
    assert "file.published" in shown
    assert '{"' not in shown


async def test_who_wants_no_colours_gets_the_progress_without(shell: Shell) -> None:
    _, coloured = await shown_on_terminal(shell, "sync", "-v")
    shell.environ["NO_COLOR"] = "1"
    for day in shell.days:
        shell.path(day).unlink()

    code, shown = await shown_on_terminal(shell, "sync", "-v")

    assert code == 0
    assert _COLOUR.search(coloured)
    assert not _COLOUR.search(shown)
    # the cursor is hidden as long as something is drawn
    assert "\x1b[?25l" in shown


@pytest.mark.parametrize("command", ["sync", "verify"])
async def test_who_wants_quiet_sees_nothing_where_nothing_is_wrong(
    shell: Shell, command: str
) -> None:
    if command == "verify":
        await shell.synced()

    assert await shown_on_terminal(shell, command, "-q") == (0, "")


async def test_a_terminal_shows_what_is_wrong_above_and_how_it_ended_once(shell: Shell) -> None:
    shell.server.fail(f"events-{shell.days[0]}.jsonl", Status(404))

    code, shown = await shown_on_terminal(shell, "sync")

    assert code == 3
    assert shown.count("file.failed") == 1
    assert "file.published" not in shown
    assert "poll.finished" not in shown
    assert shown.count("Incomplete: ") == 1


async def test_a_log_in_the_journal_has_the_priorities_that_it_sorts_by(shell: Shell) -> None:
    shell.server.fail(f"events-{shell.days[0]}.jsonl", Status(404))
    ours, theirs = socket.socketpair()
    with ours, theirs:
        facts = os.fstat(theirs.fileno())
        shell.environ["JOURNAL_STREAM"] = f"{facts.st_dev}:{facts.st_ino}"
        await shell.run("sync", "-v", stderr=theirs.fileno())
        lines = ours.recv(65536).decode().splitlines()

    priorities = {json.loads(line[3:])["event"]: line[:3] for line in lines}
    assert priorities["file.published"] == "<7>"
    assert priorities["file.failed"] == "<4>"


async def test_what_upstream_sends_cannot_act_on_a_terminal(shell: Shell) -> None:
    evil = '{"name": "\\u001b]0;owned\\u0007\\u009b31m", "date": "2024-01-01", "count": "1"}\n'
    index = shell.archive["index.jsonl"]
    shell.archive.put("index.jsonl", evil.encode() + index.body, index.last_modified)
    raw = b"\x1b[2Jevil\x9b31m\n"
    day = shell.days[1]
    shell.archive.put_day(day, raw, index.last_modified)

    code, shown = await shown_on_terminal(shell, "sync")

    assert code == 3
    assert "owned" in shown
    assert "\x1b]" not in shown
    assert "\x1b[2Jevil" not in shown
    assert "\x07" not in shown
    assert "\x9b" not in shown


@pytest.mark.parametrize("command", [("verify",), ("dataset", "build")])
async def test_reading_shows_its_progress_on_a_terminal_only(
    shell: Shell, command: tuple[str, ...]
) -> None:
    await shell.synced()

    code, shown = await shown_on_terminal(shell, *command)
    piped = await shell.run(*command)

    assert code == 0
    assert "6 files read" in shown
    assert "read" not in piped.err
    assert "\x1b" not in piped.out + piped.err


def in_shell(shell: Shell, script: str) -> subprocess.CompletedProcess[bytes]:
    """Run a script in which "$@" is the command."""
    return subprocess.run(
        ["bash", "-c", script, "bash", *COMMAND],
        env=shell.environ,
        capture_output=True,
        check=False,
        timeout=PATIENCE_S,
    )


@pytest.mark.parametrize("command", ["status", "config show", "history --json", "--help"])
async def test_a_reader_that_has_had_enough_is_no_failure(shell: Shell, command: str) -> None:
    await shell.synced()

    done = in_shell(shell, f'"$@" {command} | head -c 1 >/dev/null; echo "${{PIPESTATUS[0]}}"')
    gone = in_shell(shell, f'{{ sleep 0.1; "$@" {command}; echo $? >&2; }} | true')

    assert (done.stdout, done.stderr) == (b"0\n", b"")
    assert gone.stderr == b"0\n"


async def test_a_reader_that_has_gone_changes_no_exit_code(shell: Shell) -> None:
    await shell.synced()
    shell.path(shell.days[0]).unlink()

    done = in_shell(shell, '{ sleep 0.1; "$@" verify; echo $? >&2; } | true')

    assert done.stderr == b"3\n"


@pytest.mark.parametrize("command", ["status", "--help", "sync --help", "--version"])
async def test_output_that_cannot_be_written_is_told(shell: Shell, command: str) -> None:
    await shell.synced()

    done = in_shell(shell, f'"$@" {command} >/dev/full')

    assert done.returncode == 5
    assert done.stderr.startswith(b"binder-mirror: standard output: No space left on device")
    assert done.stderr.count(b"\n") == 1


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
async def test_closed_streams_hurt_nobody(shell: Shell, closed: str) -> None:
    await shell.synced()

    done = in_shell(shell, f'"$@" status {closed}')
    refused = in_shell(shell, f'"$@" restore {shell.days[0]} abc {closed}')

    assert (done.returncode, done.stderr) == (0, b"")
    assert refused.returncode == 2
    assert refused.stdout == b""


def full_pipe() -> tuple[int, int]:
    """Return the ends of a pipe in which there is no room left."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, b"x" * 4096)
    os.set_blocking(writing, True)
    return reading, writing


@contextmanager
def lost_log(how: str) -> Iterator[int]:
    """Have a descriptor that takes no log, or not any more."""
    if how == "full disk":
        ends = [os.open("/dev/full", os.O_WRONLY)]
    elif how == "not for writing":
        ends = [os.open(os.devnull, os.O_RDONLY)]
    elif how == "stuck pipe":
        ends = list(reversed(full_pipe()))
    elif how == "socket gone":
        # as journald's
        ours, theirs = socket.socketpair()
        ends = [ours.detach()]
        theirs.close()
    else:
        reading, writing = os.pipe()
        os.close(reading)
        ends = [writing]
    try:
        yield ends[0]
    finally:
        for end in ends:
            os.close(end)


LOST = ["reader gone", "socket gone", "full disk", "stuck pipe", "not for writing"]


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_log_changes_nothing_of_a_sync(shell: Shell, how: str) -> None:
    with lost_log(how) as stderr:
        done = await shell.run("sync", stderr=stderr)

    assert (done.code, done.out.partition(":")[0]) == (0, "In step with upstream")
    shell.assert_complete()


@pytest.mark.parametrize("how", LOST)
async def test_a_lost_log_is_no_success(shell: Shell, how: str) -> None:
    await shell.synced()
    day = shell.days[0]
    shell.path(day).write_bytes(shell.body(day)[:-1])
    shell.set(upstream__url="http://127.0.0.1:9/", http__retries="0")

    with lost_log(how) as stderr:
        repaired = await shell.run("verify", "--repair", "--json", stderr=stderr)
        synced = await shell.run("sync", stderr=stderr)
        refused = await shell.run("no-such-command", stderr=stderr)

    assert repaired.json["no_longer_held"] == [str(day)]
    assert synced.code == 4
    assert refused.code == 2


@pytest.mark.parametrize("how", LOST)
async def test_a_daemon_without_its_log_works_and_ends_when_it_is_told_to(
    shell: Shell, how: str
) -> None:
    shell.set(server__listen="127.0.0.1:0", schedule__interval="1s", schedule__jitter="0s")
    with lost_log(how) as stderr:
        process = await shell.start("run", stderr=stderr)
        async with asyncio.timeout(PATIENCE_S):
            while len(load_polls(shell.data, 9).last) < 3:
                await asyncio.sleep(0.05)
        done = await interrupt(process, signal.SIGTERM)

    assert done.code == 0
    shell.assert_complete()


async def test_an_answer_that_nobody_takes_is_given_up_when_told_to_end(shell: Shell) -> None:
    await shell.synced()
    reading, writing = full_pipe()
    process = await shell.start("events", stdout=writing)
    async with asyncio.timeout(PATIENCE_S):
        while "pipe_write" not in await asyncio.to_thread(
            Path(f"/proc/{process.pid}/wchan").read_text
        ):
            await asyncio.sleep(0.05)

    done = await interrupt(process, signal.SIGTERM)
    os.close(reading)
    os.close(writing)

    assert done.code == 143


def test_what_a_slow_reader_did_not_take_at_once_comes_later_and_whole() -> None:
    reading, writing = os.pipe()
    lines = [f"{number:06} {'x' * 90}\n".encode() for number in range(3000)]
    writer = LossyWriter(writing)

    for line in lines:
        writer.write(line)
    taken = bytearray()

    def read() -> None:
        while chunk := os.read(reading, 65536):
            taken.extend(chunk)

    reader = threading.Thread(target=read)
    reader.start()
    writer.part()
    os.close(writing)
    reader.join()
    os.close(reading)

    assert bytes(taken) == b"".join(lines)


def test_what_is_lost_is_counted_where_it_is_missing() -> None:
    reading, writing = full_pipe()
    writer = LossyWriter(writing, kept_bytes=100)
    writer.write(b"kept\n")
    for _ in range(7):
        writer.write(b"y" * 99 + b"\n")

    room = os.read(reading, 1024 * 1024)
    writer.write(b"after\n")
    said = os.read(reading, 1024)
    os.close(reading)
    writer.write(b"nobody\n")
    os.close(writing)

    assert room == b"x" * len(room)
    assert said == b"kept\nbinder-mirror: 7 lines could not be written here\nafter\n"
