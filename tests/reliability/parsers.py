"""All parsers of what others write, on their seeds changed at random: any Python will do.

`make parsers` tries each seed 1,000 times; `make fuzz`, which is guided by coverage, needs atheris.
"""

import random
import time

from tests.fuzz.seeds import changed, seeds
from tests.fuzz.targets import TARGETS
from tests.reliability.figures import Figures, arguments, conclude


def run(rounds: int, seed: int) -> Figures:
    """Try each seed of each target so many times."""
    figures = Figures("parsers", seed)
    for name, target in TARGETS.items():
        rng = random.Random(f"{name} {seed}")
        for data in (changed(one, rng) for one in seeds(name) for _ in range(rounds)):
            figures.tried["inputs"] += 1
            try:
                target(data)
            except Exception as error:  # noqa: BLE001 - whatever it is, it is a find
                figures.violate(f"{name} {data[:300]!r}", [f"{type(error).__name__}: {error}"])
    figures.tried["parsers"] = len(TARGETS)
    return figures


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("parsers", rounds=1000)
    conclude(run(asked.rounds, asked.seed), started, write=asked.write)


if __name__ == "__main__":
    main()
