"""Shows how a poll goes: days done of days due, bytes, what is retried, and what is counted."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date

from mirror.archive.ports import Counted, Observer, PollEvent, Received, Retrying
from mirror.model import Outcome, Plan, PollReport
from mirror.progress import Show, show_bar
from mirror.text import plural, shown


@contextmanager
def show_poll() -> Iterator[Observer]:
    """Draw a poll on standard error; yield its observer."""
    with show_bar("asking for the index") as show:
        yield _PollBar(show).observe


class _PollBar:
    """Draws how a poll goes."""

    def __init__(self, show: Show) -> None:
        self._show_bar = show
        self._due = 0
        self._done = 0
        self._bytes = 0
        self._estimated = 0
        self._retrying: dict[date, str] = {}

    def observe(self, event: PollEvent) -> None:
        match event:
            case Plan():
                self._due, self._estimated = len(event.due), event.estimated_bytes
            case Received():
                self._bytes += event.size
            case Retrying():
                problem = shown(event.problem, 60)
                self._retrying[event.day] = f"{event.day} again in {event.delay_s:.1f} s: {problem}"
            case Outcome():
                self._retrying.pop(event.date, None)
                self._done += 1
            case Counted():
                label = f"content of {event.days:,} of {plural(event.pending, 'day')}"
                # an estimate of all their bytes
                total = event.size * event.pending // max(1, event.days)
                self._show_bar(label, event.size, total, "")
                return
            case PollReport():
                return  # the last word is the summary's
        self._show()

    def _show(self) -> None:
        # the estimate is only one: never show more done than there is
        total = max(self._estimated, self._bytes) if self._done < self._due else self._bytes
        note = next(iter(self._retrying.values()), "")
        if len(self._retrying) > 1:
            note = f"{plural(len(self._retrying), 'day')} retried; {note}"
        label = f"{self._done:,} of {plural(self._due, 'day')}"
        self._show_bar(label, self._bytes, total or None, note)
