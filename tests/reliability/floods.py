"""The floods of the web side, each by itself, and the most memory that any of them took.

The floods are in `tests/system/floods.py`, what must hold in `tests/system/test_floods.py`; here
they are run, slow ones too, and counted: `make floods`.
"""

import re
import subprocess
import sys
import time

from tests.command import ROOT
from tests.reliability.figures import Figures, arguments, conclude

_TESTS = "tests/system/test_floods.py"


def run(seed: int) -> Figures:
    """Run all floods."""
    figures = Figures("floods", seed)
    command = (sys.executable, "-m", "pytest", "-s", "-rf", "-m", "slow", "-p", "no:randomly")
    done = subprocess.run((*command, _TESTS), cwd=ROOT, capture_output=True, text=True, check=False)
    told = re.findall(r"(\d+) MB at most, answers within ([\d.]+) s", done.stdout)
    failed = re.findall(r"^FAILED (.*)$", done.stdout, re.MULTILINE)
    figures.tried["floods of 1,000 connections"] = len(told)
    figures.tried["MB at most"] = max((int(memory) for memory, _ in told), default=0)
    figures.violate("floods", failed)
    if done.returncode and not failed:
        figures.violate("floods", [done.stdout[-500:]])
    return figures


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("floods")
    conclude(run(asked.seed), started, write=asked.write)


if __name__ == "__main__":
    main()
