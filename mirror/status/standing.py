"""How the copy stands, from its inventory alone: no lock, no network, nothing written.

What is known of it is one value, from which status page, `/status.json`, metrics and the judgements
on health and readiness are made. What to do about a problem follows from its kind alone, for its
text may quote upstream.
"""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from itertools import groupby, takewhile

from msgspec import Struct, structs

from mirror.archive.final_days import LISTED_CHANGES, tell_changes, to_tell
from mirror.archive.plan import end_of
from mirror.archive.upstream import first_day, vanished, wanted_days
from mirror.events.findings import is_pending
from mirror.model import (
    ChangeKind,
    FinalChange,
    Findings,
    Flag,
    IndexState,
    PollEnd,
    PollReport,
    Problem,
    ProblemKind,
)
from mirror.status.snapshot import LOADED_POLLS, Snapshot, load_snapshot
from mirror.store.aside import Quarantined
from mirror.store.layout import DataDir, is_being_written
from mirror.text import plural, shown, utc_minute

_GRACE = timedelta(minutes=5)
_INTERVALS = 3
"""A mirror is ready for so many intervals, and the grace, after a complete poll."""
_LISTED_DAYS = 5
_MAX_LENGTH = 400
_CREDENTIALS = re.compile(r"(//|%2f%2f)(?:(?!/|%2f|\s).)*(?:@|%40)", re.IGNORECASE)

_WAIT = "Nothing to do: the next poll asks again."
_UPSTREAMS = "Nothing held is lost. Tell the archive's publishers; nobody else may have noticed."
_DISPUTE = (
    "Nothing to do: the next poll asks again, and what upstream goes on serving unchanged is taken "
    "as it is, and flagged."
)
ADVICE = {
    ProblemKind.UPSTREAM_UNUSABLE: f"{_WAIT} If it lasts, check upstream.url and the network.",
    ProblemKind.MOVED: "If upstream has moved, set upstream.url and reload.",
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
    ProblemKind.IN_THE_WAY: "Move it away, for it is not followed; the next poll does the rest.",
    ProblemKind.MISSING_DAYS: f"{_WAIT} What failed, and why, is listed above, or in the log.",
    ProblemKind.MISSING_FILES: "Nothing to do: the next poll fetches them again.",
    ProblemKind.UNVERIFIED_FILES: "Nothing to do: the next poll proves or replaces them.",
    ProblemKind.UNREADABLE_RECORDS: (
        "Nothing to do: the next poll mends it. If it comes back, look at the disk."
    ),
    ProblemKind.QUARANTINE: (
        "Read its reason in quarantine/; what is old, `binder-mirror prune --quarantine "
        "--older-than 30d` deletes."
    ),
    ProblemKind.FINAL_CHANGED: (
        "What was held before is kept, if it was sound: `binder-mirror history` lists it, and what "
        "publishes it again. Tell the archive's publishers."
    ),
    ProblemKind.CLOCK: (
        "Set this machine's clock, if it is wrong now (timedatectl); the next poll does the rest."
    ),
    ProblemKind.DATASET: "The copy is untouched; the next poll tries again.",
    ProblemKind.OTHER: f"{_WAIT} If it lasts for a day, look at the log.",
}


class Status(Struct, frozen=True):
    """How a mirror stands, for people and programs."""

    sentence: str
    """The whole in one sentence."""
    data_dir: str
    upstream_url: str
    is_syncing: bool
    """Whether a writer is at work right now."""
    index_state: IndexState
    index_state_since: datetime | None
    index_changed_at: datetime | None
    """Upstream's own date of its index, else when this body was first seen."""
    held: int
    events: int
    archive_bytes: int
    since: date | None
    """The first day to keep; None for all."""
    first_day: date | None
    newest_day: date | None
    newest_day_age_s: float | None
    """Seconds since the end of the newest day."""
    open_days: tuple[date, ...]
    missing_days: tuple[date, ...]
    """Listed by upstream and not held."""
    vanished_days: tuple[date, ...]
    """Held, and in no listing of upstream's any more."""
    flagged: Mapping[str, int]
    """Number of days by flag."""
    quarantined: tuple[Quarantined, ...]
    final_changes: tuple[FinalChange, ...]
    """What upstream has done to final days within 30 days, latest first; bounded, without those
    whose earlier body is published again."""
    final_changes_total: Mapping[str, int]
    """Changes of final days since the copy was begun, by what became of them."""
    findings: Findings
    """Sums over all held days."""
    pending_findings: int
    """Held days whose content is still to be counted; 0 where that is switched off."""
    last_poll: PollReport | None
    last_success_at: datetime | None
    """End of the last complete poll."""
    problems: tuple[Problem, ...]
    """What to look at."""


class Readiness(Struct, frozen=True):
    """Whether it is ready, and why or why not."""

    is_ready: bool
    reason: str


class Health(StrEnum):
    """How urgently somebody should look."""

    GOOD = "good"
    ATTENTION = "attention"
    FAILING = "failing"


def read_status(data: DataDir, *, now: datetime, counts: bool = True) -> Status:
    """Return how the mirror stands."""
    return make_status(load_snapshot(data), data, now=now, counts=counts)


def make_status(snapshot: Snapshot, data: DataDir, *, now: datetime, counts: bool = True) -> Status:
    """Return how the mirror stands by a snapshot of it.

    Args:
        snapshot: what the data directory says.
        data: the directory itself: its rules for days, and whether it is being written.
        now: the current time, aware UTC.
        counts: whether the content of days is counted (`storage.findings`).
    """
    upstream, records = snapshot.upstream, snapshot.inventory.records
    first, newest = min(records, default=None), max(records, default=None)
    missing = tuple(sorted(wanted_days(upstream, data.days, now=now) - records.keys()))
    last_poll = snapshot.polls[-1] if snapshot.polls else None
    first_open = data.days.first_open(now)
    # what is known of the index stays as it was where the last poll found none
    changes = to_tell(snapshot.final_changes, records, now=now)
    flags = Counter(flag for one in records.values() for flag in one.flags)
    totals = Counter(one.how for one in snapshot.final_changes)
    state, state_since = upstream.state, upstream.state_since
    if last_poll is not None and last_poll.index_state is IndexState.UNUSABLE:
        state, state_since = IndexState.UNUSABLE, _first_alike(snapshot.polls).started_at
    return Status(
        sentence=_sentence(snapshot, missing, changes),
        data_dir=shown(str(data.root), 4096),
        upstream_url=masked(upstream.url),
        is_syncing=is_being_written(data),
        index_state=state,
        index_state_since=state_since,
        index_changed_at=upstream.index.changed_at if upstream.index is not None else None,
        held=len(records),
        events=sum(one.lines for one in records.values()),
        archive_bytes=sum(one.size for one in records.values()),
        since=first_day(upstream, data.days),
        first_day=first,
        newest_day=newest,
        newest_day_age_s=(now - end_of(newest)).total_seconds() if newest else None,
        open_days=tuple(sorted(day for day in records if day >= first_open)),
        missing_days=missing,
        vanished_days=tuple(sorted(vanished(upstream, now=now) & records.keys())),
        flagged={flag.value: flags[flag] for flag in Flag if flags[flag]},
        quarantined=snapshot.quarantined,
        final_changes=changes[:LISTED_CHANGES],
        final_changes_total={how.value: totals[how] for how in ChangeKind},
        findings=snapshot.findings,
        pending_findings=sum(map(is_pending, records.values())) if counts else 0,
        last_poll=last_poll,
        last_success_at=last_success(snapshot.successes, now=now),
        problems=tuple(_problems(snapshot, missing, changes, now)),
    )


def report_facts(report: Status | PollReport) -> dict[str, object]:
    """Return a status, or a poll's report, as programs read it."""
    facts: dict[str, object] = structs.asdict(report)
    for name in facts.keys() & {"problems", "warnings"}:
        facts[name] = facts_of(getattr(report, name))
    if isinstance(report, Status) and report.last_poll is not None:
        facts["last_poll"] = report_facts(report.last_poll)
    return facts


def facts_of(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Return problems as programs read them: kind, day, text, advice."""
    return [
        {"kind": one.kind, "day": one.day, "text": one.text, "advice": ADVICE[one.kind]}
        for one in problems
    ]


def problem_lines(problems: Iterable[Problem], label: str) -> list[str]:
    """Return problems as a terminal shows them, what to do below those that share it."""
    lines: list[str] = []
    for advice, some in groupby(problems, key=lambda one: ADVICE[one.kind]):
        lines += [f"  {label} {one.line()}" for one in some]
        lines.append(f"    {advice}")
    return lines


def is_ahead(at: datetime, now: datetime) -> bool:
    """Return whether a moment on record is in the future: a clock was wrong, then or now."""
    return at - now > _GRACE


def last_success(successes: Sequence[datetime], *, now: datetime) -> datetime | None:
    """Return when the last complete poll ended; a moment in the future where there is no other."""
    past = (at for at in successes if not is_ahead(at, now))
    return max(past, default=max(successes, default=None))


def judge_readiness(
    last_success_at: datetime | None, *, interval: timedelta, now: datetime
) -> Readiness:
    """Return whether there was a complete poll, no older than 3 intervals and 5 minutes.

    One dated in the future is of unknown age, and does not count. The one rule for `/readyz` and
    `health`. The age of the data itself is no part of it: that is upstream's business, and an
    alert.

    Args:
        last_success_at: the end of the last complete poll; None for none.
        interval: the time between two polls; the longest, where they are not even.
        now: the current time, aware UTC.
    """
    if last_success_at is None:
        return Readiness(is_ready=False, reason="no poll has been complete yet")
    when = (
        f"the last complete poll ended at {last_success_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    )
    allowed = _INTERVALS * interval + _GRACE
    if is_ahead(last_success_at, now):
        return Readiness(is_ready=False, reason=f"{when}, in the future: a clock is or was wrong")
    if now - last_success_at > allowed:
        return Readiness(is_ready=False, reason=f"{when}, more than {allowed} ago")
    return Readiness(is_ready=True, reason=when)


def judge_health(status: Status, *, interval: timedelta, now: datetime) -> tuple[Health, str]:
    """Return whether all is well, and the sentence that says so or why not.

    The interval is the longest time between two polls.
    """
    last = status.last_poll
    if last is None:
        return Health.ATTENTION, "Nothing has been polled yet: the first poll fills the copy."
    if last.end is not PollEnd.COMPLETE or status.missing_days:
        return Health.FAILING, status.sentence
    if not judge_readiness(status.last_success_at, interval=interval, now=now).is_ready:
        if is_ahead(last.ended_at, now):
            return Health.FAILING, "The last poll is dated in the future: a clock is or was wrong."
        sentence = f"Upstream has not been asked since {utc_minute(last.started_at)}."
        return Health.FAILING, sentence
    is_calm = (
        status.index_state.is_healthy
        and not status.quarantined
        and not status.final_changes
        and all(one.kind is not ProblemKind.UNREADABLE_RECORDS for one in status.problems)
    )
    return Health.GOOD if is_calm else Health.ATTENTION, status.sentence


def masked(url: str) -> str:
    """Return a URL, or any text with URLs in it, with users and passwords hidden.

    In the path of a Git launch the repository's URL is percent-encoded.
    """
    return _CREDENTIALS.sub(r"\1***@", url)


def printable(text: str) -> str:
    """Return a line that may be upstream's fit to show: escaped, bounded, credentials masked."""
    return shown(masked(text), _MAX_LENGTH)


def _sentence(snapshot: Snapshot, missing: Sequence[date], changes: Sequence[FinalChange]) -> str:
    stands = _standing(snapshot, missing)
    if not changes:
        return stands
    days = plural(len({one.day for one in changes}), "final day")
    return f"{stands} Upstream has changed {days}, last noticed {utc_minute(changes[0].at)}."


def _standing(snapshot: Snapshot, missing: Sequence[date]) -> str:
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
    first = _first_alike(polls)
    asked = f"as of {utc_minute(polls[-1].started_at)}"
    if first is polls[-1]:
        return asked
    # of what was before the polls at hand nothing is known
    word = "since before" if first is polls[0] and len(polls) >= LOADED_POLLS else "since"
    return f"{word} {utc_minute(first.started_at)}, {asked}"


def _first_alike(polls: Sequence[PollReport]) -> PollReport:
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


def _problems(
    snapshot: Snapshot, missing: Sequence[date], changes: Sequence[FinalChange], now: datetime
) -> Iterator[Problem]:
    inventory, quarantined = snapshot.inventory, snapshot.quarantined
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
    if quarantined:
        latest = quarantined[-1]
        text = f"{len(quarantined)} refused or rotten in quarantine, the last of {latest.date}: "
        yield Problem(ProblemKind.QUARANTINE, text + latest.reason)
    for path in snapshot.unreadable:
        text = f"{path.name} is gone, no file, or cannot be read: it is taken for lost"
        yield Problem(ProblemKind.UNREADABLE_RECORDS, text)
    if count := inventory.unreadable_lines:
        text = f"{plural(count, 'line')} of manifest.jsonl cannot be read"
        yield Problem(ProblemKind.UNREADABLE_RECORDS, text)
