"""A mirror of real size to read events from: 200 days, 4 million events, 1.1 GB.

Made of the real launches of two days where MIRROR_REAL_DATA has them, with their repositories,
origins and frequencies; references move on each week, and some repositories are new each day. Else
made-up ones. Always the same, whoever makes it and however often.

    python -m tests.benchmarks.launches DIR [--days 200] [--events 4000000]
"""

import argparse
import gzip
import hashlib
import json
import os
import random
import shutil
from bisect import bisect_left
from collections.abc import Iterable, Sequence
from datetime import UTC, date, datetime, time, timedelta
from itertools import accumulate
from pathlib import Path

from mirror.model import Record
from mirror.store.inventory import save_manifest
from mirror.store.layout import DataDir, make_folders
from tests.upstream.eras import MINUTES_A_DAY, Era, split_day
from tests.upstream.launches import daily_count, make_day

LAST_DAY = date(2021, 11, 1)
"""So that versions 4 and 5 are among the days, and are mixed by them."""
_EVENTS_PER_DAY = 23_000
"""Of a working day; 20,000 on average."""
_NEW_SHARE = 0.03
"""Of the launches of a day: those of repositories that no other day has."""
_PUBLISHED_AFTER = timedelta(hours=32)
# twice as many launches in the afternoon (UTC) as in the small hours
_RHYTHM = list(accumulate(100 - abs(m - 900) // 15 for m in range(MINUTES_A_DAY)))

Row = dict[str, str | int]


def open_mirror_of(root: Path, *, days: int = 200, events: int = 4_000_000) -> DataDir:
    """Return a mirror of so many days and about so many events, made first where it is missing."""
    if not root.exists():
        part = root.with_suffix(".part")
        shutil.rmtree(part, ignore_errors=True)
        data = DataDir(part)
        make_folders(data)
        rows = load_rows()
        scale = events / sum(_usual_count(day) for day in _list_days(days))
        records = {
            day: _write_day(data, day, round(_usual_count(day) * scale), rows)
            for day in _list_days(days)
        }
        save_manifest(data, records)
        _write_index(data, records.values())
        part.rename(root)
    return DataDir(root)


def load_rows() -> list[Row]:
    """Return what was launched on two real days, and how often; nothing where that is not there."""
    folder = Path(os.environ.get("MIRROR_REAL_DATA", "/nowhere"))
    rows: list[Row] = []
    for path in sorted(folder.glob("launches-*.counts.jsonl.gz")):
        with gzip.open(path) as lines:
            rows += map(json.loads, lines)
    return rows


def make_real_day(day: date, count: int, rows: Sequence[Row]) -> bytes:
    """Return a day's body with exactly `count` events, drawn from real ones."""
    rng = random.Random(f"{day}/{count}")
    minutes = sorted(rng.choices(range(MINUTES_A_DAY), cum_weights=_RHYTHM, k=count))
    weights = list(accumulate(int(row["launches"]) for row in rows))
    fresh: list[Row] = [
        {"provider": "GitHub", "spec": f"new-{day}/{n}/HEAD", "origin": "gke.mybinder.org"}
        for n in range(round(count * _NEW_SHARE))
    ]
    drawn = [*range(len(rows), len(rows) + len(fresh))]
    drawn += rng.choices(range(len(rows)), cum_weights=weights, k=count - len(fresh))
    rng.shuffle(drawn)
    lines: list[str] = []
    for stretch in split_day(day):
        part = range(bisect_left(minutes, stretch.start), bisect_left(minutes, stretch.stop))
        pools = [_make_pool([*rows, *fresh], era, day) for era in stretch.eras]
        for at in part:
            before, after = rng.choice(pools)[drawn[at]] if pools[1:] else pools[0][drawn[at]]
            minute = minutes[at]
            lines.append(f"{before}{day}T{minute // 60:02}:{minute % 60:02}:00+00:00{after}")
    return "".join(lines).encode()


def _make_pool(rows: Sequence[Row], era: Era, day: date) -> list[tuple[str, str]]:
    return [_make_template(row, number, era, day) for number, row in enumerate(rows)]


def _make_template(row: Row, number: int, era: Era, day: date) -> tuple[str, str]:
    """Return a line of this row before and after its timestamp."""
    commit = f"{row['spec']} in week {day.toordinal() // 7}".encode()
    event = {
        "timestamp": "@",
        "schema": "binderhub.jupyter.org/launch",
        "version": era.version,
        "provider": row["provider"],
        "spec": row["spec"],
        "ref": hashlib.sha1(commit, usedforsecurity=False).hexdigest(),
        "status": "success",
        "build_token": number % 10 == 0,
        "origin": row["origin"],
        "request_origin": "same-origin",
    }
    since = {"origin": 3, "ref": 4, "build_token": 5, "request_origin": 6}
    event = {name: value for name, value in event.items() if since.get(name, 1) <= era.version}
    text = json.dumps(event, sort_keys=era.alphabetical) + "\n"
    before, _, after = text.partition('"timestamp": "@')
    return f'{before}"timestamp": "', after


def _list_days(count: int) -> list[date]:
    return [LAST_DAY - timedelta(days=back) for back in reversed(range(count))]


def _usual_count(day: date) -> int:
    return daily_count(day, _EVENTS_PER_DAY)


def _write_day(data: DataDir, day: date, count: int, rows: Sequence[Row]) -> Record:
    body = make_real_day(day, count, rows) if rows else make_day(day, count)
    path = data.archive / f"events-{day}.jsonl"
    path.write_bytes(body)
    published_at = datetime.combine(day, time(), UTC) + _PUBLISHED_AFTER
    os.utime(path, (published_at.timestamp(), published_at.timestamp()))
    return Record(
        date=day,
        name=path.name,
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        lines=count,
        mtime_ns=path.stat().st_mtime_ns,
        fetched_at=published_at,
        checked_at=published_at,
        index_count=count,
    )


def _write_index(data: DataDir, records: Iterable[Record]) -> None:
    entries = [
        {"name": record.name, "date": str(record.date), "count": str(record.lines)}
        for record in records
    ]
    data.index.write_text("\n".join(map(json.dumps, entries)))


def main() -> None:
    """Make a mirror and tell its size."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path, metavar="DIR")
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--events", type=int, default=4_000_000)
    options = parser.parse_args()
    data = open_mirror_of(options.root, days=options.days, events=options.events)
    size = sum(path.stat().st_size for path in data.archive.glob("events-*"))
    print(f"{data.root}: {size / 1e6:,.0f} MB")


if __name__ == "__main__":
    main()
