"""Files that are in `archive/` without a record that fits: proved by upstream, not fetched again.

They come from other tools, from a lost manifest, or from a copy that did not keep times. A file is
never taken by its count alone; one that our own SHA256SUMS vouches for is held whatever upstream
has by now, so that upstream's loss is not ours.
"""

import asyncio
from collections.abc import Mapping
from datetime import date

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.judge import Expectation, flags_of, judge, make_record
from mirror.archive.listings import parse_sums
from mirror.archive.ports import Ask, Context, Destination, Listing, OpenBody
from mirror.archive.scan import Scanner
from mirror.archive.upstream import ETags, Upstream
from mirror.errors import MirrorError, StorageError, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import Evidence, Flag, Record, VerdictKind

_READ_BYTES = 1024 * 1024


class _File(Struct, frozen=True):
    """One file as read from disk."""

    day: date
    name: str
    mtime_ns: int
    md5: str
    evidence: Evidence


class _Word(Struct, frozen=True):
    """What upstream says of a file's bytes: its own, others, or nothing."""

    meta: ReplyMeta = ReplyMeta()
    is_same: bool = False
    is_other: bool = False


class Adopter:
    """Proves files that are already there and takes them on record.

    Args:
        context: upstream, asked for validators and headers only; where the files are; settings.
        upstream: what is known of it: whether its ETags have proved to be no digests.
    """

    def __init__(self, context: Context, upstream: Upstream) -> None:
        self._source = context.source
        self._destination = context.destination
        self._http = context.config.http
        self._now = context.now
        self._etags_are_opaque = upstream.etags is ETags.OPAQUE
        self._log = get_logger()

    async def adopt_all(self, listed: Mapping[date, int | None]) -> int:
        """Take on record what can be proved; return how many files that was.

        What cannot be proved stays as it is: its day is not held, and so is fetched.

        Args:
            listed: upstream's days with the count that its listings promise.

        Raises:
            ExceptionGroup: of StorageErrors: the disk refused.
        """
        unverified = dict(self._destination.inventory.unverified)
        if not unverified:
            return 0
        sums = parse_sums(_read_sums(self._destination))
        slots = asyncio.Semaphore(self._http.concurrency)
        adopted = 0

        async def adopt(day: date, claims: tuple[Record, ...]) -> None:
            nonlocal adopted
            try:
                record = await self._prove(day, claims, listed.get(day), sums)
            except StorageError:
                raise
            except MirrorError as error:
                name = self._destination.days.name_of(day)
                self._log.info("file.not_adopted", file=name, problem=error.line())
                record = None
            finally:
                slots.release()
            if record is not None:
                await self._destination.note(record)
                adopted += 1

        async with asyncio.TaskGroup() as group:
            for day, claims in unverified.items():
                await slots.acquire()
                group.create_task(adopt(day, claims))
        self._log.info("files.adopted", adopted=adopted, unverified=len(unverified) - adopted)
        return adopted

    async def _prove(
        self, day: date, claims: tuple[Record, ...], expected: int | None, sums: Mapping[str, str]
    ) -> Record | None:
        destination, max_bytes = self._destination, self._http.max_file_size
        name = destination.days.name_of(day)
        file = await asyncio.to_thread(_read, destination.opener, name, day, max_bytes)
        for claim in reversed(claims):
            if claim.sha256 == file.evidence.sha256:
                return replace(claim, mtime_ns=file.mtime_ns)
        word = await self._ask_upstream(file)
        record = self._judged(file, word.meta, expected) if word.is_same else None
        if record is None and sums.get(file.name) == file.evidence.sha256:
            # Published by us once, and so verified. Where its count or upstream's word is against
            # it the day is due, and what replaces it finds a predecessor to keep.
            agreed = file.evidence.lines == expected and not word.is_other
            return self._record(file, ReplyMeta(), expected if agreed else None)
        return record

    async def _ask_upstream(self, file: _File) -> _Word:
        """Return what upstream says of the file's bytes."""
        try:
            ask = Ask(if_none_match=f'"{file.md5}"', head=True)
            async with self._source.open(file.name, ask) as reply:
                meta = reply.meta
                if reply.status == 304:
                    return _Word(replace(meta, etag=meta.etag or f'"{file.md5}"'), is_same=True)
                if reply.status == 404:
                    return _Word()
        except UpstreamError as error:
            self._source.traffic.fail(error.failure)
            self._log.info("file.not_proved", file=file.name, problem=error.line())
            return _Word()
        # digests of an encoded or stored representation are over other bytes than the file's
        if meta.encoding not in ("", "identity") or meta.stored_encoding != "identity":
            return _Word()
        own = {"md5": file.md5, "sha256": file.evidence.sha256}
        right = [
            digest.value == own[digest.algorithm]
            for digest in meta.digests
            if not (self._etags_are_opaque and digest.source == "etag")
        ]
        return _Word(meta, is_same=bool(right) and all(right), is_other=not all(right))

    def _judged(self, file: _File, meta: ReplyMeta, expected: int | None) -> Record | None:
        is_open = not self._destination.days.is_final(file.day, self._now())
        verdict = judge(file.evidence, meta, Expectation(lines=expected, is_open=is_open))
        if not verdict.publish:
            return None
        flags = () if verdict.kind is VerdictKind.UNLISTED else flags_of(verdict)
        return self._record(file, meta, expected, flags)

    def _record(
        self, file: _File, meta: ReplyMeta, expected: int | None, flags: tuple[Flag, ...] = ()
    ) -> Record:
        record = make_record(
            file.day,
            file.name,
            file.evidence,
            meta,
            index_count=expected,
            flags=(Flag.ADOPTED, *flags),
            now=self._now(),
        )
        return replace(record, mtime_ns=file.mtime_ns)


def _read_sums(destination: Destination) -> bytes:
    try:
        return destination.read(Listing.SUMS) or b""
    except WrongKindError:
        return b""


def _read(open_body: OpenBody, name: str, day: date, max_bytes: int) -> _File:
    """Read a file that is there, with all that is needed to prove it."""
    scanner = Scanner(("sha256", "md5"), max_bytes=max_bytes)
    with open_body(name) as (file, mtime_ns):
        while chunk := file.read(_READ_BYTES):
            scanner.feed(chunk)
    scan = scanner.finish()
    evidence = Evidence(scan.size, scan.digests["sha256"], scan.lines, scan.ends_with_newline)
    return _File(day, name, mtime_ns, scan.digests["md5"], evidence)
