"""The data set made and asked, beside what polars and DuckDB do with the daily files themselves.

    python -m tests.benchmarks.dataset DIR [--days 200] [--events 4000000] [--rounds 3]

Over the mirror of real size that `tests.benchmarks.launches` makes in DIR. CPU seconds are those of
this process and of its workers together; MB are 10^6 bytes of daily files; the best round is shown.
"""

import argparse
import os
import resource
import statistics
import time
from collections.abc import Callable, Mapping
from functools import partial
from pathlib import Path

import duckdb
import polars as pl
from msgspec.structs import replace

from mirror.dataset.build import keep_in_step
from mirror.dataset.months import open_months
from mirror.dataset.query import Bounds, open_session
from mirror.model import Findings
from mirror.store.inventory import load_inventory, open_daily, save_manifest
from mirror.store.layout import DataDir
from mirror.sync.count import count_days
from tests.benchmarks.launches import open_mirror_of

_DAYS = "SELECT date, count(*) AS n FROM launches GROUP BY date ORDER BY date"
_TOP = "SELECT repository, count(*) AS n FROM launches GROUP BY ALL ORDER BY n DESC LIMIT 20"
_RAW = {"timestamp": "VARCHAR", "provider": "VARCHAR", "spec": "VARCHAR"}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--days", type=int, default=200)
    parser.add_argument("--events", type=int, default=4_000_000)
    parser.add_argument("--rounds", type=int, default=3)
    asked = parser.parse_args()
    data = open_mirror_of(asked.folder, days=asked.days, events=asked.events)
    look_into(data)
    size = sum(path.stat().st_size for path in data.archive.glob("events-*"))
    built = min(
        (timed(lambda: keep_in_step(data, rebuild=True)) for _ in range(asked.rounds)),
        key=lambda times: times[1],
    )
    made = keep_in_step(data)
    peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1024
    print(f"{made.rows:,} launches, {size / 1e6:,.0f} MB in daily files, {made.odd:,} odd lines")
    print(
        f"build: {built[0]:.2f} s, {size / 1e6 / built[1]:,.0f} MB a CPU second, "
        f"peak {peak:.0f} MB a worker"
    )
    print(f"size: {made.size / 1e6:.1f} MB, {size / made.size:.1f} times smaller")
    for name, ask in contestants(data).items():
        walls = [timed(ask)[0] for _ in range(asked.rounds)]
        print(f"{name:<44} {min(walls):7.3f} s best, {statistics.median(walls):7.3f} s median")


def look_into(data: DataDir) -> None:
    """Put on record what the days hold, as a poll does when it fetches them."""
    records = dict(load_inventory(data).records)
    lacking = [record for record in records.values() if record.findings is None]
    found = count_days(partial(open_daily, data.archive), lacking)
    for record, findings in zip(lacking, found, strict=True):
        assert isinstance(findings, Findings), findings
        records[record.date] = replace(record, findings=findings)
    if lacking:
        save_manifest(data, records)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """Return wall and CPU seconds."""
    wall, cpu = time.perf_counter(), os.times()
    work()
    now = os.times()
    return time.perf_counter() - wall, sum(now[:4]) - sum(cpu[:4])


def contestants(data: DataDir) -> Mapping[str, Callable[[], object]]:
    files = f"{data.archive}/events-*.jsonl"
    raw = f"read_ndjson('{files}', columns = {_RAW})"

    def ask(sql: str) -> object:
        with (
            open_months(data) as months,
            open_session(months, Bounds()) as session,
            session.run(session.bind(sql)) as rows,
        ):
            return list(rows)

    def polars_days() -> object:
        day = pl.col("timestamp").str.slice(0, 10)
        frame = pl.scan_ndjson(files, schema={"timestamp": pl.String})
        return frame.group_by(day).len().sort("timestamp").collect()

    def polars_top() -> object:
        frame = pl.scan_ndjson(files, schema={"provider": pl.String, "spec": pl.String})
        counted = frame.group_by("provider", "spec").len()
        return counted.sort("len", descending=True).head(20).collect()

    return {
        "launches a day: data set": lambda: ask(_DAYS),
        "launches a day: polars scan_ndjson": polars_days,
        "launches a day: DuckDB read_ndjson": lambda: duckdb.sql(
            f"SELECT left(timestamp, 10) AS day, count(*) FROM {raw} GROUP BY ALL ORDER BY day"
        ).fetchall(),
        "top 20 repositories: data set": lambda: ask(_TOP),
        "top 20 specs: polars scan_ndjson": polars_top,
        "top 20 specs: DuckDB read_ndjson": lambda: duckdb.sql(
            f"SELECT provider, spec, count(*) AS n FROM {raw} GROUP BY ALL ORDER BY n DESC LIMIT 20"
        ).fetchall(),
    }


if __name__ == "__main__":
    main()
