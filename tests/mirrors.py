"""Mirrors made without an upstream: bodies put in place, and the records that speak of them."""

import hashlib
from collections.abc import Mapping
from datetime import UTC, date, datetime
from pathlib import Path

from mirror.model import Record
from mirror.store.inventory import load_inventory, save_manifest
from mirror.store.layout import DataDir, make_folders
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

_AT = datetime(2026, 6, 1, tzinfo=UTC)


def make_mirror(root: Path, bodies: Mapping[date, bytes]) -> DataDir:
    """Return a data directory that holds these bodies, and only these."""
    data = DataDir(root)
    make_folders(data)
    hold(data, bodies)
    return data


def hold(data: DataDir, bodies: Mapping[date, bytes]) -> None:
    """Publish bodies, new or changed, beside what is held."""
    records = dict(load_inventory(data).records)
    for day, body in bodies.items():
        path = data.archive / day_name(day)
        path.write_bytes(body)
        records[day] = Record(
            date=day,
            name=path.name,
            size=len(body),
            sha256=hashlib.sha256(body).hexdigest(),
            lines=sum(1 for line in body.split(b"\n") if line.strip(b" \t\r")),
            mtime_ns=path.stat().st_mtime_ns,
            fetched_at=_AT,
            checked_at=_AT,
        )
    save_manifest(data, records)


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
