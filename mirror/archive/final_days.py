"""Changes of final days: what upstream did to a day that was done with, and how it is told. Pure.

Decided once, where a body is about to replace another; everything that shows one shows this value.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import date, datetime, timedelta

import msgspec

from mirror.archive.plan import DayRules
from mirror.errors import decode_or_none
from mirror.model import ChangeKind, FinalChange, Outcome, Problem, ProblemKind, Record
from mirror.text import plural

LISTED_CHANGES = 20  # changes told one by one; the rest is counted
TOLD_FOR = timedelta(days=30)

_decoder = msgspec.json.Decoder(FinalChange)


def find_change(before: Record, after: Record, rules: DayRules) -> FinalChange | None:
    """Return what happened to a final day where one body of it replaces another.

    The one published last is final if it was confirmed when its day was.
    """
    if before.sha256 == after.sha256 or not rules.is_final(before.date, before.checked_at):
        return None
    how = ChangeKind.REWRITTEN
    if after.lines != before.lines:
        how = ChangeKind.SHRUNK if after.lines < before.lines else ChangeKind.GROWN
    return FinalChange(
        day=before.date,
        how=how,
        at=after.fetched_at,
        lines_before=before.lines,
        lines_after=after.lines,
        sha256_before=before.sha256,
        sha256_after=after.sha256,
    )


def keeps_predecessor(held: Record, after: Record, change: FinalChange | None) -> bool:
    """Return whether a held body that is replaced goes to history: no loss is ever ours."""
    return change is not None or after.lines < held.lines


def changes_of(outcomes: Iterable[Outcome]) -> tuple[FinalChange, ...]:
    """Return what upstream has done to final days, newest day first."""
    changes = (one.change for one in outcomes if one.change is not None)
    return tuple(sorted(changes, key=lambda change: change.day, reverse=True))


def parse_changes(body: bytes) -> tuple[FinalChange, ...]:
    """Return the changes that a log of them has, oldest first; torn lines are passed over.

    A poll that was killed before it published found its change again: that is one.
    """
    found: list[FinalChange] = []
    last: dict[date, tuple[str, str]] = {}
    for line in body.splitlines():
        if (change := decode_or_none(_decoder, line)) is not None:
            bodies = change.sha256_before, change.sha256_after
            if last.get(change.day) != bodies:
                last[change.day] = bodies
                found.append(change)
    return tuple(found)


def to_tell(
    changes: Iterable[FinalChange], records: Mapping[date, Record], *, now: datetime
) -> tuple[FinalChange, ...]:
    """Return what people should still hear of, latest first; not where the earlier body is back."""
    recent = (one for one in changes if now - one.at <= TOLD_FOR)
    held = {day: record.sha256 for day, record in records.items()}
    return tuple(one for one in recent if held.get(one.day) != one.sha256_before)[::-1]


def tell_changes(changes: Sequence[FinalChange]) -> Iterator[Problem]:
    """Yield what a person should know of changes, a bounded number of them."""
    for one in changes[:LISTED_CHANGES]:
        yield Problem(ProblemKind.FINAL_CHANGED, _describe(one), one.day)
    if (more := len(changes) - LISTED_CHANGES) > 0:
        yield Problem(ProblemKind.FINAL_CHANGED, f"and {plural(more, 'more final day')}")


def _describe(change: FinalChange) -> str:
    before, after = plural(change.lines_before, "line"), f"{change.lines_after:,}"
    what = {
        ChangeKind.SHRUNK: f"shrank this final day from {before} to {after}",
        ChangeKind.GROWN: f"added to this final day: it had {before}, and has {after}",
        ChangeKind.REWRITTEN: f"rewrote this final day: other content in as many lines, {after}",
    }[change.how]
    return f"upstream {what}; before, its digest was {change.sha256_before[:12]}"
