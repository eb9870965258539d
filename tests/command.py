"""The command as people run it: in a process of its own, against an archive on a real socket."""

import asyncio
import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any, NamedTuple

from mirror.config.loading import load_config
from mirror.store.layout import DataDir
from mirror.sync.wiring import open_mirror
from tests.upstream.archive import UpstreamArchive
from tests.upstream.server import ArchiveServer

COMMAND = (sys.executable, "-m", "mirror")
PATIENCE_S = 30
_NOT_OURS = (
    *("STATE_DIRECTORY", "NO_COLOR", "FORCE_COLOR", "PYTHONUNBUFFERED"),
    *("COLUMNS", "LINES"),  # pytest-xdist sets them
)


class Done(NamedTuple):
    """A command that has ended."""

    code: int
    out: str
    err: str

    @property
    def said(self) -> list[str]:
        """The lines on standard error that are for a person: all but the log's."""
        return [line for line in self.err.splitlines() if not line.startswith("{")]

    @property
    def logs(self) -> list[dict[str, Any]]:
        """The log's events."""
        return [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]

    @property
    def json(self) -> Any:
        """What is on standard output, which must be one JSON object."""
        value = json.loads(self.out)
        assert isinstance(value, dict)
        return value

    def refused(self, code: int) -> str:
        """Return the one line that a refusal consists of."""
        assert self.code == code, (self.code, self.out, self.err)
        assert self.out == ""
        assert len(self.said) == 1, self.err
        assert self.said[0].startswith("binder-mirror: ")
        assert "this is a bug" not in self.err
        assert "Traceback" not in self.err
        return self.said[0].removeprefix("binder-mirror: ")


class Shell:
    """An upstream, a data directory to be, and the command to run on them.

    Attributes:
        archive: upstream's bucket; days long final, and an index an hour old.
        server: upstream's web server.
        data: the data directory that commands are told.
        environ: what the command's environment is; change it at will.
        prefix: what the command is run under, as another user's rights.
    """

    def __init__(self, archive: UpstreamArchive, server: ArchiveServer, root: Path) -> None:
        self.archive = archive
        self.server = server
        self.data = DataDir(root)
        self.prefix: Sequence[str] = ()
        self.cwd: Path | None = None
        self.environ = plain_environment(root)
        self.set(upstream__url=server.url, storage__data_dir=str(root), storage__min_free="0")
        self.set(http__backoff="0.01", http__retries="1", http__read_timeout="5")

    def set(self, **settings: str) -> None:
        """Set settings, named TABLE__KEY."""
        for name, value in settings.items():
            self.environ[f"BINDER_MIRROR_{name.upper()}"] = value

    async def start(
        self, *arguments: str | bytes | Path, **options: Any
    ) -> asyncio.subprocess.Process:
        """Start a command, its output in pipes."""
        streams = {
            "stdin": subprocess.DEVNULL,
            "stdout": subprocess.PIPE,
            "stderr": subprocess.PIPE,
        }
        return await asyncio.create_subprocess_exec(
            *self.prefix,
            *COMMAND,
            *arguments,
            **{"env": self.environ, "cwd": self.cwd, **streams, **options},
        )

    async def run(self, *arguments: str | bytes | Path, **options: Any) -> Done:
        """Run a command to its end."""
        return await finish(await self.start(*arguments, **options))

    async def measured(self, *arguments: str | bytes | Path) -> tuple[Done, int]:
        """Run a command to its end; return with it the peak of its memory, in bytes."""
        measure = (
            "import resource, subprocess, sys\n"
            "code = subprocess.call(sys.argv[1:])\n"
            "peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss\n"
            "print('\\npeak', peak, file=sys.stderr)\n"
            "sys.exit(code)\n"
        )
        prefix, self.prefix = self.prefix, (*self.prefix, sys.executable, "-c", measure)
        done = await self.run(*arguments)
        self.prefix = prefix
        err, _, peak = done.err.rpartition("\npeak ")
        return Done(done.code, done.out, err), int(peak) * 1024

    async def synced(self) -> None:
        """Make a sync, which must be complete; in this process, for that is faster."""
        config = load_config(None, self.environ)
        async with open_mirror(config, self.data) as mirror:
            report = await mirror.poll()
        assert report.exit_code == 0, report

    @property
    def days(self) -> list[date]:
        """Upstream's days, ascending."""
        return list(self.archive.days())

    def path(self, day: date) -> Path:
        """Return where a day is published."""
        return self.data.archive / f"events-{day}.jsonl"

    def body(self, day: date) -> bytes:
        """Return upstream's body of a day."""
        return self.archive[f"events-{day}.jsonl"].body

    def asked(self) -> list[str]:
        """Return the names asked of upstream since the last call, in order."""
        names = [record.name for record in self.server.requests]
        self.server.requests.clear()
        return names

    def assert_whole(self) -> None:
        """Each published daily file is upstream's, whole; nothing unfinished lies about."""
        for path in self.data.archive.glob("events-*"):
            assert path.read_bytes() == self.archive[path.name].body, path.name
        if self.data.staging.exists():
            assert list(self.data.staging.iterdir()) == []

    def assert_complete(self) -> None:
        """The copy is upstream's, listings too, as coreutils see it."""
        self.assert_whole()
        held = {path.name for path in self.data.archive.glob("events-*")}
        assert held == {name for name in self.archive.objects if name.startswith("events-")}
        assert self.data.index.read_bytes() == self.archive["index.jsonl"].body
        sums = self.data.sums.read_bytes()
        assert sums.count(b"\n") == len(held)
        check = ["sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS"]
        subprocess.run(check, cwd=self.data.archive, check=True, capture_output=True)


async def finish(process: asyncio.subprocess.Process) -> Done:
    """Wait for a command's end."""
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE_S)
    assert process.returncode is not None
    return Done(process.returncode, (out or b"").decode(), (err or b"").decode())


async def interrupt(process: asyncio.subprocess.Process, number: signal.Signals) -> Done:
    """Send a signal to a command and wait for its end."""
    process.send_signal(number)
    return await finish(process)


def plain_environment(home: Path) -> dict[str, str]:
    """Return an environment in which nothing of ours is set."""
    return {
        **{
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("BINDER_MIRROR_", "XDG_", "COV_")) and name not in _NOT_OURS
        },
        "HOME": str(home.parent),
        "PYTHONPATH": os.pathsep.join(filter(None, (str(ROOT), os.environ.get("PYTHONPATH")))),
        "PYTHONWARNINGS": "default",
        "TERM": "xterm-256color",
    }


ROOT = Path(__file__).parent.parent


def long_final_days(count: int, *, events_per_day: int = 40, seed: int = 0) -> UpstreamArchive:
    """Return an archive whose newest day is two days old and whose index is an hour old."""
    now = datetime.now(UTC)
    last = now.date() - timedelta(days=2)
    return UpstreamArchive.with_days(
        last - timedelta(days=count - 1),
        last,
        events_per_day=events_per_day,
        now=now - timedelta(hours=1),
        seed=seed,
    )


@asynccontextmanager
async def open_shell(root: Path, archive: UpstreamArchive | None = None) -> AsyncIterator[Shell]:
    """Serve an archive, of six days where none is given, for commands that work in `root`."""
    archive = archive or long_final_days(6)
    async with ArchiveServer(archive) as server:
        yield Shell(archive, server, root)
