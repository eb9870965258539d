"""Progress on a terminal: days done of days due, bytes, rate, time left, what is being retried."""

import sys
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TaskID,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from mirror.model import Due, Outcome, Plan, PollReport
from mirror.text import plural, shown


class SyncProgress:
    """Draws how a poll goes on standard error; an observer, used with `with`."""

    def __init__(self) -> None:
        self._progress = Progress(
            TextColumn("{task.fields[days]}"),
            BarColumn(),
            DownloadColumn(),
            TransferSpeedColumn(),
            TimeRemainingColumn(),
            TextColumn("{task.fields[note]}", markup=False),
            console=Console(file=sys.stderr),
            transient=True,
        )
        self._task: TaskID | None = None
        self._due = 0
        self._done = 0
        self._bytes = 0
        self._estimated = 0
        self._retrying: dict[str, str] = {}

    def __enter__(self) -> Self:
        self._progress.start()
        self._task = self._progress.add_task("", total=None, days="asking for the index", note="")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._progress.stop()

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

    def _show(self) -> None:
        if self._task is None:
            return
        # the estimate is only one: never show more done than there is
        total = max(self._estimated, self._bytes) if self._done < self._due else self._bytes
        note = next(iter(self._retrying.values()), "")
        if len(self._retrying) > 1:
            note = f"{plural(len(self._retrying), 'day')} retried; {note}"
        self._progress.update(
            self._task,
            completed=self._bytes,
            total=total or None,
            days=f"{self._done:,} of {plural(self._due, 'day')}",
            note=note,
        )
