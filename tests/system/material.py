"""The real index, snapshot after snapshot, and two real days of launches, as an upstream."""

import gzip
import json
import random
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from msgspec import Struct

REAL_DAYS = (date(2020, 7, 1), date(2021, 11, 1))


class Snapshot(Struct, frozen=True):
    """The real index as it was once."""

    at: datetime
    counts: dict[date, int]
    body: bytes


def snapshots(folder: Path) -> Iterator[Snapshot]:
    """Yield the 76 real indexes in order."""
    with gzip.open(folder / "index-snapshots.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            yield Snapshot(
                at=datetime.fromisoformat(row["built_before"]).astimezone(UTC),
                counts={date.fromisoformat(e["date"]): int(e["count"]) for e in row["index"]},
                body="\n".join(json.dumps(entry) for entry in row["index"]).encode() + b"\n",
            )


def real_day(folder: Path, day: date) -> bytes:
    """Return a day of real launches; their minutes are not known and are spread over the day."""
    launches: list[dict[str, str]] = []
    with gzip.open(folder / f"launches-{day}.counts.jsonl.gz", "rt") as lines:
        for line in lines:
            row = json.loads(line)
            launches += [row] * row["launches"]
    random.Random(0).shuffle(launches)
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    return b"".join(
        json.dumps(
            {
                "timestamp": (
                    midnight + timedelta(minutes=number * 1440 // len(launches))
                ).isoformat(),
                "schema": "binderhub.jupyter.org/launch",
                "version": 4,
                "provider": row["provider"],
                "spec": row["spec"],
                "status": "success",
                "origin": row["origin"],
                "ref": f"{number:040x}",
            }
        ).encode()
        + b"\n"
        for number, row in enumerate(launches)
    )
