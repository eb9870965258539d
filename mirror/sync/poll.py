"""One pass, in the order in which it happens. The only place where the whole sequence can be read.

    survey      ask for the index (a 304 will do); in trouble, for index.html too
    adopt       prove files that are there without a record
    plan        listed days and records to what is due
    fetch       due days, several at a time: stage, judge, publish, journal
    publish     SHA256SUMS, page and index from what is held now; then the manifest
    inspect     count what the events of pending days are; the poll is judged by then

A crash anywhere is harmless: the next pass plans again what is missing and adopts what is there.
"""

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, date, datetime

import structlog
from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.manifest import Inventory
from mirror.archive.plan import DayRules, PollRange, make_plan
from mirror.archive.ports import Context
from mirror.archive.upstream import Upstream, days_to_ask, listed_counts
from mirror.config.settings import Config
from mirror.errors import ExitCode, UpstreamError
from mirror.events.findings import is_pending
from mirror.logs import get_logger
from mirror.model import (
    IndexState,
    Outcome,
    OutcomeKind,
    Plan,
    PollReport,
    Problem,
    ProblemKind,
    Reason,
)
from mirror.sync.adopt import adopt_all
from mirror.sync.fetch import Fetcher
from mirror.sync.publish import Publisher
from mirror.sync.summary import count_outcomes, make_problems, make_warnings
from mirror.sync.survey import Survey, Surveyor


class Preview(Struct, frozen=True):
    """What a poll would do."""

    plan: Plan
    unverified: int
    """Files that are there without a record: proved first, fetched only if that fails."""
    upstream: Upstream
    warnings: tuple[Problem, ...]


class Poll:
    """One pass over one data directory.

    Args:
        context: upstream and where the copy is kept; settings, clock and jitter.
        upstream: what is known of upstream from before.
        asked: the days it is about.
    """

    def __init__(self, context: Context, upstream: Upstream, asked: PollRange) -> None:
        self._context = context
        self._destination = context.destination
        self._upstream = upstream
        self._asked = asked
        self._config = context.config
        self._observer = context.observer
        self._now = context.now
        self._log = get_logger()
        self._in_the_way: tuple[Problem, ...] = ()
        self._adopted = 0
        self._publisher = Publisher(context.destination, upstream, now=context.now)

    async def run(self, *, inspect_s: float = float("inf")) -> PollReport:
        """Bring the copy in step with upstream, as far as it can be had.

        Args:
            inspect_s: after so many seconds of inspecting, the rest of the days stays pending;
                0 leaves it to others.

        Raises:
            StorageError: the disk refused; what was published stands.
        """
        started_at, started = self._now(), time.monotonic()
        poll_id = f"{started_at:%Y%m%dT%H%M%S}-{self._context.rng.getrandbits(24):06x}"
        with structlog.contextvars.bound_contextvars(poll=poll_id):
            report = replace(
                await self._run(),
                poll_id=poll_id,
                started_at=started_at.astimezone(UTC),
                duration_s=round(time.monotonic() - started, 3),
                requests=self._context.source.traffic.requests,
                downloaded_bytes=self._context.source.traffic.received_bytes,
            )
            self._destination.append_poll(report)
            self._log.info("poll.finished", **_log_fields(report))
            self._observer(report)
            if report.pending_findings and inspect_s:
                left = await self._inspect(inspect_s)
                report = replace(report, pending_findings=left)
        return report

    async def _inspect(self, limit_s: float) -> int:
        """Count what is in the days that are pending; return how many still are."""
        # where nothing is pending, as most of the time, nobody pays for its import
        from mirror.sync.inspect import inspect_pending  # noqa: PLC0415

        def publish() -> Awaitable[object]:
            return self._publisher.publish(self._upstream)

        inspected = await inspect_pending(
            self._destination, publish, self._observer, limit_s=limit_s
        )
        return inspected.pending

    async def _run(self) -> PollReport:
        try:
            survey = await self._survey()
        except UpstreamError as error:
            text = f"upstream is unusable, nothing changed: {error.line()}"
            problem = Problem(ProblemKind.UPSTREAM_UNUSABLE, text)
            return replace(
                self._report([], (problem,), ExitCode.UPSTREAM_UNUSABLE),
                index_state=IndexState.UNUSABLE,
            )
        outcomes = await self._follow(survey)
        in_the_way = self._destination.inventory.wrong_kind
        problems = make_problems(self._upstream, outcomes, in_the_way, self._asked)
        problems = (*self._in_the_way, *problems)
        records = self._destination.inventory.records.values()
        warnings = make_warnings(self._upstream, records, now=self._now())
        exit_code = ExitCode.INCOMPLETE if problems else ExitCode.COMPLETE
        return replace(
            self._report(outcomes, problems, exit_code), warnings=(*survey.warnings, *warnings)
        )

    async def _survey(self) -> Survey:
        """Ask upstream what it has."""
        surveyor = Surveyor(
            self._context.source, self._config, now=self._now, rng=self._context.rng
        )
        has_body = self._publisher.index_body(self._upstream) is not None
        return await surveyor.survey(self._upstream, has_body=has_body)

    async def _follow(self, survey: Survey) -> list[Outcome]:
        """Do all that follows from a survey."""
        self._upstream = survey.upstream
        was_clean = self._destination.inventory.is_clean
        await self._publisher.remember(survey.upstream, survey.index)
        if not was_clean:
            # files may be gone or altered since the index was written: first of all, be true
            await self._publisher.publish_index(self._upstream)
        self._adopted = await adopt_all(self._context, self._upstream)
        # off the loop, on which a daemon serves: it goes through all days
        plan = await asyncio.to_thread(self._plan, survey)
        self._check_room(plan)
        self._observer(plan)
        self._log.info("poll.planned", due=len(plan.due), listed=plan.listed, **plan.reasons())
        outcomes = await self._fetch(plan)
        if self._is_anything_new():
            self._in_the_way = await self._publisher.publish(self._upstream)
        else:
            await self._publisher.remember(self._upstream)
        return outcomes

    def _is_anything_new(self) -> bool:
        """Return whether the listings may have to change: what they are made of has, or they lack.

        The inventory is settled only after the listings were written by them.
        """
        return not self._destination.inventory.is_clean or not self._publisher.are_listings_there()

    def _plan(self, survey: Survey) -> Plan:
        return _plan(survey, self._destination.inventory, self._config, self._asked, self._now())

    def _check_room(self, plan: Plan) -> None:
        """Refuse to begin what cannot be finished; a day that is asked about may be unchanged."""
        needed = sum(due.estimated_bytes for due in plan.due if not due.conditional)
        self._destination.require_room(needed, self._config.storage.min_free if needed else 0)

    async def _fetch(self, plan: Plan) -> list[Outcome]:
        fetcher = Fetcher(self._context, self._upstream)
        try:
            outcomes = await fetcher.fetch_all(plan.due)
        except asyncio.CancelledError:
            # interrupted: what has arrived counts, and the next run would do the same anyway
            await asyncio.shield(self._publisher.publish(self._upstream))
            raise
        self._learn(plan, outcomes, fetcher)
        return outcomes

    def _learn(self, plan: Plan, outcomes: Sequence[Outcome], fetcher: Fetcher) -> None:
        """Remember what the fetching showed: days found by name, disputes, upstream's ETags."""
        asked_by_name = {due.date for due in plan.due if due.expected is None}
        found, absent = dict(self._upstream.found), dict(self._upstream.absent)
        for outcome in outcomes:
            if outcome.kind is OutcomeKind.ABSENT:
                absent[outcome.date] = self._now()
            elif outcome.kind is not OutcomeKind.FAILED and outcome.date in asked_by_name:
                found.setdefault(outcome.date, None)
                absent.pop(outcome.date, None)
        known = self._upstream.accepted.keys() | found.keys()
        disputes = {day: fetcher.disputes[day] for day in sorted(fetcher.disputes) if day in known}
        self._upstream = replace(
            self._upstream, found=found, absent=absent, disputes=disputes, etags=fetcher.etags
        )
        by_name = {due.date for due in plan.due if due.reason is Reason.BY_NAME}
        if any(one.kind is OutcomeKind.FAILED and one.date in by_name for one in outcomes):
            # it may be there: it stays due, and so the search is not over
            self._upstream = replace(self._upstream, searched_at=None)

    def _listed(self) -> dict[date, int | None]:
        return listed_counts(self._upstream, now=self._now())

    def _report(
        self, outcomes: Sequence[Outcome], problems: tuple[Problem, ...], exit_code: ExitCode
    ) -> PollReport:
        records = self._destination.inventory.records.values()
        return PollReport(
            exit_code=int(exit_code),
            index_state=self._upstream.state,
            listed=sum(day in self._asked for day in self._listed()),
            held=len(records),
            events=sum(record.lines for record in records),
            archive_bytes=sum(record.size for record in records),
            outcomes=count_outcomes(outcomes, adopted=self._adopted),
            problems=problems,
            pending_findings=sum(map(is_pending, records)) if self._config.storage.findings else 0,
        )


async def preview(
    surveyor: Surveyor,
    upstream: Upstream,
    inventory: Inventory,
    config: Config,
    asked: PollRange,
    *,
    now: Callable[[], datetime],
) -> Preview:
    """Return what a poll would do now; nothing is written.

    Raises:
        UpstreamError: there is no index to plan from.
    """
    survey = await surveyor.survey(upstream, has_body=True)
    plan = _plan(survey, inventory, config, asked, now())
    return Preview(plan, len(inventory.unverified), survey.upstream, survey.warnings)


def _plan(
    survey: Survey, inventory: Inventory, config: Config, asked: PollRange, now: datetime
) -> Plan:
    """Return what is due, the search by name included where it is time for it."""
    return make_plan(
        listed_counts(survey.upstream, now=now),
        inventory.records,
        DayRules.of(config),
        asked,
        now=now,
        by_name=days_to_ask(survey.upstream, now=now) if survey.searched else (),
        passed_over=inventory.wrong_kind,
        max_file_bytes=config.http.max_file_size,
    )


def _log_fields(report: PollReport) -> Mapping[str, object]:
    return {
        "exit_code": report.exit_code,
        "index_state": report.index_state.value,
        "held": report.held,
        "listed": report.listed,
        "requests": report.requests,
        "downloaded_bytes": report.downloaded_bytes,
        "duration_s": report.duration_s,
        **report.outcomes,
    }
