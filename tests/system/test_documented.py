"""README and docs as people read them: each command is typed, and shows what is printed there.

While `binder-mirror demo --serve` serves its archive at the address that the documents name, the
lines of a document's console blocks are run one after the other in a folder of their own. What is
printed below a line has to be what it shows, where `...` stands for any number of lines; how long
something took, and when, is not compared.
"""

import asyncio
import fcntl
import os
import re
import signal
import socket
import sys
import tempfile
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple

import pytest

from tests.command import PATIENCE_S, ROOT

DEMO = "binder-mirror demo --serve"
SERVER = re.compile(r"binder-mirror (run|serve) ")
DOCUMENTS = ("README.md", "docs/analysis.md", "docs/commands.md", "docs/operations.md")
PORTS = (8000, 8080)
FAILS = {"binder-mirror verify --data-dir copy": 3}
ELSEWHERE = {
    "pip install": "what CI does, in an environment of its own",
    "make ": "what CI does",
    "docker ": "test_container.py builds the image and runs it",
}
"""Lines that are not run here, and why; root's (`#`) are typed on a booted systemd."""


class Example(NamedTuple):
    """A command line of a document, and what is printed below it."""

    line: str
    shown: list[str]


def examples(name: str) -> Iterator[Example]:
    """Yield the command lines of a document, but for root's."""
    text = (ROOT / name).read_text()
    for block in re.findall(r"^```console\n(.*?)^```$", text, re.MULTILINE | re.DOTALL):
        for part in re.split(r"^(?=[$#] )", block, flags=re.MULTILINE):
            if found := re.match(r"\$ (.*(?:\\\n.*)*)\n", part):
                yield Example(found[1], part[found.end() :].splitlines())


def comparable(line: str) -> str:
    """Return a line without what is another each time: moments, durations and ages."""
    line = re.sub(r"\d{4}-\d\d-\d\d \d\d:\d\d UTC( \((just now|.*? ago)\))?", "MOMENT", line)
    line = re.sub(r"\b\d+ days ago", "AGE", line)
    # packed or made by libraries, whose other versions pack otherwise
    line = re.sub(r"(launches|quarantine), [\d.]+ [kM]B$", r"\1, SIZE", line)
    return re.sub(r"\b\d+(\.\d+)? s\b", "DURATION", line).rstrip()


def agrees(shown: list[str], printed: list[str]) -> bool:
    """Tell whether lines are those of a document, in which `...` stands for any number."""
    parts = [".*" if one == "..." else re.escape(comparable(one)) for one in shown]
    text = "\n".join(comparable(one) for one in printed)
    return re.fullmatch("\n".join(parts), text, re.DOTALL) is not None


class Reader:
    """Somebody who types what a document says, in a folder and a home of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        home = folder / "home"
        home.mkdir()
        (home / ".config" / "fish" / "completions").mkdir(parents=True)
        program = folder / "bin" / "binder-mirror"
        program.parent.mkdir()
        program.write_text(f'#!/bin/sh\nexec "{sys.executable}" -m mirror "$@"\n')
        program.chmod(0o755)
        self.environ = {
            "PATH": f"{program.parent}:{os.environ['PATH']}",
            "PYTHONPATH": str(ROOT),
            "HOME": str(home),
            # where a document means the real archive
            "BINDER_MIRROR_UPSTREAM__URL": "http://127.0.0.1:8000/",
            "BINDER_MIRROR_STORAGE__MIN_FREE": "0",
            "BINDER_MIRROR_LOG__LEVEL": "error",
        }

    async def type(self, line: str) -> list[str]:
        """Run a command to its end; return what it shows."""
        process = await self._start(line, asyncio.subprocess.PIPE)
        out, _ = await asyncio.wait_for(process.communicate(), 2 * PATIENCE_S)
        shown = out.decode().splitlines()
        assert process.returncode == FAILS.get(line, 0), "\n".join(["$ " + line, *shown])
        return shown

    @asynccontextmanager
    async def serving(self, line: str) -> AsyncIterator[list[str]]:
        """Run a command on a terminal until it says that Ctrl-C ends it, yield what it shows, and
        end it so."""
        ours, theirs = os.openpty()
        process = await self._start(f"exec {line}", theirs)
        os.close(theirs)
        try:
            yield await asyncio.wait_for(asyncio.to_thread(_read_until, ours, "Ctrl-C"), PATIENCE_S)
            process.send_signal(signal.SIGINT)
            assert await asyncio.wait_for(process.wait(), PATIENCE_S) == 0
        finally:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()
            os.close(ours)

    async def _start(self, line: str, output: int) -> asyncio.subprocess.Process:
        return await asyncio.create_subprocess_exec(
            *("/bin/bash", "-c", line),
            cwd=self.folder,
            env=self.environ,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=output,
            stderr=asyncio.subprocess.STDOUT,
        )


def _read_until(terminal: int, word: str) -> list[str]:
    """Return the lines up to the one with a word; the end of the output is an end too."""
    text = b""
    with suppress(OSError):
        while not re.search(word.encode() + b".*\n", text):
            text += os.read(terminal, 65536)
    return text.decode().splitlines()


@pytest.fixture
def reader(tmp_path: Path) -> Iterator[Reader]:
    """A reader who has the port of the demo for themselves."""
    with (Path(tempfile.gettempdir()) / "binder-mirror-documented.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for port in PORTS:
            with socket.socket() as probe:
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
                try:
                    probe.bind(("127.0.0.1", port))
                except OSError:
                    pytest.skip(f"port {port}, which the documents name, is taken here")
        yield Reader(tmp_path)


@pytest.mark.parametrize("name", DOCUMENTS)
async def test_every_example_shows_what_is_printed_below_it(name: str, reader: Reader) -> None:
    async with reader.serving(DEMO) as told:
        for line, shown in examples(name):
            if line.startswith(tuple(ELSEWHERE)):
                continue
            if line == DEMO:
                printed = told
            elif SERVER.match(line):
                async with reader.serving(line) as printed:
                    page = await reader.type("curl -sf http://127.0.0.1:8080/status")
                    assert "</html>" in page[-1]
            else:
                printed = await reader.type(line)
            there = "\n".join(printed)
            assert not shown or agrees(shown, printed), f"{name}: $ {line}\nshows\n{there}"


def test_each_document_with_examples_is_tried() -> None:
    names = ["README.md", *(f"docs/{path.name}" for path in ROOT.glob("docs/*.md"))]
    assert {name for name in names if list(examples(name))} == set(DOCUMENTS)


def test_each_line_that_is_left_to_others_is_in_a_document() -> None:
    lines = [line for name in DOCUMENTS for line, _ in examples(name)]
    assert all(any(line.startswith(start) for line in lines) for start in ELSEWHERE)
