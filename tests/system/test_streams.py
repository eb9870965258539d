"""Pipes, terminals and closed streams."""

import asyncio
import os
import pty
import re
import subprocess
from contextlib import suppress

import pytest

from tests.command import COMMAND, PATIENCE_S, Shell
from tests.upstream.faults import Gate, Status

_ESCAPE = re.compile(r"\x1b\[[0-9;?]*[A-Za-z]")
_COLOUR = re.compile(r"\x1b\[[0-9;]*m")


async def on_a_terminal(shell: Shell, *arguments: str, gate: Gate | None = None) -> tuple[int, str]:
    """Run a command whose standard error is a terminal; return exit code and what it showed."""
    ours, theirs = pty.openpty()
    shown = bytearray()
    loop = asyncio.get_running_loop()

    def read() -> None:
        with suppress(OSError):
            shown.extend(os.read(ours, 65536))

    loop.add_reader(ours, read)
    try:
        process = await shell.start(*arguments, stdout=theirs, stderr=theirs)
        os.close(theirs)
        if gate is not None:
            await asyncio.wait_for(gate.reached.wait(), PATIENCE_S)
            # a moment in which progress is drawn with a day half done
            await asyncio.sleep(0.4)
            gate.opened.set()
        code = await asyncio.wait_for(process.wait(), PATIENCE_S)
        read()
    finally:
        loop.remove_reader(ours)
        os.close(ours)
    return code, shown.decode()


async def test_a_pipe_gets_neither_progress_nor_colour(shell: Shell) -> None:
    done = await shell.run("sync")

    assert "\x1b" not in done.out + done.err
    assert "\r" not in done.out + done.err
    assert len(done.out.splitlines()) == 2


async def test_a_terminal_shows_days_done_of_days_due(shell: Shell) -> None:
    gate = Gate()
    shell.server.fail(f"events-{shell.days[0]}.jsonl", gate)

    code, shown = await on_a_terminal(shell, "sync", gate=gate)

    assert code == 0
    plain = _ESCAPE.sub("", shown)
    assert "5 of 6 days" in plain
    assert "In step with upstream: 6 days held" in plain
    assert "{" not in plain


@pytest.mark.parametrize("environ", [{"NO_COLOR": "1"}, {"TERM": "dumb"}])
async def test_who_wants_no_colours_gets_no_escapes(shell: Shell, environ: dict[str, str]) -> None:
    shell.environ |= environ
    shell.server.fail(f"events-{shell.days[0]}.jsonl", Status(503))

    code, shown = await on_a_terminal(shell, "sync")

    assert code == 0
    assert "\x1b" not in shown
    assert "days due" not in shown
    # the log is for people there
    assert "file.published" in shown
    assert '{"' not in shown


async def test_what_upstream_sends_cannot_act_on_a_terminal(shell: Shell) -> None:
    evil = '{"name": "\\u001b]0;owned\\u0007\\u009b31m", "date": "2024-01-01", "count": "1"}\n'
    index = shell.archive["index.jsonl"]
    shell.archive.put("index.jsonl", evil.encode() + index.body, index.last_modified)
    raw = b"\x1b[2Jevil\x9b31m\n"
    day = shell.days[1]
    shell.archive.put_day(day, raw, index.last_modified)

    code, shown = await on_a_terminal(shell, "sync")

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

    code, shown = await on_a_terminal(shell, *command)
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
