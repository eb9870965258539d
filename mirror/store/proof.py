"""Proves by their digest files that have lost their recorded time, as `cp -r` and unzip lose it.

A file that is proved gets its recorded time back, on the descriptor that was read: whoever comes
next need not read it. Where that cannot be (another's file, a read-only disk, a file of more than
one name, a writer at work) the proof stays with the `DataDir`, for this process alone. A day that
no record speaks of, as where `archive/` alone was copied, is proved by its line of SHA256SUMS.

For readers only: a writer asks upstream too; see `mirror.sync.recovery`.
"""

import os
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from datetime import UTC, date, datetime
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
from mirror.store.disk import READ_BYTES, open_file, read_file
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


class Proof(Struct, frozen=True):
    """What was seen of a file, by which it need not be read again."""

    stamp: tuple[int, int, int]
    """The file's inode, size and time."""
    evidence: Evidence
    listed: Record | None = None
    """What is known of the day by its line of SHA256SUMS."""


def load_proved(data: DataDir, *, by_sums: bool = True) -> Inventory:
    """Return the inventory for a reader: what no record fits is proved, as far as it can be.

    Args:
        data: the data directory.
        by_sums: whether SHA256SUMS speaks for days of which there is no record.
    """
    inventory = load_inventory(data)
    prove(data, inventory, by_sums=by_sums)
    return inventory


def prove(data: DataDir, inventory: Inventory, *, by_sums: bool = True) -> None:
    """Hold the days whose files are proved, several at a time; `load_proved` has the arguments."""
    sums: dict[date, str] = {}
    if by_sums and not (inventory.records and all(inventory.unverified.values())):
        sums = _read_sums(data)
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            unverified = dict(inventory.unverified)
            proved = pool.map(partial(_prove_day, data, sums), unverified, unverified.values())
            for record in proved:
                if record is not None:
                    inventory.take_up(record)
        finally:
            # whoever interrupts does not wait for all files
            pool.shutdown(cancel_futures=True)
    known = {*inventory.records, *unverified, *inventory.missing, *inventory.wrong_kind}
    for day in sums.keys() - known:
        gone = Evidence(size=0, lines=0, ends_with_newline=True, digests={"sha256": sums[day]})
        inventory.missing[day] = _record_of(data, day, gone, mtime_ns=0)


def open_proved(
    data: DataDir, day: date, claims: Sequence[Record]
) -> tuple[BinaryIO, Record] | None:
    """Do as `open_recorded` does, and prove a file that no claim fits.

    Raises:
        OSError, WrongKindError: it cannot be opened.
    """
    path = data.archive / data.days.name_of(day)
    if (opened := open_recorded(path, claims)) is not None:
        return opened
    record = _prove_record(data, path, claims)
    if record is None and (proof := data.proofs.get(path)) is not None:
        record = proof.listed
    return open_recorded(path, (record,)) if record is not None else None


def prove_file(data: DataDir, path: Path, claims: Sequence[C]) -> C | None:
    """Return the latest claim that a file's digest proves; None if none is.

    Raises:
        OSError, WrongKindError: it cannot be read.
    """
    with open_file(path) as file:
        if os.fstat(file.fileno()).st_size not in {claim.size for claim in claims}:
            return None
        proof = _look(data, path, file)
        for claim in reversed(claims):
            if claim.sha256 == proof.evidence.sha256:
                _give_back(data, path, file, proof, claim.mtime_ns)
                return claim
    return None


def _prove_record(data: DataDir, path: Path, claims: Sequence[Record]) -> Record | None:
    """Do as `prove_file` does; the record has the time that the file has now."""
    record = prove_file(data, path, claims)
    if record is None or (proof := data.proofs.get(path)) is None:
        return record
    return replace(record, mtime_ns=proof.stamp[-1])


def _prove_day(
    data: DataDir, sums: Mapping[date, str], day: date, claims: Sequence[Record]
) -> Record | None:
    path = data.archive / data.days.name_of(day)
    try:
        if (record := _prove_record(data, path, claims)) is not None or day not in sums:
            return record
        with open_file(path) as file:
            proof = _look(data, path, file)
    except (OSError, WrongKindError):
        return None
    if proof.evidence.sha256 != sums[day]:
        return None
    listed = _record_of(data, day, proof.evidence, mtime_ns=proof.stamp[-1])
    data.proofs[path] = replace(proof, listed=listed)
    return listed


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


def _give_back(data: DataDir, path: Path, file: BinaryIO, proof: Proof, mtime_ns: int) -> None:
    """Give a file its recorded time; where that may not be done, keep the proof."""
    before = os.fstat(file.fileno())
    # a writer at work tells two bodies of one size apart by their times
    if before.st_nlink == 1 and not is_being_written(data):
        with suppress(OSError, OverflowError):
            os.utime(file.fileno(), ns=(before.st_atime_ns, mtime_ns))
    stamp = _stamp(file)
    if stamp[-1] == mtime_ns:
        data.proofs.pop(path, None)
    else:
        data.proofs[path] = replace(proof, stamp=stamp)


def _stamp(file: BinaryIO) -> tuple[int, int, int]:
    stats = os.fstat(file.fileno())
    return stats.st_ino, stats.st_size, stats.st_mtime_ns


def _read_sums(data: DataDir) -> dict[date, str]:
    with suppress(WrongKindError):
        sums = parse_sums(read_file(data.sums) or b"")
        days = {name: data.days.day_of(name) for name in sums}
        return {day: sums[name] for name, day in days.items() if day is not None}
    return {}


def _record_of(data: DataDir, day: date, evidence: Evidence, *, mtime_ns: int) -> Record:
    when = datetime.fromtimestamp(mtime_ns // 10**9, UTC)
    return Record(
        date=day,
        name=data.days.name_of(day),
        size=evidence.size,
        sha256=evidence.sha256,
        lines=evidence.lines,
        mtime_ns=mtime_ns,
        fetched_at=when,
        checked_at=when,
        flags=(Flag.ADOPTED,),
    )
