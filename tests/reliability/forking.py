"""Runs the command many times a second: a process that has imported it forks for each run.

`python -m tests.reliability.forking` is that process, started under the shim; `Forks` talks to it.
Each run is the installed command's `main()`, with an environment, streams and an exit of its own.
"""

import asyncio
import gc
import importlib
import json
import os
import signal
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from mirror.archive.plan import DayRules
from mirror.cli.app import main as main_of_command
from mirror.config.loading import load_config
from mirror.errors import MirrorError
from mirror.logs import configure_logs
from mirror.store.layout import DataDir
from mirror.sync.wiring import open_mirror
from tests.command import ROOT
from tests.reliability import shim
from tests.reliability.shim import Fault

RUN_S = 60
"""How long a run may take before it counts as hanging."""


@dataclass(frozen=True, slots=True)
class Ran:
    """A run that has ended."""

    code: int
    """The exit code; below zero the signal that ended it."""
    err: str
    """What it said on standard error."""

    @property
    def is_hung(self) -> bool:
        """Whether it had to be ended."""
        return self.code == -signal.SIGALRM

    @property
    def is_buggy(self) -> bool:
        """Whether it ended as no command may."""
        words = ("Traceback (most recent call last)", "this is a bug")
        return self.code == 1 or self.is_hung or any(word in self.err for word in words)


@dataclass(slots=True)
class Forks:
    """A few processes that fork for each run; to be used with `async with`."""

    scratch: Path
    count: int = 2
    _idle: "asyncio.Queue[asyncio.subprocess.Process]" = field(default_factory=asyncio.Queue)
    _started: list[asyncio.subprocess.Process] = field(default_factory=list)
    _runs: int = 0

    async def __aenter__(self) -> Self:
        environ = {
            **os.environ,
            "LD_PRELOAD": str(shim.build_shim()),
            "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        }
        for _ in range(self.count):
            process = await asyncio.create_subprocess_exec(
                *(sys.executable, "-m", "tests.reliability.forking"),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                env=environ,
                cwd=ROOT,
            )
            self._started.append(process)
            self._idle.put_nowait(process)
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        for process in self._started:
            assert process.stdin is not None
            process.stdin.close()
            await process.wait()

    async def run(
        self,
        arguments: Sequence[str],
        environ: Mapping[str, str],
        *,
        root: Path | None = None,
        fault: Fault | None = None,
        log: Path | None = None,
        mode: int = shim.LIST,
        now: datetime | None = None,
    ) -> Ran:
        """Run the command, or one poll by a clock of its own.

        Args:
            arguments: the command's.
            environ: all of its environment.
            root: the folder that the shim watches.
            fault: what is to fail there.
            log: where the calls are listed, or recorded (`mode`), if no fault is given.
            mode: `shim.LIST` or `shim.RECORD`.
            now: the time by which to poll; None runs the command.
        """
        self._runs += 1
        said = self.scratch / f"said-{self._runs}"
        job = {
            "arguments": list(arguments),
            "environ": dict(environ),
            "root": str(root or ""),
            "mode": shim.FAIL if fault else mode if log else shim.OFF,
            "fault": asdict(fault or Fault(0, 0)),
            "log": str(log) if log else "",
            "said": str(said),
            "now": now.isoformat() if now else "",
        }
        process = await self._idle.get()
        try:
            assert process.stdin is not None
            assert process.stdout is not None
            process.stdin.write(json.dumps(job).encode() + b"\n")
            code = int(await process.stdout.readline())
        finally:
            self._idle.put_nowait(process)
        ran = Ran(code, said.read_text(errors="replace"))
        said.unlink()
        return ran


def main() -> None:
    """Fork for each job that comes on standard input; answer with its exit code."""
    for name in ("sync", "verify", "history", "status"):
        importlib.import_module(f"mirror.cli.{name}")
    for name in ("mirror.sync.inspect", "mirror.archive.metadata", "encodings.idna", "hashlib"):
        importlib.import_module(name)
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        job = json.loads(line)
        child = os.fork()
        if not child:
            _run(job)
        _, status = os.waitpid(child, 0)
        print(os.waitstatus_to_exitcode(status), flush=True)


def _run(job: dict[str, Any]) -> None:
    """Be the command, from its start to its end."""
    code = 1
    try:
        said = os.open(job["said"], os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        nothing = os.open(os.devnull, os.O_RDWR)
        for descriptor, place in ((nothing, 0), (nothing, 1), (said, 2)):
            os.dup2(descriptor, place)
        log = os.open(job["log"], os.O_WRONLY | os.O_CREAT, 0o600) if job["log"] else -1
        os.environ.clear()
        os.environ.update(job["environ"])
        sys.argv = ["binder-mirror", *job["arguments"]]
        signal.alarm(RUN_S)
        now = datetime.fromisoformat(job["now"]) if job["now"] else None
        shim.arm(Path(job["root"]), job["mode"], Fault(**job["fault"]), log)
        code = _command() if now is None else asyncio.run(_poll(now))
        sys.stdout.flush()
        sys.stderr.flush()
    except BaseException:
        sys.excepthook(*sys.exc_info())
        sys.stderr.flush()
        raise
    finally:
        os._exit(code)


def _command() -> int:
    try:
        main_of_command()
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else int(end.code is not None)
    return 0


async def _poll(now: datetime) -> int:
    """Poll by a clock that stands still."""
    config = load_config(None, os.environ)
    configure_logs(config.log)
    data = DataDir(Path(config.storage.data_dir), DayRules.of(config))
    try:
        async with open_mirror(config, data, now=lambda: now) as mirror:
            return (await mirror.poll()).exit_code
    except MirrorError as error:
        return int(error.exit_code)


if __name__ == "__main__":
    main()
