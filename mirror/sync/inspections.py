"""Findings counted beside the download: on a thread for a few files, on other processors for many.

Decoding holds the interpreter's lock, so that on a thread it halves the speed of a large sync.
"""

import asyncio
import os
import sys
from asyncio.subprocess import PIPE, Process
from contextlib import suppress
from datetime import date
from pathlib import Path
from types import TracebackType
from typing import Self

import msgspec

from mirror.model import Findings
from mirror.store.disk import storage_errors
from mirror.sync.findings_worker import inspect_file

WORTH_A_PROCESS_BYTES = 64 * 1024**2
"""From here on the start of a process (0.1 s) is little beside the counting."""
MAX_WORKERS = 4

_answer_decoder: msgspec.json.Decoder[Findings | None] = msgspec.json.Decoder(Findings | None)


class Inspections:
    """Counts the findings of files. Owns its processes: use with `async with`.

    Args:
        expected_bytes: how much there will be to count, about.
    """

    def __init__(self, expected_bytes: int) -> None:
        wanted = max(1, (os.cpu_count() or 1) - 1)
        self._workers = min(MAX_WORKERS, wanted) if expected_bytes >= WORTH_A_PROCESS_BYTES else 0
        self._idle: asyncio.LifoQueue[Process | None] = asyncio.LifoQueue()
        self._started: list[Process] = []

    async def __aenter__(self) -> Self:
        for _ in range(self._workers):
            # None stands for a process yet to be started
            self._idle.put_nowait(None)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for process in self._started:
            with suppress(ProcessLookupError):
                process.kill()
            await process.wait()

    async def inspect(self, path: Path, day: date) -> Findings:
        """Return the findings of a file of ours.

        Raises:
            StorageError: it cannot be read.
        """
        if self._workers:
            findings = await self._ask_process(path, day)
            if findings is not None:
                return findings
        with storage_errors(path):
            return await asyncio.to_thread(inspect_file, path, day)

    async def _ask_process(self, path: Path, day: date) -> Findings | None:
        """Return a process's answer; None where it has died or could not read the file."""
        process = await self._idle.get()
        try:
            if process is None or process.returncode is not None:
                process = await self._start()
            return await _exchange(process, path, day)
        except (OSError, msgspec.DecodeError):
            return None
        except asyncio.CancelledError:
            # its answer to this question must not pass for one to the next
            if process is not None:
                process.kill()
            raise
        finally:
            self._idle.put_nowait(process)

    async def _start(self) -> Process:
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "mirror.sync.findings_worker",
            stdin=PIPE,
            stdout=PIPE,
            # found where this process found us, however that was arranged
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )
        self._started.append(process)
        return process


async def _exchange(process: Process, path: Path, day: date) -> Findings | None:
    if process.stdin is None or process.stdout is None:
        return None
    process.stdin.write(msgspec.json.encode((day, str(path))) + b"\n")
    await process.stdin.drain()
    return _answer_decoder.decode(await process.stdout.readline())
