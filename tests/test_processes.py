"""Calls in another process: what they return and raise, what ends them, and that they end."""

import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from mirror.errors import StorageError
from mirror.processes import Worker, WorkerDiedError
from tests.command import PATIENCE_S, ROOT


def fail() -> None:
    raise StorageError("full", hint="make room")


def divide(one: int, other: int) -> float:
    return one / other


def kill_self(number: signal.Signals) -> str:
    os.kill(os.getpid(), number)
    return "goes on"


def interrupt_parent() -> None:
    os.kill(os.getppid(), signal.SIGINT)
    time.sleep(PATIENCE_S)


def is_alive(pid: int) -> bool:
    """Return whether a process is there and no zombie."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def test_one_call_after_the_other_is_answered() -> None:
    with Worker() as worker:
        assert worker.call(divide, 6, 4) == 1.5
        pid = worker.call(os.getpid)
        assert pid not in (os.getpid(), os.getppid())
        assert worker.call(os.getpid) == pid
    assert not is_alive(pid)


def test_what_a_call_raises_is_raised_here() -> None:
    with Worker() as worker:
        with pytest.raises(StorageError) as ours:
            worker.call(fail)
        assert ours.value.line() == "full (make room)"
        with pytest.raises(FileNotFoundError, match="/no/such/file"):
            worker.call(os.stat, "/no/such/file")
        with pytest.raises(RuntimeError, match="ZeroDivisionError: division by zero") as bug:
            worker.call(divide, 1, 0)
        assert "Traceback" in bug.value.__notes__[0]
        assert worker.call(divide, 1, 1) == 1, "it goes on"


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGABRT, signal.SIGSEGV])
def test_a_signal_that_ends_it_is_known(number: signal.Signals) -> None:
    with Worker() as worker:
        with pytest.raises(WorkerDiedError, match=number.name) as died:
            worker.call(kill_self, number)
        assert died.value.number is number
        with pytest.raises(WorkerDiedError):
            worker.call(divide, 1, 1)


def test_an_exit_is_known() -> None:
    with Worker() as worker, pytest.raises(WorkerDiedError, match="no signal"):
        worker.call(os._exit, 7)


def test_signals_to_the_whole_group_are_for_the_parent() -> None:
    with Worker() as worker:
        assert worker.call(kill_self, signal.SIGINT) == "goes on"
        assert worker.call(kill_self, signal.SIGTERM) == "goes on"


def test_its_time_is_bounded() -> None:
    with Worker(timeout_s=0.05) as worker, pytest.raises(TimeoutError):
        worker.call(time.sleep, PATIENCE_S)
    with Worker(timeout_s=1e30) as worker:
        worker.call(time.sleep, 0)


def run_script(code: str) -> subprocess.CompletedProcess[str]:
    """Run a script in an interpreter of its own."""
    command = [sys.executable, "-W", "error", "-c", code]
    return subprocess.run(
        command, cwd=ROOT, capture_output=True, text=True, check=False, timeout=PATIENCE_S
    )


@pytest.mark.parametrize("prints", [True, False])
def test_it_prints_where_its_parent_does_or_nowhere(*, prints: bool) -> None:
    ran = run_script(
        f"""
import os
from mirror.processes import Worker
with Worker(prints={prints}) as worker:
    worker.call(os.write, 1, b"seen")
    worker.call(os.write, 2, b"not seen")
"""
    )
    assert (ran.stdout, ran.stderr) == ("seen" if prints else "", "")


def test_nothing_in_the_current_directory_is_imported(tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "pickle.py").write_text("raise SystemExit('not the real one')")
    monkeypatch.chdir(tmp_path)
    with Worker() as worker:
        assert worker.call(divide, 1, 1) == 1


def test_a_signal_that_does_not_wake_the_wait_is_heeded() -> None:
    # it does not where it comes right before; here, for sure, where another thread receives it
    ran = run_script(
        """
import signal, threading, time
from mirror.processes import Worker
from tests.test_processes import interrupt_parent
threading.Thread(target=time.sleep, args=[60], daemon=True).start()
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGINT])
signal.signal(signal.SIGINT, signal.default_int_handler)
try:
    with Worker() as worker:
        worker.call(interrupt_parent)
except KeyboardInterrupt:
    print("interrupted")
"""
    )
    assert ran.stdout == "interrupted\n"


def test_it_does_not_outlive_a_parent_that_is_killed() -> None:
    code = """
import os, time
from mirror.processes import Worker
worker = Worker()
print(worker.call(os.getpid), flush=True)
worker.call(time.sleep, 600)
"""
    command = [sys.executable, "-c", code]
    with subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True) as parent:
        assert parent.stdout is not None
        pid = int(parent.stdout.readline())
        assert is_alive(pid)
        parent.kill()
    ends_at = time.monotonic() + PATIENCE_S
    while is_alive(pid):
        assert time.monotonic() < ends_at
        time.sleep(0.01)
