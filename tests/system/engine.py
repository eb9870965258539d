"""A container engine without a registry: Debian's podman and buildah, on a base from debootstrap.

The base is kept under `~/.cache/binder-mirror-tests`, in a store of its own: nothing of the user's
is seen or touched. Wants root.
"""

import asyncio
import os
import shutil
import subprocess
import tempfile
import zlib
from contextlib import suppress
from pathlib import Path

SUITE = "bookworm"
PACKAGES = (
    *("ca-certificates", "python3", "python3-venv"),
    *("systemd", "systemd-sysv", "dbus", "rsync"),
)
BASE = f"localhost/binder-mirror-base:{SUITE}-{zlib.crc32(repr(PACKAGES).encode()):08x}"
COMMANDS = ("podman", "buildah", "runc", "debootstrap")
CA_BUNDLE = Path("/etc/ssl/certs/ca-certificates.crt")
LIMITS = ("--ulimit", "nofile=4096:4096", "--ulimit", "nproc=4000:4000")
BUILD_S = 600


def what_is_missing() -> str:
    """Return why no container can be had here; nothing where it can."""
    absent = [name for name in COMMANDS if shutil.which(name, path=_PATH) is None]
    if absent:
        return f"not installed: {', '.join(absent)} (apt-get install {' '.join(COMMANDS)})"
    return "" if os.geteuid() == 0 else "wants root"


_PATH = f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin"


class Engine:
    """Runs podman and buildah on a store of its own, under `folder`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(parents=True, exist_ok=True)
        self._folder = folder
        self._storage = (
            "--root",
            str(folder / "storage"),
            "--runroot",
            "/run/binder-mirror-tests",
            "--storage-driver",
            "overlay" if _has_overlay(folder) else "vfs",
        )
        self._podman = (
            "podman",
            *self._storage,
            "--cgroup-manager=cgroupfs",
            "--events-backend=file",
            "--runtime",
            # crun knows no hybrid cgroups
            shutil.which("runc", path=_PATH) or "runc",
        )

    def podman(self, *arguments: str | Path) -> str:
        """Run podman to its end, which must be good; return what it printed."""
        return _run(*self._podman, *arguments)

    async def ask(self, *arguments: str | Path) -> tuple[int, str]:
        """Run podman beside the test's own server; return its exit code and all that it printed."""
        process = await asyncio.create_subprocess_exec(
            *self._podman,
            *arguments,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        out, _ = await process.communicate()
        assert process.returncode is not None
        return process.returncode, out.decode()

    def build(self, context: Path, name: str) -> None:
        """Build a Dockerfile on the base; steps that have not changed are taken from last time."""
        _run(
            "buildah",
            *self._storage,
            "bud",
            # what OCI's own format has no room for: HEALTHCHECK
            "--format=docker",
            "--layers",
            "--isolation=chroot",
            "--network=host",
            *self._mounts(),
            f"--build-arg=BASE={self.base()}",
            f"--tag={name}",
            context,
        )
        self.podman("image", "prune", "--force")

    def run(self, *arguments: str | Path) -> str:
        """Run a container without a network to its end; return what it printed."""
        return self.podman("run", "--rm", "--network=none", *LIMITS, *arguments)

    def start(self, *arguments: str | Path) -> str:
        """Start a container, in the host's network if nothing else is said; return its id."""
        network = () if any("--network" in str(one) for one in arguments) else ("--network=host",)
        out = self.podman("run", "--detach", *network, *LIMITS, *self._mounts(), *arguments)
        return out.split()[-1]

    def remove(self, container: str) -> None:
        """Remove a container and its anonymous volumes, running or not."""
        with suppress(subprocess.CalledProcessError):
            self.podman("rm", "--force", "--time=0", "--volumes", container)

    def base(self) -> str:
        """Return the name of the base image, which is made where there is none yet."""
        try:
            self.podman("image", "inspect", BASE)
        except subprocess.CalledProcessError:
            self._make_base()
        return BASE

    def _make_base(self) -> None:
        with tempfile.TemporaryDirectory(dir=self._folder) as scratch:
            root, packed = Path(scratch) / "root", Path(scratch) / "base.tar"
            include = f"--include={','.join(PACKAGES)}"
            _run("debootstrap", "--variant=minbase", include, SUITE, root)
            without = ("--exclude=./var/cache/apt/*", "--exclude=./var/lib/apt/lists/*")
            _run("tar", "-C", root, *without, "-cf", packed, ".")
            self.podman("import", packed, BASE)

    def _mounts(self) -> tuple[str, ...]:
        # where this machine reaches a package index by a certificate of its own
        bundle = os.environ.get("SSL_CERT_FILE", str(CA_BUNDLE))
        return (f"--volume={bundle}:{CA_BUNDLE}:ro",) if Path(bundle).exists() else ()


def _has_overlay(folder: Path) -> bool:
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        parts = {name: Path(scratch) / name for name in ("lower", "upper", "work", "merged")}
        for part in parts.values():
            part.mkdir()
        options = f"lowerdir={parts['lower']},upperdir={parts['upper']},workdir={parts['work']}"
        mount = ["mount", "-t", "overlay", "overlay", "-o", options, str(parts["merged"])]
        if subprocess.run(mount, check=False, capture_output=True).returncode:
            return False
        subprocess.run(["umount", str(parts["merged"])], check=True)
        return True


def _run(*arguments: str | Path) -> str:
    done = subprocess.run(
        [str(argument) for argument in arguments],
        check=False,
        capture_output=True,
        text=True,
        timeout=BUILD_S,
        env={**os.environ, "PATH": _PATH},
    )
    if done.returncode:
        print(done.stdout[-4000:], done.stderr[-4000:], sep="\n")
        done.check_returncode()
    return done.stdout
