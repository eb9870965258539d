"""How long the pages of a daemon take while its first poll fetches thousands of days.

    python -m tests.benchmarks.latency
    python -m tests.benchmarks.latency --check        # exit 1 if a path is over the bound

Upstream is nginx; the daemon is a process of its own, asked path after path until its poll is over.
On a machine that has other work to do `/healthz`, which waits for nothing but the loop, tells how
much of the time is the machine's; the times of its loop and processor are told with it.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from http.client import HTTPConnection
from pathlib import Path

from tests.benchmarks.corpus import Recipe, open_corpus
from tests.benchmarks.nginx import Nginx, find_free_port

PATHS = ("/healthz", "/metrics", "/status.json", "/status", "/index.jsonl")
BOUND_MS = 50
"""For each path, at the 99th percentile."""
_PAUSE_S = 0.02
_PATIENCE_S = 600
_START_S = 30


def main() -> int:
    """Print a line for each path and what it cost; return the exit code."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--days", type=int, default=3000)
    parser.add_argument("--megabytes", type=int, default=600, help="of all days together")
    parser.add_argument("--check", action="store_true", help="exit 1 if a path is over the bound")
    parser.add_argument("--work", type=Path, default=Path(tempfile.gettempdir()) / "mirror-latency")
    options = parser.parse_args()
    recipe = Recipe(options.days, options.megabytes * 1_000_000)
    corpus = open_corpus(options.work / "shelf", recipe)
    with (
        Nginx(corpus.folder, options.work / "nginx") as nginx,
        tempfile.TemporaryDirectory(dir=options.work) as data,
    ):
        times, text = _measure(nginx.url, Path(data))
    for path, taken in times.items():
        print(f"{path:<14} {_told(taken)}")
    print(f"loop lag: {_told_lags(text)}")
    print(f"the daemon's processor time: {_value(text, 'process_cpu_seconds_total'):.1f} s")
    missed = [path for path, taken in times.items() if _percentile(taken, 99) > BOUND_MS]
    if missed:
        print(f"over {BOUND_MS} ms at the 99th percentile: {', '.join(missed)}")
    return int(options.check and bool(missed))


def _measure(upstream: str, data: Path) -> tuple[dict[str, list[float]], str]:
    """Return the milliseconds that each answer took, by path, and the metrics at the end."""
    port = find_free_port()
    environ = {**os.environ, "BINDER_MIRROR_LOG__LEVEL": "warning"}
    command = [sys.executable, "-m", "mirror", "run", "--data-dir", str(data)]
    command += ["--upstream", upstream, "--listen", f"127.0.0.1:{port}"]
    with subprocess.Popen(command, env=environ) as daemon:
        try:
            _wait_for(port)
            times: dict[str, list[float]] = {path: [] for path in PATHS}
            began = time.monotonic()
            while time.monotonic() - began < _PATIENCE_S:
                for path in PATHS:
                    taken, body = _ask(port, path)
                    times[path].append(taken)
                    if path == "/status.json":
                        facts = json.loads(body)
                    time.sleep(_PAUSE_S)
                if facts["last_poll"] is not None and facts["progress"] is None:
                    break
            return times, _ask(port, "/metrics")[1].decode()
        finally:
            daemon.terminate()


def _ask(port: int, path: str) -> tuple[float, bytes]:
    connection = HTTPConnection("127.0.0.1", port, timeout=60)
    started = time.perf_counter()
    connection.request("GET", path)
    body = connection.getresponse().read()
    taken = (time.perf_counter() - started) * 1000
    connection.close()
    return taken, body


def _wait_for(port: int) -> None:
    began = time.monotonic()
    while True:
        try:
            _ask(port, "/healthz")
        except OSError:
            if time.monotonic() - began > _START_S:
                raise
            time.sleep(_PAUSE_S)
        else:
            return


def _told(taken: list[float]) -> str:
    return (
        f"p50 {statistics.median(taken):6.1f} ms  p99 {_percentile(taken, 99):6.1f} ms  "
        f"max {max(taken):6.1f} ms  of {len(taken)}"
    )


def _told_lags(text: str) -> str:
    """Return how often the loop was how late, as the metrics have it."""
    name = "binder_mirror_loop_lag_seconds"
    bounds = ("0.005", "0.01", "0.025", "0.05")
    counts = [_value(text, f'{name}_bucket{{le="{bound}"}}') for bound in bounds]
    told = ", ".join(
        f"{count:.0f} within {float(bound) * 1000:g} ms"
        for bound, count in zip(bounds, counts, strict=True)
    )
    return f"{told}, of {_value(text, f'{name}_count'):.0f}"


def _value(text: str, sample: str) -> float:
    lines = (line.rpartition(" ") for line in text.splitlines())
    return next(float(value) for name, _, value in lines if name == sample)


def _percentile(values: list[float], share: int) -> float:
    return statistics.quantiles(values, n=100, method="inclusive")[share - 1]


if __name__ == "__main__":
    sys.exit(main())
