"""The values that pass between the parts: frozen, typed, serialised by msgspec as they stand.

No behaviour beyond what a field's meaning implies. Times are aware UTC, sizes are bytes, counts are
lines; digests are lower-case hex.

`gc=False` marks those that come by the thousand: none of them can be part of a cycle, and going
through them for garbage would hold up a daemon for tens of milliseconds.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Annotated, TypeAlias

from msgspec import Meta, Struct

from mirror.errors import ExitCode

Moment: TypeAlias = Annotated[datetime, Meta(tz=True)]
"""A time in a file of ours: one without a zone cannot be compared with ours, and is refused."""


class DayRange(Struct, frozen=True):
    """Days from the first to the last, both included; None for no end."""

    since: date | None = None
    until: date | None = None

    def __contains__(self, day: date) -> bool:
        return self.touches(day, day)

    def beginning(self, first: date | None) -> "DayRange":
        """Return those of the days that do not come before another first one."""
        return DayRange(max(filter(None, (self.since, first)), default=None), self.until)

    def touches(self, first: date, last: date) -> bool:
        """Return whether any day from the first to the last lies in it."""
        return last >= (self.since or date.min) and first <= (self.until or date.max)


class IndexState(StrEnum):
    """How upstream's index stands, worst first."""

    UNUSABLE = "unusable"
    SHRUNK = "shrunk"
    CONFLICTING = "conflicting"
    STALE = "stale"
    UNCHANGED = "unchanged"
    FRESH = "fresh"

    @property
    def is_healthy(self) -> bool:
        """Whether the index is whole and up to date."""
        return self in (IndexState.FRESH, IndexState.UNCHANGED)


class Flag(StrEnum):
    """What a reader should know about a published body."""

    AHEAD = "ahead"  # more lines than the index says; upstream publishes data before its index
    BEHIND = "behind"  # an open day published as far as it goes: fewer lines than the index says
    DISPUTED = "disputed"  # index or ETag contradict it; served unchanged for `disagree_after`
    UNLISTED = "unlisted"  # no listing gives a count for it
    ADOPTED = "adopted"  # it was there before us and was proved, not fetched
    RESTORED = "restored"  # put back from history by hand


class Findings(Struct, frozen=True, gc=False, omit_defaults=True):
    """What a day's body contains. Reported, never judged: a faithful mirror keeps it all.

    What a launch is, when it deviates, and what an odd line is, `mirror.events.launch` and
    `mirror.events.decoder` define. The lines of a body are its launches, each of which is counted
    once in `providers`, its odd lines, each once in `odd`, and blank ones. The mappings are bounded
    in number and length of keys; what is over is counted under "…".
    """

    versions: Mapping[str, int] = {}
    """Launches by version; deviating ones are launches, here and below."""
    providers: Mapping[str, int] = {}
    origins: Mapping[str, int] = {}  # launches by origin, but for those without one
    statuses: Mapping[str, int] = {}  # launches by status, but for those without one
    odd: Mapping[str, int] = {}  # odd lines by what is wrong with them: "version 7", "spec missing"
    # odd lines
    not_objects: Annotated[int, "not a JSON object"] = 0  # over-long lines among them
    unknown_schema: Annotated[int, "unknown schema"] = 0
    unknown_version: Annotated[int, "unknown version"] = 0
    bad_fields: Annotated[int, "no usable timestamp, provider or spec"] = 0
    # launches
    deviating: int = 0  # with a new provider, or with a field missing, or with both
    unknown_provider: Annotated[int, "unknown provider"] = 0
    missing_fields: Annotated[int, "a field of the version is missing, null or of another type"] = 0
    disordered: Annotated[int, "timestamp earlier than that of the line before"] = 0
    other_day: Annotated[int, "timestamp of another day"] = 0
    version: int = 1
    """Which version of the findings counted this: `mirror.events.findings.FINDINGS_VERSION`. Of a
    sum, the lowest."""


class Record(Struct, frozen=True, gc=False, omit_defaults=True):
    """One held day: what is published, and how we know."""

    date: date
    name: str
    size: int
    sha256: str
    lines: int
    mtime_ns: int
    """The published file's modification time, by which a changed file is noticed at start."""
    fetched_at: Moment
    checked_at: Moment
    """When upstream last confirmed these bytes (fetched, or answered 304, after it mattered)."""
    index_count: int | None = None
    """The index's count when the body was accepted; the day is due when the index says another."""
    etag: str | None = None
    last_modified: Moment | None = None
    generation: int | None = None
    flags: tuple[Flag, ...] = ()
    findings: Findings | None = None


class Reason(StrEnum):
    """Why a day is due."""

    NEW = "new"
    CHANGED = "changed"
    OPEN = "open"
    SETTLING = "settling"
    DAMAGED = "damaged"
    RECHECK = "recheck"
    BY_NAME = "by-name"


class Due(Struct, frozen=True, gc=False):
    """One day to ask upstream for."""

    date: date
    name: str
    reason: Reason
    expected: int | None  # lines that a listing promises; None where none does
    estimated_bytes: int
    held: Record | None = None  # what is published now, if anything

    @property
    def conditional(self) -> bool:
        """Whether a 304 would do: we hold a body with an ETag or date to name."""
        held = self.held
        return held is not None and (held.etag is not None or held.last_modified is not None)


class Plan(Struct, frozen=True):
    """What one poll will ask for, newest day first."""

    due: tuple[Due, ...]
    listed: int  # days that upstream lists, within the range asked for
    estimated_bytes: int

    def reasons(self) -> dict[str, int]:
        """Return how many days are due for each reason, in the order of `Reason`."""
        counts = Counter(due.reason for due in self.due)
        return {reason.value: counts[reason] for reason in Reason if counts[reason]}


class ProblemKind(StrEnum):
    """What is wrong; what can be done about it follows from this alone."""

    UPSTREAM_UNUSABLE = "upstream-unusable"
    MOVED = "moved"  # upstream redirects to another host
    OTHER_UPSTREAM = "other-upstream"  # than the one of the last good poll is asked
    INDEX_LINE = "index-line"
    INDEX_CONFLICT = "index-conflict"
    INDEX_SHRUNK = "index-shrunk"
    INDEX_STALE = "index-stale"
    INDEX_ROLLED_BACK = "index-rolled-back"
    # what speaks against a body
    CORRUPT = "corrupt"
    MISMATCH = "mismatch"
    BEHIND = "behind"
    ROLLED_BACK = "rolled-back"
    TOO_LARGE = "too-large"
    SOFT_404 = "soft-404"  # upstream sends something for days that it does not have
    DISPUTED = "disputed"
    NO_FILE = "no-file"  # upstream lists a day, and has no file for it
    IN_THE_WAY = "in-the-way"  # something other than a file stands where one belongs
    MISSING_DAYS = "missing-days"
    MISSING_FILES = "missing-files"
    UNVERIFIED_FILES = "unverified-files"
    UNREADABLE_RECORDS = "unreadable-records"
    QUARANTINE = "quarantine"
    FINAL_CHANGED = "final-changed"  # upstream has another body of a final day than before
    CLOCK = "clock"  # something is dated in the future
    DATASET = "dataset"
    NOT_KEPT = "not-kept"  # days were asked for that the copy does not keep
    OTHER = "other"


class Problem(Struct, frozen=True, gc=False, omit_defaults=True):
    """One thing that a person should look at."""

    kind: ProblemKind
    text: str  # what it is, without the day; may quote upstream, so nothing is decided by it
    day: date | None = None  # the day it is about, where it is about one

    def line(self) -> str:
        """Return it as one line."""
        return self.text if self.day is None else f"{self.day}: {self.text}"


class ChangeKind(StrEnum):
    """What became of a final day, by its lines."""

    SHRUNK = "shrunk"
    GROWN = "grown"
    REWRITTEN = "rewritten"  # as many lines, but others


class FinalChange(Struct, frozen=True, gc=False):
    """Upstream replaced the body of a day that was final."""

    day: date
    how: ChangeKind
    at: Moment  # when the new body came
    lines_before: int
    lines_after: int
    sha256_before: str
    sha256_after: str


class OutcomeKind(StrEnum):
    """How one due day ended."""

    PUBLISHED = "published"
    UNCHANGED = "unchanged"
    ADOPTED = "adopted"
    ABSENT = "absent"  # not there, and no listing has it: no failure
    REFUSED = "refused"  # a body came and was quarantined
    FAILED = "failed"


class Outcome(Struct, frozen=True, gc=False):
    """How one due day ended."""

    date: date
    kind: OutcomeKind
    problem: Problem | None = None
    """Why the day is not held as upstream lists it; or what is odd about upstream's answer."""
    size: int = 0  # bytes of the published body
    change: FinalChange | None = None  # what upstream did to the day, where it was final

    @property
    def is_only_odd(self) -> bool:
        """Whether nothing is missing, so that what is wrong is worth a warning and no more."""
        return self.kind in (OutcomeKind.UNCHANGED, OutcomeKind.ABSENT)


class DamageKind(StrEnum):
    """What is wrong with a file."""

    MISSING = "missing"
    WRONG_KIND = "wrong-kind"
    TRUNCATED = "truncated"
    OVERLONG = "overlong"
    ALTERED = "altered"
    UNREADABLE = "unreadable"
    UNRECORDED = "unrecorded"
    STRANGER = "stranger"
    WRONG_LISTING = "wrong-listing"


class Damage(Struct, frozen=True):
    """One file that is not what it should be."""

    name: str
    kind: DamageKind
    detail: str
    day: date | None = None  # the day, where it is a daily file


class Repair(Struct, frozen=True):
    """What a repair came to."""

    sources: Mapping[date, str] = {}
    """Where what is held of a day now came from: "upstream", "history", or "the file" that was
    there and is proved."""
    changes: tuple[FinalChange, ...] = ()
    """Final days that upstream had changed by then: its body, not the damaged one's, is held."""


class PollEnd(StrEnum):
    """How a poll ended."""

    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNUSABLE = "upstream unusable"

    @property
    def headline(self) -> str:
        """How the copy stands after such a poll."""
        return "In step with upstream" if self is PollEnd.COMPLETE else self.value.capitalize()


class PollReport(Struct, frozen=True):
    """One pass, for people, programs and `polls.jsonl`."""

    exit_code: int
    index_state: IndexState
    listed: int  # days that upstream lists, within the range asked for
    held: int
    events: int  # lines of all held days
    archive_bytes: int
    outcomes: dict[str, int]  # number of days by outcome
    problems: tuple[Problem, ...] = ()  # what keeps the copy from being complete; bounded
    warnings: tuple[Problem, ...] = ()  # what a person should know although nothing is missing
    poll_id: str = ""
    started_at: Moment = datetime(1970, 1, 1, tzinfo=UTC)
    duration_s: Annotated[float, Meta(ge=0, le=1e9)] = 0
    requests: int = 0
    downloaded_bytes: int = 0  # bytes that came over the wire
    is_partial: bool = False
    """Whether it was about some of the days to keep alone: what it says is not said of the copy."""
    pending_findings: int = 0
    """Held days whose content is still to be counted; not part of being complete."""
    final_changes: tuple[FinalChange, ...] = ()
    """Final days that upstream has changed, newest day first; bounded."""

    @property
    def end(self) -> PollEnd:
        """How it ended."""
        if self.exit_code == ExitCode.COMPLETE:
            return PollEnd.COMPLETE
        is_unusable = self.exit_code == ExitCode.UPSTREAM_UNUSABLE
        return PollEnd.UNUSABLE if is_unusable else PollEnd.INCOMPLETE

    @property
    def ended_at(self) -> datetime:
        """When it was over."""
        try:
            return self.started_at + timedelta(seconds=self.duration_s)
        except OverflowError:
            return self.started_at
