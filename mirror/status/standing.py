"""How the copy stands, from its inventory alone: no lock, no network, nothing written.

What is known of it is one value, from which status page, `/status.json`, metrics and the judgement
on its health are made.
"""

from collections import Counter
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum

from msgspec import Struct

from mirror.archive.final_days import LISTED_CHANGES, to_tell
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
from mirror.status.readiness import is_ahead, judge_readiness, last_success
from mirror.status.snapshot import Snapshot, load_snapshot
from mirror.status.wording import find_problems, first_alike, sentence_of
from mirror.store.aside import Quarantined
from mirror.store.layout import DataDir, is_being_written
from mirror.text import masked, shown, utc_minute


class Status(Struct, frozen=True):
    """How a mirror stands, for people and programs."""

    sentence: str  # the whole in one sentence
    data_dir: str
    upstream_url: str
    is_syncing: bool  # whether a writer is at work right now
    index_state: IndexState
    index_state_since: datetime | None
    index_changed_at: datetime | None  # upstream's own date of it, else when it was first seen
    held: int
    events: int
    archive_bytes: int
    since: date | None  # the first day to keep; None for all
    first_day: date | None
    newest_day: date | None
    newest_day_age_s: float | None  # seconds since the end of the newest day
    open_days: tuple[date, ...]
    missing_days: tuple[date, ...]  # listed by upstream and not held
    vanished_days: tuple[date, ...]  # held, and in no listing of upstream's any more
    flagged: Mapping[str, int]  # number of days by flag
    quarantined: tuple[Quarantined, ...]
    final_changes: tuple[FinalChange, ...]
    """What upstream has done to final days within 30 days, latest first; bounded, without those
    whose earlier body is published again."""
    final_changes_total: Mapping[str, int]  # changes of final days so far, by what became of them
    findings: Findings  # sums over all held days
    pending_findings: int  # held days whose content is still to be counted; 0 where switched off
    last_poll: PollReport | None
    last_success_at: datetime | None  # end of the last complete poll
    problems: tuple[Problem, ...]  # what to look at


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

    The directory itself has the rules for its days, and shows whether it is being written. `counts`
    says whether the content of days is counted (`storage.findings`); `now` is aware UTC.
    """
    upstream, records = snapshot.upstream, snapshot.inventory.records
    first, newest = min(records, default=None), max(records, default=None)
    missing = tuple(sorted(wanted_days(upstream, data.days, now=now) - records.keys()))
    last_poll = snapshot.polls[-1] if snapshot.polls else None
    first_open = data.days.first_open(now)
    changes = to_tell(snapshot.final_changes, records, now=now)
    flags = Counter(flag for one in records.values() for flag in one.flags)
    totals = Counter(one.how for one in snapshot.final_changes)
    # what is known of the index stays as it was where the last poll found none
    state, state_since = upstream.state, upstream.state_since
    if last_poll is not None and last_poll.index_state is IndexState.UNUSABLE:
        state, state_since = IndexState.UNUSABLE, first_alike(snapshot.polls).started_at
    return Status(
        sentence=sentence_of(snapshot, missing, changes),
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
        problems=tuple(find_problems(snapshot, missing, changes, now)),
    )


def judge_health(status: Status, *, interval: timedelta, now: datetime) -> tuple[Health, str]:
    """Return whether all is well, and the sentence that says so or why not."""
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
