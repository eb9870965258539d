"""Keeps refused and damaged bodies, each with its reason; bounded in number and size."""

from datetime import date, datetime
from pathlib import Path

import msgspec
from msgspec import Struct

from mirror.store.disk import read_file, storage_errors, write_durably
from mirror.store.layout import DataDir

KEPT_BODIES = 50
KEPT_BYTES = 512 * 1024**2


class Quarantined(Struct, frozen=True):
    """Why a body is in quarantine."""

    date: date
    sha256: str
    size: int
    reason: str
    at: datetime
    file: str
    """The body's name in the folder."""


_decoder = msgspec.json.Decoder(Quarantined)


def put(data: DataDir, body: Path, why: Quarantined) -> Path:
    """Move a body into quarantine, with its reason, and drop the oldest beyond the bounds."""
    target = data.quarantine / why.file
    # the reason first: a body without one would be counted by nobody
    reason = data.quarantine / f"{why.file}.reason.json"
    write_durably(reason, msgspec.json.encode(why) + b"\n", staging=data.staging)
    with storage_errors(target):
        body.replace(target)
    _bound(data, keep=why.file)
    return target


def file_name(day: date, sha256: str) -> str:
    """Return what a body of this day and digest is called in quarantine."""
    return f"{day}.{sha256[:16]}.jsonl"


def list_quarantined(data: DataDir) -> list[Quarantined]:
    """Return what is in quarantine, oldest first."""
    found: list[Quarantined] = []
    with storage_errors(data.quarantine):
        if not data.quarantine.is_dir():
            return []
        reasons = sorted(data.quarantine.glob("*.reason.json"))
    for path in reasons:
        try:
            found.append(_decoder.decode(read_file(path) or b""))
        except (msgspec.DecodeError, UnicodeDecodeError):
            continue
    return sorted(found, key=lambda one: one.at)


def remove(data: DataDir, bodies: list[Quarantined]) -> None:
    """Delete bodies from quarantine."""
    for one in bodies:
        for name in (one.file, f"{one.file}.reason.json"):
            path = data.quarantine / Path(name).name
            with storage_errors(path):
                path.unlink(missing_ok=True)


def _bound(data: DataDir, *, keep: str) -> None:
    bodies = list_quarantined(data)
    total = sum(one.size for one in bodies)
    excess: list[Quarantined] = []
    for one in bodies:
        if len(bodies) - len(excess) <= KEPT_BODIES and total <= KEPT_BYTES:
            break
        if one.file != keep:
            excess.append(one)
            total -= one.size
    remove(data, excess)
