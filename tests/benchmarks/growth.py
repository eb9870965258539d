"""How the cost of a copy grows with its days: each command as a whole process, at four sizes.

    python -m tests.benchmarks.growth [--rounds 5] [300 1000 3000 10000]

An archive of so many days, 40 launches each and ending yesterday, is mirrored from a local nginx;
then the commands are run in turn, and the least of the rounds counts: wall seconds, the processor's
seconds and the most memory of the process. More days than there have been since the archive began
need a clock set forward (Debian's `faketime`). The last column is the exponent by which the
processor's time grows from the second largest size to the largest: 1 is linear.
"""

import argparse
import math
import os
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

from mirror.archive.listings import IndexEntry, render_index
from tests.benchmarks.nginx import Nginx, find_free_port
from tests.upstream.launches import make_day

_BEGIN = date(2018, 11, 3)
_LAUNCHES = 40
_MIRROR = (sys.executable, "-m", "mirror")
_PAGE = """
import sys, time, urllib.request
url = sys.argv[1]
for _ in range(100):
    try:
        urllib.request.urlopen(url + "healthz").read()
        break
    except OSError:
        time.sleep(0.1)
urllib.request.urlopen(url + "status").read()
began = time.perf_counter()
urllib.request.urlopen(url + "status").read()
print(time.perf_counter() - began)
"""


class Cost(NamedTuple):
    """What a process took: seconds and bytes."""

    wall_s: float
    cpu_s: float
    peak_bytes: int


class Bench(NamedTuple):
    """One archive, its copy, and how commands are run on it."""

    upstream: Path
    copy: Path
    url: str
    days: list[date]
    ahead: timedelta
    """How far the clock is set forward."""

    @property
    def prefix(self) -> Sequence[str]:
        """What has a command run by that clock.

        The library alone, for the command `faketime` is a parent that signals do not get past; and
        the time of files is left as it is.
        """
        if not self.ahead:
            return ()
        library = next(Path("/usr/lib").glob("*/faketime/libfaketime.so.1"))
        clock = f"FAKETIME=+{self.ahead.days}d"
        return ("env", f"LD_PRELOAD={library}", clock, "NO_FAKE_STAT=1")

    def run(self, *arguments: str) -> Cost:
        """Run a command of binder-mirror to its end, which has to be 0."""
        options = ("--data-dir", str(self.copy), "--upstream", self.url)
        takes_upstream = arguments[0] in ("sync", "run")
        command = [*self.prefix, *_MIRROR, *arguments, *options[: 4 if takes_upstream else 2]]
        return _measure(command, Path(os.devnull))

    def write_day(self, day: date, launches: int) -> IndexEntry:
        """Write a day as upstream has it."""
        entry = IndexEntry(day, f"events-{day}.jsonl", launches)
        (self.upstream / entry.name).write_bytes(make_day(day, launches))
        return entry

    def write_index(self, entries: Sequence[IndexEntry]) -> None:
        """Write the index of the upstream."""
        index = self.upstream / "index.jsonl"
        index.write_bytes(render_index(entries))
        # by the clock that is set, it is new
        written = time.time() + self.ahead.total_seconds()
        os.utime(index, (written, written))


def _measure(command: Sequence[str], output: Path) -> Cost:
    began = time.perf_counter()
    with output.open("wb") as out:
        process = subprocess.Popen(command, stdout=out, stderr=subprocess.PIPE)
        assert process.stderr is not None
        said = process.stderr.read()
        _, status, used = os.wait4(process.pid, 0)
    if code := os.waitstatus_to_exitcode(status):
        raise RuntimeError(f"{' '.join(command)} ended with {code}: {said[-500:]!r}")
    cpu_s = used.ru_utime + used.ru_stime
    return Cost(time.perf_counter() - began, cpu_s, used.ru_maxrss * 1024)


def _tasks(bench: Bench) -> dict[str, Callable[[], Cost]]:
    entries = [bench.write_day(day, _LAUNCHES) for day in bench.days]
    bench.write_index(entries)
    counts = iter(range(_LAUNCHES + 1, 10**6))

    def change_a_day() -> Cost:
        entries[-1] = bench.write_day(bench.days[-1], next(counts))
        bench.write_index(entries)
        return bench.run("sync")

    def sync_all() -> Cost:
        shutil.rmtree(bench.copy, ignore_errors=True)
        return bench.run("sync")

    return {
        "first sync": sync_all,
        "quiet sync": lambda: bench.run("sync"),
        "one changed day": change_a_day,
        "status": lambda: bench.run("status"),
        "health": lambda: bench.run("health"),
        "verify": lambda: bench.run("verify"),
        "report": lambda: bench.run("report"),
        "events of a day": lambda: bench.run("events", "--since", str(bench.days[-1])),
        "events": lambda: bench.run("events"),
        "status page, again": lambda: _load_page(bench),
    }


def _load_page(bench: Bench) -> Cost:
    """Return what the second load of the page takes, and the memory of the server."""
    url = f"127.0.0.1:{find_free_port()}"
    command = [*bench.prefix, *_MIRROR, "serve", "--data-dir", str(bench.copy), "--listen", url]
    server = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        asked = [sys.executable, "-c", _PAGE, f"http://{url}/"]
        took = float(subprocess.run(asked, capture_output=True, check=True).stdout)
    finally:
        server.terminate()
        _, _, used = os.wait4(server.pid, 0)
    return Cost(took, took, used.ru_maxrss * 1024)


def measure(size: int, rounds: int, work: Path) -> dict[str, Cost]:
    """Return the least that each command takes on a copy of so many days."""
    shutil.rmtree(work, ignore_errors=True)
    upstream = work / "upstream"
    upstream.mkdir(parents=True)
    days = [_BEGIN + timedelta(days=number) for number in range(size)]
    ahead = max(days[-1] + timedelta(days=1) - datetime.now(UTC).date(), timedelta())
    with Nginx(upstream, work / "nginx") as nginx:
        bench = Bench(upstream, work / "copy", nginx.url, days, ahead)
        tasks = _tasks(bench)
        costs: dict[str, list[Cost]] = {name: [] for name in tasks}
        for number in range(rounds):
            for name, task in tasks.items():
                # what is written once by a sync is not to be paid by the next command
                if name != "first sync" or not number:
                    costs[name].append(task())
    shutil.rmtree(work)
    return {name: Cost(*map(min, zip(*some, strict=True))) for name, some in costs.items()}


def main() -> None:
    """Measure and print a table in Markdown."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("sizes", nargs="*", type=int, default=[300, 1000, 3000, 10_000])
    parser.add_argument("--rounds", type=int, default=5)
    options = parser.parse_args()
    work = Path(tempfile.gettempdir(), "binder-mirror-growth")
    found = {size: measure(size, options.rounds, work) for size in sorted(options.sizes)}
    print(f"| seconds (CPU; MB) | {' | '.join(f'{size:,} days' for size in found)} | growth |")
    print("|---" * (len(found) + 2) + "|")
    for name in next(iter(found.values())):
        costs = [of_size[name] for of_size in found.values()]
        cells = [f"{c.wall_s:.2f} ({c.cpu_s:.2f}; {c.peak_bytes / 1e6:.0f})" for c in costs]
        print(f"| {name} | {' | '.join(cells)} | {_growth(list(found), costs):.2f} |")


def _growth(sizes: Sequence[int], costs: Sequence[Cost]) -> float:
    if len(sizes) < 2:
        return math.nan
    return math.log(costs[-1].cpu_s / costs[-2].cpu_s) / math.log(sizes[-1] / sizes[-2])


if __name__ == "__main__":
    resource.setrlimit(resource.RLIMIT_NOFILE, (resource.getrlimit(resource.RLIMIT_NOFILE)[1],) * 2)
    main()
