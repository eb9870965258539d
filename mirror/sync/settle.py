"""How a day ends: its body published, refused or confirmed, and what is remembered of that."""

from collections.abc import Callable, Mapping
from datetime import date, datetime

from msgspec.structs import replace

from mirror.archive.judge import keeps_predecessor
from mirror.archive.ports import Destination, Staged
from mirror.archive.upstream import Dispute, open_dispute
from mirror.model import (
    Due,
    Evidence,
    Flag,
    Outcome,
    OutcomeKind,
    Problem,
    ProblemKind,
    Reason,
    Record,
    Verdict,
)


class Settler:
    """Brings judged bodies to their end.

    Args:
        destination: where published and refused bodies go.
        now: the clock, aware UTC.
        disputes: refused bodies that may yet be taken; see `mirror.archive.upstream`.

    Attributes:
        disputes: as they are now.
    """

    def __init__(
        self,
        destination: Destination,
        *,
        now: Callable[[], datetime],
        disputes: Mapping[date, Dispute],
    ) -> None:
        self._destination = destination
        self._rules = destination.days
        self._now = now
        self.disputes = dict(disputes)

    async def publish(
        self, due: Due, attempts: int, staged: Staged, record: Record, verdict: Verdict
    ) -> Outcome:
        """Publish a body, or note that it is the one held."""
        held = due.held
        kind = OutcomeKind.PUBLISHED
        if held is not None and held.sha256 == record.sha256 and due.reason is not Reason.DAMAGED:
            await self._destination.note(
                replace(record, mtime_ns=held.mtime_ns, findings=held.findings)
            )
            kind = OutcomeKind.UNCHANGED
        else:
            was_final = held is not None and self._rules.is_final(due.date, held.checked_at)
            keep = (
                held is not None
                and due.reason is not Reason.DAMAGED
                and keeps_predecessor(held, record.sha256, record.lines, was_final=was_final)
            )
            await staged.publish(record, predecessor=held if keep else None, is_final=was_final)
        self.disputes.pop(due.date, None)
        is_behind = Flag.BEHIND in record.flags
        return Outcome(
            date=due.date,
            name=due.name,
            kind=kind,
            verdict=verdict.kind,
            problem=_problem_of(due, verdict) if is_behind else None,
            size=record.size,
            attempts=attempts,
        )

    async def refuse(
        self, due: Due, attempts: int, staged: Staged, evidence: Evidence, verdict: Verdict
    ) -> Outcome:
        """Quarantine a refused body; open a dispute if only a count, ETag or age is against it."""
        if verdict.contestable:
            self.disputes[due.date] = open_dispute(
                self.disputes.get(due.date),
                sha256=evidence.sha256,
                reason=verdict.reason,
                now=self._now(),
            )
        held_sha256 = due.held.sha256 if due.held is not None else ""
        problem = _problem_of(due, verdict)
        if evidence.sha256 != held_sha256:
            await staged.quarantine(due.date, evidence.sha256, problem.text)
        return Outcome(
            date=due.date,
            name=due.name,
            kind=OutcomeKind.REFUSED,
            verdict=verdict.kind,
            problem=problem,
            attempts=attempts,
        )

    async def confirm(self, due: Due, held: Record, attempts: int) -> Outcome:
        """Take a 304: what is held is what upstream has."""
        now = self._now()
        final = self._rules.final_at(due.date)
        # that an open day has not changed is nothing to remember
        matters = now >= final and (held.checked_at < final or due.reason is Reason.RECHECK)
        if matters or held.index_count != due.expected:
            await self._destination.note(
                replace(
                    held,
                    checked_at=now,
                    index_count=due.expected,
                    flags=() if held.lines == due.expected else held.flags,
                )
            )
        return Outcome(due.date, due.name, OutcomeKind.UNCHANGED, size=held.size, attempts=attempts)


def fits(held: Record, expected: int | None) -> bool:
    """Return whether a held body is what a listing's count asks for, as far as it was judged."""
    if expected is None or held.lines == expected:
        return True
    if Flag.BEHIND in held.flags:
        return False
    known = held.index_count == expected
    return known or (Flag.AHEAD in held.flags and held.lines > expected)


def absent(due: Due, attempts: int) -> Outcome:
    """Return the end of a day that is not there."""
    if due.reason is Reason.BY_NAME:
        return Outcome(due.date, due.name, OutcomeKind.ABSENT, attempts=attempts)
    return failed(due, attempts, "upstream lists it, but answers 404: no such file")


def failed(due: Due, attempts: int, problem: str, kind: ProblemKind = ProblemKind.OTHER) -> Outcome:
    """Return the end of a day that could not be had."""
    return Outcome(
        date=due.date,
        name=due.name,
        kind=OutcomeKind.FAILED,
        problem=Problem(kind, problem, due.date),
        attempts=attempts,
    )


def _problem_of(due: Due, verdict: Verdict) -> Problem:
    return Problem(ProblemKind(verdict.kind.value), f"{verdict.kind}: {verdict.reason}", due.date)
