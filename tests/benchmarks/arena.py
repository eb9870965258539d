"""Where contestants run: one at a time, from the same start, timed until all is on the disk."""

import os
import shutil
import subprocess
import sys
import threading
import time
from collections.abc import Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from resource import struct_rusage

from tests.benchmarks.contestants import Contestant, Job
from tests.benchmarks.corpus import Corpus
from tests.benchmarks.memory import MemoryWatch
from tests.benchmarks.nginx import Nginx

_REPOSITORY = Path(__file__).parents[2]
_TIMEOUT_S = 1800
_LOG_TAIL_BYTES = 2000
# After removing gigabytes the file system is busy for a while.
_REST_S = 1.0


class ContestError(Exception):
    """A contestant failed, or did not do its job."""


@dataclass(frozen=True, slots=True)
class Sample:
    """One timed run.

    Attributes:
        contestant: its name.
        case: what it did, where a scenario has several cases.
        run_s: from the start of the process to its end.
        durable_s: to the end of a `sync` after it.
        cpu_s: processor time of the process, its children included.
        peak_mb: most memory held by the process or by one of its children, in 10^6 bytes; never
            less than what this Python holds (see the README).
        family_mb: most memory held by all of them together; 0 where it was not watched.
        requests: answered by the server in this time.
    """

    contestant: str
    case: str
    run_s: float
    durable_s: float
    cpu_s: float
    peak_mb: float
    family_mb: float
    requests: int


@dataclass(frozen=True, slots=True)
class Task:
    """A corpus as served at a URL, to be held in a folder.

    `case` tells samples of one scenario apart; `concurrency` is binder-mirror's; `watch_memory`
    looks at the whole family of processes, which costs some time.
    """

    corpus: Corpus
    url: str
    out: Path
    case: str = ""
    concurrency: int = 8
    watch_memory: bool = False


@dataclass(frozen=True, slots=True)
class _Run:
    run_s: float
    durable_s: float
    usage: struct_rusage
    family_bytes: int


class Arena:
    """Owner of what contestants leave: output folders, logs, the trash."""

    def __init__(self, work: Path, nginx: Nginx) -> None:
        self._nginx = nginx
        self._work = work
        self._numbers = count()
        self._out, self._trash = work / "out", work / "trash"
        self._scratch, self._home = work / "scratch", work / "home"
        self.clear()

    def make_folder(self) -> Path:
        """Return a new, empty folder."""
        folder = self._out / str(next(self._numbers))
        folder.mkdir()
        return folder

    def make_branch(self, corpus: Corpus, names: list[str]) -> Corpus:
        """Return a branch of a corpus, in a place that is served."""
        return corpus.branch(self._out / f"branch-{next(self._numbers)}", names)

    def locate(self, corpus: Corpus, base_url: str) -> str:
        """Return the URL at which a corpus is served."""
        return f"{base_url}{corpus.folder.relative_to(self._work)}/"

    def run(self, contestant: Contestant, task: Task) -> Sample:
        """Let a contestant do a task.

        Raises:
            ContestError: it failed, or does not hold the corpus afterwards.
        """
        job = Job(task.url, task.corpus.folder, task.corpus.names, task.out, self._scratch)
        command = [str(contestant.program), *contestant.make_arguments(job)]
        environ = self._make_environ(contestant, task)
        requests_before = self._nginx.count_requests()
        run = self._time(command, environ, watch_memory=task.watch_memory)
        sample = Sample(
            contestant=contestant.name,
            case=task.case,
            run_s=run.run_s,
            durable_s=run.durable_s,
            cpu_s=run.usage.ru_utime + run.usage.ru_stime,
            peak_mb=run.usage.ru_maxrss * 1024 / 1e6,
            family_mb=run.family_bytes / 1e6,
            requests=self._nginx.count_requests() - requests_before,
        )
        _check_held(contestant, task)
        return sample

    def discard(self, folder: Path) -> None:
        """Move a folder aside and give its memory back; removing it now would slow the next run."""
        for path in folder.rglob("*"):
            if path.is_file():
                _drop_from_cache(path)
        folder.rename(self._trash / str(next(self._numbers)))

    def empty_trash(self) -> None:
        """Remove what was moved aside, and wait until the file system has settled."""
        shutil.rmtree(self._trash)
        self._trash.mkdir()
        os.sync()
        time.sleep(_REST_S)

    def clear(self) -> None:
        """Remove everything but the corpora, whatever an earlier run left included."""
        for folder in (self._out, self._trash, self._scratch, self._home):
            shutil.rmtree(folder, ignore_errors=True)
            folder.mkdir(parents=True)

    def _make_environ(self, contestant: Contestant, task: Task) -> dict[str, str]:
        environ = {**os.environ, **contestant.environ, "HOME": str(self._home)}
        environ["BINDER_MIRROR_HTTP__CONCURRENCY"] = str(task.concurrency)
        environ["no_proxy"] = environ["NO_PROXY"] = "127.0.0.1"
        python_path = (str(_REPOSITORY), os.environ.get("PYTHONPATH", ""))
        environ["PYTHONPATH"] = os.pathsep.join(filter(None, python_path))
        # As installed: with its modules compiled.
        environ.pop("PYTHONDONTWRITEBYTECODE", None)
        return environ

    def _time(self, command: list[str], environ: Mapping[str, str], *, watch_memory: bool) -> _Run:
        log_path = self._scratch / "log"
        # What others left to write is theirs.
        os.sync()
        with log_path.open("wb") as log:
            started_at = time.perf_counter()
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=dict(environ)
            )
        killer = threading.Timer(_TIMEOUT_S, process.kill)
        killer.start()
        watch = MemoryWatch(process.pid)
        with watch if watch_memory else nullcontext():
            _, status, usage = os.wait4(process.pid, 0)
            run_s = time.perf_counter() - started_at
        os.sync()
        durable_s = time.perf_counter() - started_at
        killer.cancel()
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            tail = log_path.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")
            raise ContestError(f"{' '.join(command)}: exit code {process.returncode}\n{tail}")
        return _Run(run_s, durable_s, usage, watch.peak_bytes)


def report_progress(text: str) -> None:
    """Tell on standard error what is going on."""
    print(text, file=sys.stderr, flush=True)


def _check_held(contestant: Contestant, task: Task) -> None:
    folder = task.out / contestant.subfolder
    for name, size in task.corpus.sizes().items():
        path = folder / name
        if not path.exists() or path.stat().st_size != size:
            raise ContestError(f"{contestant.name} does not hold {name} with its {size} bytes")


def _drop_from_cache(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
    finally:
        os.close(descriptor)
