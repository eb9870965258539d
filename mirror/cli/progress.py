"""Shows how a poll goes: days done of days due, bytes, what is retried, and what is counted."""

from collections.abc import Iterator
from contextlib import contextmanager

from mirror.model import Due, Outcome, Plan, PollReport
from mirror.progress import Bar
from mirror.text import plural, shown


@contextmanager
def show_poll() -> Iterator["PollProgress"]:
    """Draw a poll on standard error; yield its observer."""
    with Bar("asking for the index") as bar:
        yield PollProgress(bar)


class PollProgress:
    """An observer that draws how a poll goes."""

    def __init__(self, bar: Bar) -> None:
        self._bar = bar
        self._due = 0
        self._done = 0
        self._bytes = 0
        self._estimated = 0
        self._retrying: dict[str, str] = {}

    def planned(self, plan: Plan) -> None:
        """Show what this poll is about."""
        self._due, self._estimated = len(plan.due), plan.estimated_bytes
        self._show()

    def received(self, due: Due, size: int) -> None:
        """Count bytes."""
        del due
        self._bytes += size
        self._show()

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """Show what is tried again."""
        self._retrying[due.name] = f"{due.date} again in {delay_s:.1f} s: {shown(problem, 60)}"
        self._show()

    def finished(self, outcome: Outcome) -> None:
        """Count a day."""
        self._retrying.pop(outcome.name, None)
        self._done += 1
        self._show()

    def reported(self, report: PollReport) -> None:
        """Leave the last word to the summary."""

    def inspected(self, done: int, total: int, size: int) -> None:
        """Show how the counting stands, with an estimate of all its bytes."""
        label = f"content of {done:,} of {plural(total, 'day')}"
        self._bar.show(label, size, size * total // max(1, done))

    def _show(self) -> None:
        # the estimate is only one: never show more done than there is
        total = max(self._estimated, self._bytes) if self._done < self._due else self._bytes
        note = next(iter(self._retrying.values()), "")
        if len(self._retrying) > 1:
            note = f"{plural(len(self._retrying), 'day')} retried; {note}"
        label = f"{self._done:,} of {plural(self._due, 'day')}"
        self._bar.show(label, self._bytes, total or None, note)
