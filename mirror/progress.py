"""Shows how far a long task is: on a terminal below its log, a line in a notebook, else nowhere."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from datetime import timedelta
from typing import TYPE_CHECKING, NamedTuple, TextIO

from mirror.text import human_bytes, plural

if TYPE_CHECKING:
    from rich.table import Table

_NOTEBOOK_EVERY_S = 0.5
_PACE_OVER_S = 10
"""A rate is of the last seconds: it shows that nothing comes any more."""
_MARGIN = 4
"""Columns left free behind the last line, where a terminal writes ^C."""

Advance = Callable[[int, int], None]
"""Called from any thread with the files and the bytes that were read since the last call."""


class Shown(NamedTuple):
    """What is seen of a task at one moment."""

    label: str
    done: int | None = None
    """Bytes; None where there is nothing to measure, and so no bar."""
    total: int | None = None
    """What there is of it; None: not known yet."""
    note: str = ""
    """Has a line of its own."""


def takes_escapes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal, which can move and erase."""
    if stream is None or os.environ.get("TERM") in (None, "", "dumb"):
        return False
    return stream.isatty()


def takes_colours(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal whose colours nobody has refused."""
    return not os.environ.get("NO_COLOR") and takes_escapes(stream)


@contextmanager
def show_progress(look: Callable[[], Shown]) -> Iterator[None]:
    """Show on standard error, a terminal, what `look` says: asked ten times a second, on a thread.

    What is written to standard error meanwhile appears above.
    """
    # rich is worth its start-up time only where it is seen
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console, pace = Console(stderr=True, highlight=False), _Pace()

    def draw() -> Group:
        shown = look()
        note = Text(shown.note)
        note.truncate(max(0, console.width - _MARGIN), overflow="ellipsis")
        return Group(_row(shown, pace), note)

    # not what a command answers: that may go elsewhere
    with Live(get_renderable=draw, console=console, transient=True, redirect_stdout=False):
        yield


def _row(shown: Shown, pace: "_Pace") -> "Table":
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    row = Table.grid(padding=(0, 1, 0, 0), expand=shown.done is not None)
    cells: list[Text | ProgressBar] = [Text(shown.label)]
    row.add_column(no_wrap=True)
    if shown.done is not None:
        row.add_column(ratio=1)
        # without a total it only says that it goes on
        cells.append(ProgressBar(shown.total, shown.done))
        for text in _amounts(shown.done, shown.total, pace.measure(shown.done)):
            row.add_column(no_wrap=True, justify="right")
            cells.append(Text(text))
    row.add_row(*cells)
    return row


def _amounts(done: int, total: int | None, rate: float | None) -> Iterator[str]:
    """Yield size, rate and time left, as far as they are known."""
    yield human_bytes(done) + (f"/{human_bytes(total)}" if total is not None else "")
    if rate is not None:
        yield f"{human_bytes(rate)}/s"
        if total is not None and rate >= 1:
            yield f"{timedelta(seconds=round((total - done) / rate))} left"


class _Pace:
    """How fast a number grows."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def measure(self, done: int) -> float | None:
        """Return by how much a second it grew of late; None where that is too early to say."""
        now, seen = time.monotonic(), self._seen
        if seen and done < seen[-1][1]:
            seen.clear()  # another task has begun
        seen.append((now, done))
        while seen[0][0] < now - _PACE_OVER_S:
            seen.popleft()
        passed_s = now - seen[0][0]
        return (done - seen[0][1]) / passed_s if passed_s >= 1 else None


class Reading:
    """How the reading of files goes; called as it goes, as an `Advance`.

    Attributes:
        total_bytes: what there is to read; None while that is not known.
        files: those that were read.
    """

    def __init__(self, total_bytes: int | None = None, label: str = "") -> None:
        self.total_bytes = total_bytes
        self.files = 0
        self._label = label
        self._bytes = 0
        self._lock = threading.Lock()

    def __call__(self, files: int, size: int) -> None:
        """Count what was read."""
        with self._lock:
            self.files += files
            self._bytes += size

    def look(self) -> Shown:
        """Return what there is to see."""
        label = f"{self._label}{plural(self.files, 'file')} read"
        return Shown(label, self._bytes, self.total_bytes)


class _NotebookReading(Reading):
    """The same in a notebook: a line that is written over and over; it needs no widgets."""

    def __init__(self, total_bytes: int | None) -> None:
        super().__init__(total_bytes)
        self._shown_at = time.monotonic()

    def __call__(self, files: int, size: int) -> None:
        super().__call__(files, size)
        label, done, total, _ = self.look()
        now = time.monotonic()
        if now - self._shown_at < _NOTEBOOK_EVERY_S and done != total:
            return
        self._shown_at = now
        of = f" of {human_bytes(total)}" if total is not None else ""
        sys.stderr.write(f"\r{label}: {human_bytes(done or 0)}{of}")
        sys.stderr.flush()


@contextmanager
def show_reading(total_bytes: int | None) -> Iterator[Reading]:
    """Show how the reading of files goes, where somebody can see it.

    Args:
        total_bytes: what there is to read; None if that is not known yet.

    Yields:
        What is to be called as it goes.
    """
    if _is_notebook():
        yield _NotebookReading(total_bytes)
        return
    reading = Reading(total_bytes)
    with show_progress(reading.look) if takes_escapes(sys.stderr) else nullcontext():
        yield reading


def show_nothing(files: int, size: int) -> None:
    """Show nothing: progress for whoever does not want to see it."""
    del files, size


def _is_notebook() -> bool:
    """Return whether a Jupyter kernel runs us: its streams obey a carriage return too."""
    return "ipykernel" in sys.modules and hasattr(sys.stderr, "pub_thread")
