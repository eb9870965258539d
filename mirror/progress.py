"""Shows how far a long task is: a bar on a terminal, a line in a notebook, nothing elsewhere."""

import os
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TextIO

from mirror.text import human_bytes, plural

_NOTEBOOK_EVERY_S = 0.5

Advance = Callable[[int, int], None]
"""Called from any thread with the files and the bytes that were read since the last call."""
Show = Callable[[str, int, int | None, str], None]
"""Shows a label, how far a task is, what there is of it (None: not known yet), and a note."""


def takes_escapes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal with colours and motion that nobody has refused."""
    if stream is None or os.environ.get("NO_COLOR"):
        return False
    return os.environ.get("TERM") not in (None, "", "dumb") and stream.isatty()


def takes_colours(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal whose colours nobody has refused."""
    return not os.environ.get("NO_COLOR") and takes_escapes(stream)


@contextmanager
def show_bar(label: str, total: int | None = None) -> Iterator[Show]:
    """Show a bar on standard error, with bytes, rate and time left; yield what draws it anew."""
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

    progress = Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}", markup=False),
        console=Console(stderr=True),
        transient=True,
    )
    task = progress.add_task(label, total=total, note="")

    def show(label: str, done: int, total: int | None, note: str) -> None:
        progress.update(task, description=label, completed=done, total=total, note=note)

    with progress:
        yield show


@contextmanager
def show_reading(total_bytes: int | None) -> Iterator[Advance]:
    """Show how the reading of files goes, where somebody can see it.

    Args:
        total_bytes: what there is to read; None if that is not known.

    Yields:
        What is to be called as it goes.
    """
    if _is_notebook():
        yield _adding_up(_notebook_line(), total_bytes)
    elif takes_escapes(sys.stderr):
        with show_bar("reading", total_bytes) as show:
            yield _adding_up(show, total_bytes)
    else:
        yield show_nothing


def show_nothing(files: int, size: int) -> None:
    """Show nothing: progress for whoever does not want to see it."""
    del files, size


def _adding_up(show: Show, total_bytes: int | None) -> Advance:
    read_files = read_bytes = 0
    lock = threading.Lock()

    def advance(files: int, size: int) -> None:
        nonlocal read_files, read_bytes
        with lock:
            read_files += files
            read_bytes += size
            show(f"{plural(read_files, 'file')} read", read_bytes, total_bytes, "")

    return advance


def _is_notebook() -> bool:
    """Return whether a Jupyter kernel runs us: its streams obey a carriage return too."""
    return "ipykernel" in sys.modules and hasattr(sys.stderr, "pub_thread")


def _notebook_line() -> Show:
    """Return what writes one line over and over; needs no widgets."""
    shown_at = time.monotonic()

    def show(label: str, done: int, total: int | None, note: str) -> None:
        nonlocal shown_at
        now = time.monotonic()
        if now - shown_at < _NOTEBOOK_EVERY_S and (total is None or done < total):
            return
        shown_at = now
        of = f" of {human_bytes(total)}" if total is not None else ""
        sys.stderr.write(f"\r{label}: {human_bytes(done)}{of}{note}")
        sys.stderr.flush()

    return show
