"""What a suite found, said to whoever ran it and written to the table in docs/reliability.md."""

import argparse
import os
import re
import sys
import time
from collections import Counter
from dataclasses import dataclass, field

from mirror.config.settings import LogConfig
from mirror.logs import configure_logs
from tests.command import ROOT

PAGE = ROOT / "docs" / "reliability.md"
_SHOWN = int(os.environ.get("MIRROR_VIOLATIONS_SHOWN", "40"))


@dataclass(slots=True)
class Figures:
    """The figures of a suite.

    Attributes:
        suite: its name, which is that of its make target.
        seed: what its chances are drawn from.
        tried: how many things were tried, by what they were.
        violations: what did not hold, a line each.
    """

    suite: str
    seed: int
    tried: Counter[str] = field(default_factory=Counter)
    violations: list[str] = field(default_factory=list)

    def violate(self, where: object, problems: list[str]) -> None:
        """Take note of what did not hold somewhere."""
        self.violations += [f"{where}: {problem}" for problem in problems]

    def row(self) -> str:
        """Return the row of the table."""
        tried = ", ".join(f"{count:,} {what}" for what, count in self.tried.items())
        cells = (self.suite, tried, f"{len(self.violations):,}", str(self.seed))
        return f"| {' | '.join(cells)} | `make {self.suite}` |"


def write_row(figures: Figures) -> None:
    """Put a suite's row in the place of the one that is there."""
    text = PAGE.read_text()
    row = re.compile(rf"^\| {re.escape(figures.suite)} \|.*$", re.MULTILINE)
    changed, count = row.subn(lambda _: figures.row(), text)
    if count != 1:
        raise SystemExit(f"{PAGE} has {count} rows of the suite {figures.suite}")
    PAGE.write_text(changed)


def arguments(suite: str, **defaults: int) -> argparse.Namespace:
    """Return what a suite was asked to do: its seed, whether to write, and numbers of its own."""
    parser = argparse.ArgumentParser(prog=f"python -m tests.reliability.{suite}")
    parser.add_argument("--seed", type=int, default=20261129)
    parser.add_argument("--write", action="store_true", help="write the figures to the table")
    for name, value in defaults.items():
        parser.add_argument(f"--{name}", type=int, default=value)
    configure_logs(LogConfig(level="critical"))
    return parser.parse_args()


def conclude(figures: Figures, started: float, *, write: bool) -> None:
    """Say what was found, write the row if asked to, and end with 1 where something is violated."""
    for line in figures.violations[:_SHOWN]:
        print(line)
    if len(figures.violations) > _SHOWN:
        print(f"… and {len(figures.violations) - _SHOWN:,} more")
    print(figures.row(), f"({time.monotonic() - started:.0f} s)")
    if write:
        write_row(figures)
    sys.exit(1 if figures.violations else 0)
