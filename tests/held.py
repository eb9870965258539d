"""Mirrors made of bodies, without an upstream: for what only reads."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from mirror.archive.scan import Scanner
from mirror.model import Record
from mirror.store.inventory import save_manifest
from mirror.store.layout import DataDir, make_folders
from tests.upstream.launches import make_day

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
"""March 3 is final, March 4 is open."""
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)]


def make_mirror(root: Path, bodies: Mapping[date, bytes]) -> DataDir:
    """Return a data directory that holds these bodies, each on record."""
    data = DataDir(root)
    make_folders(data)
    save_manifest(data, {day: publish(data, day, body) for day, body in bodies.items()})
    return data


def publish(data: DataDir, day: date, body: bytes) -> Record:
    """Put a body in its place, as a poll would; return its record."""
    path = data.archive / f"events-{day}.jsonl"
    unfinished = data.staging / path.name
    unfinished.write_bytes(body)
    unfinished.replace(path)
    scanner = Scanner(max_bytes=10**9)
    scanner.feed(body)
    fetched_at = datetime.combine(day, time(), UTC) + timedelta(days=1, hours=9)
    return Record(
        date=day,
        name=path.name,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        lines=scanner.finish().lines,
        mtime_ns=path.stat().st_mtime_ns,
        fetched_at=fetched_at,
        checked_at=fetched_at,
    )


def three_days() -> dict[date, bytes]:
    """Return the bodies of three small days."""
    return {day: make_day(day, 100 + day.day * 7) for day in DAYS}
