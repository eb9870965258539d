"""Work in a process of its own: what it raises, what ends it, what it may take."""

import subprocess
import sys

import pytest

from tests.command import ROOT

BEFORE = """
import os, signal, time
from pathlib import Path
from mirror.dataset.isolated import ChildDiedError, limit_memory, run_apart
from mirror.errors import StorageError

def fail(error):
    raise error

def allocate():
    limit_memory(64 * 1024**2)
    limit_memory(1024**4)
    bytearray(128 * 1024**2)
"""
AFTER = """
try:
    run_apart({work}, {timeout_s})
except BaseException as error:
    print(repr(error), getattr(error, "hint", ""), *getattr(error, "__notes__", ()), sep="|")
else:
    print("done")
"""


def outcome(work: str, timeout_s: float = 0) -> str:
    """Return what comes of work; in an interpreter that has no other threads."""
    code = BEFORE + AFTER.format(work=work, timeout_s=timeout_s)
    command = [sys.executable, "-W", "error", "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)
    assert ran.stderr == ""
    return ran.stdout


@pytest.mark.parametrize(
    ("work", "told"),
    [
        ("lambda: print('seen')", "seen\ndone\n"),
        ("lambda: os.write(2, b'not seen')", "done\n"),
        (
            "lambda: fail(StorageError('full', hint='make room'))",
            "StorageError('full')|make room\n",
        ),
        ("lambda: fail(BrokenPipeError(32, 'gone'))", "BrokenPipeError(32, 'gone')|\n"),
        ("lambda: os._exit(7)", "ChildDiedError('no signal')|\n"),
        ("lambda: os.abort()", "ChildDiedError('SIGABRT')|\n"),
        ("lambda: os.kill(os.getpid(), signal.SIGTERM)", "ChildDiedError('SIGTERM')|\n"),
        ("lambda: (os.kill(os.getpid(), signal.SIGINT), print('goes on'))", "goes on\ndone\n"),
        (
            "lambda: os.kill(os.getppid(), signal.SIGINT) or time.sleep(60)",
            "KeyboardInterrupt()|\n",
        ),
    ],
)
def test_what_comes_of_it_is_known(work: str, told: str):
    assert outcome(work) == told


def test_a_bug_is_told_with_its_traceback():
    told = outcome("lambda: 1 // 0")
    assert told.startswith("RuntimeError('ZeroDivisionError: ")
    assert "|Traceback" in told


def test_a_limit_on_memory_holds_and_does_not_rise():
    assert outcome("allocate").startswith("RuntimeError('MemoryError: ')")


def test_its_time_is_bounded():
    assert outcome("lambda: time.sleep(60)", 0.05) == "TimeoutError()|\n"
    assert outcome("lambda: None", 1e30) == "done\n"


def test_a_signal_that_does_not_wake_the_wait_is_heeded():
    # it does not where it comes right before; here, for sure, where another thread receives it
    code = """
import threading
threading.Thread(target=time.sleep, args=[60], daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
"""
    work = "lambda: os.kill(os.getppid(), signal.SIGINT) or time.sleep(60)"
    code = BEFORE + code + AFTER.format(work=work, timeout_s=0)
    command = [sys.executable, "-c", code]
    ran = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, timeout=30)

    assert ran.stdout == "KeyboardInterrupt()|\n"
