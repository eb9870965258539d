"""Fuzzes the parsers of lines and specs with atheris (the extra `fuzz`): `make fuzz`.

python -m tests.fuzz.run lines|spec [libFuzzer's options, such as -max_total_time=60]
"""

import sys

import atheris

with atheris.instrument_imports(include=["mirror"]):
    from tests.fuzz.targets import TARGETS


def main() -> None:
    """Fuzz until told to stop; a find is written to a file of its own."""
    target = TARGETS[sys.argv.pop(1)]
    atheris.Setup(sys.argv, target)
    atheris.Fuzz()


if __name__ == "__main__":
    main()
