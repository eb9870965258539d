"""The command line: `binder-mirror`."""

import gc
from typing import NoReturn


def main() -> NoReturn:
    """Run the command line and exit."""
    # what is imported is no garbage, and to look for some in it takes a quarter of a short run
    gc.disable()
    from mirror.cli.app import main as run  # noqa: PLC0415 - after that

    run()
