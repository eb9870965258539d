"""What a poll came to: its problems, warnings and counts. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime

from mirror.archive.plan import PollRange
from mirror.archive.upstream import Upstream, vanished
from mirror.model import (
    Flag,
    IndexState,
    Outcome,
    OutcomeKind,
    Problem,
    ProblemKind,
    Record,
)
from mirror.text import plural

LISTED_PROBLEMS = 20
"""Problems listed one by one in a report; the rest is counted."""
_LISTED_DAYS = 3
_CONFLICT = "the index lists it with different counts; what was accepted before stays"


def make_problems(
    upstream: Upstream,
    outcomes: Sequence[Outcome],
    in_the_way: Mapping[date, str],
    asked: PollRange,
) -> tuple[Problem, ...]:
    """Return all that keeps the copy from being complete, bounded.

    Args:
        upstream: what is known of upstream.
        outcomes: how the due days ended.
        in_the_way: days at whose path something other than a file stands, and what.
        asked: the range asked for: only its days are judged.
    """
    failed = sorted(
        (one.problem for one in outcomes if one.problem is not None),
        key=lambda one: one.day or date.min,
        reverse=True,
    )
    days = {problem.day for problem in failed}
    problems = [
        *_refusals(upstream),
        *(
            Problem(ProblemKind.INDEX_CONFLICT, _CONFLICT, day)
            for day in upstream.conflicts
            if day in asked
        ),
        *(
            Problem(ProblemKind.IN_THE_WAY, f"a {found} stands where its file belongs", day)
            for day, found in sorted(in_the_way.items())
            if day not in days and day in asked
        ),
        *failed,
    ]
    if (more := len(problems) - LISTED_PROBLEMS) > 0:
        rest = Problem(ProblemKind.OTHER, f"and {more:,} more")
        return (*problems[:LISTED_PROBLEMS], rest)
    return tuple(problems)


def make_warnings(
    upstream: Upstream, records: Collection[Record], *, now: datetime
) -> tuple[Problem, ...]:
    """Return what a person should know although nothing is missing."""
    return tuple(_warnings(upstream, records, now))


def count_outcomes(outcomes: Sequence[Outcome], *, adopted: int = 0) -> dict[str, int]:
    """Return the number of days by how they ended, those adopted without a fetch among them."""
    counts = {kind.value: 0 for kind in OutcomeKind} | {OutcomeKind.ADOPTED.value: adopted}
    for outcome in outcomes:
        counts[outcome.kind] += 1
    return {kind: count for kind, count in counts.items() if count}


def _warnings(upstream: Upstream, records: Collection[Record], now: datetime) -> Iterator[Problem]:
    since = f"{upstream.state_since:%Y-%m-%d %H:%M} UTC" if upstream.state_since else "now"
    if upstream.state is IndexState.SHRUNK:
        gone = len(upstream.unlisted.keys() - vanished(upstream, now=now))
        yield Problem(
            ProblemKind.INDEX_SHRUNK,
            f"upstream's index has shrunk (noticed {since}): {plural(gone, 'day')} it listed "
            "before are kept, and looked for elsewhere",
        )
    if upstream.state is IndexState.STALE:
        yield Problem(
            ProblemKind.INDEX_STALE,
            f"upstream's index stands still (noticed {since}): newer days are looked for in "
            "index.html and by name",
        )
    disputed = sorted(record.date for record in records if Flag.DISPUTED in record.flags)
    if disputed:
        latest = ", ".join(map(str, disputed[-_LISTED_DAYS:]))
        count = plural(len(disputed), "day")
        yield Problem(
            ProblemKind.DISPUTED,
            f"{count} published although index or ETag contradict: {latest}",
        )


def _refusals(upstream: Upstream) -> Iterator[Problem]:
    for refusal in upstream.refused:
        yield Problem(
            ProblemKind.INDEX_LINE,
            f"index line {refusal.line} refused: {refusal.reason}: {refusal.text}",
        )
    if (more := upstream.refused_lines - len(upstream.refused)) > 0:
        yield Problem(ProblemKind.INDEX_LINE, f"{plural(more, 'more index line')} refused")
