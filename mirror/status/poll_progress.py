"""The progress of the running poll, for the status page, systemd and the watchdog.

It observes polls and only remembers. What it keeps is bounded, whatever upstream does.
"""

import time
from collections.abc import Callable
from datetime import date
from itertools import islice

from msgspec import Struct

from mirror.archive.ports import Counted, PollEvent, Received, Retrying
from mirror.model import Outcome, OutcomeKind, Plan, PollReport

_MAX_LISTED = 64


class Progress(Struct, frozen=True):
    """A running poll at one moment."""

    days_due: int
    days_done: int
    days_failed: int
    bytes_expected: int
    """An estimate: an index has lines, not bytes."""
    bytes_received: int
    seconds: float
    """Since the plan was made, or the counting began."""
    active: tuple[date, ...]
    """Days on their way, newest first; at most 64."""
    retrying: dict[date, str]
    """What the days that failed are waiting out, by date; at most 64."""
    days_pending: int = 0
    """Once the poll is over: days whose content is being counted."""
    days_counted: int = 0
    """Those of them whose content is."""


class PollProgress:
    """Remembers how the running poll stands.

    Attributes:
        moved_at: when anything last moved, on the monotonic clock; what a watchdog looks at.
    """

    def __init__(self) -> None:
        self.moved_at = time.monotonic()
        self._listeners: list[Callable[[], None]] = []
        self._plan: Plan | None = None
        self._counted = self._pending = 0
        self._started = 0.0
        self._done = 0
        self._failed = 0
        self._received = 0
        self._active: dict[date, None] = {}
        self._retrying: dict[date, str] = {}

    @property
    def progress(self) -> Progress | None:
        """The running poll; None where there is none or it is still asking for the index."""
        plan = self._plan
        if plan is None and not self._pending:
            return None
        return Progress(
            days_due=len(plan.due) if plan is not None else 0,
            days_done=self._done,
            days_failed=self._failed,
            bytes_expected=plan.estimated_bytes if plan is not None else 0,
            bytes_received=self._received,
            seconds=round(time.monotonic() - self._started, 1),
            active=tuple(sorted(self._active, reverse=True)[:_MAX_LISTED]),
            retrying=dict(islice(self._retrying.items(), _MAX_LISTED)),
            days_pending=self._pending,
            days_counted=self._counted,
        )

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call `listener` at every move from now on; it must return at once.

        Returns:
            A function that ends this.
        """
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def move(self) -> None:
        """Something has moved."""
        self.moved_at = time.monotonic()
        for listener in tuple(self._listeners):
            listener()

    def observe(self, event: PollEvent) -> None:
        """Remember what an event of a poll says."""
        match event:
            case Plan():
                self._forget()
                self._plan = event
                self._started = time.monotonic()
            case Received():
                self._received += event.size
                self._active[event.day] = None
                self._retrying.pop(event.day, None)
            case Retrying():
                self._active.pop(event.day, None)
                self._retrying[event.day] = f"{event.problem}; again in {event.delay_s:.0f} s"
            case Outcome():
                self._active.pop(event.date, None)
                self._retrying.pop(event.date, None)
                self._done += 1
                self._failed += event.kind in (OutcomeKind.FAILED, OutcomeKind.REFUSED)
            case PollReport():
                self._forget()
            case Counted():
                if not self._pending:
                    self._started = time.monotonic()
                self._counted, self._pending = event.days, event.pending
        self.move()

    def stop(self) -> None:
        """Forget the poll, however it ended."""
        self._forget()
        self.move()

    def _forget(self) -> None:
        self._plan = None
        self._counted = self._pending = 0
        self._done = self._failed = self._received = 0
        self._active.clear()
        self._retrying.clear()
