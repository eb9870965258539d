"""The inventory of a data directory: manifest and journal, and what upstream said.

Loading compares the manifest with the directory itself, by name, size and time; no daily file is
opened. Readers and the writer load alike; only the writer writes.
"""

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from datetime import date, datetime
from pathlib import Path
from typing import BinaryIO

from mirror.archive.manifest import (
    Inventory,
    match_record,
    read_claims,
    render_manifest,
    require_known_format,
)
from mirror.archive.ports import Listing
from mirror.archive.sealed import is_sealed
from mirror.archive.upstream import Upstream, parse_upstream
from mirror.model import Flag, Record
from mirror.store.disk import kind_of_mode, open_file, read_if_file, storage_errors, write_durably
from mirror.store.layout import DataDir

_CREDENTIALS = re.compile(rb'(//)[^/\s"]*@')
_OURS = frozenset(listing.partition("/")[0] for listing in Listing)


def load_inventory(data: DataDir, *, looks: int = 4) -> Inventory:
    """Return what manifest, journal and directory say together.

    Where files are gone or not on record a writer may be between journal and rename, so it is read
    again, up to `looks` times in all; whoever is the one writer needs one.
    """
    inventory = _compare(load_claims(data), data)
    while looks > 1 and (inventory.unverified or inventory.missing):
        looks -= 1
        inventory = _compare(load_claims(data), data)
    return inventory


def load_claims(data: DataDir) -> Inventory:
    """Return what manifest and journal say, before it is compared with the directory."""
    # The journal first: a writer that finishes meanwhile moves its lines into the manifest.
    journal = read_if_file(data.journal)
    return read_claims(read_if_file(data.manifest) or b"", journal, data.days.name_of)


def _compare(inventory: Inventory, data: DataDir) -> Inventory:
    """Fill in what the claims come to, seen against the directory."""
    unknown_files: list[str] = []
    seen: set[date] = set()
    with storage_errors(data.archive), os.scandir(data.archive) as entries:
        for entry in entries:
            day = data.days.day_of(entry.name)
            if day is None:
                if entry.name not in _OURS:
                    unknown_files.append(entry.name)
                continue
            seen.add(day)
            try:
                stats = entry.stat(follow_symlinks=False)
            except FileNotFoundError:
                continue
            claims = inventory.claims.get(day, ())
            record = match_record(claims, size=stats.st_size, mtime_ns=stats.st_mtime_ns)
            if (kind := kind_of_mode(stats.st_mode)) != "file":
                inventory.wrong_kind[day] = kind
            elif record is None:
                inventory.unverified[day] = claims
            else:
                inventory.records[day] = record
    inventory.unknown_files = tuple(sorted(unknown_files))
    inventory.missing = {
        day: claims[-1] for day, claims in inventory.claims.items() if day not in seen
    }
    inventory.is_clean &= not (inventory.missing or inventory.unverified)
    return inventory


def open_recorded(path: Path, claims: Iterable[Record]) -> tuple[BinaryIO, Record] | None:
    """Open a daily file together with the record of just that body; None if no claim fits it.

    An OSError says that it cannot be opened.
    """
    file = open_file(path)
    stats = os.fstat(file.fileno())
    record = match_record(claims, size=stats.st_size, mtime_ns=stats.st_mtime_ns)
    if record is None:
        file.close()
        return None
    return file, record


@contextmanager
def open_daily(archive: Path, name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a daily file by its name; see `mirror.archive.ports.OpenBody`."""
    path = archive / name
    with storage_errors(path), open_file(path) as file:
        yield file, os.fstat(file.fileno()).st_mtime_ns


def time_for(record: Record, held: Record | None, target: Path, *, now: datetime) -> int:
    """Return the time for a body's file, in ns: when it was last modified, by upstream's word.

    But later than what was said of the body that it replaces, held or at its path: who has that one
    and asks by its date must get this one. One from history has a date that was left behind.
    """
    told = int(held.last_modified.timestamp()) if held and held.last_modified else -1
    with suppress(FileNotFoundError):
        told = max(told, target.lstat().st_mtime_ns // 10**9)
    given, is_restored = record.last_modified, Flag.RESTORED in record.flags
    when = int(given.timestamp()) if given and not is_restored else -1
    if when <= told or when < 0:
        when = max(told + 1, int(now.timestamp()))
    return when * 10**9


def save_manifest(data: DataDir, records: Mapping[date, Record]) -> None:
    """Write the manifest whole and end the journal."""
    write_durably(data.manifest, render_manifest(records.values()), staging=data.staging)
    with storage_errors(data.journal):
        data.journal.unlink(missing_ok=True)


def require_known_formats(data: DataDir) -> None:
    """Make sure that no later version of this software wrote the directory; else a ConfigError."""
    require_known_format((read_if_file(data.manifest) or b"").partition(b"\n")[0])
    load_upstream(data, "")


def mask_credentials(data: DataDir) -> None:
    """Mask users and passwords in addresses, which were written before version 0.2."""
    for path in (data.upstream, data.polls):
        body = read_if_file(path) or b""
        # what has a checksum was written since, and only looks like one
        if not is_sealed(body) and (masked := _CREDENTIALS.sub(rb"\1***@", body)) != body:
            write_durably(path, masked, staging=data.staging)


def load_upstream(data: DataDir, url: str) -> Upstream:
    """Return what is kept of the upstream at `url`; see `parse_upstream`."""
    return parse_upstream(read_if_file(data.upstream), url)
