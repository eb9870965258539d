"""Standard input, output and error: made safe at the start, and written to by all commands."""

import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import click
import msgspec

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


def say(text: str) -> None:
    """Print to standard output; that nobody reads it any more is no failure.

    Raises:
        StorageError: what it is redirected to cannot be written.
    """
    with suppress(BrokenPipeError), stdout_errors():
        click.echo(text)


def answer(facts: object, text: str, *, as_json: bool) -> None:
    """Print the answer of a command: its facts as one JSON object, or its text for people."""
    if as_json:
        text = msgspec.json.format(msgspec.json.encode(facts), indent=2).decode()
    say(text)


def notice(text: str) -> None:
    """Print a line for a person, beside the answer, to standard error."""
    print(f"binder-mirror: {text}", file=sys.stderr)  # noqa: T201


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Name standard output as what cannot be written, and write nothing more to it.

    Raises:
        StorageError: what it is redirected to cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
    except OSError as error:
        abandon_stdout()
        if isinstance(error, BrokenPipeError):
            raise
        raise stdout_error(error) from error


def stdout_error(error: OSError) -> StorageError:
    """Return what kept us from writing all there was to standard output."""
    return StorageError(
        f"standard output: {error.strerror or error}",
        hint="what has been written is not all: run it again",
    )


def abandon_stdout() -> None:
    """Make sure that what is still in the buffer is not tried again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
