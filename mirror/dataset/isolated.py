"""Runs work in a process of its own, which can be limited and ended whatever it is doing.

The process is a copy of this one (fork), so it has at once what the work needs, and prints where
this one prints. Native code that neither counts its memory nor looks for signals can be held in no
other way. The limit is on data (RLIMIT_DATA, https://man7.org/linux/man-pages/man2/getrlimit.2.html):
address space that is merely reserved, as allocators do, does not count.
"""

import ctypes
import math
import os
import pickle
import resource
import select
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import NoReturn

from mirror.errors import MirrorError, StorageError

_HELD_BACK = (signal.SIGINT, signal.SIGTERM)
_PR_SET_PDEATHSIG = 1
_LOOK_S = 0.2
_READ_BYTES = 65536
_NOTE_LENGTH = 20_000


class ChildDiedError(Exception):
    """The process was ended before its work was.

    Attributes:
        number: the signal that ended it; None where it ended by itself without a word.
    """

    def __init__(self, number: signal.Signals | None) -> None:
        super().__init__(number.name if number else "no signal")
        self.number = number


def run_apart(work: Callable[[], object], timeout_s: float = 0) -> None:
    """Run work in a process of its own and wait for its end.

    A signal's handler that raises ends that process too, and so does whatever kills this one. There
    must be no other thread: the copy would have their locks without them.

    Args:
        work: what to do; its standard error is not shown.
        timeout_s: how long it may take; 0 for ever.

    Raises:
        TimeoutError: it took longer and was killed.
        ChildDiedError: something else killed it.
        MirrorError, OSError: what the work raised.
        RuntimeError: the work raised something else; a note has the traceback.
        StorageError: the system has no process to give.
    """
    sys.stdout.flush()
    parent = os.getpid()
    reader, writer = os.pipe()
    # a signal that comes before we can act on it waits until we can
    mask = signal.pthread_sigmask(signal.SIG_BLOCK, _HELD_BACK)
    try:
        child = os.fork()
    except OSError as error:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        raise StorageError(f"no process can be started: {error.strerror}") from error
    if child == 0:
        _be_child(work, writer, parent, mask)
    os.close(writer)
    try:
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        report = _read_report(reader, timeout_s)
    except BaseException:
        os.kill(child, signal.SIGKILL)
        raise
    finally:
        os.close(reader)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
    if report:
        raise pickle.loads(report)  # noqa: S301 - written by a copy of ourselves
    if code:
        raise ChildDiedError(signal.Signals(-code) if code < 0 else None)


def limit_memory(more_bytes: int) -> None:
    """Let this process have so much more memory than it has; what asks for more is refused.

    Args:
        more_bytes: private memory that can be written, touched or not.
    """
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = pages * resource.getpagesize() + more_bytes
    lowest = min(wanted, sys.maxsize, *(one for one in limits if one != resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, limits[1]))


def _read_report(reader: int, timeout_s: float) -> bytes:
    """Return what the child has to say at its end: nothing, where all went well."""
    ends_at = time.monotonic() + (timeout_s or math.inf)
    # by and by: a signal that comes right before select does not wake it
    while not select.select([reader], [], [], min(_LOOK_S, max(0, ends_at - time.monotonic())))[0]:
        if time.monotonic() >= ends_at:
            raise TimeoutError
    report = b""
    while chunk := os.read(reader, _READ_BYTES):
        report += chunk
    return report


def _be_child(
    work: Callable[[], object], writer: int, parent: int, mask: set[signal.Signals | int]
) -> NoReturn:
    code = 1
    try:
        # Ctrl-C reaches every process of a terminal; what it means is for the parent to say
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        signal.signal(signal.SIGTERM, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        _end_with(parent)
        _die_quietly()
        work()
        sys.stdout.flush()
        code = 0
    except BaseException as error:  # noqa: BLE001 - whatever it is, the parent is to hear of it
        # what was refused more memory has none to tell of it
        with suppress(ValueError, OSError):
            hard = resource.getrlimit(resource.RLIMIT_DATA)[1]
            resource.setrlimit(resource.RLIMIT_DATA, (hard, hard))
        os.write(writer, pickle.dumps(_reported(error)))
    finally:
        # nothing of the parent's is to be tidied up twice
        os._exit(code)


def _end_with(parent: int) -> None:
    """Be killed when the parent ends, however it does."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(1)


def _die_quietly() -> None:
    """Have native code that gives up say nothing, and leave no image of its memory."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), 2)
    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))


def _reported(error: BaseException) -> BaseException:
    """Return an error that the parent can read: ours and the system's as they are."""
    if isinstance(error, MirrorError | OSError):
        return error
    import traceback  # noqa: PLC0415 - for a bug alone

    bug = RuntimeError(f"{type(error).__name__}: {error}")
    bug.add_note("".join(traceback.format_exception(error))[-_NOTE_LENGTH:])
    return bug
