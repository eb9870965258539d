"""Times the reading of events beside pandas, polars and DuckDB, on the same work in one run.

The work: take in every launch of every daily file with all of its fields, and count them; beside it
all of them as one table of polars, and as CSV. Each contestant runs in a process of its own, on one
core, in turns.

Then many small days: 300, 1,000 and 3,000 of them, ten launches each, read in one go. A day must
not cost more for there being more of them.

    python -m tests.benchmarks.reading [--root DIR] [--days 40] [--rounds 3] [--check]
"""

import argparse
import importlib
import json
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import date, timedelta
from pathlib import Path

from tests.benchmarks.launches import open_mirror_of
from tests.mirrors import make_mirror
from tests.upstream.launches import make_day

_MIN_TIMES_PANDAS = 8.0
_MAX_MB = 150.0
_SMALL_DAYS = (300, 1000, 3000)
_LAUNCHES_A_SMALL_DAY = 10
_MAX_DAY_RATIO = 1.3
"""What a day of the most may cost, to one of the fewest."""


def count_typed(root: Path, names: list[str]) -> int:
    """Stream typed launches, as an analyst's loop does."""
    from mirror import Archive  # noqa: PLC0415 - each contestant pays for itself alone

    count = 0
    for _ in Archive(root).events(*ends_of(names)):
        count += 1
    return count


def count_table(root: Path, names: list[str]) -> int:
    """Have all launches as one table."""
    from mirror import Archive  # noqa: PLC0415 - each contestant pays for itself alone

    return Archive(root).to_polars(*ends_of(names), progress=False).height


def count_csv(root: Path, names: list[str]) -> int:
    """Write all launches as CSV."""
    from mirror import Archive  # noqa: PLC0415 - each contestant pays for itself alone
    from mirror.reading.sinks import write_csv  # noqa: PLC0415 - likewise

    events = Archive(root).events(*ends_of(names), progress=False)
    with tempfile.TemporaryFile() as sink:
        write_csv(events, sink)
    return events.given


def ends_of(names: list[str]) -> tuple[date, date]:
    """Return the first and the last day of some daily files."""
    first, *_, last = (date.fromisoformat(name[len("events-") : -len(".jsonl")]) for name in names)
    return first, last


def count_pandas(root: Path, names: list[str]) -> int:
    """Read day after day with pandas, as the archive's documentation shows."""
    import pandas as pd  # noqa: PLC0415 - each contestant pays for itself alone

    return sum(len(pd.read_json(root / "archive" / name, lines=True)) for name in names)


def count_polars(root: Path, names: list[str]) -> int:
    """Scan with polars, each column taken in."""
    import polars as pl  # noqa: PLC0415 - each contestant pays for itself alone

    return sum(pl.scan_ndjson(root / "archive" / name).collect().height for name in names)


def count_duckdb(root: Path, names: list[str]) -> int:
    """Read with DuckDB, each column taken in."""
    import duckdb  # noqa: PLC0415 - each contestant pays for itself alone

    connection = duckdb.connect(config={"threads": 1})
    count = 0
    for name in names:
        path = str(root / "archive" / name).replace("'", "''")
        connection.execute(f"CREATE OR REPLACE TABLE day AS FROM read_json('{path}')")
        found = connection.execute("SELECT count(*) FROM day").fetchone()
        count += found[0] if found else 0
    return count


CONTESTANTS: dict[str, Callable[[Path, list[str]], int]] = {
    "mirror": count_typed,
    "to_polars": count_table,
    "CSV": count_csv,
    "pandas": count_pandas,
    "polars": count_polars,
    "duckdb": count_duckdb,
}
_LIBRARIES = {
    "mirror": "mirror.reading.reader",
    "to_polars": "polars",
    "CSV": "mirror.reading.sinks",
    "pandas": "pandas",
    "polars": "polars",
    "duckdb": "duckdb",
}


def run_one(name: str, root: Path, days: int) -> None:
    """Do the work in this process and print what it took."""
    names = list_names(root, days)
    # what is imported is not what is measured
    importlib.import_module(_LIBRARIES[name])
    started_at = time.process_time()
    count = CONTESTANTS[name](root, names)
    took_s = time.process_time() - started_at
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1000
    print(json.dumps({"count": count, "cpu_s": took_s, "peak_mb": peak_mb}))


def list_names(root: Path, days: int) -> list[str]:
    """Return the last daily files of the mirror, ascending."""
    return sorted(path.name for path in (root / "archive").glob("events-*"))[-days:]


def main() -> int:
    """Return the exit code: 1 where `--check` finds a bound missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    default = Path(tempfile.gettempdir(), "binder-mirror-bench", "launches")
    parser.add_argument("--root", type=Path, default=default)
    parser.add_argument("--days", type=int, default=40, help="the last so many (%(default)s)")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--check", action="store_true", help="exit 1 if a bound is missed")
    parser.add_argument("--one", choices=CONTESTANTS, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        run_one(options.one, options.root, options.days)
        return 0
    options.root.parent.mkdir(parents=True, exist_ok=True)
    root = open_mirror_of(options.root).root
    size = sum((root / "archive" / name).stat().st_size for name in list_names(root, options.days))
    is_fast = report(measure(root, options.days, options.rounds), size)
    is_linear = report_small_days(measure_small_days(options.rounds))
    return int(options.check and not (is_fast and is_linear))


def measure(root: Path, days: int, rounds: int) -> dict[str, list[dict[str, float]]]:
    """Let the contestants take turns."""
    samples: dict[str, list[dict[str, float]]] = {name: [] for name in CONTESTANTS}
    core = min(os.sched_getaffinity(0))
    environ = os.environ | {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
    for _ in range(rounds):
        for name, found in samples.items():
            command = ["taskset", "-c", str(core), sys.executable, "-m", "tests.benchmarks.reading"]
            command += ["--one", name, "--root", str(root), "--days", str(days)]
            done = subprocess.run(command, check=True, capture_output=True, env=environ)
            found.append(json.loads(done.stdout))
    return samples


def report(samples: dict[str, list[dict[str, float]]], size: int) -> bool:
    """Print the figures; ratios are of one round, then the median. Return whether all are met."""
    counts = {sample["count"] for found in samples.values() for sample in found}
    print(f"{size / 1e6:,.0f} MB, {counts} launches; one core")
    for name, found in samples.items():
        cpu_s = statistics.median(sample["cpu_s"] for sample in found)
        peak_mb = max(sample["peak_mb"] for sample in found)
        print(f"{name:9} {size / cpu_s / 1e6:6.0f} MB/s {cpu_s:7.2f} s  {peak_mb:6.0f} MB")
    pairs = zip(samples["pandas"], samples["mirror"], strict=True)
    times = statistics.median(theirs["cpu_s"] / ours["cpu_s"] for theirs, ours in pairs)
    peak_mb = max(sample["peak_mb"] for sample in samples["mirror"])
    print(f"{times:.1f} times as fast as pandas (at least {_MIN_TIMES_PANDAS})")
    return len(counts) == 1 and times >= _MIN_TIMES_PANDAS and peak_mb <= _MAX_MB


def measure_small_days(rounds: int) -> dict[int, list[float]]:
    """Read archives of ever more small days in turns; return CPU milliseconds a day."""
    from mirror import Archive  # noqa: PLC0415 - each contestant pays for itself alone

    samples: dict[int, list[float]] = {count: [] for count in _SMALL_DAYS}
    with tempfile.TemporaryDirectory(prefix="binder-mirror-bench-") as folder:
        for count in _SMALL_DAYS:
            first = date(2018, 11, 3)
            bodies = (first + timedelta(days=number) for number in range(count))
            make_mirror(
                Path(folder, str(count)),
                {day: make_day(day, _LAUNCHES_A_SMALL_DAY) for day in bodies},
            )
        for _ in range(rounds):
            for count, found in samples.items():
                started_at = time.process_time()
                launches = sum(1 for _ in Archive(Path(folder, str(count))).events(open_days=True))
                found.append((time.process_time() - started_at) / count * 1000)
                assert launches == count * _LAUNCHES_A_SMALL_DAY
    return samples


def report_small_days(samples: dict[int, list[float]]) -> bool:
    """Print the best round of each count; return whether a day costs the same among many."""
    fewest_ms = min(samples[_SMALL_DAYS[0]])
    for count, found in samples.items():
        print(f"{count:5,} small days: {min(found):6.3f} ms a day, x{min(found) / fewest_ms:.2f}")
    return min(samples[_SMALL_DAYS[-1]]) <= _MAX_DAY_RATIO * fewest_ms


if __name__ == "__main__":
    sys.exit(main())
