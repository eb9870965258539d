"""What upstream has now: its index, and in trouble `index.html`, as a new state of `Upstream`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime
from functools import partial
from io import BytesIO
from itertools import chain
from random import Random
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Intake
from mirror.archive.judge import is_older
from mirror.archive.listings import IndexEntry, ParsedIndex, parse_index, parse_page
from mirror.archive.plan import ABSENT_STATUSES, retry_delay
from mirror.archive.ports import Ask, Asking, Listing, Observer, Reply, ignore
from mirror.archive.upstream import (
    ETags,
    IndexFacts,
    Upstream,
    accept_index,
    accept_listing,
    accept_unchanged,
    days_to_ask,
    has_stood,
    is_search_due,
    mend_times,
    needs_rereading,
)
from mirror.config.settings import Config
from mirror.errors import Failure, IndexUnusableError, UpstreamError
from mirror.logs import get_logger
from mirror.model import Problem, ProblemKind
from mirror.sync.source import HttpSource

T = TypeVar("T")

_NO_DAY = date(2000, 1, 1)  # long before the archive: whoever has its file has one for each name

MAX_LISTING_BYTES = 8 * 1024**2
"""Cap on a listing, below `http.max_file_size`: it is read into memory, and 100,000 days fit."""


class Survey(Struct, frozen=True):
    """What a poll learnt of upstream before fetching any day."""

    upstream: Upstream
    index: bytes | None = None  # the body of the new index; None where the one we have still holds
    problems: tuple[Problem, ...] = ()
    """What keeps the copy from being in step: the index that came is not to be believed yet."""
    warnings: tuple[Problem, ...] = ()
    searched: bool = False  # whether this poll looks for days by name too


class _Index(Struct, frozen=True):
    """An index that came."""

    body: bytes
    evidence: Evidence
    meta: ReplyMeta
    parsed: ParsedIndex


@dataclass(frozen=True)
class Surveyor:
    """Reads upstream's listings."""

    source: HttpSource
    config: Config
    now: Callable[[], datetime]  # the clock, aware UTC
    rng: Random  # the jitter
    identity: str = ""  # our own, by which a mirror that follows itself is known
    observer: Observer = ignore

    async def survey(self, upstream: Upstream, body: bytes | None) -> Survey:
        """Return what upstream has now, by what is known of it.

        Without the body of the index accepted last, upstream is asked for the whole index again. An
        IndexUnusableError says that there is no index to go by, and nothing may change; any other
        UpstreamError that upstream does not answer.
        """
        survey = await self._read_index(mend_times(upstream, now=self.now()), body)
        if is_search_due(survey.upstream, now=self.now()):
            return await self._search(survey)
        return survey

    async def _read_index(self, upstream: Upstream, body: bytes | None) -> Survey:
        facts = upstream.index if body is not None else None
        if facts is not None and facts.is_doubtful and upstream.etags is not ETags.OPAQUE:
            facts = None
        ask = Ask(
            if_none_match=facts.etag if facts else None,
            if_modified_since=facts.last_modified if facts else None,
        )
        reply = await self._retrying(Listing.INDEX, lambda: self._ask_for_index(ask))
        if isinstance(reply, _Index) and (failure := self._suspicion(reply, upstream)):
            self.source.traffic.failures[failure] += 1
            again = Ask(past_caches=True)
            reply = await self._retrying(Listing.INDEX, lambda: self._ask_for_index(again))
        meta = reply.meta if isinstance(reply, _Index) else reply
        upstream = replace(upstream, mirrors=meta.mirrors)
        if not isinstance(reply, _Index):
            return await self._unchanged(self._redated(upstream, reply), body)
        now, since = self.now(), upstream.index_older_since
        waited = self.config.upstream.disagree_after
        is_settled = has_stood(since, now=now, disagree_after=waited)
        if is_settled or not self._is_rolled_back(reply, upstream):
            return self._accept(upstream, reply)
        survey = await self._unchanged(upstream, body)
        text = "upstream's index is older than the one accepted, and refused: a stale cache?"
        return replace(
            survey,
            upstream=replace(survey.upstream, index_older_since=since or now),
            problems=(Problem(ProblemKind.INDEX_ROLLED_BACK, text),),
        )

    async def _unchanged(self, upstream: Upstream, body: bytes | None) -> Survey:
        """Go on with the index accepted last; read it again where the clock has been put right."""
        now, stale_after = self.now(), self.config.schedule.stale_span
        if body is None or upstream.index is None or not needs_rereading(upstream, now=now):
            return Survey(accept_unchanged(upstream, now=now, stale_after=stale_after))
        parsed = await self._parse(parse_index, body)
        facts = replace(upstream.index, whole=parsed.is_whole)
        after = accept_index(upstream, parsed, facts, now=now, stale_after=stale_after)
        return Survey(after, body if facts != upstream.index else None)

    def _suspicion(self, reply: _Index, upstream: Upstream) -> Failure | None:
        """Return what speaks for asking for an index once more, past the caches."""
        if self._is_rolled_back(reply, upstream):
            return Failure.ROLLED_BACK
        return Failure.DIGEST if _is_doubtful(reply, upstream) else None

    def _is_rolled_back(self, reply: _Index, upstream: Upstream) -> bool:
        meta, index, sha256 = reply.meta, upstream.index, reply.evidence.sha256
        return index is not None and is_older(meta, index, sha256=sha256, now=self.now())

    def _redated(self, upstream: Upstream, meta: ReplyMeta) -> Upstream:
        """Return upstream with its index as old as a 304 says: it may be written anew as it was."""
        index = upstream.index
        if index is None or meta.last_modified is None or is_older(meta, index, now=self.now()):
            return upstream
        return replace(upstream, index=replace(index, last_modified=meta.last_modified))

    def _accept(self, upstream: Upstream, reply: _Index) -> Survey:
        now, before, sha256 = self.now(), upstream.index, reply.evidence.sha256
        parsed, config = reply.parsed, self.config
        is_same = before is not None and before.sha256 == sha256
        facts = IndexFacts(
            sha256=sha256,
            first_seen_at=before.first_seen_at if before is not None and is_same else now,
            etag=reply.meta.etag,
            is_doubtful=_is_doubtful(reply, upstream),
            last_modified=reply.meta.last_modified,
            generation=reply.meta.generation,
            whole=parsed.is_whole,
            name_template=config.upstream.name_template,
        )
        for refusal in parsed.refused:
            get_logger().warning(
                "index.line_refused", line=refusal.line, reason=refusal.reason, text=refusal.text
            )
        if "etag" in reply.evidence.right and upstream.etags is ETags.UNKNOWN:
            upstream = replace(upstream, etags=ETags.DIGESTS)
        stale_after = config.schedule.stale_span
        accepted = accept_index(upstream, parsed, facts, now=now, stale_after=stale_after)
        return Survey(accepted, reply.body)

    async def _search(self, survey: Survey) -> Survey:
        """Read `index.html` as a second listing; that it is not there is no failure."""
        upstream, warnings = survey.upstream, survey.warnings
        try:
            listing = await self._retrying(Listing.PAGE, self._ask_for_page)
        except UpstreamError as error:
            text = f"index.html could not be read as a second listing: {error}"
            warnings = (*warnings, Problem(ProblemKind.OTHER, text))
        else:
            upstream = accept_listing(upstream, listing, now=self.now())
        upstream = replace(upstream, searched_at=self.now())
        found = replace(survey, upstream=upstream, warnings=warnings)
        if not days_to_ask(upstream, now=self.now()):
            return found
        try:
            if not await self._retrying(self._no_day, self._ask_for_no_day):
                return replace(found, searched=True)
            why = "it answers as if it had a day that cannot exist"
        except UpstreamError as error:
            why = error.line()
            if error.transient:
                found = replace(found, upstream=replace(upstream, searched_at=None))
        text = f"days that no listing has are not looked for, for upstream cannot be asked: {why}"
        return replace(found, warnings=(*warnings, Problem(ProblemKind.SOFT_404, text)))

    @property
    def _no_day(self) -> str:
        return self.config.upstream.name_template.format(date=_NO_DAY)

    async def _ask_for_no_day(self) -> bool:
        """Return whether upstream answers as if it had a day that cannot exist."""
        try:
            async with self.source.open(self._no_day, Ask()) as reply:
                return reply.status == 200
        except UpstreamError as error:
            if error.status in ABSENT_STATUSES:
                return False
            raise

    async def _ask_for_index(self, ask: Ask) -> _Index | ReplyMeta:
        """Return the index, or the headers of a 304."""
        async with self.source.open(Listing.INDEX, ask) as reply:
            if self.identity in reply.meta.mirrors:
                raise IndexUnusableError(
                    "upstream is this mirror itself, or a mirror of it",
                    hint="set upstream.url to the archive's",
                    failure=Failure.INDEX,
                    transient=False,
                )
            if reply.status == 304:
                return reply.meta
            if reply.status == 404:
                raise IndexUnusableError(
                    "upstream has no index.jsonl (404)",
                    hint="is upstream.url the folder that index.jsonl is in?",
                    failure=Failure.HTTP_4XX,
                    transient=False,
                )
            body, evidence = await self._take_in(reply)
            # here, for a cut body is asked for again before it counts as what upstream has
            return _Index(body, evidence, reply.meta, await self._parse(parse_index, body))

    async def _ask_for_page(self) -> Mapping[date, IndexEntry]:
        """Return what the page lists: nothing where there is none."""
        async with self.source.open(Listing.PAGE, Ask()) as reply:
            if reply.status != 200:
                return {}
            body, _ = await self._take_in(reply)
            return await self._parse(parse_page, body)

    async def _parse(self, parse: Callable[..., T], body: bytes) -> T:
        """Parse a listing; off the loop, on which a daemon serves."""
        template, today = self.config.upstream.name_template, self.now().date()
        return await asyncio.to_thread(parse, body, name_template=template, today=today)

    async def _take_in(self, reply: Reply) -> tuple[bytes, Evidence]:
        max_bytes = min(self.config.http.max_file_size, MAX_LISTING_BYTES)
        intake = Intake(reply.meta, max_bytes=max_bytes)
        body = BytesIO()  # not a list: chunks may be of a byte each
        try:
            async with aclosing(reply.blocks(lambda: intake.kept_bytes)) as blocks:
                async for block in blocks:
                    pieces = chain.from_iterable(map(intake.feed, block))
                    await asyncio.to_thread(body.writelines, pieces)
        except UpstreamError as error:
            if error.failure is Failure.TOO_LARGE and max_bytes == MAX_LISTING_BYTES:
                error.hint = "no listing may be larger; is upstream.url right?"
            raise
        evidence = intake.finish()
        # An ETag alone may be no digest: see `_is_doubtful`.
        if wrong := tuple(source for source in evidence.wrong if source != "etag"):
            raise UpstreamError(
                f"a listing's digest is not that of its {wrong[0]} header", failure=Failure.DIGEST
            )
        return body.getvalue(), evidence

    async def _retrying(self, name: str, ask: Callable[[], Awaitable[T]]) -> T:
        attempt, problem, http = 0, "", self.config.http
        tries = http.retries + 1
        while True:
            attempt += 1
            asking = Asking(name, attempt, tries, http.connect_timeout, problem)
            answer = replace(asking, within_s=http.read_timeout)
            self.observer(asking)
            self.source.on_sent = partial(self.observer, answer)
            try:
                return await ask()
            except UpstreamError as error:
                self.source.traffic.failures[error.failure] += 1
                delay = retry_delay(attempt, http, error, fraction=self.rng.random())
                if delay is None:
                    raise
                problem = error.line()
                self.observer(Asking(name, attempt + 1, tries, delay, problem, is_waiting=True))
                get_logger().debug("index.retrying", problem=problem, delay_s=round(delay, 3))
                await asyncio.sleep(delay)
            finally:
                self.source.on_sent = None


def _is_doubtful(reply: _Index, upstream: Upstream) -> bool:
    """Return whether only its ETag speaks against a body, where ETags may be digests."""
    return "etag" in reply.evidence.wrong and upstream.etags is not ETags.OPAQUE
