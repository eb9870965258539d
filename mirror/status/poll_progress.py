"""The progress of the running poll, for the status page, systemd and the watchdog.

It observes polls and only remembers. What it keeps is bounded, whatever upstream does.
"""

import math
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import date
from itertools import islice

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.ports import Asking, Counted, PollEvent, Proved, Received, Retrying
from mirror.model import Outcome, OutcomeKind, Plan, PollReport

_MAX_LISTED = 64


class Progress(Struct):
    """A running poll at one moment."""

    days_due: int = 0
    days_done: int = 0  # without those that failed
    days_failed: int = 0
    bytes_expected: int = 0  # an estimate, for an index has lines, not bytes; right in the end
    bytes_received: int = 0
    seconds: float = 0  # since the plan was made, or the counting began
    active: Sequence[date] = ()  # days on their way, newest first; at most 64
    retrying: Mapping[date, str] = {}  # what the failed days wait out, by date; at most 64
    days_pending: int = 0  # once the poll is over: days whose content is being counted
    days_counted: int = 0  # those of them whose content is
    bytes_counted: int = 0  # the size of these
    bytes_pending: int = 0


class PollProgress:
    """Remembers how the running poll stands."""

    def __init__(self) -> None:
        self.moved_at = time.monotonic()  # when anything last moved: what a watchdog looks at
        self._lock = threading.Lock()
        self._listeners: list[Callable[[], None]] = []
        self._forget()

    def _forget(self) -> None:
        self._is_planned = False
        self._started = time.monotonic()
        self._now = Progress()
        self._active: set[date] = set()
        self._left: dict[date, int] = {}  # bytes still expected of each day, or less than none
        self._retrying: dict[date, tuple[str, float]] = {}
        self.before: Asking | Proved | None = None  # what is done before there is a plan
        self.until = 0.0  # when what is asked for then is given up, or asked for again

    @property
    def progress(self) -> Progress | None:
        """The running poll; None where there is none or it is still asking for the index."""
        if not (self._is_planned or self._now.days_pending):
            return None
        now = time.monotonic()
        with self._lock:
            retrying = dict(islice(self._retrying.items(), _MAX_LISTED))
            active = sorted(self._active, reverse=True)[:_MAX_LISTED]
        return replace(
            self._now,
            seconds=round(now - self._started, 1),
            active=active,
            retrying={
                day: f"again in {math.ceil(until - now)} s: {problem}" if until > now else problem
                for day, (problem, until) in retrying.items()
            },
        )

    def subscribe(self, listener: Callable[[], None]) -> Callable[[], None]:
        """Call a listener at every move, until what is returned is called; it returns at once."""
        self._listeners.append(listener)
        return lambda: self._listeners.remove(listener)

    def observe(self, event: PollEvent) -> None:
        """Remember what an event of a poll says."""
        with self._lock:
            self._take(event)
        self.move()

    def _take(self, event: PollEvent) -> None:
        now = self._now
        match event:
            case Asking():
                self.before, self.until = event, time.monotonic() + event.within_s
            case Proved():
                self.before = event
            case Plan():
                self._forget()
                self._is_planned = True
                self._now = Progress(len(event.due), bytes_expected=event.estimated_bytes)
                self._left = {due.date: due.estimated_bytes for due in event.due}
            case Received():
                now.bytes_received += event.size
                self._left[event.day] = self._left.get(event.day, 0) - event.size
                self._active.add(event.day)
                self._retrying.pop(event.day, None)
            case Retrying():
                self._active.discard(event.day)
                self._retrying[event.day] = event.problem, time.monotonic() + event.delay_s
            case Outcome():
                self._active.discard(event.date)
                self._retrying.pop(event.date, None)
                now.bytes_expected -= self._left.pop(event.date, 0)
                has_failed = event.kind in (OutcomeKind.FAILED, OutcomeKind.REFUSED)
                now.days_failed += has_failed
                now.days_done += not has_failed
            case PollReport():
                self._forget()
                self._now.days_pending = event.pending_findings
            case Counted():
                if not now.days_pending:
                    self._started = time.monotonic()
                now.days_counted, now.days_pending = event.days, event.pending
                now.bytes_counted, now.bytes_pending = event.size, event.total_size

    def stop(self) -> None:
        """Forget the poll, however it ended."""
        self._forget()
        self.move()

    def move(self) -> None:
        """Something has moved."""
        self.moved_at = time.monotonic()
        for listener in tuple(self._listeners):
            listener()
