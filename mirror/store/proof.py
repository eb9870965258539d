"""Proves by their digest files that have lost their recorded time, as `cp -r` and unzip lose it.

A file that is proved gets its recorded time back, on the descriptor that was read: whoever comes
next need not read it. Where that cannot be (another's file, a read-only disk, a file of more than
one name, a writer at work) the proof stays with the `DataDir`, for this process alone. A day that
no record speaks of, as where `archive/` alone was copied, is proved by its line of SHA256SUMS.

For readers only: a writer asks upstream too; see `mirror.sync.recovery`.
"""

import os
from collections.abc import Sequence
from contextlib import suppress
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import BinaryIO, Protocol, TypeVar

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.intake import Evidence, Scanner
from mirror.archive.listings import parse_sums
from mirror.archive.manifest import Inventory
from mirror.errors import WrongKindError
from mirror.model import Flag, Record
from mirror.store.disk import READ_BYTES, open_file, read_if_file
from mirror.store.inventory import load_inventory, open_recorded
from mirror.store.layout import DataDir, is_being_written


class Claim(Protocol):
    """What is on record of a file."""

    @property
    def size(self) -> int: ...  # noqa: D102
    @property
    def mtime_ns(self) -> int: ...  # noqa: D102
    @property
    def sha256(self) -> str: ...  # noqa: D102


C = TypeVar("C", bound=Claim)

_NO_CAP = 2**62
_SIZE_UNKNOWN = -1  # in a claim by a line of SHA256SUMS, which says no more than a digest
_NEVER = datetime.fromtimestamp(0, UTC)


class Proof(Struct, frozen=True):
    """What was seen of a file, by which it need not be read again."""

    stamp: tuple[int, int, int]  # the file's inode, size and time
    evidence: Evidence
    listed: Record | None = None  # what is known of the day by its line of SHA256SUMS


def load_proved(data: DataDir, *, by_sums: bool = True) -> Inventory:
    """Return the inventory for a reader: what no record fits is proved, as far as it can be.

    With `by_sums` SHA256SUMS speaks for days of which there is no record.
    """
    inventory = load_inventory(data)
    prove(data, inventory, by_sums=by_sums)
    return inventory


def prove(data: DataDir, inventory: Inventory, *, by_sums: bool = True) -> None:
    """Hold the days whose files are proved, several at a time; `load_proved` has the arguments."""
    if by_sums and not (inventory.records and all(inventory.unverified.values())):
        _claim_by_sums(data, inventory)
    doubted = [claims for claims in inventory.unverified.values() if claims]
    if not doubted:
        return
    from concurrent.futures import ThreadPoolExecutor  # noqa: PLC0415 - slow, and seldom needed

    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            for record in filter(None, pool.map(partial(_prove_day, data), doubted)):
                inventory.take_up(record)
                inventory.claims.setdefault(record.date, (record,))
        finally:
            # whoever interrupts does not wait for all files
            pool.shutdown(cancel_futures=True)


def _claim_by_sums(data: DataDir, inventory: Inventory) -> None:
    """Take the lines of SHA256SUMS for claims of the days of which there is no record."""
    sums = parse_sums(read_if_file(data.sums) or b"")
    known = {*inventory.records, *inventory.missing, *inventory.wrong_kind}
    for name, sha256 in sums.items():
        day = data.days.day_of(name)
        if day is None or day in known or inventory.unverified.get(day):
            continue
        claim = Record(
            date=day,
            name=name,
            size=_SIZE_UNKNOWN,
            sha256=sha256,
            lines=0,
            mtime_ns=0,
            fetched_at=_NEVER,
            checked_at=_NEVER,
            flags=(Flag.ADOPTED,),
        )
        if day in inventory.unverified:
            inventory.unverified[day] = (claim,)
        else:
            inventory.missing[day] = claim


def _prove_day(data: DataDir, claims: Sequence[Record]) -> Record | None:
    with suppress(OSError, WrongKindError):
        return _prove_record(data, data.archive / claims[-1].name, claims)
    return None


def open_proved(
    data: DataDir, path: Path, claims: Sequence[Record]
) -> tuple[BinaryIO, Record] | None:
    """Do as `open_recorded` does, and prove a file that no claim fits.

    An OSError or a WrongKindError says that it cannot be opened.
    """
    if (opened := open_recorded(path, claims)) is not None:
        return opened
    record = _prove_record(data, path, claims)
    if record is None and (proof := data.proofs.get(path)) is not None:
        record = proof.listed
    return open_recorded(path, (record,)) if record is not None else None


def _prove_record(data: DataDir, path: Path, claims: Sequence[Record]) -> Record | None:
    """Return the latest claim that is proved, with the time that the file has now."""
    if (proved := prove_file(data, path, claims)) is None:
        return None
    record, proof = proved
    record = replace(record, mtime_ns=proof.stamp[-1])
    if record.size == _SIZE_UNKNOWN:
        seen, when = proof.evidence, datetime.fromtimestamp(record.mtime_ns // 10**9, UTC)
        record = replace(record, size=seen.size, lines=seen.lines, fetched_at=when, checked_at=when)
        data.proofs[path] = replace(proof, listed=record)
    return record


def prove_file(data: DataDir, path: Path, claims: Sequence[C]) -> tuple[C, Proof] | None:
    """Return the latest claim that a file's digest proves, and the proof; None if none is.

    An OSError or a WrongKindError says that it cannot be read.
    """
    with open_file(path) as file:
        size = os.fstat(file.fileno()).st_size
        if all(claim.size not in (size, _SIZE_UNKNOWN) for claim in claims):
            return None
        proof = _look(data, path, file)
        for claim in reversed(claims):
            if claim.sha256 == proof.evidence.sha256:
                if claim.size != _SIZE_UNKNOWN:
                    proof = _give_back(data, path, file, proof, claim.mtime_ns)
                return claim, proof
    return None


def _look(data: DataDir, path: Path, file: BinaryIO) -> Proof:
    """Return what is to be seen of a file, read once as long as it stays as it is."""
    stamp = _stamp(file)
    proof = data.proofs.get(path)
    if proof is None or proof.stamp != stamp:
        scanner = Scanner(max_bytes=_NO_CAP)
        while chunk := file.read(READ_BYTES):
            scanner.feed(chunk)
        proof = data.proofs[path] = Proof(stamp, scanner.finish())
    return proof


def _give_back(data: DataDir, path: Path, file: BinaryIO, proof: Proof, mtime_ns: int) -> Proof:
    """Give a file its recorded time; where that may not be done, keep the proof."""
    before = os.fstat(file.fileno())
    # a writer at work tells two bodies of one size apart by their times
    if before.st_nlink == 1 and not is_being_written(data):
        with suppress(OSError, OverflowError):
            os.utime(file.fileno(), ns=(before.st_atime_ns, mtime_ns))
    proof = data.proofs[path] = replace(proof, stamp=_stamp(file))
    if proof.stamp[-1] == mtime_ns:
        data.proofs.pop(path, None)
    return proof


def _stamp(file: BinaryIO) -> tuple[int, int, int]:
    stats = os.fstat(file.fileno())
    return stats.st_ino, stats.st_size, stats.st_mtime_ns
