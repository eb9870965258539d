"""The states that a status page must show well, as data directories."""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path

from msgspec.structs import replace

from mirror.archive.ports import Received, Retrying
from mirror.errors import ExitCode
from mirror.model import Due, IndexState, Outcome, OutcomeKind, Plan, Problem, ProblemKind, Reason
from mirror.status.poll_progress import PollProgress
from mirror.store.aside import Quarantined
from tests.web.copies import MINUTES, Copy, poll_report, seasonal_counts

NOW = datetime(2026, 11, 25, 15, 12, tzinfo=UTC)
_BAD_REASON = "mismatch: it has 5,101 lines where 5,433 are listed"


def in_step(root: Path) -> Copy:
    """Return eight years of a mirror that has all there is."""
    return Copy(root, seasonal_counts(2945, NOW.date()), now=NOW)


def empty(root: Path) -> Copy:
    """Return a mirror that has not polled yet."""
    copy = Copy(root, {}, now=NOW)
    copy.polls = []
    copy.upstream = replace(copy.upstream, url="", index=None, state_since=None)
    return copy


def failing(root: Path) -> Copy:
    """Return a mirror in trouble: a refused day, missing ones, vanished ones, a shrunk index."""
    copy = in_step(root)
    refused, missing = NOW.date() - timedelta(9), NOW.date() - timedelta(4)
    gone = [NOW.date() - timedelta(days) for days in range(200, 206)]
    since = NOW - timedelta(days=8)
    copy.upstream = replace(
        copy.upstream,
        state=IndexState.SHRUNK,
        state_since=since,
        accepted=dict(copy.counts),
        unlisted=dict.fromkeys(gone, since),
    )
    del copy.counts[missing]
    problems = (
        Problem(ProblemKind.MISMATCH, _BAD_REASON, refused),
        Problem(ProblemKind.OTHER, "upstream answered 503 Service Unavailable", missing),
        Problem(
            ProblemKind.INDEX_LINE,
            'index line 2,113 refused: no such date: {"name": "events-2024-08-61.jsonl"}',
        ),
    )
    warning = Problem(
        ProblemKind.INDEX_SHRUNK,
        f"upstream's index has shrunk (noticed {since:%Y-%m-%d %H:%M} UTC): 6 days it listed "
        "before are kept, and looked for elsewhere",
    )
    copy.polls = [
        poll_report(NOW - 240 * MINUTES),
        poll_report(NOW - 210 * MINUTES),
        *(
            poll_report(
                NOW - back * MINUTES,
                *problems,
                index_state=IndexState.SHRUNK,
                warnings=(warning,),
            )
            for back in range(180, 30, -30)
        ),
        poll_report(
            NOW - 22 * MINUTES,
            Problem(
                ProblemKind.UPSTREAM_UNUSABLE,
                "upstream is unusable, nothing changed: upstream answered 502 Bad Gateway",
            ),
            exit_code=ExitCode.UPSTREAM_UNUSABLE,
            index_state=IndexState.UNUSABLE,
        ),
        poll_report(
            NOW - 12 * MINUTES, *problems, index_state=IndexState.SHRUNK, warnings=(warning,)
        ),
    ]
    copy.quarantined = [
        Quarantined(refused, "ab" * 32, 1_463_000, _BAD_REASON, NOW, f"{refused}.abab.jsonl")
    ]
    return copy


def running(root: Path) -> Copy:
    """Return a mirror that is being filled; `poll_under_way` is its poll."""
    copy = in_step(root)
    copy.polls = [poll_report(NOW - 65 * MINUTES, "2026-11-24: upstream answered 503", exit_code=3)]
    return copy


def plan_of_many() -> Plan:
    """Return a plan of 600 days."""
    days = [NOW.date() - timedelta(days=number) for number in range(600)]
    due = [Due(day, f"events-{day}.jsonl", Reason.NEW, 7000, 2_000_000) for day in days]
    return Plan(tuple(due), 2900, 1_200_000_000)


def poll_under_way() -> PollProgress:
    """Return a poll that has done half of its plan."""
    live, plan = PollProgress(), plan_of_many()
    due = plan.due
    live.observe(plan)
    for one in due[:300]:
        live.observe(Received(one.date, 1_900_000))
        live.observe(Outcome(one.date, OutcomeKind.PUBLISHED))
    for one in due[300:312]:
        live.observe(Received(one.date, 700_000))
    live.observe(Retrying(due[312].date, "upstream answered 503 Service Unavailable", 8))
    return live


SCENES: Mapping[str, Callable[[Path], Copy]] = {
    "in-step": in_step,
    "empty": empty,
    "failing": failing,
    "running": running,
}
