"""The ports: what a poll needs of the world, and nothing more.

Edges implement them structurally, without inheriting.
"""

from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import date, datetime
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from mirror.model import Due, Outcome, Plan, PollReport, Record, ReplyMeta, Traffic


class Ask(Struct, frozen=True):
    """How to ask for an object."""

    if_none_match: str | None = None
    """An ETag as upstream sent it; a 304 is then an answer."""
    if_modified_since: datetime | None = None
    """A Last-Modified as upstream sent it, for an upstream without ETags."""
    past_caches: bool = False
    """Ask caches on the way to fetch anew (`Cache-Control: no-cache`)."""
    head: bool = False
    """Ask for the headers alone."""

    @property
    def is_conditional(self) -> bool:
        """Whether a 304 is an answer."""
        return self.if_none_match is not None or self.if_modified_since is not None


class Reply(Protocol):
    """An answer of upstream's: 200, 304 or 404; everything else is an UpstreamError."""

    @property
    def status(self) -> int:
        """200, 304 or 404."""
        ...

    @property
    def meta(self) -> ReplyMeta:
        """The headers that matter."""
        ...

    def blocks(self) -> AsyncGenerator[list[bytes], None]:
        """Yield the body as it comes over the wire, gathered into blocks worth a hand-over.

        Raises:
            UpstreamError: the transfer failed or was cut short.
        """
        ...


class Source(Protocol):
    """Where bodies come from: the archive."""

    @property
    def traffic(self) -> Traffic:
        """What was asked and received so far."""
        ...

    def open(self, name: str, ask: Ask) -> AbstractAsyncContextManager[Reply]:
        """Ask for an object by its name, relative to the archive's base.

        Raises:
            UpstreamError: no answer, or one that is neither 200, 304 nor 404.
        """
        ...


Transform = Callable[[bytes], Iterator[bytes]]
"""What a body passes through on its way to disk, on the writing thread."""


class Staged(Protocol):
    """A body on its way in, invisible until it is published."""

    @property
    def path(self) -> Path:
        """The unfinished file, to be read by those who wrote it."""
        ...

    async def write(self, block: Sequence[bytes]) -> None:
        """Pass a block through the transform and keep what comes out."""
        ...


class Destination(Protocol):
    """Where bodies are kept."""

    def stage(self, name: str, through: Transform) -> AbstractAsyncContextManager[Staged]:
        """Begin a body; it is gone on exit unless published or quarantined."""
        ...

    async def publish(
        self, staged: Staged, record: Record, *, predecessor: Record | None, is_final: bool
    ) -> Record:
        """Make a body durable and visible at once, and journal its record.

        Args:
            staged: the body; complete and judged.
            record: what is known of it; its `mtime_ns` is filled in.
            predecessor: the record of the body it replaces where that goes to history.
            is_final: whether the day is final now.

        Raises:
            StorageError: the disk refused; nothing has changed.
            WrongKindError: something other than a file stands in the way.
        """
        ...

    async def quarantine(self, staged: Staged, day: date, sha256: str, reason: str) -> Path:
        """Keep a refused body aside with its reason; the folder is bounded."""
        ...

    async def note(self, record: Record) -> None:
        """Journal a new record of a body that stays as it is."""
        ...


class Observer(Protocol):
    """Told how a poll goes; must return at once."""

    def planned(self, plan: Plan) -> None:
        """What this poll will ask for is known."""
        ...

    def received(self, due: Due, size: int) -> None:
        """More bytes of a day came over the wire."""
        ...

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """A try failed; the next begins after `delay_s` seconds."""
        ...

    def finished(self, outcome: Outcome) -> None:
        """A due day ended."""
        ...

    def reported(self, report: PollReport) -> None:
        """All is published, and the poll judged."""
        ...

    def inspected(self, done: int, total: int, size: int) -> None:
        """What is in so many of the pending days, of so many bytes, is counted."""
        ...


class Silent:
    """An observer that does nothing."""

    def planned(self, plan: Plan) -> None:
        """Do nothing."""

    def received(self, due: Due, size: int) -> None:
        """Do nothing."""

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """Do nothing."""

    def finished(self, outcome: Outcome) -> None:
        """Do nothing."""

    def reported(self, report: PollReport) -> None:
        """Do nothing."""

    def inspected(self, done: int, total: int, size: int) -> None:
        """Do nothing."""


class Observers:
    """Several observers as one."""

    def __init__(self, observers: Sequence[Observer]) -> None:
        self._observers = observers

    def planned(self, plan: Plan) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.planned(plan)

    def received(self, due: Due, size: int) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.received(due, size)

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.retrying(due, problem, delay_s)

    def finished(self, outcome: Outcome) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.finished(outcome)

    def reported(self, report: PollReport) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.reported(report)

    def inspected(self, done: int, total: int, size: int) -> None:
        """Tell each."""
        for observer in self._observers:
            observer.inspected(done, total, size)
