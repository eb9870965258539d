"""Due days fetched from upstream, several at a time: ask, take in, judge, publish; or ask again.

A day is a task of its own, which ends with its outcome whatever upstream does; only a disk that
fails stops them all. Two counts bound the tasks. A *slot* is a place for a transfer: there are
`http.concurrency` of them, held while a body arrives and given back once it is judged, for the rest
is the disk's work and upstream need not wait for it. *Room* is what a day in work takes, arriving
or on its way to be published: there is room for `SETTLING` days more than there are slots, so that
a disk slower than the wire bounds the bodies that pile up. Both are always taken in the same order,
room first; a day that waits for its next try gives both back, and so blocks no other.

A task is started only when it has both: three thousand due days cost no three thousand tasks, and
days that are tried again, being first in line, come before those not begun.
"""

import asyncio
from collections import defaultdict
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from random import Random

import structlog
from msgspec import Struct, to_builtins
from msgspec.structs import replace

from mirror.archive.final_days import find_change, keeps_predecessor
from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence
from mirror.archive.judge import Expectation, Verdict, judge, make_record
from mirror.archive.plan import ABSENT_STATUSES, retry_delay
from mirror.archive.ports import Ask, Destination, Observer, Received, Retrying, Staged
from mirror.archive.upstream import ETags, Upstream, has_stood, open_dispute
from mirror.config.settings import Config
from mirror.errors import Failure, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import Due, Flag, Outcome, OutcomeKind, Problem, ProblemKind, Reason, Record
from mirror.sync.source import HttpSource
from mirror.sync.transfer import Arrival, Carry, Transfer, open_carrier

NOT_A_DAY = "it has not one launch of its day, and no index lists it"
SETTLING = 16  # bodies that may be between arrived and published, beside those that are arriving
_REFUSALS = (Failure.REDIRECT, Failure.HTTP_4XX, Failure.HTTP_OTHER)
"""Answers that a host may have for a name without a file, instead of 404."""
_PROBLEM_KINDS = {
    Failure.REDIRECT: ProblemKind.MOVED,
    Failure.TOO_LARGE: ProblemKind.TOO_LARGE,
}


class Context(Struct, frozen=True):
    """What every step of a poll or a repair works with."""

    source: HttpSource  # upstream
    destination: Destination  # where the copy is kept
    config: Config
    observer: Observer
    now: Callable[[], datetime]  # the clock, aware UTC
    rng: Random  # the jitter, and the ids of polls


@asynccontextmanager
async def task_group() -> AsyncIterator[asyncio.TaskGroup]:
    """Run tasks as `asyncio.TaskGroup` does, but raise the first error alone, not a group.

    What ends one of a step's tasks ends them all, and the others say no more of it.
    """
    try:
        async with asyncio.TaskGroup() as group:
            yield group
    except ExceptionGroup as errors:
        raise errors.exceptions[0] from errors


class Fetcher:
    """Fetches due days, several at a time.

    Attributes:
        disputes: refused bodies that may yet be taken, as they stand now.
        indexed: days that an index has ever listed.
        in_trouble: whether upstream's index is not to be believed to be whole.
        etags: what this upstream's ETags have proved to be by now.
        room, slots: see above.
        carry: how transfers are made; set while days are fetched.
    """

    carry: Carry

    def __init__(self, context: Context, upstream: Upstream) -> None:
        self.disputes = dict(upstream.disputes)
        self.indexed = upstream.accepted.keys()
        self.in_trouble = upstream.floor is not None
        self.etags = upstream.etags
        self._alike: defaultdict[tuple[str, str, str | None], list[Problem]] = defaultdict(list)
        self.room = asyncio.Semaphore(context.config.http.concurrency + SETTLING)
        self.slots = asyncio.Semaphore(context.config.http.concurrency)
        self._context = context

    async def fetch_all(self, due: Sequence[Due]) -> list[Outcome]:
        """Fetch every due day and return how each ended."""
        tasks: list[asyncio.Task[Outcome]] = []
        context = self._context
        opening = open_carrier(context.source, context.destination, context.config, due)
        try:
            async with opening as self.carry, task_group() as group:
                for one in due:
                    day = _Day(one, self, self._context)
                    await day.begin()
                    tasks.append(group.create_task(day.fetch()))
        finally:
            for (kind, *_), (first, *more) in self._alike.items():
                if more:
                    get_logger().warning(f"files.{kind}", problem=first.line(), more=len(more))
        return [task.result() for task in tasks]

    def is_new(self, kind: OutcomeKind, problem: Problem, failure: Failure | None) -> bool:
        """Return whether no day has ended alike yet; those that have are counted in the end."""
        alike = self._alike[kind, problem.kind, failure]
        alike.append(problem)
        return len(alike) == 1


@dataclass
class _Day:
    """One due day: how the asking for it has gone so far, and how it ends."""

    due: Due
    fetcher: Fetcher
    context: Context
    room: AsyncExitStack = field(default_factory=AsyncExitStack)
    slot: AsyncExitStack = field(default_factory=AsyncExitStack)
    tries: int = 0
    past_caches: bool = False
    refused_sha256: str = ""  # of the body refused last: the same once more settles the matter
    failure: Failure | None = None  # of the last try, where that ended it

    async def begin(self) -> None:
        """Wait for room and a slot."""
        await self.room.enter_async_context(self.fetcher.room)
        await self.slot.enter_async_context(self.fetcher.slots)

    async def fetch(self) -> Outcome:
        """Try until it is published, settled or hopeless; once it has begun."""
        structlog.contextvars.bind_contextvars(file=self.due.name)
        async with self.room, self.slot:
            while True:
                self.tries += 1
                result = await self._try()
                if isinstance(result, UpstreamError):
                    result = await self._wait(result)
                if result is not None:
                    self._log_end(result)
                    self.context.observer(result)
                    return result

    async def _wait(self, error: UpstreamError) -> Outcome | None:
        """Wait for the next try; return how the day ended where there is none."""
        problem, http, fraction = error.line(), self.context.config.http, self.context.rng.random()
        delay = retry_delay(self.tries, http, error, fraction=fraction)
        if delay is None:
            self.failure = error.failure
            return self._failed(problem, _PROBLEM_KINDS.get(error.failure, ProblemKind.OTHER))
        if delay:
            self.context.observer(Retrying(self.due.date, problem, delay))
            get_logger().debug("file.retrying", problem=problem, delay_s=round(delay, 3))
            await self.slot.aclose()
            await self.room.aclose()
            await asyncio.sleep(delay)
            await self.begin()
        return None

    async def _try(self) -> Outcome | UpstreamError | None:
        """Ask once; return how the day ended, what failed, or None to ask again at once."""
        due = self.due
        held = due.held if due.conditional and not self.past_caches else None
        ask = Ask(
            if_none_match=held.etag if held else None,
            if_modified_since=held.last_modified if held else None,
            past_caches=self.past_caches,
        )
        # what no index has listed must prove that it is a daily file
        watched = None if due.date in self.fetcher.indexed else due.date
        max_bytes = self.context.config.http.max_file_size
        transfer = Transfer(due.name, ask, max_bytes, watched)
        try:
            async with self.fetcher.carry(transfer, self._progress) as arrival:
                if arrival.status == 304 and due.held is not None:
                    return await self._unchanged(due.held)
                if arrival.evidence is None or arrival.staged is None:
                    return self._absent()
                return await self._settle(arrival, arrival.evidence, arrival.staged)
        except UpstreamError as error:
            if (outcome := self._denied(error)) is not None:
                return outcome
            self.context.source.traffic.failures[error.failure] += 1
            return error
        except WrongKindError as error:
            return self._failed(str(error), ProblemKind.IN_THE_WAY)

    def _progress(self, gain: int) -> None:
        self.context.observer(Received(self.due.date, gain))

    async def _settle(
        self, arrival: Arrival, evidence: Evidence, staged: Staged
    ) -> Outcome | UpstreamError:
        """Judge a body that has come, and publish it, quarantine it or have it asked for again."""
        due = self.due
        verdict = self._judge(evidence, arrival.meta)
        is_empty = evidence.lines == due.expected == 0
        if not arrival.has_launch and not is_empty:
            if due.expected is None:
                return self._disbelieved(NOT_A_DAY)
            verdict = Verdict(ProblemKind.MISMATCH, NOT_A_DAY, Failure.PAGE)
        if verdict.failure and not verdict.publish:
            self.context.source.traffic.failures[verdict.failure] += 1
        is_new = evidence.sha256 != self.refused_sha256
        if verdict.failure and is_new and self.tries <= self.context.config.http.retries:
            self.refused_sha256 = evidence.sha256
            self.past_caches = True
            return UpstreamError(verdict.reason)
        # the rest is the disk's and the processor's: upstream need not wait for it
        await self.slot.aclose()
        if verdict.publish:
            return await self._publish(staged, evidence, arrival.meta, verdict)
        return await self._refuse(staged, evidence, verdict)

    def _judge(self, evidence: Evidence, meta: ReplyMeta) -> Verdict:
        """Judge a body, with what this upstream's ETags and the body's own past say for it."""
        due, fetcher, now = self.due, self.fetcher, self.context.now()
        stands = partial(
            has_stood, now=now, disagree_after=self.context.config.upstream.disagree_after
        )
        dispute = fetcher.disputes.get(due.date)
        if fetcher.etags is ETags.UNKNOWN:
            if "etag" in evidence.right:
                fetcher.etags = ETags.DIGESTS
            elif evidence.wrong == ("etag",) and evidence.sha256 == self.refused_sha256:
                # Two bodies agree and no ETag was ever right: they are no digests here.
                fetcher.etags = ETags.OPAQUE
        expectation = Expectation(
            lines=due.expected,
            is_open=not self.context.destination.days.is_final(due.date, now),
            now=now,
            held=due.held,
            etags_are_opaque=fetcher.etags is ETags.OPAQUE,
            age_is_settled=dispute is not None and stands(dispute.older_since),
        )
        verdict = judge(evidence, meta, expectation)
        by_bytes = verdict.contestable and verdict.problem is not ProblemKind.ROLLED_BACK
        since = dispute.since if dispute and dispute.sha256 == evidence.sha256 else None
        if not verdict.publish and by_bytes and stands(since):
            return Verdict(publish=True, flags=(Flag.DISPUTED,))
        return verdict

    async def _publish(
        self, staged: Staged, evidence: Evidence, meta: ReplyMeta, verdict: Verdict
    ) -> Outcome:
        """Publish a body, or note that it is the one held."""
        due, held, destination = self.due, self.due.held, self.context.destination
        record = make_record(
            due.date,
            due.name,
            evidence,
            meta,
            index_count=due.expected,
            flags=verdict.flags,
            now=self.context.now(),
        )
        kind, change = OutcomeKind.PUBLISHED, None
        if held is not None and held.sha256 == record.sha256:
            kind = OutcomeKind.UNCHANGED
            same = replace(record, mtime_ns=held.mtime_ns, findings=held.findings)
            await destination.note(same)
        else:
            before = destination.inventory.last_known(due.date)
            change = find_change(before, record, destination.days) if before else None
            keeps = held is not None and keeps_predecessor(held, record, change)
            await staged.publish(record, predecessor=held if keeps else None, change=change)
        self.fetcher.disputes.pop(due.date, None)
        return Outcome(due.date, kind, _problem_of(verdict, due.date), record.size, change)

    async def _refuse(self, staged: Staged, evidence: Evidence, verdict: Verdict) -> Outcome:
        """Quarantine a body; open a dispute if only a count, an ETag or its age is against it."""
        due, disputes = self.due, self.fetcher.disputes
        if verdict.contestable:
            disputes[due.date] = open_dispute(
                disputes.get(due.date),
                sha256=evidence.sha256,
                reason=verdict.reason,
                now=self.context.now(),
                is_older=verdict.is_older,
            )
        problem = _problem_of(verdict, due.date)
        if verdict.problem is ProblemKind.ROLLED_BACK and due.held and fits(due.held, due.expected):
            # what is held is what the index asks for: nothing is missing
            return Outcome(due.date, OutcomeKind.UNCHANGED, problem, due.held.size)
        if due.held is None or evidence.sha256 != due.held.sha256:
            await staged.quarantine(due.date, f"{verdict.problem}: {verdict.reason}")
        return Outcome(due.date, OutcomeKind.REFUSED, problem)

    async def _unchanged(self, held: Record) -> Outcome | None:
        """Take a 304, unless the index says by now that the body we hold is not the one."""
        due, now, destination = self.due, self.context.now(), self.context.destination
        if not fits(held, due.expected):
            # upstream says unchanged, its index says otherwise: a stale cache?
            self.context.source.traffic.failures[Failure.ROLLED_BACK] += 1
            self.past_caches = True
            return None
        # that an open day has not changed is nothing to remember
        matters = due.reason in (Reason.SETTLING, Reason.RECHECK)
        if matters or held.index_count != due.expected:
            flags = () if held.lines == due.expected else held.flags
            await destination.note(
                replace(held, checked_at=now, index_count=due.expected, flags=flags)
            )
        self.fetcher.disputes.pop(due.date, None)
        return Outcome(due.date, OutcomeKind.UNCHANGED, size=held.size)

    @property
    def _is_unlisted(self) -> bool:
        """Whether no listing has it: only `index.html` had, before the index was whole again."""
        due, fetcher = self.due, self.fetcher
        was_found = due.held is None and due.date not in fetcher.indexed
        return due.reason is Reason.BY_NAME or (was_found and not fetcher.in_trouble)

    def _absent(self) -> Outcome:
        if self._is_unlisted:
            return Outcome(self.due.date, OutcomeKind.ABSENT)
        self.context.source.traffic.failures[Failure.HTTP_4XX] += 1
        text = "upstream lists it, but answers 404: no such file"
        return self._failed(text, ProblemKind.NO_FILE)

    def _denied(self, error: UpstreamError) -> Outcome | None:
        """Return how a day asked for by name ended if an error says that it is not there."""
        if not self._is_unlisted or error.transient:
            return None
        if error.status in ABSENT_STATUSES:
            return self._absent()
        return self._disbelieved(error.line()) if error.failure in _REFUSALS else None

    def _disbelieved(self, why: str) -> Outcome:
        """Pass over what came for a day that no listing has, and that may not be there."""
        held = self.due.held
        kind = OutcomeKind.ABSENT if held is None else OutcomeKind.UNCHANGED
        problem = Problem(ProblemKind.SOFT_404, f"not believed: {why}", self.due.date)
        return Outcome(self.due.date, kind, problem, held.size if held is not None else 0)

    def _failed(self, text: str, kind: ProblemKind = ProblemKind.OTHER) -> Outcome:
        return Outcome(self.due.date, OutcomeKind.FAILED, Problem(kind, text, self.due.date))

    def _log_end(self, outcome: Outcome) -> None:
        problem, extra, log = outcome.problem, {}, get_logger().debug
        if problem is not None:
            extra = {"problem": problem.text}
            # an upstream that dies ends thousands of days alike
            if self.fetcher.is_new(outcome.kind, problem, self.failure):
                log = get_logger().warning
        log(f"file.{outcome.kind}", **extra, reason=self.due.reason.value, size=outcome.size)
        if outcome.change is not None:
            get_logger().warning("final_day.changed", **to_builtins(outcome.change))


def _problem_of(verdict: Verdict, day: date) -> Problem | None:
    if verdict.problem is None:
        return None
    return Problem(verdict.problem, f"{verdict.problem}: {verdict.reason}", day)


def fits(held: Record, expected: int | None) -> bool:
    """Return whether a held body is what a listing's count asks for, as far as it was judged."""
    if expected is None or held.lines == expected:
        return True
    if Flag.BEHIND in held.flags:
        return False
    known = held.index_count == expected
    return known or (Flag.AHEAD in held.flags and held.lines > expected)
