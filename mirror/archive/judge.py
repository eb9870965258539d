"""The judgement on one body: evidence and expectation to a verdict. Pure.

Complete transfers only: one that was cut or badly encoded never gets here. The first objection
holds. A body refused only by a count or an ETag may yet be taken (`mirror.archive.upstream`).
"""

from datetime import date, datetime

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence
from mirror.archive.upstream import IndexFacts
from mirror.errors import Failure
from mirror.model import Flag, ProblemKind, Record
from mirror.text import plural


class Verdict(Struct, frozen=True, gc=False):
    """The judgement on one body."""

    problem: ProblemKind | None = None  # what speaks against it; None where nothing does
    reason: str = ""  # why it is not published, or what is special, for a person
    failure: Failure | None = None  # what is wrong, in a word, where another download may mend it
    publish: bool = False  # whether the body may be published now
    contestable: bool = False
    """Only a count, an ETag or an age speaks against it: accepted if it stands long enough."""
    is_older: bool = False  # whether it is of an earlier version than the one held
    flags: tuple[Flag, ...] = ()  # what a reader should know of the body once it is published


class Expectation(Struct, frozen=True):
    """What is known of a day before its body came."""

    lines: int | None  # the count of the index, else of `index.html`; None where neither has one
    is_open: bool  # whether the day may still grow
    now: datetime  # the time, aware UTC
    held: Record | None = None
    etags_are_opaque: bool = False  # whether this upstream's ETags have proved to be no digests
    age_is_settled: bool = False
    """Whether all that came of the day has been older than what is held for long enough."""


def judge(evidence: Evidence, meta: ReplyMeta, expected: Expectation) -> Verdict:
    """Return what this body is.

    The first that applies: a wrong digest, an older version than the one held, a web page, then the
    count of lines against the listing's.
    """
    held, sha256 = expected.held, evidence.sha256
    older = held is not None and is_older(meta, held, sha256=sha256, now=expected.now)
    verdict = (
        _judge_digests(evidence, expected)
        or (_ROLLED_BACK if older and not expected.age_is_settled else None)
        or _judge_page(meta, evidence, expected)
        or _judge_count(meta, evidence, expected)
    )
    if not older:
        return verdict
    flags = (*verdict.flags, Flag.DISPUTED) if verdict.publish else verdict.flags
    return replace(verdict, is_older=True, flags=flags)


def _judge_digests(evidence: Evidence, expected: Expectation) -> Verdict | None:
    ignored = {"etag"} if expected.etags_are_opaque else set()
    wrong = [source for source in evidence.wrong if source not in ignored]
    if not wrong:
        return None
    reason = f"its digest is not that of the {' and '.join(wrong)} header"
    return Verdict(ProblemKind.CORRUPT, reason, Failure.DIGEST, contestable=wrong == ["etag"])


_ROLLED_BACK = Verdict(
    ProblemKind.ROLLED_BACK,
    "it is older than the version held: a stale cache?",
    Failure.ROLLED_BACK,
    contestable=True,
)


def is_older(
    meta: ReplyMeta, kept: Record | IndexFacts, *, sha256: str = "", now: datetime
) -> bool:
    """Return whether an answer is of an earlier version than what is kept, a day's or the index.

    The generation is the better word. A date ahead of our clock orders nothing, whichever of the
    two is wrong, and neither do dates of the same bytes: each of a host's machines may have its
    own. `sha256` is of the body that came, empty where none did; `now` is aware UTC.
    """
    if sha256 == kept.sha256:
        return False
    if meta.generation is not None and kept.generation is not None:
        return meta.generation < kept.generation
    ours, theirs = kept.last_modified, meta.last_modified
    return ours is not None and theirs is not None and theirs < ours <= now


def _judge_page(meta: ReplyMeta, evidence: Evidence, expected: Expectation) -> Verdict | None:
    # content is not judged, but HTML is refused unless its line count matches
    if not evidence.is_page or evidence.lines in (expected.lines, meta.events_count):
        return None
    reason = "it is a web page, not JSON Lines (a sign-in or error page?)"
    return Verdict(ProblemKind.MISMATCH, reason, Failure.PAGE)


def _judge_count(meta: ReplyMeta, evidence: Evidence, expected: Expectation) -> Verdict:
    lines = expected.lines if expected.lines is not None else meta.events_count
    if lines is None:
        has = "no listing has a count for it"
        if evidence.ends_with_newline:
            return Verdict(None, has, publish=True, flags=(Flag.UNLISTED,))
        has += " and its last line is unfinished"
        return Verdict(ProblemKind.MISMATCH, has, Failure.COUNT)
    if evidence.lines == lines:
        return Verdict(publish=True)
    has = f"it has {plural(evidence.lines, 'line')} where {lines:,} are listed"
    may_grow = expected.is_open and evidence.ends_with_newline
    if evidence.lines > lines:
        if may_grow or meta.events_count == evidence.lines:
            return Verdict(None, has, publish=True, flags=(Flag.AHEAD,))
        return Verdict(ProblemKind.MISMATCH, has, Failure.COUNT, contestable=True)
    is_more = expected.held is None or evidence.lines > expected.held.lines
    return Verdict(
        ProblemKind.BEHIND,
        has,
        Failure.COUNT,
        publish=may_grow and is_more,
        contestable=True,
        flags=(Flag.BEHIND,),
    )


def make_record(
    day: date,
    name: str,
    evidence: Evidence,
    meta: ReplyMeta,
    *,
    index_count: int | None,
    flags: tuple[Flag, ...],
    now: datetime,
) -> Record:
    """Return what is known of a body that upstream confirmed now; its `mtime_ns` is yet to come."""
    return Record(
        date=day,
        name=name,
        size=evidence.size,
        sha256=evidence.sha256,
        lines=evidence.lines,
        mtime_ns=0,
        fetched_at=now,
        checked_at=now,
        index_count=index_count,
        etag=meta.etag,
        last_modified=meta.last_modified,
        generation=meta.generation,
        flags=flags,
    )
