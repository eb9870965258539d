"""Say what share of the mutants was killed; fail below a bound: `python -m tests.mutants 85`."""

import json
import subprocess
import sys
from pathlib import Path

_STATS = Path("mutants/mutmut-cicd-stats.json")
_SURVIVED = ("survived", "no_tests", "suspicious", "timeout", "segfault")


def main(least_percent: float) -> int:
    """Return the exit code: 1 where too many live on, or none was tried."""
    mutmut = Path(sys.executable).with_name("mutmut")
    subprocess.run([mutmut, "export-cicd-stats"], check=True, stdout=subprocess.DEVNULL)
    stats = json.loads(_STATS.read_text())
    tried = stats["killed"] + sum(stats[name] for name in _SURVIVED)
    percent = 100 * stats["killed"] / tried if tried else 0
    print(f"{stats['killed']} of {tried} mutants killed: {percent:.1f} %")
    return 0 if percent >= least_percent else 1


if __name__ == "__main__":
    sys.exit(main(float(sys.argv[1])))
