"""A progress bar for long reads: on a terminal, in a notebook, and nowhere else."""

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from mirror.text import human_bytes

_LONG_BYTES = 100_000_000
"""What is read within a second or so needs no bar."""
_NOTEBOOK_EVERY_S = 0.5

Advance = Callable[[int], None]
"""Told of bytes read."""


@contextmanager
def reading_progress(total_bytes: int, *, wanted: bool | None = None) -> Iterator[Advance]:
    """Show how a read goes, on standard error.

    Args:
        total_bytes: what there is to read.
        wanted: False for none; True for one however short the read; None for a long read.
    """
    enough = wanted or (wanted is None and total_bytes >= _LONG_BYTES)
    if enough and _is_notebook():
        yield _NotebookLine(total_bytes)
    elif enough and _is_terminal():
        with _rich_bar(total_bytes) as advance:
            yield advance
    else:
        yield _nothing


def _nothing(size: int) -> None:
    del size


def _is_terminal() -> bool:
    plain = os.environ.get("NO_COLOR") or os.environ.get("TERM") in (None, "", "dumb")
    return sys.stderr is not None and sys.stderr.isatty() and not plain


def _is_notebook() -> bool:
    """Return whether a Jupyter kernel runs us: its streams obey a carriage return too."""
    return "ipykernel" in sys.modules and hasattr(sys.stderr, "pub_thread")


@contextmanager
def _rich_bar(total_bytes: int) -> Iterator[Advance]:
    from rich.console import Console  # noqa: PLC0415 - only where it is seen
    from rich.progress import (  # noqa: PLC0415 - only where it is seen
        BarColumn,
        DownloadColumn,
        Progress,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (BarColumn(), DownloadColumn(), TransferSpeedColumn(), TimeRemainingColumn())
    with Progress(*columns, console=Console(stderr=True), transient=True) as progress:
        task = progress.add_task("", total=total_bytes)
        yield lambda size: progress.advance(task, size)


class _NotebookLine:
    """One line that is written over; needs no widgets."""

    def __init__(self, total_bytes: int) -> None:
        self._total = total_bytes
        self._done = 0
        self._told_at = time.monotonic()

    def __call__(self, size: int) -> None:
        self._done += size
        now = time.monotonic()
        if now - self._told_at < _NOTEBOOK_EVERY_S and self._done < self._total:
            return
        self._told_at = now
        share = f"{min(self._done / self._total, 1):.0%}" if self._total else ""
        sys.stderr.write(f"\r{share} of {human_bytes(self._total)} read")
        sys.stderr.flush()
