"""What a poll came to, in words and numbers. Pure."""

from collections.abc import Collection, Iterator, Mapping, Sequence
from datetime import date, datetime

from mirror.archive.plan import PlanPolicy, is_in_range
from mirror.archive.upstream import Upstream, vanished
from mirror.model import Flag, IndexState, Outcome, OutcomeKind, Record
from mirror.text import plural

TOLD_PROBLEMS = 20
"""Problems told one by one in a report; the rest is counted."""
_TOLD_DAYS = 3


def make_problems(
    upstream: Upstream,
    outcomes: Sequence[Outcome],
    in_the_way: Mapping[date, str],
    policy: PlanPolicy,
) -> tuple[str, ...]:
    """Return a line for all that keeps the copy from being complete, bounded.

    Args:
        upstream: what is known of upstream.
        outcomes: how the due days ended.
        in_the_way: days at whose path something other than a file stands, and what.
        policy: the range asked for: only its days are judged.
    """
    told = {outcome.date for outcome in outcomes if not outcome.current}
    problems = [
        *_refusals(upstream),
        *(
            f"{day}: the index lists it with different counts; what was accepted before stays"
            for day in upstream.conflicts
            if is_in_range(day, policy)
        ),
        *(
            f"{day}: a {kind} stands where its file belongs (move it away; it is not followed)"
            for day, kind in sorted(in_the_way.items())
            if day not in told and is_in_range(day, policy)
        ),
        *(
            f"{outcome.date}: {outcome.problem}"
            for outcome in sorted(outcomes, key=lambda one: one.date, reverse=True)
            if not outcome.current
        ),
    ]
    if len(problems) > TOLD_PROBLEMS:
        return (*problems[:TOLD_PROBLEMS], f"and {len(problems) - TOLD_PROBLEMS:,} more")
    return tuple(problems)


def make_warnings(
    upstream: Upstream, records: Collection[Record], *, now: datetime
) -> tuple[str, ...]:
    """Return what a person should know although nothing is missing."""
    return tuple(_warnings(upstream, records, now))


def count_outcomes(outcomes: Sequence[Outcome], *, adopted: int = 0) -> dict[str, int]:
    """Return the number of days by how they ended, those adopted without a fetch among them."""
    counts = {kind.value: 0 for kind in OutcomeKind} | {OutcomeKind.ADOPTED.value: adopted}
    for outcome in outcomes:
        counts[outcome.kind] += 1
    return {kind: count for kind, count in counts.items() if count}


def _warnings(upstream: Upstream, records: Collection[Record], now: datetime) -> Iterator[str]:
    since = f"{upstream.state_since:%Y-%m-%d %H:%M} UTC" if upstream.state_since else "now"
    if upstream.state is IndexState.SHRUNK:
        count = len(upstream.unlisted.keys() - vanished(upstream, now=now))
        yield (
            f"upstream's index has shrunk (noticed {since}): {plural(count, 'day')} it listed "
            "before are kept, and looked for elsewhere"
        )
    if upstream.state is IndexState.STALE:
        yield (
            f"upstream's index stands still (noticed {since}): newer days are looked for in "
            "index.html and by name"
        )
    disputed = sorted(record.date for record in records if Flag.DISPUTED in record.flags)
    if disputed:
        latest = ", ".join(map(str, disputed[-_TOLD_DAYS:]))
        yield (
            f"{plural(len(disputed), 'day')} published although index or ETag contradict: {latest}"
        )


def _refusals(upstream: Upstream) -> Iterator[str]:
    for refusal in upstream.refused:
        yield f"index line {refusal.line} refused: {refusal.reason}: {refusal.text}"
    if (more := upstream.refused_lines - len(upstream.refused)) > 0:
        yield f"{plural(more, 'more index line')} refused"
