"""Our copy against the manifest: every published byte read again, several files at a time.

Finds flipped bits, missing, extra and truncated files, and listings that do not say what is held.
Writes nothing but the times that a copy has lost (`mirror.store.proof`); takes no lock, so a sync
may go on meanwhile.
"""

import hashlib
import os
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError, ThreadPoolExecutor
from datetime import date
from functools import partial
from pathlib import Path

from msgspec import Struct

from mirror.archive.listings import entries_of, parse_index, render_index, render_sums
from mirror.archive.manifest import Inventory
from mirror.archive.metadata import render_croissant, render_datapackage
from mirror.archive.ports import State
from mirror.errors import IndexUnusableError, MirrorError, WrongKindError
from mirror.model import Damage, DamageKind, Record
from mirror.progress import Advance, show_nothing
from mirror.store.disk import READ_BYTES, kind_of, open_file, read_file
from mirror.store.layout import DataDir, is_being_written
from mirror.store.proof import load_proved
from mirror.text import shown

_LISTING_LOOKS_S = (0, 0.2, 1)  # pauses between looks at listings that seem wrong


class VerifyReport(Struct, frozen=True):
    """What a verification found."""

    checked: int  # daily files read
    checked_bytes: int
    held: int
    damage: tuple[Damage, ...]
    undated: int = 0  # files as recorded but for their time, which could not be given back


Choose = Callable[[Sequence[Record]], Sequence[Record]]
"""Which of the held days, ascending, are to be read."""


def verify(
    data: DataDir,
    *,
    choose: Choose = list,
    progress: Advance = show_nothing,
    today: date,
) -> VerifyReport:
    """Read the published files again and compare them with the manifest.

    All are read, or those chosen; the rest is compared by size and time only. The current UTC date
    is for reading the local index.
    """
    inventory = load_proved(data, by_sums=False)
    records = sorted(inventory.records.values(), key=lambda record: record.date)
    chosen = choose(records)
    held = len(records) + len(inventory.claimed()) + len(inventory.missing)
    damage = list(_find_damage(data, inventory, chosen, progress))
    if suspects := {one.day for one in damage if one.day is not None}:
        # a sync may have replaced files while they were read: look again at what seems wrong
        inventory = load_proved(data, by_sums=False)
        again = [inventory.records[day] for day in sorted(suspects & inventory.records.keys())]
        damage = list(_find_damage(data, inventory, again, show_nothing))
    damage += (
        Damage(shown(name), DamageKind.STRANGER, "does not belong to the archive")
        for name in inventory.unknown_files
    )
    damage += _check_listings(data, inventory, today)
    return VerifyReport(
        checked=len(chosen),
        checked_bytes=sum(record.size for record in chosen),
        held=held,
        damage=tuple(damage),
        undated=sum(one not in inventory.claims[day] for day, one in inventory.records.items()),
    )


def _find_damage(
    data: DataDir, inventory: Inventory, records: Iterable[Record], progress: Advance
) -> Iterator[Damage]:
    """Yield what is wrong with daily files: of those on record, with these that are read."""
    for day, record in sorted(inventory.missing.items()):
        yield Damage(record.name, DamageKind.MISSING, "the file is gone", day)
    for day, kind in sorted(inventory.wrong_kind.items()):
        name = data.days.name_of(day)
        yield Damage(name, DamageKind.WRONG_KIND, f"a {kind}, not a file", day)
    for day, claims in sorted(inventory.unverified.items()):
        if not claims:
            yield Damage(data.days.name_of(day), DamageKind.UNRECORDED, "no record of it", day)
        # no claim is proved: what is wrong is said by the latest
        elif found := _check_file(data.archive / claims[-1].name, claims[-1], show_nothing):
            yield found
    yield from _check_files(data, records, progress)


def _check_files(data: DataDir, records: Iterable[Record], progress: Advance) -> Iterator[Damage]:
    given_up = threading.Event()

    def get_on(files: int, size: int) -> None:
        if given_up.is_set():
            raise CancelledError
        progress(files, size)

    def check(record: Record) -> Damage | None:
        return _check_file(data.archive / record.name, record, get_on)

    # hashing lets go of the interpreter: a thread for each processor keeps them all busy
    with ThreadPoolExecutor(max_workers=os.cpu_count() or 1) as pool:
        try:
            yield from filter(None, pool.map(check, records))
        finally:
            # whoever interrupts does not wait for the end of a large file
            given_up.set()


def _check_file(path: Path, record: Record, progress: Advance) -> Damage | None:
    def damage(kind: DamageKind, detail: str) -> Damage:
        return Damage(record.name, kind, detail, record.date)

    digest, size = hashlib.sha256(), 0
    buffer = bytearray(READ_BYTES)
    try:
        with open_file(path) as file:
            while count := file.readinto(buffer):
                digest.update(memoryview(buffer)[:count])
                size += count
                progress(0, count)
    except FileNotFoundError:
        return damage(DamageKind.MISSING, "the file is gone")
    except MirrorError as error:
        return damage(DamageKind.WRONG_KIND, error.line())
    except OSError as error:
        return damage(DamageKind.UNREADABLE, error.strerror or str(error))
    progress(1, 0)
    if size != record.size:
        kind = DamageKind.TRUNCATED if size < record.size else DamageKind.OVERLONG
        return damage(kind, f"has {size:,} bytes, recorded are {record.size:,}")
    if digest.hexdigest() != record.sha256:
        return damage(DamageKind.ALTERED, "has not its recorded SHA-256")
    return None


def _check_listings(data: DataDir, inventory: Inventory, today: date) -> Iterable[Damage]:
    """Return which listings do not say what is held, unless a sync is about to write them."""
    damage: list[Damage] = []
    for pause_s in _LISTING_LOOKS_S:
        # what is damaged or gone is damage of its own, and stays listed
        claimed = inventory.claimed() | inventory.missing | inventory.records
        damage = list(_compare_listings(data, claimed, today))
        # Listings are written at the end of a poll; until then the journal is ahead of them.
        if not damage or (kind_of(data.journal) and is_being_written(data)):
            return ()
        # A poll may have ended since the inventory was read.
        time.sleep(pause_s)
        inventory = load_proved(data, by_sums=False)
    return damage


def _compare_listings(
    data: DataDir, records: Mapping[date, Record], today: date
) -> Iterator[Damage]:
    if not records and kind_of(data.index) is None:
        return
    claims = records.values()
    checks: dict[Path, Callable[[bytes], bool]] = {
        data.sums: lambda body: body == render_sums(claims),
        data.datapackage: lambda body: body == render_datapackage(claims),
        data.croissant: lambda body: body == render_croissant(claims),
        data.index: partial(_lists, data, claims, today),
    }
    detail = "does not say what the manifest says"
    if data.journal.exists():
        detail = "is as an interrupted poll left it; the next sync completes it"
    for path, is_right in checks.items():
        try:
            if not is_right(read_file(path) or b""):
                yield Damage(path.name, DamageKind.WRONG_LISTING, detail)
        except WrongKindError as error:
            yield Damage(path.name, DamageKind.WRONG_KIND, error.line())


def _lists(data: DataDir, records: Collection[Record], today: date, body: bytes) -> bool:
    """Return whether an index lists just these days, with their counts, as upstream or we do."""
    entries = entries_of(records)
    if body == render_index(entries):
        return True
    try:
        parsed = parse_index(body, name_template=data.days.name_template, today=today)
    except IndexUnusableError:
        return False
    is_upstreams = body == read_file(data.root / State.UPSTREAM_INDEX)
    return is_upstreams and parsed.entries == entries and not parsed.refused_lines
