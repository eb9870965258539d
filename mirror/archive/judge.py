"""The judgement on one body: evidence and expectation to a verdict. Pure.

Complete transfers only: one that was cut or badly encoded never gets here.
"""

from datetime import date, datetime

from msgspec import Struct

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence
from mirror.archive.upstream import IndexFacts
from mirror.errors import Failure
from mirror.model import Flag, Record, Verdict, VerdictKind
from mirror.text import plural

_ETAG_ONLY = ("etag",)
_FLAGS = {
    VerdictKind.AHEAD: (Flag.AHEAD,),
    VerdictKind.BEHIND: (Flag.BEHIND,),
    VerdictKind.UNLISTED: (Flag.UNLISTED,),
}
_FAILURES = {
    VerdictKind.CORRUPT: Failure.DIGEST,
    VerdictKind.ROLLED_BACK: Failure.ROLLED_BACK,
}


class Expectation(Struct, frozen=True):
    """What is known of a day before its body came."""

    lines: int | None
    """The count of a listing: the index's, else `index.html`'s; None where no listing has one."""
    is_open: bool
    """Whether the day may still grow."""
    held: Record | None = None
    etags_are_opaque: bool = False
    """Whether this upstream's ETags have proved to be no digests."""


def judge(evidence: Evidence, meta: ReplyMeta, expected: Expectation) -> Verdict:
    """Return what this body is.

    The first that applies: a wrong digest, an older version than the one held, then the count of
    lines against the listing's.
    """
    return (
        _judge_digests(evidence, expected)
        or _judge_age(meta, evidence, expected)
        or _judge_count(evidence, meta, expected)
    )


def _judge_digests(evidence: Evidence, expected: Expectation) -> Verdict | None:
    wrong = evidence.wrong
    if expected.etags_are_opaque:
        wrong = tuple(source for source in wrong if source != "etag")
    if not wrong:
        return None
    return Verdict(
        VerdictKind.CORRUPT,
        publish=False,
        reason=f"its digest is not that of the {' and '.join(wrong)} header",
        ask_again=True,
        contestable=wrong == _ETAG_ONLY,
    )


def _judge_age(meta: ReplyMeta, evidence: Evidence, expected: Expectation) -> Verdict | None:
    held = expected.held
    if held is None or evidence.sha256 == held.sha256 or not is_older(meta, held):
        return None
    return Verdict(
        VerdictKind.ROLLED_BACK,
        publish=False,
        reason="it is older than the version held: a stale cache?",
        ask_again=True,
        contestable=True,
    )


def is_older(meta: ReplyMeta, held: Record | IndexFacts) -> bool:
    """Return whether an answer is of an earlier version than the body kept or accepted last."""
    if meta.generation is not None and held.generation is not None:
        return meta.generation < held.generation
    if meta.last_modified is not None and held.last_modified is not None:
        return meta.last_modified < held.last_modified
    return False


def _judge_count(evidence: Evidence, meta: ReplyMeta, expected: Expectation) -> Verdict:
    lines = expected.lines if expected.lines is not None else meta.events_count
    if evidence.is_page and evidence.lines not in (lines, meta.events_count):
        # content is not judged, but HTML is refused unless its line count matches
        return Verdict(
            VerdictKind.MISMATCH,
            publish=False,
            reason="it is a web page, not JSON Lines (a sign-in or error page?)",
            ask_again=True,
        )
    if lines is None:
        return _judge_unlisted(evidence)
    has = f"it has {plural(evidence.lines, 'line')} where {lines:,} are listed"
    if evidence.lines == lines:
        return Verdict(VerdictKind.OK, publish=True)
    if evidence.lines > lines:
        vouched = meta.events_count == evidence.lines
        if vouched or (expected.is_open and evidence.ends_with_newline):
            return Verdict(VerdictKind.AHEAD, publish=True, reason=has)
        return Verdict(
            VerdictKind.MISMATCH, publish=False, reason=has, ask_again=True, contestable=True
        )
    held_lines = expected.held.lines if expected.held is not None else -1
    return Verdict(
        VerdictKind.BEHIND,
        publish=expected.is_open and evidence.ends_with_newline and evidence.lines > held_lines,
        reason=has,
        ask_again=True,
        contestable=True,
    )


def _judge_unlisted(evidence: Evidence) -> Verdict:
    if evidence.ends_with_newline:
        return Verdict(VerdictKind.UNLISTED, publish=True, reason="no listing has a count for it")
    return Verdict(
        VerdictKind.MISMATCH,
        publish=False,
        reason="no listing has a count for it and its last line is unfinished",
        ask_again=True,
    )


def failure_of(evidence: Evidence, verdict: Verdict) -> Failure | None:
    """Return the word for what is wrong with a body; None where it may be published."""
    if verdict.publish:
        return None
    if evidence.is_page and verdict.kind is VerdictKind.MISMATCH:
        return Failure.PAGE
    return _FAILURES.get(verdict.kind, Failure.COUNT)


def keeps_predecessor(held: Record, sha256: str, lines: int, *, was_final: bool) -> bool:
    """Return whether the body that is replaced goes to history: upstream's loss is never ours.

    Args:
        held: the body that is replaced.
        sha256: the digest of the one that replaces it.
        lines: its lines.
        was_final: whether the held body was confirmed when the day was final already.
    """
    return held.sha256 != sha256 and (was_final or lines < held.lines)


def flags_of(verdict: Verdict) -> tuple[Flag, ...]:
    """Return what a reader should know of a body with this verdict."""
    if verdict.contestable and not verdict.ask_again:
        return (Flag.DISPUTED,)
    return _FLAGS.get(verdict.kind, ())


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
