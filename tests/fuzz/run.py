"""Fuzzes all parsers of what others write with atheris (the extra `fuzz`): `make fuzz`.

python -m tests.fuzz.run TARGET [libFuzzer's options, such as -max_total_time=60]; what it finds is
kept in `corpus/TARGET/`, and tried by every test run from then on.
"""

import sys
import tempfile
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["mirror"]):
    from tests.fuzz.seeds import CORPUS, seeds
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until told to stop; a find is written to a file."""
    name = sys.argv.pop(1)
    with tempfile.TemporaryDirectory() as corpus:
        for number, seed in enumerate(seeds(name)):
            Path(corpus, str(number)).write_bytes(seed)
        kept = CORPUS / name
        kept.mkdir(parents=True, exist_ok=True)
        atheris.Setup([*sys.argv, f"-artifact_prefix={kept}/", corpus], TARGETS[name])
        # ends the process itself
        atheris.Fuzz()


if __name__ == "__main__":
    main()
