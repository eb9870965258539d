"""Measures `binder-mirror sync` side by side with its peers; see README.md here."""

import argparse
import json
import os
import platform
import shlex
import sys
import tempfile
from dataclasses import asdict
from pathlib import Path

from tests.benchmarks.arena import Arena, ContestError, report_progress
from tests.benchmarks.contestants import Contestant, find_mirror, list_contestants
from tests.benchmarks.nginx import Nginx
from tests.benchmarks.page import write_page
from tests.benchmarks.report import Result
from tests.benchmarks.scenarios import SCENARIOS as SYNC_SCENARIOS
from tests.benchmarks.scenarios import Bench, Sizes
from tests.benchmarks.serving import run_serving

SCENARIOS = {**SYNC_SCENARIOS, "serving": run_serving}
_UNITS = {"k": 10**3, "M": 10**6, "G": 10**9}


def main() -> int:
    """Return the exit code: 1 where `--check` finds a bound missed, 2 where a contestant failed."""
    options = _parse_options()
    sizes = Sizes(options.rounds, options.files, options.bytes, options.held, options.link_bytes)
    contestants = _select(list_contestants(options.mirror), options.only)
    work: Path = options.work.resolve()
    results = _run(options.scenarios, sizes, contestants, work)
    if options.write and "cold" in results:
        write_page(results["cold"])
    if options.json:
        options.json.write_text(_to_json(sizes, results))
    if len(results) < len(options.scenarios):
        return 2
    missed = [bound for result in results.values() for bound in result.bounds if not bound.is_met]
    return 1 if options.check and missed else 0


def _parse_options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__)
    add = parser.add_argument
    add("scenarios", nargs="*", metavar="SCENARIO", help=f"of {', '.join(SCENARIOS)}; all")
    add("--rounds", type=int, default=5, help="runs of each contestant (%(default)s)")
    add("--files", type=int, default=1000, help="files fetched cold (%(default)s)")
    add("--bytes", type=_parse_bytes, default="2.5G", help="and their bytes (%(default)s)")
    add("--held", type=int, default=3000, help="files held in quiet polls (%(default)s)")
    add("--link-bytes", type=_parse_bytes, default="625M", help="over the link (%(default)s)")
    add("--only", type=lambda names: names.split(","), help="contestants, comma-separated")
    add("--mirror", type=shlex.split, default=find_mirror(), help="command of binder-mirror")
    add("--work", type=Path, default=Path(tempfile.gettempdir(), "binder-mirror-bench"))
    add("--json", type=Path, metavar="FILE", help="write all samples to a file")
    add("--write", action="store_true", help="put table and plot of `cold` into the documents")
    add("--check", action="store_true", help="exit 1 if a bound is missed")
    options = parser.parse_args()
    options.scenarios = options.scenarios or list(SCENARIOS)
    if unknown := set(options.scenarios) - set(SCENARIOS):
        parser.error(f"no such scenario: {', '.join(unknown)}")
    return options


def _parse_bytes(text: str) -> int:
    number = text.rstrip("kMG")
    return round(float(number) * _UNITS.get(text[len(number) :], 1))


def _select(contestants: list[Contestant], only: list[str] | None) -> list[Contestant]:
    selected = [c for c in contestants if not only or c.name in only]
    for contestant in selected:
        if contestant.program is None:
            report_progress(f"{contestant.name} is not installed and takes no part")
    return [contestant for contestant in selected if contestant.program is not None]


def _run(
    scenarios: list[str], sizes: Sizes, contestants: list[Contestant], work: Path
) -> dict[str, Result]:
    """Return the results of the scenarios that came to their end."""
    results: dict[str, Result] = {}
    with Nginx(work, work / "nginx") as nginx:
        arena = Arena(work, nginx)
        for name in scenarios:
            taking_part = [one for one in contestants if name == "cold" or not one.only_copies]
            bench = Bench(sizes, taking_part, work / "corpus", nginx, arena)
            try:
                results[name] = SCENARIOS[name](bench)
            except ContestError as error:
                print(f"== {name}: failed ==\n{error}", end="\n\n", flush=True)
            else:
                print(results[name].render(), end="\n\n", flush=True)
            finally:
                arena.clear()
    return results


def _to_json(sizes: Sizes, results: dict[str, Result]) -> str:
    machine = {"cores": os.cpu_count(), "kernel": platform.release(), "python": sys.version}
    found = {name: asdict(result) for name, result in results.items()}
    return json.dumps({"machine": machine, "sizes": asdict(sizes), "results": found}, indent=1)


if __name__ == "__main__":
    sys.exit(main())
