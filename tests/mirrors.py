"""Mirrors made without an upstream: bodies put in place, and the records that speak of them."""

import hashlib
import os
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from mirror.archive.intake import Scanner
from mirror.archive.manifest import render_manifest
from mirror.archive.upstream import Upstream, render_upstream
from mirror.model import Record
from mirror.store.inventory import load_inventory, save_manifest
from mirror.store.layout import DataDir, make_folders
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)
"""March 3 is final, March 4 is open."""
DAYS = [date(2024, 3, 1), date(2024, 3, 2), date(2024, 3, 3)]


def make_mirror(root: Path, bodies: Mapping[date, bytes]) -> DataDir:
    """Return a data directory that holds these bodies, and only these."""
    data = DataDir(root)
    make_folders(data)
    hold(data, bodies)
    return data


def hold(data: DataDir, bodies: Mapping[date, bytes]) -> None:
    """Publish bodies, new or changed, beside what is held."""
    records = dict(load_inventory(data).records)
    save_manifest(data, records | {day: publish(data, day, body) for day, body in bodies.items()})


def publish(data: DataDir, day: date, body: bytes) -> Record:
    """Put a body in its place, as a poll would; return its record."""
    path = data.archive / day_name(day)
    unfinished = data.staging / path.name
    unfinished.write_bytes(body)
    unfinished.replace(path)
    scanner = Scanner(max_bytes=10**9)
    scanner.feed(body)
    fetched_at = datetime.combine(day, time(9), UTC) + timedelta(days=1)
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


def drop(data: DataDir, day: date) -> None:
    """Hold a day no more."""
    records = dict(load_inventory(data).records)
    (data.archive / records.pop(day).name).unlink()
    save_manifest(data, records)


ERAS = tuple(
    date.fromisoformat(day)
    for day in (
        *("2018-11-03", "2018-11-25", "2019-02-22", "2019-06-12", "2020-06-18"),
        *("2021-07-03", "2022-10-05", "2025-01-14", "2025-01-17", "2026-03-05"),
    )
)
"""A day of each version, mixed days, one with an event of the day before, and an empty one."""


def of_all_eras(events: int = 300) -> dict[date, bytes]:
    """Return a body for each of `ERAS`."""
    return {day: make_day(day, 0 if day == date(2025, 1, 14) else events) for day in ERAS}


def three_days() -> dict[date, bytes]:
    """Return the bodies of three small days."""
    return {day: make_day(day, 100 + day.day * 7) for day in DAYS}


def make_hollow_mirror(root: Path, records: Iterable[Record], upstream: Upstream) -> DataDir:
    """Return a data directory made of records: files of the right size and time, all of it holes.

    What is known from the records must be shown without reading a file: here is nothing to read.
    """
    data = DataDir(root)
    make_folders(data)
    data.upstream.write_bytes(render_upstream(upstream))
    for one in records:
        path = data.archive / one.name
        path.touch()
        os.truncate(path, one.size)
        os.utime(path, ns=(one.mtime_ns, one.mtime_ns))
    data.manifest.write_bytes(render_manifest(records))
    return data


def split(count: int, weights: Mapping[str, int]) -> dict[str, int]:
    """Divide a count by weights; the first gets what is left over."""
    whole = sum(weights.values())
    parts = {name: count * weight // whole for name, weight in weights.items()}
    if parts:
        parts[next(iter(parts))] += count - sum(parts.values())
    return {name: part for name, part in parts.items() if part}
