"""What upstream has now: its index, and in trouble `index.html`, as a new state of `Upstream`."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from contextlib import aclosing
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from random import Random
from typing import TypeVar

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Intake
from mirror.archive.judge import is_older
from mirror.archive.listings import IndexEntry, ParsedIndex, parse_index, parse_page
from mirror.archive.plan import retry_delay
from mirror.archive.ports import Ask, Listing, Reply, Source
from mirror.archive.upstream import (
    ETags,
    IndexFacts,
    Upstream,
    accept_index,
    accept_listing,
    accept_unchanged,
    has_persisted,
    is_search_due,
    open_dispute,
)
from mirror.config.settings import Config
from mirror.errors import Failure, IndexUnusableError, UpstreamError
from mirror.logs import get_logger
from mirror.model import Problem, ProblemKind

T = TypeVar("T")

MAX_LISTING_BYTES = 32 * 1024**2
"""Cap on a listing, below `http.max_file_size`: it is read into memory, and 400,000 days fit."""


class Survey(Struct, frozen=True):
    """What a poll learnt of upstream before fetching any day."""

    upstream: Upstream
    index: bytes | None = None
    """The body of the new index; None where the one we have still holds."""
    warnings: tuple[Problem, ...] = ()
    searched: bool = False
    """Whether this poll looks for days by name too."""


class _Index(Struct, frozen=True):
    """An index that came."""

    body: bytes
    evidence: Evidence
    meta: ReplyMeta
    parsed: ParsedIndex


@dataclass(frozen=True)
class Surveyor:
    """Reads upstream's listings."""

    source: Source
    config: Config
    now: Callable[[], datetime]
    """The clock, aware UTC."""
    rng: Random
    """The jitter."""

    async def survey(self, upstream: Upstream, *, has_body: bool) -> Survey:
        """Return what upstream has now.

        Args:
            upstream: what is known of it.
            has_body: whether the body of the index accepted last is still at hand; without it
                upstream is asked for the whole index again.

        Raises:
            IndexUnusableError: there is no index to go by; nothing may change.
            UpstreamError: upstream does not answer.
        """
        survey = await self._read_index(upstream, has_body=has_body)
        stale_after = self.config.schedule.stale_span
        if is_search_due(survey.upstream, now=self.now(), stale_after=stale_after):
            return await self._search(survey)
        return survey

    async def _read_index(self, upstream: Upstream, *, has_body: bool) -> Survey:
        facts = upstream.index if has_body else None
        ask = Ask(
            if_none_match=facts.etag if facts else None,
            if_modified_since=facts.last_modified if facts else None,
        )
        reply = await self._retrying(lambda: self._ask_for_index(ask))
        if isinstance(reply, _Index) and (failure := _suspicion(reply, upstream)):
            self.source.traffic.fail(failure)
            reply = await self._retrying(lambda: self._ask_for_index(Ask(past_caches=True)))
        if not isinstance(reply, _Index):
            return Survey(self._unchanged(_redated(upstream, reply)))
        if not _is_rolled_back(upstream, reply.meta):
            return self._accept(upstream, reply)
        now, sha256, dispute = self.now(), reply.evidence.sha256, upstream.index_dispute
        waited = timedelta(seconds=self.config.upstream.disagree_after)
        if has_persisted(dispute, sha256, now=now, disagree_after=waited):
            return self._accept(upstream, reply)
        dispute = open_dispute(dispute, sha256=sha256, reason="rolled-back", now=now)
        text = "upstream's index is older than the one accepted: a stale cache?"
        return Survey(
            replace(self._unchanged(upstream), index_dispute=dispute),
            warnings=(Problem(ProblemKind.INDEX_ROLLED_BACK, text),),
        )

    def _unchanged(self, upstream: Upstream) -> Upstream:
        stale_after = self.config.schedule.stale_span
        return accept_unchanged(upstream, now=self.now(), stale_after=stale_after)

    def _accept(self, upstream: Upstream, reply: _Index) -> Survey:
        now, before, sha256 = self.now(), upstream.index, reply.evidence.sha256
        parsed, config = reply.parsed, self.config
        is_same = before is not None and before.sha256 == sha256
        facts = IndexFacts(
            sha256=sha256,
            first_seen_at=before.first_seen_at if before is not None and is_same else now,
            # a body that its ETag still contradicts is asked for in full the next time
            etag=reply.meta.etag if not _is_doubtful(reply, upstream) else None,
            last_modified=reply.meta.last_modified,
            generation=reply.meta.generation,
            whole=not parsed.refused_lines and not parsed.conflicts,
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
            listing = await self._retrying(self._ask_for_page)
        except UpstreamError as error:
            text = f"index.html could not be read as a second listing: {error}"
            warnings = (*warnings, Problem(ProblemKind.OTHER, text))
        else:
            upstream = accept_listing(upstream, listing, now=self.now())
        upstream = replace(upstream, searched_at=self.now())
        return replace(survey, upstream=upstream, warnings=warnings, searched=True)

    async def _ask_for_index(self, ask: Ask) -> _Index | ReplyMeta:
        """Return the index, or the headers of a 304."""
        async with self.source.open(Listing.INDEX, ask) as reply:
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

    async def _ask_for_page(self) -> Mapping[date, IndexEntry] | None:
        """Return what the page lists, or None where there is none."""
        async with self.source.open(Listing.PAGE, Ask()) as reply:
            if reply.status != 200:
                return None
            body, _ = await self._take_in(reply)
            return await self._parse(parse_page, body)

    async def _parse(self, parse: Callable[..., T], body: bytes) -> T:
        """Parse a listing; off the loop, on which a daemon serves."""
        template, today = self.config.upstream.name_template, self.now().date()
        return await asyncio.to_thread(parse, body, name_template=template, today=today)

    async def _take_in(self, reply: Reply) -> tuple[bytes, Evidence]:
        max_bytes = min(self.config.http.max_file_size, MAX_LISTING_BYTES)
        intake = Intake(reply.meta, max_bytes=max_bytes)
        pieces: list[bytes] = []
        async with aclosing(reply.blocks()) as blocks:
            async for block in blocks:
                pieces += await asyncio.to_thread(_feed, intake, block)
        evidence = intake.finish()
        # An ETag alone may be no digest: see `_is_doubtful`.
        if wrong := tuple(source for source in evidence.wrong if source != "etag"):
            raise UpstreamError(
                f"a listing's digest is not that of its {wrong[0]} header", failure=Failure.DIGEST
            )
        return b"".join(pieces), evidence

    async def _retrying(self, ask: Callable[[], Awaitable[T]]) -> T:
        attempt = 0
        while True:
            attempt += 1
            try:
                return await ask()
            except UpstreamError as error:
                self.source.traffic.fail(error.failure)
                fraction = self.rng.random()
                delay = retry_delay(attempt, self.config.http, fraction=fraction, error=error)
                if delay is None:
                    raise
                get_logger().info("index.retrying", problem=error.line(), delay_s=round(delay, 3))
                await asyncio.sleep(delay)


def _suspicion(reply: _Index, upstream: Upstream) -> Failure | None:
    """Return what speaks for asking for an index once more, past the caches."""
    if _is_rolled_back(upstream, reply.meta):
        return Failure.ROLLED_BACK
    return Failure.DIGEST if _is_doubtful(reply, upstream) else None


def _is_rolled_back(upstream: Upstream, meta: ReplyMeta) -> bool:
    return upstream.index is not None and is_older(meta, upstream.index)


def _is_doubtful(reply: _Index, upstream: Upstream) -> bool:
    """Return whether only its ETag speaks against a body, where ETags may be digests."""
    return "etag" in reply.evidence.wrong and upstream.etags is not ETags.OPAQUE


def _redated(upstream: Upstream, meta: ReplyMeta) -> Upstream:
    """Return upstream with its index as old as a 304 says: it may be written anew as it was."""
    if upstream.index is None or meta.last_modified is None or is_older(meta, upstream.index):
        return upstream
    return replace(upstream, index=replace(upstream.index, last_modified=meta.last_modified))


def _feed(intake: Intake, block: list[bytes]) -> list[bytes]:
    return [piece for chunk in block for piece in intake.feed(chunk)]
