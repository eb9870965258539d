"""Shows how far a long task is: a bar on a terminal, a line in a notebook, nothing elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import TracebackType
from typing import Self, TextIO

from mirror.text import human_bytes, plural

_NOTEBOOK_EVERY_S = 0.5

Advance = Callable[[int, int], None]
"""Called from any thread with the files and the bytes that were read since the last call."""


def takes_escapes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal with colours and motion that nobody has refused."""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("TERM") not in (None, "", "dumb") and stream.isatty()


class Bar:
    """A bar on standard error with bytes, rate and time left; it is drawn within `with`."""

    def __init__(self, label: str, total: int | None = None) -> None:
        # rich is worth its start-up time only where it is seen
        from rich.console import Console  # noqa: PLC0415
        from rich.progress import (  # noqa: PLC0415
            BarColumn,
            DownloadColumn,
            Progress,
            TextColumn,
            TimeRemainingColumn,
            TransferSpeedColumn,
        )

        self._progress = Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(stderr=True),
            transient=True,
        )
        self._task = self._progress.add_task(label, total=total, note="")

    def __enter__(self) -> Self:
        self._progress.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

    def show(self, label: str, done: int, total: int | None, note: str = "") -> None:
        """Draw the bar anew; a total of None is not known yet."""
        self._progress.update(self._task, description=label, completed=done, total=total, note=note)


@contextmanager
def show_reading(total_bytes: int | None) -> Iterator[Advance]:
    """Show how the reading of files goes, where somebody can see it.

    Args:
        total_bytes: what there is to read; None if that is not known.

    Yields:
        What is to be called as it goes.
    """
    if _is_notebook():
        yield _Counter(_NotebookLine().show, total_bytes)
    elif takes_escapes(sys.stderr):
        with Bar("reading", total_bytes) as bar:
            yield _Counter(bar.show, total_bytes)
    else:
        yield show_nothing


def show_nothing(files: int, size: int) -> None:
    """Show nothing: progress for whoever does not want to see it."""
    del files, size


class _Counter:
    """Adds up what was read."""

    def __init__(
        self, show: Callable[[str, int, int | None], None], total_bytes: int | None
    ) -> None:
        self._show = show
        self._total = total_bytes
        self._files = 0
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, files: int, size: int) -> None:
        with self._lock:
            self._files += files
            self._bytes += size
            self._show(f"{plural(self._files, 'file')} read", self._bytes, self._total)


def _is_notebook() -> bool:
    """Return whether a Jupyter kernel runs us: its streams obey a carriage return too."""
    return "ipykernel" in sys.modules and hasattr(sys.stderr, "pub_thread")


class _NotebookLine:
    """One line that is written over; needs no widgets."""

    def __init__(self) -> None:
        self._shown_at = time.monotonic()

    def show(self, label: str, done: int, total: int | None) -> None:
        now = time.monotonic()
        if now - self._shown_at < _NOTEBOOK_EVERY_S and (total is None or done < total):
            return
        self._shown_at = now
        of = f" of {human_bytes(total)}" if total is not None else ""
        sys.stderr.write(f"\r{label}: {human_bytes(done)}{of}")
        sys.stderr.flush()
