"""Due days fetched from upstream, several at a time: ask, take in, judge, and ask again.

A day is a task of its own, which ends with its outcome whatever upstream does; only a disk that
fails stops them all. Two counts bound the tasks. A *slot* is a place for a transfer: there are
`http.concurrency` of them, held while a body arrives and given back once it is judged, for the rest
is the disk's work and upstream need not wait for it. *Room* is what a day in work takes, arriving
or on its way to be published: `SETTLING` more than there are slots, so that a disk slower than
the wire bounds the bodies that pile up. Both are always taken in the same order, room first; a day
that waits for its next try gives both back, and so blocks no other.

A task is started only when it has both: three thousand due days cost no three thousand tasks, and
days that are tried again, being first in line, come before those not begun.
"""

import asyncio
from collections.abc import Mapping, Sequence
from contextlib import aclosing
from datetime import date

import structlog
from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Intake
from mirror.archive.judge import Expectation, failure_of, flags_of, judge, make_record
from mirror.archive.plan import retry_delay
from mirror.archive.ports import Ask, Context, Received, Reply, Retrying
from mirror.archive.upstream import Dispute, ETags, Upstream, has_persisted
from mirror.errors import Failure, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import (
    Due,
    Evidence,
    Outcome,
    OutcomeKind,
    ProblemKind,
    Reason,
    Record,
    Verdict,
)
from mirror.sync.settle import Settler, absent, failed, fits

_ABSENT = (403, 410)
"""Statuses that mean absence too, of a day that no listing has: a store that may not be listed
answers 403 for what it has not."""
_PROBLEM_KINDS = {
    Failure.REDIRECT: ProblemKind.MOVED,
    Failure.TOO_LARGE: ProblemKind.TOO_LARGE,
}

SETTLING = 16
"""Bodies that may be on their way from arrived to published, beside those that are arriving."""


class _Slot:
    """One of the places for transfers: taken and given back, never twice."""

    def __init__(self, slots: asyncio.Semaphore) -> None:
        self._slots = slots
        self._is_held = False

    async def take(self) -> None:
        """Wait for a place."""
        await self._slots.acquire()
        self._is_held = True

    def free(self) -> None:
        """Give the place to the next."""
        if self._is_held:
            self._is_held = False
            self._slots.release()


class _Try(Struct):
    """How the asking for one day has gone so far."""

    slot: _Slot
    conditional: bool
    number: int = 0
    past_caches: bool = False
    refused_sha256: str = ""
    """Of the body that was refused last: the same once more settles the matter."""


class _AskAgain(Struct, frozen=True):
    """What came cannot be taken as it is; another try may bring better."""

    problem: str
    error: UpstreamError | None = None
    at_once: bool = False


class Fetcher:
    """Fetches due days, several at a time.

    Args:
        context: where from and where to; settings, clock and jitter.
        upstream: what is known of it: disputes, and what its ETags are.

    Attributes:
        etags: what this upstream's ETags have proved to be, after the fetching.
    """

    def __init__(self, context: Context, upstream: Upstream) -> None:
        self._source = context.source
        self._destination = context.destination
        self._observer = context.observer
        self._config = context.config
        self._now = context.now
        self._rng = context.rng
        self._slots = asyncio.Semaphore(context.config.http.concurrency)
        self._room = asyncio.Semaphore(context.config.http.concurrency + SETTLING)
        self._log = get_logger()
        self._settler = Settler(context.destination, now=context.now, disputes=upstream.disputes)
        self.etags = upstream.etags

    @property
    def disputes(self) -> Mapping[date, Dispute]:
        """Refused bodies that may yet be taken, as they stand now."""
        return self._settler.disputes

    async def fetch_all(self, due: Sequence[Due]) -> list[Outcome]:
        """Fetch every due day and return how each ended.

        Raises:
            ExceptionGroup: of StorageErrors (the disk refused), or of bugs.
        """
        outcomes: list[Outcome] = []

        async def fetch(one: Due, slot: _Slot) -> None:
            outcome = await self._fetch(one, slot)
            outcomes.append(outcome)
            self._observer(outcome)

        async with asyncio.TaskGroup() as group:
            for one in due:
                # a task for each that there is room for, not for each day: days that wait cost no
                # memory, and those that are tried again come before
                await self._room.acquire()
                slot = _Slot(self._slots)
                await slot.take()
                group.create_task(fetch(one, slot))
        return outcomes

    async def _fetch(self, due: Due, slot: _Slot) -> Outcome:
        """Try until it is published, settled or hopeless. Gives back slot and room."""
        structlog.contextvars.bind_contextvars(file=due.name)
        state = _Try(slot, conditional=due.conditional)
        try:
            while True:
                state.number += 1
                result = await self._try(due, state)
                if isinstance(result, Outcome):
                    return self._logged(due, result)
                delay = self._delay(state, result)
                if delay is None:
                    kind = _problem_kind(result.error)
                    return self._logged(due, failed(due, state.number, result.problem, kind))
                await self._wait(due, slot, result.problem, delay)
        finally:
            slot.free()
            self._room.release()

    async def _wait(self, due: Due, slot: _Slot, problem: str, delay_s: float) -> None:
        if not delay_s:
            return
        self._observer(Retrying(due.date, problem, delay_s))
        self._log.info("file.retrying", problem=problem, delay_s=round(delay_s, 3))
        # a day that waits blocks no other
        slot.free()
        self._room.release()
        try:
            await asyncio.sleep(delay_s)
        finally:
            await self._room.acquire()
        await slot.take()

    def _delay(self, state: _Try, result: _AskAgain) -> float | None:
        if result.at_once:
            return 0
        return retry_delay(
            state.number, self._config.http, fraction=self._rng.random(), error=result.error
        )

    async def _try(self, due: Due, state: _Try) -> Outcome | _AskAgain:
        held = due.held if state.conditional else None
        ask = Ask(
            if_none_match=held.etag if held else None,
            if_modified_since=held.last_modified if held else None,
            past_caches=state.past_caches,
        )
        try:
            async with self._source.open(due.name, ask) as reply:
                if reply.status == 304 and due.held is not None:
                    return await self._unchanged(due, due.held, state)
                if reply.status == 404:
                    if due.reason is not Reason.BY_NAME:
                        self._source.traffic.fail(Failure.HTTP_4XX)
                    return absent(due, state.number)
                return await self._take_in(due, state, reply)
        except UpstreamError as error:
            if due.reason is Reason.BY_NAME and error.status in _ABSENT:
                return absent(due, state.number)
            self._source.traffic.fail(error.failure)
            return _AskAgain(error.line(), error)
        except WrongKindError as error:
            return failed(due, state.number, str(error), ProblemKind.IN_THE_WAY)

    async def _take_in(self, due: Due, state: _Try, reply: Reply) -> Outcome | _AskAgain:
        intake = Intake(reply.meta, max_bytes=self._config.http.max_file_size)
        async with self._destination.stage(due.name, intake.feed) as staged:
            async with aclosing(reply.blocks()) as blocks:
                async for block in blocks:
                    await staged.write(block)
                    self._observer(Received(due.date, sum(map(len, block))))
            evidence = intake.finish()
            verdict = self._judge(due, state, evidence, reply.meta)
            if failure := failure_of(evidence, verdict):
                self._source.traffic.fail(failure)
            if self._asks_again(state, evidence, verdict):
                state.refused_sha256 = evidence.sha256
                state.past_caches, state.conditional = True, False
                return _AskAgain(verdict.reason)
            # the rest is the disk's and the processor's: upstream need not wait for it
            state.slot.free()
            if verdict.publish:
                record = make_record(
                    due.date,
                    due.name,
                    evidence,
                    reply.meta,
                    index_count=due.expected,
                    flags=flags_of(verdict),
                    now=self._now(),
                )
                return await self._settler.publish(due, state.number, staged, record, verdict)
            return await self._settler.refuse(due, state.number, staged, evidence, verdict)

    def _judge(self, due: Due, state: _Try, evidence: Evidence, meta: ReplyMeta) -> Verdict:
        """Judge a body, with what this upstream's ETags and the body's own past say for it."""
        if "etag" in evidence.right and self.etags is ETags.UNKNOWN:
            self.etags = ETags.DIGESTS
        same_again = evidence.sha256 == state.refused_sha256
        if evidence.wrong == ("etag",) and same_again and self.etags is ETags.UNKNOWN:
            # Two bodies agree and no ETag was ever right: they are no digests here.
            self.etags = ETags.OPAQUE
        expectation = Expectation(
            lines=due.expected,
            is_open=not self._destination.days.is_final(due.date, self._now()),
            held=due.held,
            etags_are_opaque=self.etags is ETags.OPAQUE,
        )
        verdict = judge(evidence, meta, expectation)
        if verdict.contestable and not verdict.publish and self._has_persisted(due, evidence):
            return replace(verdict, publish=True, ask_again=False)
        return verdict

    def _has_persisted(self, due: Due, evidence: Evidence) -> bool:
        return has_persisted(
            self.disputes.get(due.date),
            evidence.sha256,
            now=self._now(),
            disagree_after=self._config.upstream.dispute_span,
        )

    def _asks_again(self, state: _Try, evidence: Evidence, verdict: Verdict) -> bool:
        tries_left = state.number <= self._config.http.retries
        return verdict.ask_again and tries_left and evidence.sha256 != state.refused_sha256

    async def _unchanged(self, due: Due, held: Record, state: _Try) -> Outcome | _AskAgain:
        """Take a 304, unless the index says by now that the body we hold is not the one."""
        if fits(held, due.expected):
            return await self._settler.confirm(due, held, state.number)
        state.past_caches, state.conditional = True, False
        self._source.traffic.fail(Failure.ROLLED_BACK)
        return _AskAgain("upstream says unchanged, its index says otherwise", at_once=True)

    def _logged(self, due: Due, outcome: Outcome) -> Outcome:
        log = self._log.warning if outcome.problem else self._log.info
        if outcome.kind in (OutcomeKind.ABSENT, OutcomeKind.UNCHANGED):
            log = self._log.debug
        extra = {"problem": outcome.problem.text} if outcome.problem else {}
        log(f"file.{outcome.kind}", reason=due.reason.value, size=outcome.size, **extra)
        return outcome


def _problem_kind(error: UpstreamError | None) -> ProblemKind:
    if error is None:
        return ProblemKind.OTHER
    return _PROBLEM_KINDS.get(error.failure, ProblemKind.OTHER)
