"""Standard input, output and error: made safe at the start, and written to by all commands.

Standard output has the answer: that it cannot be written is an error, and that nobody reads it any
more the end. What goes to standard error is beside the work, and changes nothing of it: no write
there fails, or waits for a reader.
"""

import atexit
import io
import os
import select
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click
import msgspec

from mirror.cli.options import pasteable
from mirror.errors import StorageError
from mirror.text import plural

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_UNWRITTEN_BYTES = 1024 * 1024
_PARTING_S = 2


class ReaderGoneError(Exception):
    """Nobody reads standard output any more: no failure, but there is no use in going on."""


class LossyWriter(io.FileIO):
    """Writes to a descriptor what it takes at once, in order; it never fails, and never blocks.

    What a full pipe does not take is kept, up to a bound, and written when it takes more. What is
    lost, beyond the bound or because the write failed, is counted; the count is written as soon as
    something can be. The descriptor is left open when this is closed.
    """

    def __init__(self, descriptor: int, *, kept_bytes: int = _UNWRITTEN_BYTES) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._kept_bytes = kept_bytes
        self._unwritten = bytearray()
        self._lost = 0
        self._is_torn = self._is_writing = False
        self._lock = threading.RLock()
        self._poll = select.poll()
        self._poll.register(descriptor, select.POLLOUT)

    def write(self, data: "ReadableBuffer", /) -> int:
        """Take all of it; return its length."""
        piece = bytes(data)
        with self._lock:
            self._drain()
            # nothing passes what was lost before it
            if self._lost or len(self._unwritten) + len(piece) > self._kept_bytes:
                self._lost += piece.count(b"\n") or 1
            else:
                self._unwritten += piece
                self._drain()
        return len(piece)

    def part(self) -> None:
        """Write what is kept, before the process ends; for a while, somebody may be reading."""
        with self._lock:
            self._drain(ends_at=time.monotonic() + _PARTING_S)

    def _drain(self, *, ends_at: float = 0) -> None:
        # a finaliser's warning may come on this very thread: the loop below takes it too
        if self._is_writing:
            return
        self._is_writing = True
        try:
            # what is closed or has failed counts as ready, and the write then says why
            while (self._unwritten or self._lost) and self._poll.poll(
                max(0, ends_at - time.monotonic()) * 1000
            ):
                if not self._unwritten:
                    said = (
                        f"binder-mirror: {plural(self._lost, 'line')} could not be written here\n"
                    )
                    os.write(self.fileno(), b"\n" * self._is_torn + said.encode())
                    self._lost = 0
                    continue
                # a pipe that has any room takes this much at once
                written = os.write(self.fileno(), self._unwritten[: select.PIPE_BUF])
                self._is_torn = self._unwritten[written - 1] != ord("\n")
                del self._unwritten[:written]
        except BlockingIOError:
            pass  # somebody else who writes there was quicker
        except OSError:
            self._lost += self._unwritten.count(b"\n")
            self._unwritten.clear()
        finally:
            self._is_writing = False


class _Stdout(io.FileIO):
    """Standard output; when it has failed once nothing more is written."""

    def write(self, data: "ReadableBuffer", /) -> int:
        try:
            with stdout_errors():
                return super().write(data)
        except BaseException:
            # of a signal too: what is still in the buffer would be tried again, and hang, at exit
            abandon_stdout()
            raise


def prepare_streams() -> None:
    """Make sure that output can be written at all, and that no character of it can be refused."""
    # what whoever started us has closed: its descriptor must not become a file's
    for descriptor, stream in enumerate((sys.stdin, sys.stdout, sys.stderr)):
        if stream is None:
            os.dup2(os.open(os.devnull, os.O_RDWR), descriptor)
            os.set_inheritable(descriptor, True)  # noqa: FBT003 - it takes no keyword
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(1, "w", closefd=False)),
        encoding=getattr(sys.stdout, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=os.isatty(1),
    )
    stderr = LossyWriter(2)
    sys.stderr = io.TextIOWrapper(
        stderr,
        encoding=getattr(sys.stderr, "encoding", "utf-8"),
        errors="backslashreplace",
        line_buffering=True,
    )
    atexit.register(stderr.part)


def abandon_stdout() -> None:
    """Write nothing more to standard output, not even at exit: its reader may take nothing."""
    with suppress(OSError), Path(os.devnull).open("wb") as nowhere:
        os.dup2(nowhere.fileno(), 1)


def say(text: str) -> None:
    """Print to standard output, or raise a StorageError; that nobody reads it is no failure."""
    with suppress(ReaderGoneError):
        click.echo(text)


def answer(facts: object, lines: Iterable[str], *, as_json: bool) -> None:
    """Print the answer of a command: its facts as one JSON object, or its lines for people."""
    if as_json:
        say(msgspec.json.format(msgspec.json.encode(facts), indent=2).decode())
    else:
        say(pasteable("\n".join(lines)))


def notice(text: str) -> None:
    """Print a line for a person, beside the answer, to standard error."""
    print(f"binder-mirror: {pasteable(text)}", file=sys.stderr)  # noqa: T201


@contextmanager
def stdout_errors() -> Iterator[None]:
    """Name standard output as what cannot be written, here or in a worker, in a StorageError.

    A ReaderGoneError says that nobody reads it any more.
    """
    try:
        yield
    except BrokenPipeError as error:
        raise ReaderGoneError from error
    except OSError as error:
        raise StorageError(
            f"standard output: {error.strerror or error}",
            hint="what has been written is not all: run it again",
        ) from error
