"""Putting damaged days right, and predecessors back.

Upstream's body first, else history's with the recorded digest; else the day is no longer held: it
leaves the listings, and only then does its rotten file go to quarantine. A file without a record is
not known to be rotten: it is proved by upstream or by SHA256SUMS, or left for the next poll.
"""

import asyncio
from collections.abc import Sequence

from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Intake
from mirror.archive.manifest import Version
from mirror.archive.ports import Context, Destination
from mirror.archive.upstream import Upstream, listed_counts
from mirror.errors import StorageError
from mirror.logs import get_logger
from mirror.model import Damage, DamageKind, Due, Flag, Reason, Record
from mirror.sync.adopt import adopt_all
from mirror.sync.fetch import Fetcher
from mirror.sync.publish import publish

_NO_CAP = 2**62


async def repair(damage: Sequence[Damage], context: Context, upstream: Upstream) -> None:
    """Put right what a verification found, as far as it can be."""
    destination = context.destination
    inventory = destination.inventory
    doubted = set(inventory.unverified)
    await adopt_all(context, upstream)
    proved = doubted & inventory.records.keys()
    rotten = {
        one.day: one.name
        for one in damage
        if one.day is not None and one.kind is not DamageKind.WRONG_KIND
    }
    # what was on record of the days, before it is doubted
    known = inventory.claimed() | inventory.missing | inventory.records
    claims = {day: known[day] for day in rotten.keys() - proved if day in known}
    for day in claims:
        inventory.doubt(day)
    listed = listed_counts(upstream, now=context.now())
    due = [
        Due(day, rotten[day], Reason.DAMAGED, listed.get(day), 0)
        for day in sorted(claims, reverse=True)
    ]
    await Fetcher(context, upstream).fetch_all(due)
    for day in claims.keys() - inventory.records.keys():
        await _take_from_history(destination, claims[day])
    # a listing must not name what is about to be taken away
    await asyncio.to_thread(publish, destination, upstream)
    for day in claims.keys() - inventory.records.keys():
        await asyncio.to_thread(
            destination.retire, rotten[day], day, "it was published, and is rotten"
        )
    await asyncio.to_thread(publish, destination, upstream)


async def restore(version: Version, context: Context, upstream: Upstream) -> None:
    """Publish a predecessor again; what it replaces goes to history in its turn.

    Raises:
        StorageError: it is damaged, or the disk refused; nothing has changed.
    """
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
    if not await _put_back(destination, version, record):
        raise StorageError(
            f"the version {version.sha256[:12]} of {day} is damaged in history",
            hint="restore another one: see `binder-mirror history`",
        )
    await asyncio.to_thread(publish, destination, upstream)


async def _take_from_history(destination: Destination, claim: Record) -> None:
    """Publish the body on record from history, if it is there and sound."""
    for version in await asyncio.to_thread(destination.list_versions, claim.date):
        if version.sha256 == claim.sha256 and await _put_back(destination, version, claim):
            get_logger().info("file.repaired", file=claim.name, source="history")
            return


async def _put_back(destination: Destination, version: Version, record: Record) -> bool:
    """Publish a predecessor; return False, with nothing changed, where it is damaged.

    Its size and its lines are counted on the way.
    """
    intake = Intake(ReplyMeta(), max_bytes=_NO_CAP)

    def read() -> bytes:
        try:
            return next(chunks, b"")
        except StorageError:
            return b""  # the digest will say so

    chunks = destination.read_version(version)
    async with destination.stage(record.name, intake.feed) as staged:
        while chunk := await asyncio.to_thread(read):
            await staged.write([chunk])
        evidence = intake.finish()
        if evidence.sha256 != version.sha256:
            return False
        held = destination.inventory.records.get(version.date)
        await staged.publish(
            replace(record, size=evidence.size, lines=evidence.lines),
            predecessor=held if held is not None and held.sha256 != record.sha256 else None,
            is_final=held is not None and destination.days.is_final(held.date, held.checked_at),
        )
    return True
