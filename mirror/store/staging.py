"""Files in `staging/`, and the work on threads that writes them."""

import asyncio
import io
from collections.abc import Awaitable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TypeVar

from mirror.archive.ports import Transform

T = TypeVar("T")


class StagingFile(io.FileIO):
    """A file that passes what is written to it through a transform first.

    aiofiles hands each call to a thread; so hashing, counting and writing a block take one hop off
    the event loop instead of three.
    """

    def __init__(self, path: Path, through: Transform) -> None:
        # "x": never onto something that is there; staging names are random anyway
        super().__init__(path, "xb")
        self._through = through

    def writelines(self, block: Sequence[bytes], /) -> None:  # type: ignore[override]
        """Write what comes out of the transform."""
        for chunk in block:
            for piece in self._through(chunk):
                view = memoryview(piece)
                while view:
                    view = view[self.write(view) :]


def discard(path: Path, file: StagingFile) -> None:
    """Take an unfinished body away; one that is published is closed, and has left its place."""
    if not file.closed:
        with suppress(OSError):
            file.close()
        with suppress(OSError):
            path.unlink(missing_ok=True)


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
