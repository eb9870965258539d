"""Files under `staging/`: how a body gets into one, on a thread or in another process."""

import asyncio
import io
import os
from collections.abc import AsyncIterator, Awaitable, Sequence
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import NamedTuple, TypeVar

from mirror.archive.ports import Transform
from mirror.store.disk import storage_errors

T = TypeVar("T")


class StagingFile(io.FileIO):
    """A file that passes what is written to it through a transform first.

    aiofiles hands each call to a thread; so hashing, counting and writing a block take one hop off
    the event loop instead of three.
    """

    def __init__(self, path: Path, through: Transform, mode: str = "xb") -> None:
        # "x": never onto something that is there; staging names are random anyway
        super().__init__(path, mode)
        self._through = through

    def writelines(self, block: Sequence[bytes], /) -> None:  # type: ignore[override]
        """Write what comes out of the transform."""
        for chunk in block:
            for piece in self._through(chunk):
                view = memoryview(piece)
                while view:
                    view = view[self.write(view) :]

    def discard(self) -> None:
        """Take an unfinished body away; one that is published is closed, and has left its place."""
        if not self.closed:
            with suppress(OSError):
                self.close()
            with suppress(OSError):
                os.unlink(self.name)  # noqa: PTH108


class _DirectFile(NamedTuple):
    """A body that is written by the process that nobody else waits for: without a thread."""

    file: StagingFile

    async def write(self, block: Sequence[bytes]) -> None:
        """Pass a block through the transform and write what comes out."""
        with storage_errors(Path(str(self.file.name))):
            self.file.writelines(block)


@asynccontextmanager
async def write_at(path: Path, _name: str, through: Transform) -> AsyncIterator[_DirectFile]:
    """Write a body that another process has begun at a path; see `Staged.elsewhere`."""
    with storage_errors(path):
        file = StagingFile(path, through, "r+b")
    with file:
        yield _DirectFile(file)


async def to_its_end(work: Awaitable[T]) -> T:
    """Await work on a thread, to its end even when cancelled.

    A thread cannot be called back, and closing the file under it would let its next write reach
    whatever the descriptor's number stands for by then.
    """
    task = asyncio.ensure_future(work)
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        # that it failed is of no interest any more, and nothing to be logged at exit
        if not task.cancelled():
            task.exception()
        raise
