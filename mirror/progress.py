"""Shows how far a long task is: on a terminal below its log, a line in a notebook, else nowhere."""

import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from typing import NamedTuple, TextIO

from mirror.text import human_bytes, plural

_NOTEBOOK_EVERY_S = 0.5
_RATE_OVER_S = 10  # a rate is of the last seconds: it shows that nothing comes any more
_MARGIN = 4  # columns left free behind the last line, where a terminal writes ^C

Advance = Callable[[int, int], None]
"""Called from any thread with the files and the bytes that were read since the last call."""


class Shown(NamedTuple):
    """What is seen of a task at one moment."""

    label: str
    done: int | None = None  # bytes; None where there is nothing to measure, and so no bar
    total: int | None = None  # what there is of it; None: not known yet
    note: str = ""  # has a line of its own


def takes_escapes(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal, which can move and erase."""
    is_dumb = os.environ.get("TERM") in (None, "", "dumb")
    return stream is not None and not is_dumb and stream.isatty()


def takes_colours(stream: TextIO | None) -> bool:
    """Return whether a stream is a terminal whose colours nobody has refused."""
    return not os.environ.get("NO_COLOR") and takes_escapes(stream)


class Rate:
    """How fast something goes, by what came in the last seconds."""

    def __init__(self) -> None:
        self._seen: deque[tuple[float, int]] = deque()

    def of(self, done: int) -> float:
        """Return bytes a second, now that so many are done."""
        now = time.monotonic()
        if self._seen and done < self._seen[-1][1]:
            self._seen.clear()  # another part of the task has begun
        self._seen.append((now, done))
        while len(self._seen) > 2 and self._seen[1][0] < now - _RATE_OVER_S:
            self._seen.popleft()
        since, before = self._seen[0]
        return (done - before) / (now - since) if now > since else 0.0


def _fit(shown: Shown, rate: float, width: int) -> tuple[list[str], int]:
    """Return what fits beside a label, the time left above all, and what is over for a bar."""
    done, total = shown.done or 0, shown.total
    size, left = human_bytes(done), "-:--:--"
    if total:
        number, unit = human_bytes(total).split()
        size = f"{min(1, done / total) * float(number):.3g}/{number} {unit}"
        if rate:
            minutes, seconds = divmod(int((total - done) / rate), 60)
            left = f"{minutes // 60}:{minutes % 60:02}:{seconds:02}"
    texts = [size, f"{human_bytes(rate)}/s", left]
    for least in (1, 0, 0):
        if len(" ".join((shown.label, *texts))) > width:
            del texts[least]
    return texts, width - len(" ".join((shown.label, *texts))) - 1


@contextmanager
def show_progress(look: Callable[[], Shown]) -> Iterator[None]:
    """Show on standard error, a terminal, what `look` says: asked ten times a second, on a thread.

    What is written to standard error meanwhile appears above.
    """
    # rich is worth its start-up time only where it is seen
    from rich.console import Console, Group  # noqa: PLC0415
    from rich.live import Live  # noqa: PLC0415
    from rich.progress_bar import ProgressBar  # noqa: PLC0415
    from rich.table import Table  # noqa: PLC0415
    from rich.text import Text  # noqa: PLC0415

    console, rate = Console(stderr=True, highlight=False), Rate()

    def draw() -> Group:
        shown = look()
        label, note = Text(shown.label, no_wrap=True, overflow="ellipsis"), Text(shown.note)
        note.truncate(max(0, console.width - _MARGIN), overflow="ellipsis")
        if shown.done is None:
            return Group(label, note)
        texts, room = _fit(shown, rate.of(shown.done), console.width)
        bar = [ProgressBar(shown.total, shown.done, room)] * (room > 0)
        line = Table.grid(padding=(0, 1))
        line.add_row(label, *bar, *texts)
        return Group(line, note)

    # not what a command answers: that may go elsewhere
    with Live(get_renderable=draw, console=console, transient=True, redirect_stdout=False):
        yield


class Reading:
    """How the reading of files goes; called as it goes, as an `Advance`."""

    def __init__(self, total_bytes: int | None = None, label: str = "") -> None:
        self.total_bytes = total_bytes  # what there is to read; None while that is not known
        self.files = 0  # those that were read
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
def show_reading(total_bytes: int | None, *, is_quiet: bool = False) -> Iterator[Reading]:
    """Show how the reading of files goes, where somebody can see it; yield what counts it.

    What there is to read is None if that is not known yet.
    """
    # a Jupyter kernel runs us: its streams obey a carriage return too
    is_notebook = "ipykernel" in sys.modules and hasattr(sys.stderr, "pub_thread") and not is_quiet
    reading = _NotebookReading(total_bytes) if is_notebook else Reading(total_bytes)
    is_shown = takes_escapes(sys.stderr) and not is_notebook and not is_quiet
    with show_progress(reading.look) if is_shown else nullcontext():
        yield reading


def show_nothing(files: int, size: int) -> None:
    """Show nothing: progress for whoever does not want to see it."""
    del files, size
