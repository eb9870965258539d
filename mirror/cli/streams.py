"""Standard input, output and error, as whoever started us has left them."""

import io
import os
import sys
from pathlib import Path

from mirror.errors import StorageError


def prepare_streams() -> None:
    """Make sure that output can be written at all, and that no character of it can be refused."""
    # what whoever started us has closed: its descriptor must not become a file's
    if sys.stdin is None:
        os.open(os.devnull, os.O_RDONLY)
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:
            setattr(sys, name, Path(os.devnull).open("r+", encoding="utf-8"))  # noqa: SIM115 - for good
        elif name == "stdout" and isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def stdout_error(error: OSError) -> StorageError:
    """Return what kept us from writing all there was to standard output."""
    return StorageError(
        f"standard output: {error.strerror or error}",
        hint="what has been written is not all: run it again",
    )


def abandon_stdout() -> None:
    """Make sure that what is still in the buffer is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
