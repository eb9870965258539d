"""A terminal of a given size: what a command writes there, and what of it is to be seen."""

import asyncio
import fcntl
import os
import re
import struct
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pyte

from tests.command import PATIENCE_S, Shell


class Terminal:
    """A terminal with a command that runs on it.

    Attributes:
        written: all that the command has written, as it came.
    """

    def __init__(self, columns: int) -> None:
        self.columns = columns
        self.written = bytearray()
        self.process: asyncio.subprocess.Process
        self._screen = pyte.Screen(columns, 24)
        self._stream = pyte.ByteStream(self._screen)
        self._changed = asyncio.Event()
        self._ours, self.theirs = os.openpty()
        os.set_blocking(self._ours, False)
        size = struct.pack("HHHH", 24, columns, 0, 0)
        fcntl.ioctl(self.theirs, termios.TIOCSWINSZ, size)

    @property
    def frame(self) -> str:
        """What is to be seen now; nothing is left of what was erased."""
        return "\n".join(line.rstrip() for line in self._screen.display).rstrip("\n")

    async def seen(self, pattern: str) -> str:
        """Wait until what is to be seen matches; return it."""
        async with asyncio.timeout(PATIENCE_S):
            while not re.search(pattern, self.frame, re.DOTALL):
                self._changed.clear()
                await self._changed.wait()
        return self.frame

    def press(self, keys: bytes) -> None:
        """Type."""
        os.write(self._ours, keys)

    async def ended(self) -> int:
        """Wait for the command's end; return its exit code."""
        code = await asyncio.wait_for(self.process.wait(), PATIENCE_S)
        self._read()
        return code

    def open(self) -> None:
        """Begin to read what is written."""
        asyncio.get_running_loop().add_reader(self._ours, self._read)

    def close(self) -> None:
        """Be gone."""
        asyncio.get_running_loop().remove_reader(self._ours)
        os.close(self._ours)
        os.close(self.theirs)

    def _read(self) -> None:
        with suppress(BlockingIOError):
            while piece := os.read(self._ours, 65536):
                self.written += piece
                self._stream.feed(piece)
                self._changed.set()


@asynccontextmanager
async def on_terminal(shell: Shell, *arguments: str, columns: int = 110) -> AsyncIterator[Terminal]:
    """Run a command on a terminal of its own, from which it can be interrupted."""
    terminal = Terminal(columns)
    terminal.open()
    # so that the terminal sends its signals to it
    shell.prefix = ("setsid", "--ctty")
    end = terminal.theirs
    try:
        terminal.process = await shell.start(*arguments, stdin=end, stdout=end, stderr=end)
        yield terminal
        with suppress(ProcessLookupError):
            terminal.process.kill()
        await terminal.process.wait()
    finally:
        shell.prefix = ()
        terminal.close()


async def shown_on_terminal(shell: Shell, *arguments: str) -> tuple[int, str]:
    """Run a command to its end; return its exit code and all that it wrote, escapes too."""
    async with on_terminal(shell, *arguments) as terminal:
        return await terminal.ended(), terminal.written.decode()
