"""Bodies that are there already: files without a record, damaged ones, predecessors.

*Adoption* takes files without a record that fits on record once upstream has proved them, and
spares fetching them. They come from other tools, from a lost manifest, or from a copy that did not
keep times. A file is never taken by its count alone; one that our own SHA256SUMS vouches for is
held whatever upstream has by now, so that upstream's loss is not ours.

*Repair* hears SHA256SUMS and upstream first where a record speaks against a file, as adoption does:
what they prove stays, and the record was wrong. Else it takes upstream's body, else history's with
the recorded digest; else the day is no longer held: it leaves the listings, and only then does its
rotten file go to quarantine. A file without a record is not known to be rotten: it is adopted, or
left for the next poll. For a day that was restored by hand, history comes before upstream.
"""

import asyncio
from collections.abc import Iterable, Sequence
from contextlib import suppress
from datetime import date
from itertools import count

from msgspec.structs import replace

from mirror.archive.final_days import changes_of
from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Intake, Scanner
from mirror.archive.judge import Expectation, judge, make_record
from mirror.archive.listings import parse_sums
from mirror.archive.manifest import Version
from mirror.archive.ports import Ask, Destination, Listing, OpenBody, Proved
from mirror.archive.upstream import ETags, Upstream, listed_counts
from mirror.errors import StorageError, UpstreamError, WrongKindError
from mirror.logs import get_logger
from mirror.model import Damage, DamageKind, Due, Flag, Plan, Reason, Record, Repair
from mirror.sync.fetch import Context, Fetcher, task_group
from mirror.sync.publish import publish

_READ_BYTES = 1024 * 1024
_NO_CAP = 2**62
_NOT_AS_RECORDED = (DamageKind.TRUNCATED, DamageKind.OVERLONG, DamageKind.ALTERED)
"""Damage of which only the record speaks: the file can be read."""


async def adopt_all(context: Context, upstream: Upstream) -> int:
    """Take on record what can be proved; return how many files that was.

    What cannot be proved stays as it is: its day is not held, and so is fetched. Upstream is asked
    for validators and headers only.
    """
    destination, log = context.destination, get_logger()
    unverified = dict(destination.inventory.unverified)
    if not unverified:
        return 0
    listed = listed_counts(upstream, now=context.now())
    sums: dict[str, str] = {}
    with suppress(WrongKindError):
        sums = parse_sums(destination.read(Listing.SUMS) or b"")
    slots, done = asyncio.Semaphore(context.config.http.concurrency), count(1)
    adopted: list[date] = []

    async def adopt(day: date, claims: Sequence[Record]) -> None:
        name = destination.days.name_of(day)
        try:
            record = await _prove(
                context, day, claims, listed.get(day), sums.get(name), upstream.etags
            )
        except (UpstreamError, WrongKindError) as error:
            log.debug("file.not_adopted", file=name, problem=error.line())
            return
        finally:
            slots.release()
            context.observer(Proved(next(done), len(unverified)))
        if record is not None:
            await destination.note(record)
            adopted.append(day)

    async with task_group() as group:
        for day, claims in unverified.items():
            await slots.acquire()
            group.create_task(adopt(day, claims))
    log.debug("files.adopted", adopted=len(adopted), unverified=len(unverified) - len(adopted))
    return len(adopted)


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
    name, opener = days.name_of(day), context.destination.opener
    evidence, mtime_ns = await asyncio.to_thread(_read, opener, name, max_bytes)
    for claim in reversed(claims):
        if claim.sha256 == evidence.sha256:
            return replace(claim, mtime_ns=mtime_ns)
    if claims and Flag.RESTORED in claims[-1].flags:
        return None  # see `restore_lost`
    meta, is_same = await _ask_upstream(context, name, evidence.digests, etags)
    is_open = not days.is_final(day, now())
    expectation = Expectation(lines=expected, is_open=is_open, now=now())
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
    """Return what upstream says, and whether a file with these digests is its own; None: unsaid.

    It is asked without conditions: a 304 to an ETag of ours would prove nothing, for there are
    hosts and caches that answer so to any.
    """
    try:
        async with context.source.open(name, Ask(head_only=True)) as reply:
            meta = reply.meta
            if reply.status == 404:
                return ReplyMeta(), None
    except UpstreamError as error:
        context.source.traffic.failures[error.failure] += 1
        get_logger().debug("file.not_proved", file=name, problem=error.line())
        return ReplyMeta(), None
    # digests of an encoded or stored representation are over other bytes than the file's
    if meta.codings or meta.stored_encoding != "identity":
        return ReplyMeta(), None
    right = [
        digest.value == own[digest.algorithm]
        for digest in meta.digests
        if etags is not ETags.OPAQUE or digest.source != "etag" or digest.value == own["md5"]
    ]
    return meta, all(right) if right else None


def _read(open_body: OpenBody, name: str, max_bytes: int) -> tuple[Evidence, int]:
    """Return what is seen of a file that is there, and its modification time in ns."""
    scanner = Scanner(("sha256", "md5"), max_bytes=max_bytes)
    with open_body(name) as (file, mtime_ns):
        while chunk := file.read(_READ_BYTES):
            scanner.feed(chunk)
    return scanner.finish(), mtime_ns


async def repair(damage: Sequence[Damage], context: Context, upstream: Upstream) -> Repair:
    """Put right what a verification found, as far as it can be."""
    destination = context.destination
    inventory = destination.inventory
    # what was on record of the days, before it is doubted
    known = inventory.claimed() | inventory.missing | inventory.records
    for day in {one.day for one in damage if one.kind in _NOT_AS_RECORDED}:
        if day in inventory.records:
            inventory.doubt(day)
    doubted = set(inventory.unverified)
    # a record may be wrong, and its file right: SHA256SUMS and upstream are heard before it goes
    await adopt_all(context, upstream)
    sources = dict.fromkeys(doubted & inventory.records.keys(), "the file")
    rotten = {one.day for one in damage if one.kind is not DamageKind.WRONG_KIND}
    rotten -= sources.keys()
    claims = {day: claim for day, claim in known.items() if day in rotten}
    for day in claims.keys() - inventory.unverified.keys():
        inventory.doubt(day)
    sources |= await restore_lost(destination)
    claims = {day: claim for day, claim in claims.items() if day not in sources}
    listed = listed_counts(upstream, now=context.now())
    due = [
        Due(day, claims[day].name, Reason.DAMAGED, listed.get(day), claims[day].size)
        for day in sorted(claims, reverse=True)
    ]
    context.observer(Plan(tuple(due), len(listed), sum(one.estimated_bytes for one in due)))
    outcomes = await Fetcher(context, upstream).fetch_all(due)
    sources |= dict.fromkeys(claims.keys() & inventory.records.keys(), "upstream")
    lost = claims.keys() - inventory.records.keys()
    sources |= await _from_history(destination, [claims[day] for day in lost])
    # a listing must not name what is about to be taken away
    await asyncio.to_thread(publish, destination, upstream)
    for day in claims.keys() - inventory.records.keys():
        reason = "it was published, and is rotten"
        await asyncio.to_thread(destination.retire, day, reason)
        get_logger().error("file.lost", file=claims[day].name, sha256=claims[day].sha256)
    await asyncio.to_thread(publish, destination, upstream)
    return Repair(sources, changes_of(outcomes))


async def restore(version: Version, context: Context, upstream: Upstream) -> None:
    """Publish a predecessor again, unless it is damaged; what it replaces goes to history."""
    destination, day = context.destination, version.date
    held = destination.inventory.records.get(day)
    record = Record(
        date=day,
        name=destination.days.name_of(day),
        size=0,
        sha256=version.sha256,
        lines=0,
        mtime_ns=0,
        fetched_at=version.fetched_at,
        checked_at=context.now(),
        index_count=held.index_count if held is not None else upstream.accepted.get(day),
        last_modified=version.last_modified,
        flags=(Flag.RESTORED,),
    )
    if not await _put_back(destination, record):
        raise StorageError(
            f"the version {version.sha256[:12]} of {day} is damaged in history",
            hint="restore another one: see `binder-mirror history`",
        )
    await asyncio.to_thread(publish, destination, upstream)


async def restore_lost(destination: Destination) -> dict[date, str]:
    """Restore again what was restored by hand and is rotten or gone; return the days' source."""
    lost = destination.inventory.missing | destination.inventory.claimed()
    restored = [one for one in lost.values() if Flag.RESTORED in one.flags]
    return await _from_history(destination, restored)


async def _from_history(destination: Destination, lost: Iterable[Record]) -> dict[date, str]:
    """Publish again what history has of what was held; return the source of these days."""
    back = [one for one in lost if await _put_back(destination, one)]
    for one in back:
        get_logger().info("file.repaired", file=one.name, source="history")
    return dict.fromkeys((one.date for one in back), "history")


async def _put_back(destination: Destination, record: Record) -> bool:
    """Publish a predecessor; return False, with nothing changed, where it is gone or damaged.

    Its size and its lines are counted on the way.
    """
    intake = Intake(ReplyMeta(), max_bytes=_NO_CAP)
    chunks = destination.read_version(record.date, record.sha256)
    async with destination.stage(record.name, intake.feed) as staged:
        while chunk := await asyncio.to_thread(next, chunks, b""):
            await staged.write([chunk])
        evidence = intake.finish()
        if evidence.sha256 != record.sha256:
            return False
        held = destination.inventory.records.get(record.date)
        await staged.publish(
            replace(record, size=evidence.size, lines=evidence.lines),
            predecessor=held if held is not None and held.sha256 != record.sha256 else None,
        )
    return True
