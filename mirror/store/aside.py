"""Keeps bodies aside that are not published: predecessors, and bodies that were refused or rotted.

`history/` has a gzip of each predecessor, by day and digest, and in `log.jsonl` a line for each:
when and why it was kept. A body without its line is taken for one of a final day. Nothing leaves
but by `prune`, and what `storage.history_versions` says of days that were open. `changes.jsonl` has
a line for each change of a final day by upstream, and outlives what is pruned.

`quarantine/` has refused and damaged bodies as they came, each with its reason beside it. It is
bounded in number and size: the oldest leave.
"""

import gzip
import hashlib
import io
import re
import secrets
import stat
import zlib
from collections.abc import Iterable, Iterator
from contextlib import suppress
from datetime import UTC, date, datetime
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from mirror.archive.final_days import parse_changes
from mirror.archive.manifest import Version
from mirror.archive.ports import State
from mirror.errors import MirrorError, WrongKindError, decode_or_none
from mirror.logs import get_logger
from mirror.model import FinalChange, Moment, Record
from mirror.store import disk
from mirror.store.layout import DataDir
from mirror.text import shown

_PREDECESSOR = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9a-f]{64})\.jsonl\.gz")
_LOG = "log.jsonl"
_DAMAGE = (zlib.error, EOFError, gzip.BadGzipFile)
_QUARANTINED = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9a-f]{16})\.jsonl")
_REASON = ".reason.json"
_QUARANTINED_BODIES = 50
_QUARANTINED_BYTES = 512 * 1024**2


class Quarantined(Struct, frozen=True):
    """Why a body is in quarantine."""

    date: date
    sha256: str
    size: int
    reason: str
    at: Moment
    file: str  # the body's name in the folder
    was_published: bool = False  # whether it was held here: then nothing but `prune` deletes it


_version_decoder = msgspec.json.Decoder(Version)
_reason_decoder = msgspec.json.Decoder(Quarantined)


def keep_predecessor(
    data: DataDir,
    published: Path,
    record: Record,
    *,
    kept_at: datetime,
    versions: int = 0,
) -> bool:
    """Copy the published body into history, durably, before it is replaced.

    Of a day that was open so many versions are kept, all for 0; one of a final day until `prune`.
    Return whether the file has its recorded digest; where it has not, nothing of it is kept. A
    WrongKindError says that something other than a file stands at its place in history.
    """
    version = Version(
        date=record.date,
        sha256=record.sha256,
        size=record.size,
        lines=record.lines,
        kept_at=kept_at,
        was_final=data.days.is_final(record.date, record.checked_at),
        fetched_at=record.fetched_at,
        last_modified=record.last_modified,
    )
    try:
        # what is there from before may be torn, or another's, and gives way
        with disk.taking_place_of(_path_of(data, record.date, record.sha256), data.staging) as file:
            _pack(published, file, record.sha256)
    except _OtherBodyError:
        return False
    try:
        _append(data, data.history / _LOG, version)
    except WrongKindError as error:
        # the body is what must not be lost; without its line it is one of a final day
        get_logger().warning("history.not_logged", problem=error.line())
    if versions:
        passing = [one for one in list_versions(data, record.date) if not one.was_final]
        remove_versions(data, passing[:-versions])
    return True


class _OtherBodyError(Exception):
    """What was read has not the digest that it should have."""


def _pack(published: Path, target: BinaryIO, sha256: str) -> None:
    """Pack a body into a file; raise _OtherBodyError where what was read is another."""
    digest = hashlib.sha256()
    with disk.storage_errors(published):
        plain = disk.open_file(published)
    with (
        plain,
        # mtime=0: the same body gives the same file
        gzip.GzipFile(filename="", mode="wb", fileobj=target, mtime=0) as packed,
    ):
        while chunk := plain.read(disk.READ_BYTES):
            digest.update(chunk)
            packed.write(chunk)
    if digest.hexdigest() != sha256:
        raise _OtherBodyError


def _append(data: DataDir, log: Path, what: Version | FinalChange) -> None:
    """Add a line to a log in history, durably, its name included: the log may be new."""
    disk.append_line(log, msgspec.json.encode(what) + b"\n", staging=data.staging, durably=True)
    disk.sync_folder(data.history)


def list_versions(data: DataDir, day: date | None = None) -> list[Version]:
    """Return the predecessors kept, of one day or of all, by day and then by time."""
    lines = (disk.read_if_file(data.history / _LOG) or b"").splitlines()
    versions = (decode_or_none(_version_decoder, line) for line in lines)
    logged = {(one.date, one.sha256): one for one in versions if one is not None}
    with disk.storage_errors(data.history):
        if not data.history.is_dir():
            return []
        entries = [(path, path.lstat()) for path in data.history.iterdir()]
    found: list[Version] = []
    for path, stats in entries:
        match = _PREDECESSOR.fullmatch(path.name)
        if match is None or not stat.S_ISREG(stats.st_mode):
            continue
        try:
            of_day, sha256 = date.fromisoformat(match[1]), match[2]
        except ValueError:
            continue
        if day not in (None, of_day):
            continue
        when = datetime.fromtimestamp(stats.st_mtime).astimezone()
        unlogged = Version(of_day, sha256, 0, 0, kept_at=when, was_final=True, fetched_at=when)
        version = logged.get((of_day, sha256), unlogged)
        found.append(msgspec.structs.replace(version, packed_size=stats.st_size))
    return sorted(found, key=lambda version: (version.date, version.kept_at))


def read_version(data: DataDir, day: date, sha256: str) -> Iterator[bytes]:
    """Yield a predecessor's body in chunks, as far as it is there and sound: its digest tells."""
    path = _path_of(data, day, sha256)
    # a disk that fails is another matter: what it cannot read now may be whole
    with (
        disk.storage_errors(path),
        suppress(FileNotFoundError, WrongKindError, *_DAMAGE),
        io.BufferedReader(disk.open_file(path)) as packed,  # where a short read is not the end
        gzip.GzipFile(fileobj=packed) as body,
    ):
        while chunk := body.read(disk.READ_BYTES):
            yield chunk


def log_change(data: DataDir, change: FinalChange) -> None:
    """Put on record, durably, what upstream does to a final day, before it is published."""
    _append(data, data.final_changes, change)


def load_changes(data: DataDir) -> tuple[FinalChange, ...]:
    """Return what upstream has done to final days, oldest first; what cannot be read is none."""
    with suppress(MirrorError):
        return parse_changes(disk.read_file(data.final_changes) or b"")
    return ()


def remove_versions(data: DataDir, versions: Iterable[Version]) -> None:
    """Delete predecessors for good."""
    _unlink(_path_of(data, version.date, version.sha256) for version in versions)


def _path_of(data: DataDir, day: date, sha256: str) -> Path:
    return data.history / f"{day}.{sha256}.jsonl.gz"


def quarantine(
    data: DataDir,
    body: Path,
    day: date,
    *,
    reason: str,
    at: datetime,
    was_published: bool = False,
) -> None:
    """Move a body into quarantine, and drop the oldest of the refused beyond the bounds."""
    sha256 = disk.digest_of(body)
    name = f"{day}.{sha256[:16]}.jsonl"
    with disk.storage_errors(body):
        size = body.lstat().st_size
    why = Quarantined(day, sha256, size, shown(reason, 500), at, name, was_published)
    # the reason first: a body without one would be counted by nobody
    disk.write_durably(
        data.quarantine / f"{name}{_REASON}",
        msgspec.json.encode(why) + b"\n",
        staging=data.staging,
    )
    disk.publish_durably(body, data.quarantine / name)
    _bound_quarantine(data, keep=name)


def list_quarantined(data: DataDir) -> list[Quarantined]:
    """Return what is in quarantine, oldest first."""
    with disk.storage_errors(data.quarantine):
        # there is nothing to be found where there is no folder
        reasons = {path.name[: -len(_REASON)] for path in data.quarantine.glob(f"*{_REASON}")}
        names = reasons | {path.name for path in data.quarantine.glob("*.jsonl")}
    found: list[Quarantined] = []
    for name in sorted(names):
        reason = disk.read_if_file(data.quarantine / f"{name}{_REASON}") or b""
        if (known := decode_or_none(_reason_decoder, reason)) is not None:
            found.append(known)
        elif (match := _QUARANTINED.fullmatch(name)) is not None:
            # it counts all the same, or it would never leave
            with suppress(OSError, ValueError):
                day, stats = date.fromisoformat(match[1]), (data.quarantine / name).lstat()
                at, text = datetime.fromtimestamp(stats.st_mtime, UTC), f"{name}{_REASON} is lost"
                found.append(Quarantined(day, match[2], stats.st_size, text, at, name))
    return sorted(found, key=lambda one: one.at)


def set_aside_odd(data: DataDir) -> None:
    """Move away what stands in the place of a file of ours and is none; it is never followed."""
    others = data.dataset_provenance, data.root / State.UPSTREAM_INDEX
    for path in (*data.books, *others, data.history / _LOG, data.final_changes):
        if (kind := disk.kind_of(path)) not in (None, "file"):
            aside = data.quarantine / f"{path.name}.{secrets.token_hex(4)}"
            with disk.storage_errors(path):
                path.rename(aside)
            get_logger().warning("file.set_aside", file=str(path), kind=kind, to=str(aside))


def remove_quarantined(data: DataDir, bodies: Iterable[Quarantined]) -> None:
    """Delete bodies from quarantine."""
    for one in bodies:
        body = data.quarantine / Path(one.file).name
        _unlink((body, body.with_name(f"{body.name}{_REASON}")))


def _bound_quarantine(data: DataDir, *, keep: str) -> None:
    # what upstream may have lost meanwhile is not ours to drop
    bodies = [one for one in list_quarantined(data) if not one.was_published]
    count, size = len(bodies), sum(one.size for one in bodies)
    for one in bodies:
        if count <= _QUARANTINED_BODIES and size <= _QUARANTINED_BYTES:
            return
        if one.file != keep:
            remove_quarantined(data, [one])
            count, size = count - 1, size - one.size


def _unlink(paths: Iterable[Path]) -> None:
    for path in paths:
        with disk.storage_errors(path):
            path.unlink(missing_ok=True)
