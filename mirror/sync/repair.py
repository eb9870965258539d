"""Putting damaged days right, and predecessors back.

Upstream's body first, else history's with the recorded digest; else the day is no longer held: it
leaves the listings, and only then does its rotten file go to quarantine. A file without a record is
not known to be rotten: it is proved by upstream or by SHA256SUMS, or left for the next poll.
"""

import asyncio
import hashlib
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from msgspec.structs import replace

from mirror.archive.manifest import Version
from mirror.archive.ports import Context, Destination
from mirror.archive.scan import Scanner
from mirror.archive.upstream import Upstream, listed_counts
from mirror.errors import StorageError
from mirror.logs import get_logger
from mirror.model import Damage, DamageKind, Due, Flag, Reason, Record
from mirror.sync.adopt import Adopter
from mirror.sync.fetch import Fetcher
from mirror.sync.publish import Publisher

_NO_CAP = 2**62


async def repair(damage: Sequence[Damage], context: Context, upstream: Upstream) -> None:
    """Put right what a verification found, as far as it can be."""
    destination = context.destination
    inventory = destination.inventory
    publisher = Publisher(destination, upstream, now=context.now)
    listed = listed_counts(upstream, now=context.now())
    doubted = set(inventory.unverified)
    with _first_error():
        await Adopter(context, upstream).adopt_all(listed)
    proved = doubted & inventory.records.keys()
    rotten = {one.day: one.name for one in damage if one.day is not None and _is_fetched(one)}
    # what was on record of the days, before it is doubted
    known = inventory.claimed() | inventory.missing | inventory.records
    claims = {day: known[day] for day in rotten.keys() - proved if day in known}
    for day in claims:
        inventory.doubt(day)
    due = [
        Due(day, rotten[day], Reason.DAMAGED, listed.get(day), 0)
        for day in sorted(claims, reverse=True)
    ]
    with _first_error():
        await Fetcher(context, upstream).fetch_all(due)
    for day in claims.keys() - inventory.records.keys():
        await _take_from_history(destination, claims[day])
    # a listing must not name what is about to be taken away
    await publisher.publish(upstream)
    for day in claims.keys() - inventory.records.keys():
        await asyncio.to_thread(
            destination.retire, rotten[day], day, "it was published, and is rotten"
        )
    await publisher.publish(upstream)


@contextmanager
def _first_error() -> Iterator[None]:
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _is_fetched(damage: Damage) -> bool:
    return damage.day is not None and damage.kind is not DamageKind.WRONG_KIND


async def _take_from_history(destination: Destination, claim: Record) -> None:
    versions = await asyncio.to_thread(destination.list_versions, claim.date)
    version = next((one for one in versions if one.sha256 == claim.sha256), None)
    if version is None or not await asyncio.to_thread(_is_sound, destination, version):
        return
    await _put_back(destination, version, claim)
    get_logger().info("file.repaired", file=claim.name, source="history")


def _is_sound(destination: Destination, version: Version) -> bool:
    """Return whether a predecessor still has the digest it is kept under."""
    digest = hashlib.sha256()
    try:
        for chunk in destination.read_version(version):
            digest.update(chunk)
    except StorageError:
        return False
    return digest.hexdigest() == version.sha256


async def restore(
    destination: Destination, version: Version, upstream: Upstream, *, now: Callable[[], datetime]
) -> None:
    """Publish a predecessor again; what it replaces goes to history in its turn.

    Raises:
        StorageError: it is damaged, or the disk refused; nothing has changed.
    """
    if not await asyncio.to_thread(_is_sound, destination, version):
        raise StorageError(
            f"the version {version.sha256[:12]} of {version.date} is damaged in history",
            hint="restore another one: see `binder-mirror history`",
        )
    held = destination.inventory.records.get(version.date)
    listed = upstream.accepted.get(version.date)
    record = Record(
        date=version.date,
        name=destination.days.name_of(version.date),
        size=0,
        sha256=version.sha256,
        lines=0,
        mtime_ns=0,
        fetched_at=version.fetched_at,
        checked_at=now(),
        index_count=held.index_count if held is not None else listed,
        last_modified=version.last_modified,
        flags=(Flag.RESTORED,),
    )
    await _put_back(destination, version, record)
    await Publisher(destination, upstream, now=now).publish(upstream)


async def _put_back(destination: Destination, version: Version, record: Record) -> None:
    scanner = Scanner(max_bytes=_NO_CAP)

    def through(chunk: bytes) -> Iterator[bytes]:
        scanner.feed(chunk)
        yield chunk

    held = destination.inventory.records.get(version.date)
    async with destination.stage(record.name, through) as staged:
        chunks = destination.read_version(version)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            await staged.write([chunk])
        scan = scanner.finish()
        was_final = held is not None and destination.days.is_final(held.date, held.checked_at)
        await staged.publish(
            replace(record, size=scan.size, lines=scan.lines),
            predecessor=held if held is not None and held.sha256 != record.sha256 else None,
            is_final=was_final,
        )
