"""Judge mutants by the tests of their folder: all of archive, of store and sync what a seed draws.

`make mutation` writes the figures to docs/reliability.md. mutmut keeps every verdict in `mutants/`:
`.venv/bin/mutmut show NAME` shows a survivor.
"""

import argparse
import json
import os
import random
import re
import shutil
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path

from tests.command import ROOT
from tests.reliability.figures import Figures, conclude

_FOLDERS = ("archive", "store", "sync")
_LEAST_PERCENT = 85
_CHILDREN = (os.cpu_count() or 1) + 1
"""Mutants tried at a time: their tests wait now and then."""
_MEMORY = Path("/dev/shm")
"""A disk that has nothing to flush, where there is one."""
_MUTMUT = Path(sys.executable).with_name("mutmut")
_VERDICT = re.compile(r"^ +mirror\.(\w+)\.(\S+): (.+)$", re.MULTILINE)


def main() -> None:
    """Try the mutants asked for, and end with 1 where too few of a folder are killed."""
    parser = argparse.ArgumentParser(prog="python -m tests.mutants")
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--share", type=float, default=5, help="percent tried of store, sync")
    parser.add_argument("--only", metavar="PATTERN", help="such of one folder, no others")
    parser.add_argument("--write", action="store_true", help="write the figures to the table")
    asked = parser.parse_args()
    started = time.monotonic()
    shutil.rmtree(ROOT / "mutants", ignore_errors=True)
    if asked.only:
        _run(asked.only.split(".")[1], [asked.only])
    else:
        # the first run makes the mutants of all folders
        _run("archive", ["mirror.archive.*"])
        rng = random.Random(asked.seed)
        for folder in _FOLDERS[1:]:
            _run(folder, _drawn(folder, asked.share / 100, rng))
    conclude(_figures(asked.seed), started, write=asked.write)


def _run(folder: str, names: list[str]) -> None:
    """Have mutmut try mutants of a folder."""
    # those that reach a folder from above take minutes, and are no tests of it
    others = [f"--deselect=tests/{other}/" for other in _FOLDERS if other != folder]
    environment = os.environ | {"PYTEST_ADDOPTS": " ".join(others)}
    if _MEMORY.is_dir():
        # most of the time of a poll in a test would be waiting for the disk to flush
        environment["TMPDIR"] = str(_MEMORY)
    command = [str(_MUTMUT), "run", "--max-children", str(_CHILDREN), *names]
    subprocess.run(command, cwd=ROOT, env=environment, check=True)


def _drawn(folder: str, share: float, rng: random.Random) -> list[str]:
    """Return the names of the mutants that are tried of a folder."""
    files = (ROOT / "mutants" / "mirror" / folder).glob("*.meta")
    names = [name for file in files for name in json.loads(file.read_text())["exit_code_by_key"]]
    return sorted(rng.sample(sorted(names), max(1, round(len(names) * share))))


def _figures(seed: int) -> Figures:
    """Return what became of the mutants that were tried, by folder."""
    verdicts: dict[str, Counter[str]] = {folder: Counter() for folder in _FOLDERS}
    told = subprocess.run(
        [_MUTMUT, "results", "--all", "true"], cwd=ROOT, check=True, capture_output=True, text=True
    )
    for folder, name, verdict in _VERDICT.findall(told.stdout):
        if verdict != "not checked":
            verdicts[folder][verdict] += 1
            if verdict != "killed":
                print(f"{verdict}: mirror.{folder}.{name}")
    figures = Figures("mutation", seed)
    for folder, by_verdict in verdicts.items():
        # a timeout may be a hang, or a busy machine: it does not count as killed
        killed, tried = by_verdict["killed"], by_verdict.total()
        if not tried:
            continue
        percent = 100 * killed / tried
        figures.tried[f"mutants of {folder} ({percent:.1f} % killed)"] = tried
        if percent < _LEAST_PERCENT:
            figures.violate(folder, [f"{killed} of {tried} mutants killed, {percent:.1f} %"])
    return figures


if __name__ == "__main__":
    main()
