"""`query` held to its bounds and ended by signals, whatever DuckDB is busy with."""

import asyncio
import os
import pty
import signal
import subprocess
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from tests.command import PATIENCE_S, Done, Shell, finish, interrupt

pytest.importorskip("duckdb")
FOLDED = "SELECT length(repeat('x', 3000000000))"
"""Worked out while the query is planned: neither counted by DuckDB nor interrupted."""
ENDLESS = "SELECT count(*) FROM range(1000000) a, range(1000000) b WHERE hash(a.range, b.range) = 7"
MANY = "SELECT range AS n FROM range(1000000000)"
UNBOUND = ("--memory", "100GB", "--timeout", "0")


@pytest.fixture
async def mirror(shell: Shell) -> Shell:
    """A shell with a mirror and its data set."""
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    return shell


async def until(is_so: Callable[[], bool]) -> None:
    """Wait until something is so."""
    async with asyncio.timeout(PATIENCE_S):
        while not is_so():
            await asyncio.sleep(0.01)


def child_of(pid: int) -> int | None:
    """Return the process that a process has started, where there is one."""
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return int(children[0]) if children else None


def threads_of(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/task").iterdir()))
    except FileNotFoundError:
        return 0


def is_alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


async def answering(pid: int) -> int:
    """Wait until a command's query is with DuckDB; return the process that answers it."""

    def is_so() -> bool:
        child = child_of(pid)
        # one thread runs the call, one waits for the parent's end, the others are DuckDB's
        return child is not None and threads_of(child) > 2

    await until(is_so)
    child = child_of(pid)
    assert child is not None
    return child


async def test_a_folded_scalar_is_held_to_the_memory_bound(mirror: Shell):
    done = await mirror.run("query", FOLDED, "--memory", "100MB", "--timeout", "0")
    assert "--memory" in done.refused(2)
    assert (await mirror.run("query", "SELECT length(repeat('x', 1000))")).out.endswith("\n1000\n")


@pytest.mark.parametrize("sql", [ENDLESS, "SELECT list(range) FROM range(1000000000000)"])
async def test_what_takes_too_long_is_killed(mirror: Shell, sql: str):
    done = await mirror.run("query", sql, "--memory", "100GB", "--timeout", "0.5")
    assert done.refused(2).startswith("the query took longer than 0.5 s and was cancelled")


@pytest.mark.parametrize(
    ("number", "code", "said"),
    [(signal.SIGINT, 130, ["binder-mirror: interrupted"]), (signal.SIGTERM, 143, [])],
)
async def test_a_signal_ends_a_query_at_once(
    mirror: Shell, tmp_path: Path, number: signal.Signals, code: int, said: list[str]
):
    target = tmp_path / "answer.csv"
    process = await mirror.start("query", ENDLESS, *UNBOUND, "--output", str(target))
    child = await answering(process.pid)
    done = await interrupt(process, number)
    assert (done.code, done.out, done.said) == (code, "", said)
    assert not is_alive(child)
    assert not list(tmp_path.glob("*answer*"))


async def test_a_signal_leaves_nothing_of_a_data_set_made_for_the_moment(
    shell: Shell, tmp_path: Path
):
    await shell.synced()
    shell.environ["TMPDIR"] = str(tmp_path)
    process = await shell.start("query", ENDLESS, *UNBOUND)
    await until(lambda: bool(list(tmp_path.glob("binder-mirror-*/year=*"))))
    done = await interrupt(process, signal.SIGTERM)
    assert done.code == 143
    assert not list(tmp_path.glob("binder-mirror-*"))


@pytest.mark.parametrize("number", range(3, 6))
async def test_a_query_cannot_wait_for_its_own_answer(mirror: Shell, number: int):
    sql = f"SELECT * FROM read_csv('/dev/fd/{number}')"
    done = await mirror.run("query", sql, "--format", "csv", "--timeout", "0")
    assert "disabled by configuration" in done.refused(2)


async def test_a_query_killed_from_outside_is_told(mirror: Shell):
    process = await mirror.start("query", ENDLESS, *UNBOUND)
    os.kill(await answering(process.pid), signal.SIGKILL)
    assert "ended from outside (SIGKILL)" in (await finish(process)).refused(2)


@pytest.mark.parametrize("sql", [ENDLESS, "SELECT length(repeat('x', 200000000))"])
async def test_no_query_outlives_a_command_that_is_killed(mirror: Shell, sql: str):
    process = await mirror.start("query", sql, *UNBOUND)
    child = await answering(process.pid)
    process.kill()
    await process.wait()
    await until(lambda: not is_alive(child))


@pytest.mark.parametrize("name", ["csv", "json", "markdown", "table"])
async def test_a_full_disk_is_told_in_one_line(mirror: Shell, name: str):
    with Path("/dev/full").open("wb") as full:
        done = await mirror.run("query", "SELECT 1", "--format", name, stdout=full)
    assert "standard output" in done.refused(5)
    done = await mirror.run("query", "SELECT 1", "--format", name, "--output", "/dev/full")
    assert "/dev/full" in done.refused(5)


@pytest.mark.parametrize("name", ["csv", "json", "markdown", "table"])
async def test_a_reader_that_has_had_enough_is_no_failure(mirror: Shell, name: str):
    # a table is laid out when all of it is there
    sql = "SELECT repeat('x', 1000) AS x FROM range(400)" if name == "table" else MANY
    reader, writer = os.pipe()
    process = await mirror.start("query", sql, "--format", name, stdout=writer)
    os.close(writer)
    assert os.read(reader, 1)
    os.close(reader)
    done = await finish(process)
    assert (done.code, done.said) == (0, [])


async def type_in(mirror: Shell, *lines: str) -> Done:
    process = await mirror.start("query", stdin=subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate("".join(lines).encode()), PATIENCE_S)
    assert process.returncode is not None
    return Done(process.returncode, out.decode(), err.decode())


async def test_a_query_over_its_bounds_does_not_end_the_prompt(mirror: Shell):
    done = await type_in(mirror, f"{FOLDED};\n", "SELECT 41 + 1 AS n;\n")
    assert (done.code, done.out) == (2, "n\n42\n")
    assert "--memory" in done.said[0]


class Terminal:
    """The prompt on a terminal of its own."""

    def __init__(self, process: asyncio.subprocess.Process, descriptor: int) -> None:
        self.process = process
        self._descriptor = descriptor
        self._seen = ""
        os.set_blocking(descriptor, False)

    async def shows(self, text: str) -> None:
        """Wait until it shows a text, after what was waited for before."""

        def is_so() -> bool:
            with suppress(BlockingIOError):
                self._seen += os.read(self._descriptor, 65536).decode()
            return text in self._seen

        await until(is_so)
        self._seen = self._seen.partition(text)[2]

    def type(self, text: str) -> None:
        os.write(self._descriptor, text.encode())


@asynccontextmanager
async def open_prompt(mirror: Shell) -> AsyncIterator[Terminal]:
    ours, theirs = pty.openpty()
    process = await mirror.start(
        "query", *UNBOUND, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
        preexec_fn=lambda: os.close(os.open(os.ttyname(0), os.O_RDWR)),
    )  # fmt: skip
    os.close(theirs)
    try:
        terminal = Terminal(process, ours)
        await terminal.shows("query> ")
        yield terminal
        async with asyncio.timeout(PATIENCE_S):
            await process.wait()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        os.close(ours)


async def test_at_the_prompt_ctrl_c_ends_the_query_and_ctrl_d_the_prompt(mirror: Shell):
    async with open_prompt(mirror) as terminal:
        terminal.type(f"{ENDLESS};\r")
        child = await answering(terminal.process.pid)
        terminal.type("\x03")
        await terminal.shows("cancelled")
        await terminal.shows("query> ")
        assert not is_alive(child)
        terminal.type("SELECT\r40 +\r2 AS n;\r")
        await terminal.shows("42")
        await terminal.shows("query> ")
        terminal.type("SELECT wrong\x03")
        await terminal.shows("query> ")
        terminal.type("\x04")
    assert terminal.process.returncode == 0
    async with open_prompt(mirror) as terminal:
        terminal.type("\x1b[A")
        await terminal.shows("2 AS n;")
        terminal.type("\x15\x04")
    assert terminal.process.returncode == 0


async def test_an_answer_goes_to_a_descriptor_that_the_shell_has_opened(mirror: Shell):
    reader, writer = os.pipe()
    done = await mirror.run(
        "query", "SELECT 42 AS n", "--output", f"/dev/fd/{writer}", "--format", "csv",
        pass_fds=[writer],
    )  # fmt: skip
    os.close(writer)
    with os.fdopen(reader) as answer:
        assert (done.code, done.out, answer.read()) == (0, "", "n\n42\n")


@pytest.mark.parametrize("name", ["csv", "json"])
async def test_what_standard_output_has_already_is_kept(mirror: Shell, tmp_path: Path, name: str):
    target = tmp_path / "answers"
    target.write_bytes(b"before\n")
    with target.open("ab") as out:
        assert (await mirror.run("query", "SELECT 1 AS n", "--format", name, stdout=out)).code == 0
    assert target.read_bytes().startswith(b"before\nn\n1\n" if name == "csv" else b"before\n[\n")


@pytest.mark.parametrize("name", ["csv", "json"])
async def test_a_query_that_fails_halfway_ends(mirror: Shell, name: str):
    sql = "SELECT CASE WHEN range = 900000 THEN error('halfway') END AS n FROM range(1000000)"
    done = await mirror.run("query", sql, "--format", name, *UNBOUND)
    assert (done.code, "halfway" in done.said[-1]) == (2, True)
