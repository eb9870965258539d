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
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, aclosing, asynccontextmanager
from datetime import timedelta

import structlog
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Intake
from mirror.archive.judge import (
    Expectation,
    Verdict,
    judge,
    keeps_predecessor,
    make_record,
)
from mirror.archive.plan import retry_delay
from mirror.archive.ports import Ask, Context, Received, Reply, Retrying, Staged
from mirror.archive.upstream import ETags, Upstream, has_persisted, open_dispute
from mirror.errors import Failure, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import Due, Flag, Outcome, OutcomeKind, Problem, ProblemKind, Reason, Record

SETTLING = 16
"""Bodies that may be on their way from arrived to published, beside those that are arriving."""
_ABSENT = (403, 410)
"""Statuses that mean absence too, of a day that no listing has: a store that may not be listed
answers 403 for what it has not."""
_PROBLEM_KINDS = {
    Failure.REDIRECT: ProblemKind.MOVED,
    Failure.TOO_LARGE: ProblemKind.TOO_LARGE,
}


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

    Args:
        context: where from and where to; settings, clock and jitter.
        upstream: what is known of it: disputes, and what its ETags are.

    Attributes:
        disputes: refused bodies that may yet be taken, as they stand now.
        etags: what this upstream's ETags have proved to be by now.
        room, slots: see above.
    """

    def __init__(self, context: Context, upstream: Upstream) -> None:
        self.disputes = dict(upstream.disputes)
        self.etags = upstream.etags
        self.room = asyncio.Semaphore(context.config.http.concurrency + SETTLING)
        self.slots = asyncio.Semaphore(context.config.http.concurrency)
        self._context = context

    async def fetch_all(self, due: Sequence[Due]) -> list[Outcome]:
        """Fetch every due day and return how each ended.

        Raises:
            StorageError: the disk refused.
        """
        outcomes: list[Outcome] = []

        async def fetch(day: _Day) -> None:
            outcome = await day.fetch()
            outcomes.append(outcome)
            self._context.observer(outcome)

        async with task_group() as group:
            for one in due:
                day = _Day(one, self, self._context)
                await day.begin()
                group.create_task(fetch(day))
        return outcomes


class _Day:
    """One due day: how the asking for it has gone so far, and how it ends."""

    def __init__(self, due: Due, fetcher: Fetcher, context: Context) -> None:
        self._due = due
        self._fetcher = fetcher
        self._context = context
        self._destination = context.destination
        self._traffic = context.source.traffic
        self._room, self._slot = AsyncExitStack(), AsyncExitStack()
        self._tries = 0
        self._past_caches = False
        self._refused_sha256 = ""
        """Of the body that was refused last: the same once more settles the matter."""
        self._log = get_logger()

    async def begin(self) -> None:
        """Wait for room and a slot."""
        await self._room.enter_async_context(self._fetcher.room)
        await self._slot.enter_async_context(self._fetcher.slots)

    async def fetch(self) -> Outcome:
        """Try until it is published, settled or hopeless; once it has begun."""
        structlog.contextvars.bind_contextvars(file=self._due.name)
        async with self._room, self._slot:
            while True:
                self._tries += 1
                result = await self._try()
                if isinstance(result, UpstreamError):
                    result = await self._wait(result)
                if result is not None:
                    self._log_end(result)
                    return result

    async def _wait(self, error: UpstreamError) -> Outcome | None:
        """Wait for the next try; return how the day ended where there is none."""
        problem, fraction = error.line(), self._context.rng.random()
        delay = retry_delay(self._tries, self._context.config.http, fraction=fraction, error=error)
        if delay is None:
            return self._failed(problem, _PROBLEM_KINDS.get(error.failure, ProblemKind.OTHER))
        if delay:
            self._context.observer(Retrying(self._due.date, problem, delay))
            self._log.info("file.retrying", problem=problem, delay_s=round(delay, 3))
            await self._slot.aclose()
            await self._room.aclose()
            await asyncio.sleep(delay)
            await self.begin()
        return None

    async def _try(self) -> Outcome | UpstreamError | None:
        """Ask once; return how the day ended, what failed, or None to ask again at once."""
        due = self._due
        held = due.held if due.conditional and not self._past_caches else None
        ask = Ask(
            if_none_match=held.etag if held else None,
            if_modified_since=held.last_modified if held else None,
            past_caches=self._past_caches,
        )
        try:
            async with self._context.source.open(due.name, ask) as reply:
                if reply.status == 304 and due.held is not None:
                    return await self._unchanged(due.held)
                if reply.status == 404:
                    return self._absent()
                return await self._take_in(reply)
        except UpstreamError as error:
            if due.reason is Reason.BY_NAME and error.status in _ABSENT:
                return self._absent()
            self._traffic.fail(error.failure)
            return error
        except WrongKindError as error:
            return self._failed(str(error), ProblemKind.IN_THE_WAY)

    async def _take_in(self, reply: Reply) -> Outcome | UpstreamError:
        due, http = self._due, self._context.config.http
        intake = Intake(reply.meta, max_bytes=http.max_file_size)
        async with self._destination.stage(due.name, intake.feed) as staged:
            async with aclosing(reply.blocks()) as blocks:
                async for block in blocks:
                    await staged.write(block)
                    self._context.observer(Received(due.date, sum(map(len, block))))
            evidence = intake.finish()
            verdict = self._judge(evidence, reply.meta)
            if verdict.failure and not verdict.publish:
                self._traffic.fail(verdict.failure)
            is_new = evidence.sha256 != self._refused_sha256
            if verdict.failure and is_new and self._tries <= http.retries:
                self._refused_sha256 = evidence.sha256
                self._past_caches = True
                return UpstreamError(verdict.reason)
            # the rest is the disk's and the processor's: upstream need not wait for it
            await self._slot.aclose()
            if verdict.publish:
                return await self._publish(staged, evidence, reply.meta, verdict)
            return await self._refuse(staged, evidence, verdict)

    def _judge(self, evidence: Evidence, meta: ReplyMeta) -> Verdict:
        """Judge a body, with what this upstream's ETags and the body's own past say for it."""
        due, fetcher, now = self._due, self._fetcher, self._context.now()
        if fetcher.etags is ETags.UNKNOWN:
            if "etag" in evidence.right:
                fetcher.etags = ETags.DIGESTS
            elif evidence.wrong == ("etag",) and evidence.sha256 == self._refused_sha256:
                # Two bodies agree and no ETag was ever right: they are no digests here.
                fetcher.etags = ETags.OPAQUE
        expectation = Expectation(
            lines=due.expected,
            is_open=not self._destination.days.is_final(due.date, now),
            held=due.held,
            etags_are_opaque=fetcher.etags is ETags.OPAQUE,
        )
        verdict = judge(evidence, meta, expectation)
        dispute = fetcher.disputes.get(due.date)
        waited = timedelta(seconds=self._context.config.upstream.disagree_after)
        if (
            verdict.contestable
            and not verdict.publish
            and has_persisted(dispute, evidence.sha256, now=now, disagree_after=waited)
        ):
            return Verdict(publish=True, flags=(Flag.DISPUTED,))
        return verdict

    async def _publish(
        self, staged: Staged, evidence: Evidence, meta: ReplyMeta, verdict: Verdict
    ) -> Outcome:
        """Publish a body, or note that it is the one held."""
        due, held, rules = self._due, self._due.held, self._destination.days
        record = make_record(
            due.date,
            due.name,
            evidence,
            meta,
            index_count=due.expected,
            flags=verdict.flags,
            now=self._context.now(),
        )
        is_repair = due.reason is Reason.DAMAGED
        if held is not None and held.sha256 == record.sha256 and not is_repair:
            kind = OutcomeKind.UNCHANGED
            same = replace(record, mtime_ns=held.mtime_ns, findings=held.findings)
            await self._destination.note(same)
        else:
            kind = OutcomeKind.PUBLISHED
            was_final = held is not None and rules.is_final(due.date, held.checked_at)
            keep = (
                held is not None
                and not is_repair
                and keeps_predecessor(held, record.sha256, record.lines, was_final=was_final)
            )
            await staged.publish(record, predecessor=held if keep else None, is_final=was_final)
        self._fetcher.disputes.pop(due.date, None)
        return self._end(kind, self._problem_of(verdict), size=record.size)

    async def _refuse(self, staged: Staged, evidence: Evidence, verdict: Verdict) -> Outcome:
        """Quarantine a body; open a dispute if only a count, an ETag or its age is against it."""
        due, disputes = self._due, self._fetcher.disputes
        if verdict.contestable:
            disputes[due.date] = open_dispute(
                disputes.get(due.date),
                sha256=evidence.sha256,
                reason=verdict.reason,
                now=self._context.now(),
            )
        if due.held is None or evidence.sha256 != due.held.sha256:
            reason = f"{verdict.problem}: {verdict.reason}"
            await staged.quarantine(due.date, evidence.sha256, reason)
        return self._end(OutcomeKind.REFUSED, self._problem_of(verdict))

    async def _unchanged(self, held: Record) -> Outcome | None:
        """Take a 304, unless the index says by now that the body we hold is not the one."""
        due, now = self._due, self._context.now()
        if not fits(held, due.expected):
            # upstream says unchanged, its index says otherwise: a stale cache?
            self._traffic.fail(Failure.ROLLED_BACK)
            self._past_caches = True
            return None
        final = self._destination.days.final_at(due.date)
        # that an open day has not changed is nothing to remember
        matters = now >= final and (held.checked_at < final or due.reason is Reason.RECHECK)
        if matters or held.index_count != due.expected:
            flags = () if held.lines == due.expected else held.flags
            await self._destination.note(
                replace(held, checked_at=now, index_count=due.expected, flags=flags)
            )
        return self._end(OutcomeKind.UNCHANGED, size=held.size)

    def _absent(self) -> Outcome:
        if self._due.reason is Reason.BY_NAME:
            return self._end(OutcomeKind.ABSENT)
        self._traffic.fail(Failure.HTTP_4XX)
        return self._failed("upstream lists it, but answers 404: no such file")

    def _failed(self, text: str, kind: ProblemKind = ProblemKind.OTHER) -> Outcome:
        return self._end(OutcomeKind.FAILED, problem=Problem(kind, text, self._due.date))

    def _problem_of(self, verdict: Verdict) -> Problem | None:
        if verdict.problem is None:
            return None
        return Problem(verdict.problem, f"{verdict.problem}: {verdict.reason}", self._due.date)

    def _end(self, kind: OutcomeKind, problem: Problem | None = None, size: int = 0) -> Outcome:
        return Outcome(self._due.date, kind, problem, size)

    def _log_end(self, outcome: Outcome) -> None:
        log = self._log.warning if outcome.problem else self._log.info
        if outcome.kind in (OutcomeKind.ABSENT, OutcomeKind.UNCHANGED):
            log = self._log.debug
        extra = {"problem": outcome.problem.text} if outcome.problem else {}
        log(f"file.{outcome.kind}", reason=self._due.reason.value, size=outcome.size, **extra)


def fits(held: Record, expected: int | None) -> bool:
    """Return whether a held body is what a listing's count asks for, as far as it was judged."""
    if expected is None or held.lines == expected:
        return True
    if Flag.BEHIND in held.flags:
        return False
    known = held.index_count == expected
    return known or (Flag.AHEAD in held.flags and held.lines > expected)
