"""What is said of a copy: its sentence, its problems, and what to do about them.

What to do follows from a problem's kind alone, for its text may quote upstream.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import date, datetime
from itertools import groupby, takewhile
from typing import TYPE_CHECKING, Any

from msgspec import structs

from mirror.archive.final_days import tell_changes
from mirror.model import FinalChange, IndexState, PollReport, Problem, ProblemKind
from mirror.status.readiness import is_ahead
from mirror.store.polls import LOADED_POLLS
from mirror.text import plural, utc_minute

if TYPE_CHECKING:
    from mirror.status.snapshot import Snapshot
    from mirror.status.standing import Status

_LISTED_DAYS = 5

_NEXT = "The next poll, the daemon's or a `binder-mirror sync`,"
_WAIT = f"{_NEXT} asks again."
_UPSTREAMS = "Nothing held is lost. Tell the archive's publishers; nobody else may have noticed."
_DISPUTE = f"{_WAIT} What upstream goes on serving unchanged is then taken as it is, and flagged."
ADVICE = {
    ProblemKind.UPSTREAM_UNUSABLE: f"{_WAIT} If it lasts, check upstream.url and the network.",
    ProblemKind.MOVED: "If upstream has moved, set upstream.url and reload.",
    ProblemKind.OTHER_UPSTREAM: (
        "Days that it has otherwise are replaced, final ones kept in history; days that it lacks "
        "stay. If that was not meant, name the one before: set upstream.url, or give --upstream."
    ),
    ProblemKind.INDEX_LINE: _UPSTREAMS,
    ProblemKind.INDEX_CONFLICT: _UPSTREAMS,
    ProblemKind.INDEX_SHRUNK: _UPSTREAMS,
    ProblemKind.INDEX_STALE: _UPSTREAMS,
    ProblemKind.INDEX_ROLLED_BACK: (
        f"{_WAIT} If upstream goes on serving it, it is accepted after upstream.disagree_after."
    ),
    ProblemKind.CORRUPT: f"{_WAIT} If it lasts, a proxy on the way may alter bytes.",
    ProblemKind.MISMATCH: _DISPUTE,
    ProblemKind.BEHIND: _DISPUTE,
    ProblemKind.ROLLED_BACK: _DISPUTE,
    ProblemKind.TOO_LARGE: "If the file is as it should be, raise http.max_file_size and reload.",
    ProblemKind.SOFT_404: (
        "Nothing to do: none of it is published. Days that no listing has are not found meanwhile."
    ),
    ProblemKind.DISPUTED: "Nothing to do: upstream has served these bytes for hours.",
    ProblemKind.IN_THE_WAY: f"Move it away, for it is not followed. {_NEXT} does the rest.",
    ProblemKind.NO_FILE: (
        "Nothing can be done here: upstream has to put the file there, or to list it no more. Tell "
        "the archive's publishers; each poll asks again."
    ),
    ProblemKind.MISSING_DAYS: (
        "A `binder-mirror sync` without --since and --until asks for them, as each poll of the "
        "daemon does. What failed, and why, is listed above, or in the log."
    ),
    ProblemKind.MISSING_FILES: (
        f"{_NEXT} fetches those that upstream lists; of others `binder-mirror verify "
        "--repair` takes what history has."
    ),
    ProblemKind.UNVERIFIED_FILES: (f"{_NEXT} proves them, or replaces those that upstream lists."),
    ProblemKind.UNREADABLE_RECORDS: (f"{_NEXT} mends it. If it comes back, look at the disk."),
    ProblemKind.QUARANTINE: (
        "Read its reason in quarantine/; what is old, `binder-mirror prune --quarantine "
        "--older-than 30d` deletes."
    ),
    ProblemKind.FINAL_CHANGED: (
        "What was held before is kept, if it was sound: `binder-mirror history` lists it, and what "
        "publishes it again. Tell the archive's publishers."
    ),
    ProblemKind.CLOCK: (
        f"Set this machine's clock, if it is wrong now (timedatectl). {_NEXT} does the rest."
    ),
    ProblemKind.DATASET: f"The copy is untouched. {_NEXT} tries again.",
    ProblemKind.NOT_KEPT: (
        "To keep them too, lower storage.since, or `binder-mirror sync --remember` with an earlier "
        "--since."
    ),
    ProblemKind.OTHER: f"{_WAIT} If it lasts for a day, look at the log.",
}


def report_facts(report: "Status | PollReport") -> dict[str, object]:
    """Return a status, or a poll's report, as programs read it."""
    facts: dict[str, Any] = structs.asdict(report)
    for name in facts.keys() & {"problems", "warnings"}:
        facts[name] = facts_of(facts[name])
    if facts.get("last_poll") is not None:
        facts["last_poll"] = report_facts(facts["last_poll"])
    return facts


def facts_of(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Return problems as programs read them: kind, day, text, advice."""
    return [
        {"kind": one.kind, "day": one.day, "text": one.text, "advice": ADVICE[one.kind]}
        for one in problems
    ]


def join_alike(problems: Iterable[Problem]) -> Iterator[Problem]:
    """Yield problems as people read them: neighbours that differ in their day alone as one."""
    for (kind, text), alike in groupby(problems, key=lambda one: (one.kind, one.text)):
        days = [str(one.day) for one in alike if one.day is not None]
        more = len(days) - _LISTED_DAYS
        named = ", ".join(days[:_LISTED_DAYS]) + (f" and {plural(more, 'more day')}" * (more > 0))
        yield Problem(kind, f"{named}: {text}" if named else text)


def problem_lines(problems: Iterable[Problem], label: str) -> list[str]:
    """Return problems as a terminal shows them, what to do below those that share it."""
    lines: list[str] = []
    for advice, some in groupby(join_alike(problems), key=lambda one: ADVICE[one.kind]):
        lines += [f"  {label} {one.line()}" for one in some]
        lines.append(f"    {advice}")
    return lines


def sentence_of(
    snapshot: "Snapshot", missing: Sequence[date], changes: Sequence[FinalChange]
) -> str:
    """Return how a copy stands in a sentence, and in another what became of final days.

    `missing` are the days that it should hold and does not; `changes`, latest first, what upstream
    has done to final days.
    """
    stands = _standing(snapshot, missing)
    if not changes:
        return stands
    days = plural(len({one.day for one in changes}), "final day")
    return f"{stands} Upstream has changed {days}, last noticed {utc_minute(changes[0].at)}."


def _standing(snapshot: "Snapshot", missing: Sequence[date]) -> str:
    polls, state = snapshot.polls, snapshot.upstream.state
    if not polls:
        return "Never polled to the end yet."
    last, when = polls[-1], _since(polls)
    if last.index_state is IndexState.UNUSABLE:
        return f"Upstream is unusable {when}; what is held is untouched."
    if missing or last.exit_code:
        days = f"{plural(len(missing), 'listed day')} not held"
        problems = f"{plural(len(last.problems), 'problem')} at the last poll"
        lacks = ", ".join([days] * bool(missing) + [problems] * bool(last.problems))
        return f"Incomplete {when}: {lacks}."
    if lost := " and ".join(path.name for path in snapshot.unreadable):
        return f"All that upstream lists is held {when}, but {lost} must be made anew."
    if not state.is_healthy:
        return f"All that upstream lists is held {when}, but its index is {state}."
    return f"In step with upstream {when}."


def _since(polls: Sequence[PollReport]) -> str:
    """Return since when polls have ended as the last one did, and when that was."""
    first = first_alike(polls)
    asked = f"as of {utc_minute(polls[-1].started_at)}"
    if first is polls[-1]:
        return asked
    # of what was before the polls at hand nothing is known
    word = "since before" if first is polls[0] and len(polls) >= LOADED_POLLS else "since"
    return f"{word} {utc_minute(first.started_at)}, {asked}"


def first_alike(polls: Sequence[PollReport]) -> PollReport:
    """Return the first of the latest polls that all ended as the last one did."""
    return list(takewhile(lambda poll: _is_alike(poll, polls[-1]), reversed(polls)))[-1]


def _is_alike(poll: PollReport, last: PollReport) -> bool:
    """Return whether a poll has ended as the last one did; any that failed is as incomplete."""
    if bool(poll.exit_code) != bool(last.exit_code):
        return False
    if last.exit_code and last.index_state is not IndexState.UNUSABLE:
        return True
    healthy = poll.index_state.is_healthy and last.index_state.is_healthy
    return healthy or poll.index_state is last.index_state


def find_problems(
    snapshot: "Snapshot", missing: Sequence[date], changes: Sequence[FinalChange], now: datetime
) -> Iterator[Problem]:
    """Yield what to look at in a copy; see `sentence_of` for the arguments."""
    inventory, bodies = snapshot.inventory, snapshot.quarantined
    if snapshot.polls:
        last = snapshot.polls[-1]
        if is_ahead(last.ended_at, now):
            text = f"the last poll is dated {utc_minute(last.ended_at)}, in the future"
            yield Problem(ProblemKind.CLOCK, text)
        # changes of final days are told for longer than by the poll that found them
        told = (one for one in last.warnings if one.kind is not ProblemKind.FINAL_CHANGED)
        yield from (*last.problems, *tell_changes(changes), *told)
    if missing:
        days = ", ".join(map(str, missing[-_LISTED_DAYS:]))
        more = " among them" if len(missing) > _LISTED_DAYS else ""
        text = f"{plural(len(missing), 'listed day')} not held:{more} {days}"
        yield Problem(ProblemKind.MISSING_DAYS, text)
    if count := len(inventory.missing):
        yield Problem(ProblemKind.MISSING_FILES, f"{plural(count, 'file')} gone from archive/")
    if count := len(inventory.unverified):
        text = f"{plural(count, 'file')} in archive/ without a record that fits"
        yield Problem(ProblemKind.UNVERIFIED_FILES, text)
    if bodies:
        text = f"{len(bodies)} refused or rotten in quarantine, the last of {bodies[-1].date}: "
        yield Problem(ProblemKind.QUARANTINE, text + bodies[-1].reason)
    for path in snapshot.unreadable:
        text = f"{path.name} is gone, no file, or cannot be read: it is taken for lost"
        yield Problem(ProblemKind.UNREADABLE_RECORDS, text)
    if count := inventory.unreadable_lines:
        text = f"{plural(count, 'line')} of manifest.jsonl cannot be read"
        yield Problem(ProblemKind.UNREADABLE_RECORDS, text)
