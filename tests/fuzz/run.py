"""Fuzzes the parsers of lines, findings and specs with atheris (the extra `fuzz`): `make fuzz`.

python -m tests.fuzz.run lines|findings|spec [libFuzzer's options, such as -max_total_time=60]
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mirror"]):
    from tests.fuzz.seeds import SEEDS
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until told to stop; a find is written to a file of its own."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(SEEDS[name]):
            Path(corpus, str(number)).write_bytes(seed)
        atheris.Setup([*sys.argv, corpus], TARGETS[name])
        # ends the process itself
        atheris.Fuzz()


if __name__ == "__main__":
    main()
