"""The paths of a data directory, the check whether it may be used, and the writer's lock."""

import errno
import fcntl
import hashlib
import os
import shutil
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from mirror.archive.plan import DayRules
from mirror.config.loading import home_folder, user_folder
from mirror.config.settings import Config
from mirror.errors import ConfigError, DataDirGoneError, LockedError, MirrorError
from mirror.store import disk
from mirror.text import shown

if TYPE_CHECKING:
    from mirror.store.proof import Proof

_WRONG_PATH = {errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENAMETOOLONG, errno.EINVAL}
_LOCK_TRIES = 10
_LOCK_PAUSE_S = 0.02


class DataDir:
    """A data directory: its paths, and what its days are called and when they are final."""

    def __init__(self, root: Path, days: DayRules | None = None) -> None:
        self.root = root
        self.days = days or DayRules()
        self.archive = root / "archive"
        self.history = root / "history"
        self.final_changes = self.history / "changes.jsonl"
        self.quarantine = root / "quarantine"
        self.staging = root / "staging"
        self.encoded = root / "encoded"
        self.manifest = root / "manifest.jsonl"
        self.journal = root / "manifest.journal.jsonl"
        self.upstream = root / "upstream.json"
        self.polls = root / "polls.jsonl"
        self.books = (self.manifest, self.journal, self.upstream, self.polls)
        self.dataset = root / "dataset"
        self.dataset_provenance = root / "dataset.json"
        self.lock = root / "lock"
        self.daemon_lock = root / "daemon.lock"
        self.dataset_lock = root / "dataset.lock"
        self.index = self.archive / "index.jsonl"
        self.sums = self.archive / "SHA256SUMS"
        self.datapackage = self.archive / "datapackage.json"
        self.croissant = self.archive / "croissant.json"
        self.proofs: dict[Path, Proof] = {}  # what readers have proved of files without their time

    def with_settings(self, config: Config) -> "DataDir":
        """Return the same place with the rules of these settings."""
        there = DataDir(self.root, DayRules.of(config))
        there.proofs = self.proofs
        return there

    def identity(self) -> str:
        """Return 12 hex digits by which all processes know this place from others; "" for none."""
        with suppress(OSError):
            stats, machine = self.root.stat(), b""
            with suppress(OSError):
                machine = Path("/etc/machine-id").read_bytes()
            place = b"%b %d %d" % (machine, stats.st_dev, stats.st_ino)
            return hashlib.sha256(place).hexdigest()[:12]
        return ""

    def free_bytes(self) -> int:
        """Return the bytes that are free for us; 0 where that is not known."""
        try:
            return shutil.disk_usage(self.root).free
        except OSError:
            return 0


def default_data_dir(environ: Mapping[str, str]) -> Path:
    """Return where the copy is kept when nothing says otherwise; ConfigError for no such place."""
    if state := environ.get("STATE_DIRECTORY"):
        # systemd separates several by colons; the first is ours
        return Path(state.split(":")[0])
    if (own := user_folder(environ, "XDG_DATA_HOME", ".local/share")) is None:
        raise ConfigError(
            "there is no home directory to keep the mirror in",
            hint="name a data directory with --data-dir or storage.data_dir",
        )
    return own / "binder-mirror"


def open_data_dir(config: Config, environ: Mapping[str, str]) -> DataDir:
    """Return the data directory that the settings name, else the default one; checked."""
    named = config.storage.data_dir
    root = Path(named) if named else default_data_dir(environ)
    return check_data_dir(root).with_settings(config)


def check_data_dir(root: Path) -> DataDir:
    """Return the data directory at a path, in which `~` stands for a home directory.

    A ConfigError says that it is `/`, the home directory, or no directory.
    """
    problem, home, resolved = "", home_folder(), root
    try:
        resolved = root.expanduser().absolute().resolve()
        # a circle of symlinks: from Python 3.13 on `resolve` lets it pass
        with suppress(FileNotFoundError):
            resolved.stat()
        if resolved == Path(resolved.anchor) or (home is not None and resolved == home.resolve()):
            problem = "it is a root or home directory"
        elif resolved.exists() and not resolved.is_dir():
            problem = "it is not a directory"
    except (OSError, RuntimeError, ValueError) as error:
        if isinstance(error, OSError) and error.errno not in _WRONG_PATH:
            raise disk.storage_error(error, root) from error
        # a name too long, a circle of symlinks, no such user, a NUL, a current directory gone
        problem = shown((isinstance(error, OSError) and error.strerror) or str(error))
    if problem:
        raise ConfigError(
            f"{shown(str(root), 300)} cannot be the data directory: {problem}",
            hint="name a directory of the mirror's own, as with --data-dir",
        )
    return DataDir(resolved)


def require_mirror(data: DataDir) -> None:
    """Make sure that a reader has something to read; a ConfigError says that there is nothing."""
    with disk.storage_errors(data.archive):
        if data.archive.is_dir():
            return
    raise ConfigError(
        f"there is no mirror in {shown(str(data.root), 300)}",
        hint="make one with `binder-mirror sync`, or name another with --data-dir",
    )


def make_folders(data: DataDir) -> None:
    """Make the data directory and its folders; a ConfigError says that one is something else."""
    for folder in (data.root, data.archive, data.history, data.quarantine, data.staging):
        with disk.storage_errors(folder):
            try:
                folder.mkdir(parents=True, exist_ok=True)
            except (FileExistsError, NotADirectoryError) as error:
                raise ConfigError(
                    f"{shown(str(folder), 300)} cannot be made: something else is in its place",
                    hint="move that away, or name another data directory with --data-dir",
                ) from error
        if folder != data.root and disk.kind_of(folder) != "directory":
            raise ConfigError(
                f"{shown(str(folder), 300)} is a symlink",
                hint="renames must stay on one file system: link the data directory instead",
            )


RequireHeld = Callable[[], None]
"""Raises DataDirGoneError where a lock is no longer in its place: removed with the directory, or
hidden by a mount. What is written there would be lost, or be written to another disk."""

# Each of the three locks raises LockedError where another process holds it.


def writer_lock(data: DataDir) -> AbstractContextManager[RequireHeld]:
    """Hold the data directory as its one writer."""
    return _locked(data.lock, f"{shown(str(data.root), 300)} is being written by another")


def daemon_lock(data: DataDir) -> AbstractContextManager[RequireHeld]:
    """Hold the data directory as its one daemon, which writes from time to time."""
    return _locked(data.daemon_lock, f"{shown(str(data.root), 300)} is kept by another")


def dataset_lock(data: DataDir) -> AbstractContextManager[RequireHeld]:
    """Hold the data set as its one writer; polls go on meanwhile."""
    return _locked(data.dataset_lock, f"{shown(str(data.dataset), 300)} is being made by another")


@contextmanager
def _locked(path: Path, problem: str) -> Iterator[RequireHeld]:
    disk.require_file_or_nothing(path)
    with disk.storage_errors(path):
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o644)
    try:
        with disk.storage_errors(path):
            is_ours = _take(descriptor, path)
        if not is_ours:
            raise LockedError(
                f"{problem} binder-mirror{_holder(descriptor)}", hint="wait for it, or stop it"
            )
        # who holds it is a help for a person; a full disk must not stop us here, and what has
        # another name is not ours to write to
        with suppress(OSError):
            if os.fstat(descriptor).st_nlink == 1:
                os.ftruncate(descriptor, 0)
                os.pwrite(descriptor, b"%d\n" % os.getpid(), 0)
        yield partial(_require_held, path, descriptor)
    finally:
        os.close(descriptor)


def _require_held(path: Path, descriptor: int) -> None:
    with disk.storage_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        if os.path.samestat(path.lstat(), os.fstat(descriptor)):
            return
    raise DataDirGoneError(
        f"{shown(str(path.parent), 300)} was removed or replaced while it was being written",
        hint="see that it is there, or mounted, for good, and start again",
    )


def is_being_written(data: DataDir) -> bool:
    """Return whether a writer holds the lock; works on a read-only file system too."""
    with suppress(OSError, MirrorError), disk.open_file(data.lock) as file:
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
    return False


def _take(descriptor: int, path: Path) -> bool:
    # a reader that asks whether somebody writes holds the lock for a moment: try for longer
    for _ in range(_LOCK_TRIES):
        try:
            with disk.optional("locks: see to it that one writes at a time", path, errno.ENOLCK):
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            time.sleep(_LOCK_PAUSE_S)
        else:
            return True
    return False


def _holder(descriptor: int) -> str:
    with suppress(OSError):
        pid = os.pread(descriptor, 32, 0).strip()
        if pid.isdigit():
            return f" (process {pid.decode()})"
    return ""
