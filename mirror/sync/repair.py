"""Putting damaged days right, and predecessors back.

Upstream's body first, else history's with the recorded digest; else the day is no longer held: it
leaves the listings, and only then does its rotten file go to quarantine. A file without a record is
not known to be rotten: it is proved by upstream or by SHA256SUMS, or left for the next poll.
"""

import asyncio
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import date, datetime

from msgspec.structs import replace

from mirror.archive.scan import Scan, Scanner
from mirror.archive.upstream import Upstream, listed_counts
from mirror.errors import StorageError
from mirror.logs import get_logger
from mirror.model import Damage, DamageKind, Due, Flag, Reason, Record
from mirror.store import history
from mirror.store.destination import LocalStore
from mirror.store.history import Version
from mirror.sync.adopt import Adopter
from mirror.sync.fetch import Fetcher
from mirror.sync.publish import Publisher

_NO_CAP = 2**62


async def repair(
    damage: Sequence[Damage],
    *,
    store: LocalStore,
    adopter: Adopter,
    fetcher: Fetcher,
    publisher: Publisher,
    upstream: Upstream,
    now: Callable[[], datetime],
) -> None:
    """Put right what a verification found, as far as it can be.

    Raises:
        StorageError: the disk refused.
    """
    listed = listed_counts(upstream, now=now())
    doubted = set(store.inventory.unverified)
    with _first_error():
        await adopter.adopt_all(listed)
    proved = doubted & store.records.keys()
    rotten = {one.day: one.name for one in damage if one.day is not None and _is_fetched(one)}
    claims = _claims(store, rotten.keys() - proved)
    names = {day: rotten[day] for day in claims}
    for day in names:
        store.doubt(day)
    with _first_error():
        await fetcher.fetch_all(
            [
                Due(day, name, Reason.DAMAGED, listed.get(day), 0)
                for day, name in sorted(names.items(), reverse=True)
            ]
        )
    for day in names.keys() - store.records.keys():
        await _take_from_history(store, claims[day])
    # a listing must not name what is about to be taken away
    await publisher.publish(upstream)
    for day in names.keys() - store.records.keys():
        await asyncio.to_thread(store.retire, names[day], day, "it was published, and is rotten")
    await publisher.publish(upstream)


@contextmanager
def _first_error() -> Iterator[None]:
    try:
        yield
    except ExceptionGroup as group:
        raise group.exceptions[0] from group


def _is_fetched(damage: Damage) -> bool:
    return damage.day is not None and damage.kind is not DamageKind.WRONG_KIND


def _claims(store: LocalStore, days: Iterable[date]) -> dict[date, Record]:
    """Return what was on record of the days, before it is doubted."""
    inventory = store.inventory
    known = {day: claims[-1] for day, claims in inventory.unverified.items() if claims}
    known |= inventory.missing
    known |= inventory.records
    return {day: known[day] for day in days if day in known}


async def _take_from_history(store: LocalStore, claim: Record) -> None:
    versions = history.list_versions(store.data, claim.date)
    version = next((one for one in versions if one.sha256 == claim.sha256), None)
    if version is None or not await asyncio.to_thread(history.is_sound, store.data, version):
        return
    await _put_back(store, version, claim)
    get_logger().info("file.repaired", file=claim.name, source="history")


async def restore(
    store: LocalStore,
    version: Version,
    *,
    index_count: int | None,
    now: Callable[[], datetime],
) -> Record:
    """Publish a predecessor again; what it replaces goes to history in its turn.

    Raises:
        StorageError: it is damaged, or the disk refused; nothing has changed.
    """
    if not await asyncio.to_thread(history.is_sound, store.data, version):
        raise StorageError(
            f"the version {version.sha256[:12]} of {version.date} is damaged in history",
            hint="restore another one: see `binder-mirror history`",
        )
    held = store.records.get(version.date)
    record = Record(
        date=version.date,
        name=store.data.days.name_of(version.date),
        size=0,
        sha256=version.sha256,
        lines=0,
        mtime_ns=0,
        fetched_at=version.fetched_at,
        checked_at=now(),
        index_count=held.index_count if held is not None else index_count,
        last_modified=version.last_modified,
        flags=(Flag.RESTORED,),
    )
    return await _put_back(store, version, record)


async def _put_back(store: LocalStore, version: Version, record: Record) -> Record:
    scanner = Scanner(max_bytes=_NO_CAP)

    def through(chunk: bytes) -> Iterator[bytes]:
        scanner.feed(chunk)
        yield chunk

    held = store.records.get(version.date)
    async with store.stage(record.name, through) as staged:
        chunks = history.read_version(store.data, version)
        while chunk := await asyncio.to_thread(next, chunks, b""):
            await staged.write([chunk])
        scan: Scan = scanner.finish()
        record = replace(record, size=scan.size, lines=scan.lines)
        was_final = held is not None and store.data.days.is_final(held.date, held.checked_at)
        return await store.publish(
            staged,
            record,
            predecessor=held if held is not None and held.sha256 != record.sha256 else None,
            is_final=was_final,
        )
