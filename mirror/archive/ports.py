"""What a poll asks of where the copy is kept, and the values that its steps and watchers share.

What implements a port does so structurally, without inheriting.
"""

from collections import Counter
from collections.abc import AsyncGenerator, Callable, Iterator, Sequence
from contextlib import AbstractAsyncContextManager, AbstractContextManager
from datetime import date, datetime
from enum import StrEnum
from typing import Any, BinaryIO, Protocol, TypeAlias

from msgspec import Struct, field

from mirror.archive.headers import ReplyMeta
from mirror.archive.manifest import Inventory
from mirror.archive.plan import DayRules
from mirror.errors import Failure
from mirror.model import FinalChange, Outcome, Plan, PollReport, Record


class Ask(Struct, frozen=True):
    """How to ask for an object."""

    if_none_match: str | None = None  # an ETag as upstream sent it; a 304 is then an answer
    if_modified_since: datetime | None = None
    """A Last-Modified as upstream sent it, for an upstream without ETags."""
    past_caches: bool = False  # ask caches on the way to fetch anew (`Cache-Control: no-cache`)
    head_only: bool = False  # ask for the headers alone (HEAD)

    @property
    def is_conditional(self) -> bool:
        """Whether a 304 can be an answer."""
        return self.if_none_match is not None or self.if_modified_since is not None

    def is_answered_by(self, meta: ReplyMeta) -> bool:
        """Return whether a 304 with these headers says that what we have is what upstream has.

        It may leave out the ETag, but not name another; nor one where we have none, or a later date
        than ours. `If-None-Match` compares weakly (RFC 9110, 13.1.2).
        """
        if not self.is_conditional:
            return False
        if meta.names_etag:
            return _opaque(meta.etag or "other") == _opaque(self.if_none_match or "")
        ours, theirs = self.if_modified_since, meta.last_modified
        is_later = ours is not None and theirs is not None and theirs > ours
        return self.if_none_match is not None or not is_later


def _opaque(etag: str) -> str:
    return etag.removeprefix("W/")


class Reply(Struct, frozen=True):
    """An answer of upstream's; its body is still on the wire."""

    status: int  # 200, 404, or a 304 that answers the question; everything else is an UpstreamError
    meta: ReplyMeta  # the headers that matter
    blocks: Callable[[Callable[[], int]], AsyncGenerator[list[bytes], None]]
    """Yields the body as it comes over the wire, gathered into blocks worth a hand-over; raises
    UpstreamError where the transfer fails, is cut short or too slow: called with what returns the
    bytes that were kept of the blocks so far, for nothing else is progress."""


class Traffic(Struct):
    """What was asked of upstream so far; the one mutable value, owned by the source."""

    requests: int = 0
    unanswered: int = 0  # requests that failed without an answer
    received_bytes: int = 0  # of bodies, as they came over the wire
    kept_bytes: int = 0  # what they decoded to: the progress that there is
    statuses: Counter[int] = field(default_factory=Counter)
    failures: Counter[Failure] = field(default_factory=Counter)
    """Tries that failed, by what made them; those who judge what came count here too."""

    def add(self, other: "Traffic") -> None:
        """Count what another session asked for, too."""
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


Transform = Callable[[bytes], Iterator[bytes]]  # what a body passes through, on the writing thread
Stage: TypeAlias = Callable[[str, Transform], AbstractAsyncContextManager[Any]]
"""Begins a body by its name: a `Staged`, of which a worker process has no more than `write`."""


class Listing(StrEnum):
    """What is published beside the daily files, all of it made from what is held; by its name."""

    SUMS = "SHA256SUMS"
    STYLE = "static/archive.css"
    PAGE = "index.html"
    INDEX = "index.jsonl"
    DATAPACKAGE = "datapackage.json"
    CROISSANT = "croissant.json"


class State(StrEnum):
    """What is kept of upstream from poll to poll, unpublished; by its name."""

    UPSTREAM = "upstream.json"
    UPSTREAM_INDEX = "upstream-index.jsonl"


OpenBody = Callable[[str], AbstractContextManager[tuple[BinaryIO, int]]]
"""Opens a published daily file by its name; with its modification time in ns, as a record has it.

Raises StorageError where there is none or it cannot be read, WrongKindError where something else is
in its place.
"""


class Staged(Protocol):
    """A body on its way in, invisible until it is published."""

    async def write(self, block: Sequence[bytes]) -> None:
        """Pass a block through the transform and keep what comes out."""

    @property
    def elsewhere(self) -> Stage | None:
        """How another process writes it instead, once; can be pickled. None where none can."""

    async def publish(
        self,
        record: Record,
        *,
        predecessor: Record | None,
        change: FinalChange | None = None,
    ) -> Record:
        """Make the body, complete and judged, durable and visible at once; journal its record.

        Before it is visible, its record is durable, with `mtime_ns` filled in, and `change`, what
        upstream did to a final day by it; and `SHA256SUMS` says nothing else of it. What it
        replaces goes to history where `predecessor` is the record of that. A WrongKindError says
        that something other than a file stands in the way.
        """

    async def quarantine(self, day: date, reason: str) -> None:
        """Keep the body, which was refused, aside with the reason; bounded."""


class Destination(Protocol):
    """Where the copy is kept, held by one writer: all that a poll, a repair or a restore needs.

    Everything goes by name or day; where and how it is kept is the destination's business. What is
    not async may block, and is called on a thread where it may take long. Where what keeps it
    refuses, each method raises a StorageError and has changed nothing.
    """

    days: DayRules  # what its daily files are called, and when they are final
    inventory: Inventory  # what is held; kept in step by every method

    @property
    def opener(self) -> OpenBody:
        """How daily files are opened; can be pickled, for worker processes to read them too."""

    @property
    def identity(self) -> str:
        """What tells it from any other destination, a copy of it included."""

    def stage(self, name: str, through: Transform) -> AbstractAsyncContextManager[Staged]:
        """Begin a body; it is gone on exit unless published or quarantined."""

    async def note(self, record: Record) -> None:
        """Journal a new record of a body that stays as it is."""

    def retire(self, day: date, reason: str) -> None:
        """Quarantine a published body that is rotten. No listing may name it any more."""

    def has(self, listing: Listing) -> bool:
        """Return whether a listing is there, whatever it says."""

    def read(self, name: Listing | State) -> bytes | None:
        """Return a listing or state whole, or None where there is none.

        Here and in `write` a WrongKindError says that something other than a file is in its place.
        """

    def write(self, name: Listing | State, content: bytes) -> None:
        """Replace a listing or state, whole and durably."""

    def unsettle(self) -> None:
        """Remember, beyond a kill, that the listings may have to change."""

    def save_manifest(self) -> None:
        """Put on record what is held and claimed where that is not so yet; all is settled then."""

    def append_poll(self, report: PollReport) -> None:
        """Add to the log of polls; bounded."""

    def read_version(self, day: date, sha256: str) -> Iterator[bytes]:
        """Yield a predecessor's body, as far as it is there and sound: its digest tells."""

    def require_room(self, needed: int, min_free: int) -> None:
        """Make sure that `needed` bytes fit and `min_free` are left."""


class Asking(Struct, frozen=True, gc=False):
    """What upstream lists is asked for; there is no plan yet."""

    name: str
    attempt: int  # the try that is under way, from 1; the next one where one has failed
    attempts: int
    within_s: float
    """Until then what is waited for is there, or is given up: a connection, then the answer's
    beginning; or the next try begins."""
    problem: str = ""  # why the try before failed
    is_waiting: bool = False  # whether the try is still to begin


class Proved(Struct, frozen=True, gc=False):
    """So many of the files that are there without a record have been compared with upstream's."""

    files: int
    unverified: int  # those that were there


class Received(Struct, frozen=True, gc=False):
    """More bytes of a day came, and were kept."""

    day: date
    size: int


class Retrying(Struct, frozen=True, gc=False):
    """A try failed; the next begins after `delay_s` seconds."""

    day: date
    problem: str
    delay_s: float


class Counted(Struct, frozen=True, gc=False):
    """What is in so many of the pending days is counted."""

    days: int
    pending: int  # days that were to be counted
    size: int  # bytes of the days that are
    total_size: int  # bytes of all of them


PollEvent = Asking | Proved | Plan | Received | Retrying | Outcome | PollReport | Counted
"""How a poll goes: what it asks for, what comes and how each day ends, then how it ended."""

Observer = Callable[[PollEvent], None]  # notified as a poll goes; must return at once


def ignore(event: PollEvent) -> None:
    """Observe nothing."""
    del event
