"""Counts the findings of published files; runs in workers, so it imports little."""

import os
from collections.abc import Sequence
from datetime import date
from pathlib import Path

from mirror.errors import MirrorError, StorageError
from mirror.events.findings import Inspector, Kinds, remember_kinds
from mirror.model import Findings, Record
from mirror.store.disk import READ_BYTES, open_file, storage_errors


def count_days(archive: Path, records: Sequence[Record]) -> list[Findings | str]:
    """Return the findings of each day, or why there are none.

    Args:
        archive: the folder of the published files.
        records: what is on record of them.
    """
    # what lines count as is remembered from one day to the next
    kinds = remember_kinds()
    return [_count(archive / record.name, record, kinds) for record in records]


def count_file(path: Path, day: date, kinds: Kinds | None = None) -> Findings:
    """Return the findings of a file.

    Args:
        path: the file.
        day: the day that it is of.
        kinds: what is remembered of the lines of other days; never shared between threads.

    Raises:
        StorageError, WrongKindError: it cannot be read.
    """
    inspector = Inspector(day, kinds)
    with storage_errors(path), open_file(path) as file:
        while chunk := file.read(READ_BYTES):
            inspector.feed(chunk)
    return inspector.finish()


def _count(path: Path, record: Record, kinds: Kinds) -> Findings | str:
    try:
        _require_unchanged(path, record)
        findings = count_file(path, record.date, kinds)
        _require_unchanged(path, record)
    except MirrorError as error:
        return error.line()
    return findings


def _require_unchanged(path: Path, record: Record) -> None:
    with storage_errors(path):
        stats = os.lstat(path)
    if (stats.st_size, stats.st_mtime_ns) != (record.size, record.mtime_ns):
        raise StorageError("its size or time is not the one on record")
