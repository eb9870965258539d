"""Calls of functions in another process, which can be bounded and killed, and never outlives us.

A worker is a fresh interpreter. Its standard input is one end of a pair of sockets: calls (a
function by its name, and its arguments) go there, results and errors come back, and standard output
is free for what the function prints. The other end closes with this process, however it ends; the
worker, which waits for that on a thread, then ends at once, whatever it is busy with.
"""

import os
import pickle
import resource
import select
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Self, TypeVar, TypeVarTuple

from mirror.errors import MirrorError, StorageError

_LOOK_MS = 200
_NOTE_LENGTH = 20_000
_KEEP_FREED = {"MALLOC_MMAP_THRESHOLD_": str(1024**2), "MALLOC_TRIM_THRESHOLD_": str(8 * 1024**2)}
"""glibc gives each freed block of 128 KiB or more back to the system at once, which costs a worker
that takes in bodies 100,000 page faults a GB: a tenth of its time."""

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


class WorkerDiedError(Exception):
    """The process ended before its call did."""

    def __init__(self, number: signal.Signals | None) -> None:
        super().__init__(number.name if number else "no signal")
        self.number = number  # the signal that ended it; None where it ended by itself


def start_process(*, prints: bool = False) -> tuple[subprocess.Popen[bytes], socket.socket]:
    """Start a worker that prints where this process does, or nowhere; return it with our socket.

    A StorageError says that the system has no process to give.
    """
    ours, theirs = socket.socketpair()
    try:
        with theirs:
            process = subprocess.Popen(
                # -P: what lies in the current directory is not imported
                [sys.executable, "-P", "-m", "mirror.processes"],
                stdin=theirs.fileno(),
                stdout=None if prints else subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                # what a shell's >(command) opened is written by its descriptor: /dev/fd/63
                close_fds=not prints,
                # it finds its modules where we do, however that was arranged
                env={
                    **_KEEP_FREED,
                    **os.environ,
                    "PYTHONPATH": os.pathsep.join(map(os.path.abspath, sys.path)),
                },
            )
    except OSError as error:
        ours.close()
        raise StorageError(f"no process can be started: {error.strerror}") from error
    return process, ours


class Worker:
    """A process that runs one call after the other; ended by `close`, or by `with`.

    It prints where this process does, or nowhere; its standard error is not shown: native code that
    gives up prints there. A call may take `timeout_s`, and 0 stands for ever. A StorageError says
    that the system has no process to give.
    """

    def __init__(self, *, prints: bool = False, timeout_s: float = 0) -> None:
        self._timeout_s = timeout_s
        self._calling = threading.Lock()
        self._process, self._socket = start_process(prints=prints)
        self._replies = self._socket.makefile("rb")

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_error: object) -> None:
        self.close()

    def call(self, function: Callable[[*Ts], T], *args: *Ts) -> T:
        """Run a function of a module there, and return its result.

        Raises:
            TimeoutError: it took too long; the worker is to be closed.
            WorkerDiedError: the process has ended, or was closed meanwhile.
            MirrorError, OSError: what the function raised.
            RuntimeError: the function raised something else; a note has the traceback.
        """
        with self._calling:
            try:
                self._socket.sendall(pickle.dumps((function, args)))
                self._wait()
                result, error = pickle.load(self._replies)  # noqa: S301 - from a child of ours
            except (EOFError, ConnectionError, pickle.UnpicklingError) as ended:
                raise end_process(self._process) from ended
        if error is not None:
            raise error
        return result  # type: ignore[no-any-return]  # what the function returned

    def close(self) -> None:
        """Kill the process; a call that another thread waits for ends with it."""
        end_process(self._process)
        with self._calling:
            self._replies.close()
            self._socket.close()

    def _wait(self) -> None:
        poll = select.poll()
        poll.register(self._socket, select.POLLIN)
        ends_at = time.monotonic() + self._timeout_s if self._timeout_s else float("inf")
        # again and again: a signal that comes right before the wait does not end it
        while not poll.poll(min(_LOOK_MS, max(0, ends_at - time.monotonic()) * 1000)):
            if time.monotonic() >= ends_at:
                raise TimeoutError


def end_process(process: subprocess.Popen[bytes]) -> WorkerDiedError:
    """Kill a worker, and return what there is to say of its end."""
    process.kill()
    code = process.wait()
    return WorkerDiedError(signal.Signals(-code) if code < 0 else None)


def serve() -> None:
    """Run the calls that come over standard input, until there is nobody to make any."""
    # Ctrl-C, and a service's end, reach every process: what they mean is for the parent to say
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    link = socket.socket(fileno=0)
    threading.Thread(target=_end_with_parent, args=[link.fileno()], daemon=True).start()
    calls = link.makefile("rb")
    with suppress(EOFError, ConnectionError):
        while True:
            function, args = pickle.load(calls)  # noqa: S301 - from our parent
            link.sendall(_reply(function, args))


def _end_with_parent(descriptor: int) -> None:
    poll = select.poll()
    # that the other end is closed is reported without being asked for
    poll.register(descriptor, 0)
    poll.poll()
    os._exit(1)


def _reply(function: Callable[..., object], args: tuple[object, ...]) -> bytes:
    try:
        return pickle.dumps((function(*args), None))
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to hear of it
        return pickle.dumps((None, portable(error)))


def portable(error: BaseException) -> Exception:
    """Return an error as the parent is to raise it.

    What is none of ours, nor the system's, is a bug, and has its traceback as a note.
    """
    if isinstance(error, (MirrorError, OSError)):
        return error
    import traceback  # noqa: PLC0415 - for a bug alone

    bug = RuntimeError(f"{type(error).__name__}: {error}")
    bug.add_note("".join(traceback.format_exception(error))[-_NOTE_LENGTH:])
    return bug


if __name__ == "__main__":
    serve()
    # at once: what a failed call has left in a buffer is not to be printed
    os._exit(0)
