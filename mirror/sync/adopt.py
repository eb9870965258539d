"""Files that are in `archive/` without a record that fits: proved by upstream, not fetched again.

They come from other tools, from a lost manifest, or from a copy that did not keep times. A file is
never taken by its count alone; one that our own SHA256SUMS vouches for is held whatever upstream
has by now, so that upstream's loss is not ours.
"""

import asyncio
from collections.abc import Sequence
from datetime import date

from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Scanner
from mirror.archive.judge import Expectation, judge, make_record
from mirror.archive.listings import parse_sums
from mirror.archive.ports import Ask, Context, Destination, Listing, OpenBody
from mirror.archive.upstream import ETags, Upstream, listed_counts
from mirror.errors import MirrorError, StorageError, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import Flag, Record
from mirror.sync.fetch import task_group

_READ_BYTES = 1024 * 1024


async def adopt_all(context: Context, upstream: Upstream) -> int:
    """Take on record what can be proved; return how many files that was.

    What cannot be proved stays as it is: its day is not held, and so is fetched.

    Args:
        context: upstream, asked for validators and headers only; where the files are; settings.
        upstream: what is known of it: what its listings promise, and what its ETags are.

    Raises:
        StorageError: the disk refused.
    """
    destination, log = context.destination, get_logger()
    unverified = dict(destination.inventory.unverified)
    if not unverified:
        return 0
    listed = listed_counts(upstream, now=context.now())
    sums = parse_sums(_read_sums(destination))
    slots = asyncio.Semaphore(context.config.http.concurrency)
    adopted = 0

    async def adopt(day: date, claims: Sequence[Record]) -> None:
        nonlocal adopted
        name = destination.days.name_of(day)
        try:
            record = await _prove(
                context, day, claims, listed.get(day), sums.get(name), upstream.etags
            )
        except StorageError:
            raise
        except MirrorError as error:
            log.info("file.not_adopted", file=name, problem=error.line())
            record = None
        finally:
            slots.release()
        if record is not None:
            await destination.note(record)
            adopted += 1

    async with task_group() as group:
        for day, claims in unverified.items():
            await slots.acquire()
            group.create_task(adopt(day, claims))
    log.info("files.adopted", adopted=adopted, unverified=len(unverified) - adopted)
    return adopted


async def _prove(
    context: Context,
    day: date,
    claims: Sequence[Record],
    expected: int | None,
    published_sha256: str | None,
    etags: ETags,
) -> Record | None:
    """Return a record for a day's file; None where nothing proves it."""
    days, max_bytes, now = context.destination.days, context.config.http.max_file_size, context.now
    name = days.name_of(day)
    evidence, md5, mtime_ns = await asyncio.to_thread(
        _read, context.destination.opener, name, max_bytes
    )
    for claim in reversed(claims):
        if claim.sha256 == evidence.sha256:
            return replace(claim, mtime_ns=mtime_ns)
    own = {"md5": md5, "sha256": evidence.sha256}
    meta, is_same = await _ask_upstream(context, name, own, etags)
    expectation = Expectation(lines=expected, is_open=not days.is_final(day, now()))
    verdict = judge(evidence, meta, expectation)
    flags: tuple[Flag, ...] = ()
    if is_same and verdict.publish:
        flags = tuple(flag for flag in verdict.flags if flag is not Flag.UNLISTED)
    elif published_sha256 == evidence.sha256:
        # Published by us once, and so verified. Where its count or upstream's word is against it
        # the day is due, and what replaces it finds a predecessor to keep.
        is_agreed = evidence.lines == expected and is_same is not False
        meta, expected = ReplyMeta(), expected if is_agreed else None
    else:
        return None
    flags = (Flag.ADOPTED, *flags)
    record = make_record(day, name, evidence, meta, index_count=expected, flags=flags, now=now())
    return replace(record, mtime_ns=mtime_ns)


async def _ask_upstream(
    context: Context, name: str, own: dict[str, str], etags: ETags
) -> tuple[ReplyMeta, bool | None]:
    """Return what upstream says, and whether a file with these digests is its own; None: unsaid."""
    etag = f'"{own["md5"]}"'
    try:
        async with context.source.open(name, Ask(if_none_match=etag, head=True)) as reply:
            meta = reply.meta
            if reply.status == 304:
                return replace(meta, etag=meta.etag or etag), True
            if reply.status == 404:
                return ReplyMeta(), None
    except UpstreamError as error:
        context.source.traffic.fail(error.failure)
        get_logger().info("file.not_proved", file=name, problem=error.line())
        return ReplyMeta(), None
    # digests of an encoded or stored representation are over other bytes than the file's
    if meta.encoding not in ("", "identity") or meta.stored_encoding != "identity":
        return ReplyMeta(), None
    right = [
        digest.value == own[digest.algorithm]
        for digest in meta.digests
        if not (etags is ETags.OPAQUE and digest.source == "etag")
    ]
    return meta, all(right) if right else None


def _read_sums(destination: Destination) -> bytes:
    try:
        return destination.read(Listing.SUMS) or b""
    except WrongKindError:
        return b""


def _read(open_body: OpenBody, name: str, max_bytes: int) -> tuple[Evidence, str, int]:
    """Return what is seen of a file that is there, its MD5, and its modification time in ns."""
    scanner = Scanner(("sha256", "md5"), max_bytes=max_bytes)
    with open_body(name) as (file, mtime_ns):
        while chunk := file.read(_READ_BYTES):
            scanner.feed(chunk)
    evidence = scanner.finish()
    return evidence, evidence.digests["md5"], mtime_ns
