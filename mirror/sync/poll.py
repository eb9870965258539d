"""One pass, in the order in which it happens. The only place where the whole sequence can be read.

    survey      ask for the index (a 304 will do); in trouble, for index.html too
    adopt       prove files that are there without a record; restore again what was restored by hand
    plan        listed days and records to what is due
    fetch       due days, several at a time: stage, judge, publish, journal
    publish     SHA256SUMS, page and index from what is held now; then the manifest
    inspect     count what the events of pending days are; the poll is judged by then

A crash anywhere is harmless: the next pass plans again what is missing and adopts what is there.
"""

import asyncio
import time
from collections import Counter
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice

import structlog
from msgspec.structs import replace

from mirror.archive.final_days import LISTED_CHANGES, changes_of, tell_changes
from mirror.archive.manifest import Inventory
from mirror.archive.plan import DayRules, PollRange, make_plan
from mirror.archive.ports import Listing, State
from mirror.archive.upstream import (
    VANISHED_AFTER,
    Upstream,
    days_to_ask,
    dropped,
    first_day,
    listed_counts,
    parse_upstream,
)
from mirror.config.settings import Config
from mirror.errors import ExitCode, Failure, UpstreamError
from mirror.events.findings import is_pending
from mirror.logs import get_logger
from mirror.model import (
    DayRange,
    Flag,
    IndexState,
    Outcome,
    OutcomeKind,
    Plan,
    PollReport,
    Problem,
    ProblemKind,
    Reason,
    Record,
)
from mirror.sync.fetch import Context, Fetcher
from mirror.sync.publish import index_body, publish, publish_index, remember
from mirror.sync.recovery import adopt_all, restore_lost
from mirror.sync.survey import Survey, Surveyor
from mirror.text import counts_text, plural

LISTED_PROBLEMS = 20  # problems listed one by one in a report; the rest is counted
_LISTED_DAYS = 3
_LOGGED_OF_CHANGES = ("listed", "requests", "downloaded_bytes")


@dataclass
class Poll:
    """One pass over one data directory."""

    context: Context
    upstream: Upstream  # what is known of upstream: from before, then from this pass
    asked: PollRange  # the days it is about

    async def run(self, *, inspect_s: float = float("inf")) -> PollReport:
        """Bring the copy in step with upstream, as far as it can be had.

        After `inspect_s` seconds of inspecting the rest stays pending; 0 leaves it to others.
        """
        context, started_at, started = self.context, self.context.now(), time.monotonic()
        traffic = context.source.traffic
        requests, received_bytes = traffic.requests, traffic.received_bytes
        poll_id = f"{started_at:%Y%m%dT%H%M%S}-{context.rng.getrandbits(24):06x}"
        with structlog.contextvars.bound_contextvars(poll=poll_id):
            report = replace(
                await self._run(),
                poll_id=poll_id,
                started_at=started_at.astimezone(UTC),
                duration_s=round(time.monotonic() - started, 3),
                requests=traffic.requests - requests,
                downloaded_bytes=traffic.received_bytes - received_bytes,
            )
            context.destination.append_poll(report)
            _log_end(report, context.source.traffic.failures)
            context.observer(report)
            if report.pending_findings and inspect_s:
                # where nothing is pending, as most of the time, nobody pays for its import
                from mirror.sync.inspect import inspect_pending  # noqa: PLC0415

                inspected = await inspect_pending(
                    context.destination, self.upstream, context.observer, limit_s=inspect_s
                )
                report = replace(report, pending_findings=inspected.failed + inspected.waiting)
        return report

    async def _run(self) -> PollReport:
        found = switch_warnings(self.context.destination.read(State.UPSTREAM), self.upstream)
        for warning in found:
            get_logger().warning("upstream.changed", problem=warning.text)
        try:
            survey = await self._survey()
        except UpstreamError as error:
            text = f"upstream is unusable, nothing changed: {error.line()}"
            problem = Problem(ProblemKind.UPSTREAM_UNUSABLE, text)
            report = self._report(ExitCode.UPSTREAM_UNUSABLE, {}, (problem,))
            return replace(report, index_state=IndexState.UNUSABLE, warnings=found)
        adopted = await adopt_all(self.context, self.upstream)
        destination, now = self.context.destination, self.context.now
        adopted += len(await restore_lost(destination))
        inventory = destination.inventory
        # off the loop, on which a daemon serves: it goes through all days
        plan = await asyncio.to_thread(
            plan_poll, survey, inventory, self.context.config, self.asked, now=now()
        )
        outcomes = await self._fetch(plan)
        problems = survey.problems
        # the inventory is clean only after the listings were written by it
        if not (inventory.is_clean and all(map(destination.has, Listing))):
            problems += await asyncio.to_thread(publish, destination, self.upstream)
        await asyncio.to_thread(remember, destination, self.upstream)
        problems += make_problems(self.upstream, outcomes, inventory.wrong_kind, self.asked)
        warnings = make_warnings(self.upstream, inventory.records.values(), now=now())
        exit_code = ExitCode.INCOMPLETE if problems else ExitCode.COMPLETE
        report = self._report(exit_code, _count_outcomes(outcomes, adopted), problems)
        changes = changes_of(outcomes)
        found += (*survey.warnings, *tell_changes(changes), *_odd_answers(outcomes), *warnings)
        found += range_warnings(self.asked)
        return replace(report, warnings=found, final_changes=changes[:LISTED_CHANGES])

    async def _survey(self) -> Survey:
        """Ask upstream what it has, and remember it."""
        context, destination = self.context, self.context.destination
        surveyor = Surveyor(
            context.source,
            context.config,
            context.now,
            context.rng,
            destination.identity,
            context.observer,
        )
        kept = destination.read(State.UPSTREAM_INDEX)
        body = index_body(kept, self.upstream, destination.days)
        survey = await surveyor.survey(self.upstream, body)
        self.upstream = survey.upstream
        was_clean = destination.inventory.is_clean
        await asyncio.to_thread(remember, destination, survey.upstream, survey.index)
        if not was_clean:
            # files may be gone or altered since the index was written: first of all, be true
            await asyncio.to_thread(publish_index, destination, self.upstream)
        return survey

    async def _fetch(self, plan: Plan) -> list[Outcome]:
        # what cannot be finished is not begun; a day that is asked about may be unchanged
        needed = sum(due.estimated_bytes for due in plan.due if not due.conditional)
        min_free = self.context.config.storage.min_free
        destination = self.context.destination
        destination.require_room(needed, min_free if needed else 0)
        self.context.observer(plan)
        get_logger().debug("poll.planned", due=len(plan.due), listed=plan.listed, **plan.reasons())
        fetcher = Fetcher(self.context, self.upstream)
        try:
            outcomes = await fetcher.fetch_all(plan.due)
        except asyncio.CancelledError:
            # interrupted: what has arrived counts, and the next run would do the same anyway
            await asyncio.shield(asyncio.to_thread(publish, destination, self.upstream))
            raise
        self._learn(plan, outcomes, fetcher)
        return outcomes

    def _learn(self, plan: Plan, outcomes: Sequence[Outcome], fetcher: Fetcher) -> None:
        """Remember what the fetching showed: days found by name, disputes, upstream's ETags."""
        upstream, dues = self.upstream, {due.date: due for due in plan.due}
        found, absent = dict(upstream.found), dict(upstream.absent)
        searched_at, now = upstream.searched_at, self.context.now()
        for outcome in outcomes:
            due, problem = dues[outcome.date], outcome.problem
            if outcome.kind is OutcomeKind.ABSENT:
                absent[due.date] = now
                found.pop(due.date, None)
            elif due.date in found and problem and problem.kind is ProblemKind.NO_FILE:
                # it vanishes as one that an index listed does, unless the page lists it again
                if now - absent.setdefault(due.date, now) >= VANISHED_AFTER:
                    del found[due.date]
            elif outcome.kind is OutcomeKind.FAILED and due.reason is Reason.BY_NAME:
                # it may be there: it stays due, and so the search is not over
                searched_at = None
            elif outcome.kind is not OutcomeKind.FAILED:
                absent.pop(due.date, None)
                if due.expected is None:
                    found.setdefault(due.date, None)
        known = upstream.accepted.keys() | found.keys()
        disputes = {day: fetcher.disputes[day] for day in sorted(fetcher.disputes) if day in known}
        self.upstream = replace(
            upstream,
            found=found,
            absent=absent,
            searched_at=searched_at,
            disputes=disputes,
            etags=fetcher.etags,
        )

    def _first_day(self) -> date | None:
        return first_day(self.upstream, self.context.destination.days)

    def _report(
        self, exit_code: ExitCode, outcomes: dict[str, int], problems: tuple[Problem, ...]
    ) -> PollReport:
        records = self.context.destination.inventory.records.values()
        listed = listed_counts(self.upstream, now=self.context.now())
        counts_findings = self.context.config.storage.findings
        return PollReport(
            exit_code=int(exit_code),
            index_state=self.upstream.state,
            listed=sum(day in self.asked.days for day in listed),
            held=len(records),
            events=sum(record.lines for record in records),
            archive_bytes=sum(record.size for record in records),
            outcomes=outcomes,
            problems=problems,
            is_partial=self.asked.days != DayRange().beginning(self._first_day()),
            pending_findings=sum(map(is_pending, records)) if counts_findings else 0,
        )


def bound(upstream: Upstream, asked: PollRange, rules: DayRules) -> tuple[Upstream, PollRange]:
    """Return upstream and the days asked for, of those to keep; which these are may be new."""
    if asked.remembers:
        upstream = replace(upstream, since=asked.days.since)
    first, since = first_day(upstream, rules), asked.days.since
    kept_since = first if first and since and since < first else None
    return upstream, replace(asked, days=asked.days.beginning(first), kept_since=kept_since)


def switch_warnings(kept: bytes | None, upstream: Upstream) -> tuple[Problem, ...]:
    """Return what to say where another upstream is asked than was last; `kept` is its state."""
    before = parse_upstream(kept, "").url
    if before in ("", upstream.url):
        return ()
    text = f"upstream is {upstream.url}, but the last good poll was from {before}"
    return (Problem(ProblemKind.OTHER_UPSTREAM, text),)


def range_warnings(asked: PollRange) -> tuple[Problem, ...]:
    """Return what to say where days were asked for that are not to be kept."""
    if asked.kept_since is None:
        return ()
    text = (
        f"days before {asked.kept_since} were not asked for: by storage.since or --remember the "
        "copy keeps none of them"
    )
    return (Problem(ProblemKind.NOT_KEPT, text),)


def plan_poll(
    survey: Survey, inventory: Inventory, config: Config, asked: PollRange, *, now: datetime
) -> Plan:
    """Return what is due, the search by name included where it is time for it."""
    return make_plan(
        listed_counts(survey.upstream, now=now),
        inventory.records,
        DayRules.of(config),
        replace(asked, disputed=frozenset(survey.upstream.disputes)),
        now=now,
        by_name=days_to_ask(survey.upstream, now=now) if survey.searched else (),
        passed_over=inventory.wrong_kind,
        max_file_bytes=config.http.max_file_size,
    )


def make_problems(
    upstream: Upstream,
    outcomes: Sequence[Outcome],
    wrong_kind: Mapping[date, str],
    asked: PollRange,
) -> tuple[Problem, ...]:
    """Return all that keeps the copy from being complete, bounded.

    Only the days asked for are judged; `wrong_kind` has those at whose path something other than a
    file stands, and what.
    """
    failed = sorted(
        (one.problem for one in outcomes if one.problem is not None and not one.is_only_odd),
        key=lambda one: one.day or date.min,
        reverse=True,
    )
    days = {problem.day for problem in failed}
    conflict = "the index lists it with different counts; what was accepted before stays"
    problems = [
        *_refusals(upstream),
        *(
            Problem(ProblemKind.INDEX_CONFLICT, conflict, day)
            for day in upstream.conflicts
            if day in asked.days
        ),
        *(
            Problem(ProblemKind.IN_THE_WAY, f"a {found} stands where its file belongs", day)
            for day, found in sorted(wrong_kind.items())
            if day not in days and day in asked.days
        ),
        *failed,
    ]
    if (more := len(problems) - LISTED_PROBLEMS) > 0:
        problems[LISTED_PROBLEMS:] = [Problem(ProblemKind.OTHER, f"and {more:,} more")]
    return tuple(problems)


def _refusals(upstream: Upstream) -> Iterator[Problem]:
    for refusal in upstream.refused:
        yield Problem(
            ProblemKind.INDEX_LINE,
            f"index line {refusal.line} refused: {refusal.reason}: {refusal.text}",
        )
    if (more := upstream.refused_lines - len(upstream.refused)) > 0:
        yield Problem(ProblemKind.INDEX_LINE, f"{plural(more, 'more index line')} refused")


def _odd_answers(outcomes: Sequence[Outcome]) -> Iterator[Problem]:
    """Yield what is odd about upstream's answers where nothing is missing; bounded."""
    odd = [one for one in outcomes if one.problem is not None and one.is_only_odd]
    held = (one.problem for one in odd if one.kind is OutcomeKind.UNCHANGED and one.problem)
    yield from islice(held, LISTED_PROBLEMS)
    if absent := [one.date for one in odd if one.kind is OutcomeKind.ABSENT]:
        text = (
            f"{plural(len(absent), 'day')} that no listing has, asked for by name, came as "
            f"something else than a daily file, and count as not there: {_latest(absent)}"
        )
        yield Problem(ProblemKind.SOFT_404, text)


def make_warnings(
    upstream: Upstream, records: Collection[Record], *, now: datetime
) -> Iterator[Problem]:
    """Yield what a person should know although nothing is missing."""
    since = f"{upstream.state_since:%Y-%m-%d %H:%M} UTC" if upstream.state_since else "now"
    if upstream.state is IndexState.SHRUNK:
        gone = len(dropped(upstream, now=now))
        text = (
            f"upstream's index has shrunk (noticed {since}): {plural(gone, 'day')} that it listed "
            f"before {'is' if gone == 1 else 'are'} kept, and looked for elsewhere"
        )
        yield Problem(ProblemKind.INDEX_SHRUNK, text)
    if upstream.state is IndexState.STALE:
        text = (
            f"upstream's index stands still (noticed {since}): newer days are looked for in "
            "index.html and by name"
        )
        yield Problem(ProblemKind.INDEX_STALE, text)
    if disputed := [record.date for record in records if Flag.DISPUTED in record.flags]:
        count = plural(len(disputed), "day")
        text = f"{count} published although index or ETag contradict: {_latest(disputed)}"
        yield Problem(ProblemKind.DISPUTED, text)


def _latest(days: Collection[date]) -> str:
    return ", ".join(map(str, sorted(days)[-_LISTED_DAYS:]))


def _log_end(report: PollReport, failures: Mapping[Failure, int]) -> None:
    """Log a poll in a line: short where it changed nothing, a warning where it is incomplete."""
    logged: dict[str, object] = {
        "exit_code": report.exit_code,
        "held": report.held,
        "index_state": report.index_state.value,
        "duration_s": report.duration_s,
    }
    if report.problems or report.outcomes.keys() - {OutcomeKind.UNCHANGED}:
        logged |= {name: getattr(report, name) for name in _LOGGED_OF_CHANGES} | report.outcomes
    if failures:
        logged["failed_tries"] = counts_text({kind.value: failures[kind] for kind in failures})
    if report.warnings:
        logged["warnings"] = len(report.warnings)
    if report.problems:
        logged |= {"problems": len(report.problems), "problem": report.problems[0].line()}
    log = get_logger().warning if report.exit_code else get_logger().info
    log("poll.finished", **logged)


def _count_outcomes(outcomes: Sequence[Outcome], adopted: int) -> dict[str, int]:
    """Return the number of days by how they ended, those adopted without a fetch among them."""
    counts = Counter(outcome.kind for outcome in outcomes)
    counts[OutcomeKind.ADOPTED] += adopted
    return {kind.value: counts[kind] for kind in OutcomeKind if counts[kind]}
