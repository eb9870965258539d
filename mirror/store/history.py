"""Predecessors of published bodies, compressed, by day and digest; nothing leaves but by `prune`.

Beside the bodies stands `log.jsonl`, a line for each: when and why it was kept. A body without its
line is taken for one of a final day, which is never pruned by itself.
"""

import gzip
import re
import zlib
from collections.abc import Iterator
from datetime import date, datetime
from pathlib import Path

import msgspec

from mirror.archive.manifest import Version
from mirror.errors import StorageError
from mirror.model import Record
from mirror.store.disk import (
    READ_BYTES,
    append_line,
    compress_durably,
    open_file,
    read_file,
    storage_errors,
)
from mirror.store.layout import DataDir

_NAME = re.compile(r"([0-9]{4}-[0-9]{2}-[0-9]{2})\.([0-9a-f]{64})\.jsonl\.gz")


_decoder = msgspec.json.Decoder(Version)


def path_of(data: DataDir, day: date, sha256: str) -> Path:
    """Return where a predecessor is kept."""
    return data.history / f"{day}.{sha256}.jsonl.gz"


def keep(
    data: DataDir,
    published: Path,
    record: Record,
    *,
    kept_at: datetime,
    is_final: bool,
    versions: int = 0,
) -> bool:
    """Copy the published body into history, durably, before it is replaced.

    Args:
        data: the data directory.
        published: the body's file.
        record: what is known of it.
        kept_at: the time.
        is_final: whether it is the body of a final day; such a one is kept until `prune`.
        versions: how many bodies of a day that was open are kept; 0 for all.

    Returns:
        Whether it was kept: a file that has not its recorded digest any more is none of history's.
    """
    target = path_of(data, record.date, record.sha256)
    if not target.exists() and not compress_durably(
        published, target, sha256=record.sha256, staging=data.staging
    ):
        return False
    version = Version(
        date=record.date,
        sha256=record.sha256,
        size=record.size,
        lines=record.lines,
        kept_at=kept_at,
        was_final=is_final,
        fetched_at=record.fetched_at,
        last_modified=record.last_modified,
    )
    line = b"\n" + msgspec.json.encode(version) + b"\n"
    append_line(data.history / "log.jsonl", line, durably=True)
    if versions:
        passing = [one for one in list_versions(data, record.date) if not one.was_final]
        remove_versions(data, passing[:-versions])
    return True


def list_versions(data: DataDir, day: date | None = None) -> list[Version]:
    """Return the predecessors kept, of one day or of all, by day and then by time."""
    logged = {(version.date, version.sha256): version for version in _read_log(data)}
    found: list[Version] = []
    with storage_errors(data.history):
        if not data.history.is_dir():
            return []
        entries = [(path, path.stat()) for path in data.history.iterdir()]
    for path, stats in entries:
        match = _NAME.fullmatch(path.name)
        if match is None or (day is not None and match[1] != day.isoformat()):
            continue
        key = (date.fromisoformat(match[1]), match[2])
        version = logged.get(key) or _unlogged(
            *key, datetime.fromtimestamp(stats.st_mtime).astimezone()
        )
        found.append(msgspec.structs.replace(version, packed_size=stats.st_size))
    return sorted(found, key=lambda version: (version.date, version.kept_at))


def read_version(data: DataDir, version: Version) -> Iterator[bytes]:
    """Yield a predecessor's body in chunks; its digest is the caller's to check at the end."""
    path = path_of(data, version.date, version.sha256)
    with storage_errors(path):
        try:
            with open_file(path) as packed, gzip.GzipFile(fileobj=packed) as body:
                while chunk := body.read(READ_BYTES):
                    yield chunk
        except (zlib.error, EOFError, gzip.BadGzipFile) as error:
            raise StorageError(f"{path} is damaged: {error}") from error


def remove_versions(data: DataDir, versions: list[Version]) -> None:
    """Delete predecessors for good."""
    for version in versions:
        path = path_of(data, version.date, version.sha256)
        with storage_errors(path):
            path.unlink(missing_ok=True)


def _read_log(data: DataDir) -> Iterator[Version]:
    for line in (read_file(data.history / "log.jsonl") or b"").splitlines():
        try:
            yield _decoder.decode(line)
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue


def _unlogged(day: date, sha256: str, when: datetime) -> Version:
    return Version(
        date=day, sha256=sha256, size=0, lines=0, kept_at=when, was_final=True, fetched_at=when
    )
