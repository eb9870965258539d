"""Writes files durably, and translates OSErrors into our own errors.

A file is written under another name, flushed, renamed over its place and its directory flushed; a
file whose fsync failed is discarded, never flushed again (https://wiki.postgresql.org/wiki/Fsync_Errors).
Here, and in all of `mirror.store`, a disk that refuses is a StorageError, and something other than
a file where one belongs is a WrongKindError; what stood there before still stands then.

File systems on the network, in user space or of other systems lack this and that. What can be done
without is done without, after one warning (`optional`); the rest is a StorageError that says so.
"""

import errno
import hashlib
import io
import os
import secrets
import shutil
import stat
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Generic, TypeVar

from mirror.errors import StorageError, WrongKindError
from mirror.logs import get_logger
from mirror.text import shown

READ_BYTES = 1024 * 1024

T = TypeVar("T")

_STEPS_NS = (0, 1, 2 * 10**9)
"""By how much times are made to differ: some file systems keep seconds, or every other one."""
_LACKING = {errno.EINVAL, errno.ENOSYS, errno.EOPNOTSUPP, errno.ENOTTY}
"""What is answered where something is not there at all."""
_ELSEWHERE = "the file system cannot do what is needed; keep the data directory on another"
_HINTS = dict.fromkeys((*_LACKING, errno.EEXIST, errno.ENOLCK, errno.EMLINK), _ELSEWHERE) | {
    errno.ENOSPC: "free some room; what is there is whole, and the next run goes on from it",
    errno.EDQUOT: "the quota is used up; free some room or have it raised",
    errno.EROFS: "mount the file system for writing; a failing disk turns read-only too: see dmesg",
    errno.EACCES: "give the user that runs binder-mirror the right to write there",
    errno.EPERM: "give the user that runs binder-mirror the right to write there",
    errno.EIO: "the disk fails: see dmesg",
    errno.EXDEV: "archive/, history/, quarantine/ and staging/ must be on one file system",
    errno.EMFILE: "raise the limit of open files (ulimit -n), or lower http.concurrency",
    errno.ENFILE: "raise the limit of open files (ulimit -n), or lower http.concurrency",
}


@contextmanager
def storage_errors(path: Path) -> Iterator[None]:
    """Turn an OSError about `path` into a StorageError that says what to do."""
    try:
        yield
    except OSError as error:
        raise storage_error(error, path) from error


def storage_error(error: OSError, path: Path) -> StorageError:
    """Return an OSError as one of ours."""
    return StorageError(
        f"{shown(str(path), 300)}: {error.strerror or error}", hint=_HINTS.get(error.errno or 0, "")
    )


def machine_error(error: Exception) -> StorageError | None:
    """Return what the machine refused, wherever it was asked, as one of ours; None for a bug."""
    if isinstance(error, MemoryError):
        return StorageError(
            "no memory is left", hint="give it more, or raise its limit (ulimit -v)"
        )
    if isinstance(error, RuntimeError) and "start new thread" in str(error):
        return StorageError("no thread can be started", hint="raise the limit (ulimit -u)")
    if not isinstance(error, OSError) or isinstance(error, ConnectionError) or not error.errno:
        return None
    where = error.filename if isinstance(error.filename, str | bytes) else "the system"
    return storage_error(error, Path(os.fsdecode(where)))


@contextmanager
def optional(what: str, path: Path, *codes: int) -> Iterator[None]:
    """Do without `what` the file system has not got, and warn of it once in a process.

    The warning says what that means, and at which path. The codes beside "not supported" say too
    that it is not there.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in _LACKING.union(codes):
            raise
        if what not in _warned:
            _warned.add(what)
            get_logger().warning("storage.lacking", path=str(path), lacks=what, problem=str(error))


_warned: set[str] = set()


def flush(descriptor: int, path: Path) -> None:
    """Flush a file's bytes to the disk."""
    with optional("flushing of files: a power cut may take what was written last", path):
        os.fsync(descriptor)


def sync_folder(folder: Path) -> None:
    """Flush a directory: makes the names in it durable."""
    with storage_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
        try:
            with optional(
                "flushing of directories: a power cut may take what was written last",
                folder,
                errno.EBADF,
            ):
                os.fsync(descriptor)
        finally:
            os.close(descriptor)


def link_or_copy(source: Path, target: Path) -> None:
    """Have a file a second time; a FileNotFoundError says that it is not there."""
    try:
        target.hardlink_to(source)
    except FileNotFoundError:
        raise
    except OSError:
        # not every file system has links, nor allows that of another's file
        with open_file(source) as file, target.open("xb") as copy:
            shutil.copyfileobj(file, copy, READ_BYTES)


def set_other_mtime(descriptor: int, when_ns: int, target: Path) -> int:
    """Give a file a time that differs from that of one of its size at `target`.

    Return the time it has then, in ns: some file systems round it, or keep their own.
    """
    for step_ns in _STEPS_NS:
        with optional("times: files have those at which they came", target, errno.EPERM):
            os.utime(descriptor, ns=(when_ns + step_ns,) * 2)
        ours = os.fstat(descriptor)
        with suppress(FileNotFoundError):
            theirs = target.lstat()
            if (theirs.st_size, theirs.st_mtime_ns) == (ours.st_size, ours.st_mtime_ns):
                continue
        return ours.st_mtime_ns
    raise OSError(errno.EPERM, "it cannot have another time than what it replaces")


class GroupWork(Generic[T]):
    """Does a piece of work for several threads at a time, as flushing what all of them wrote.

    One of those who wait does it for all who came before it began; who comes later waits for the
    next. So a disk that is asked by many is not asked once for each.
    """

    def __init__(self, work: Callable[[Sequence[T]], None]) -> None:
        self._work = work
        self._counting = threading.Lock()
        self._working = threading.Lock()
        self._waiting: list[T] = []
        self._brought = 0
        self._done = 0
        self._failure: Exception | None = None

    def __call__(self, item: T) -> None:
        """Return once the work is done for this item; raise what it raised, then and ever after."""
        with self._counting:
            self._waiting.append(item)
            self._brought += 1
            mine = self._brought
        with self._working:
            if self._done < mine and self._failure is None:
                with self._counting:
                    items, self._waiting = self._waiting, []
                    covered = self._brought
                try:
                    self._work(items)
                    self._done = covered
                except Exception as error:  # noqa: BLE001 - whatever it is, all are told
                    # what could not be flushed is lost, even if the next flush says otherwise
                    self._failure = error
            if self._done < mine and self._failure is not None:
                raise self._failure


def kind_of(path: Path) -> str | None:
    """Return what stands at `path`, links not followed: "file", "directory", …, or None."""
    with storage_errors(path), suppress(FileNotFoundError, NotADirectoryError):
        return kind_of_mode(path.lstat().st_mode)
    return None


def kind_of_mode(mode: int) -> str:
    """Return what an `st_mode` stands for, as a person would call it."""
    kinds = {
        stat.S_IFREG: "file",
        stat.S_IFDIR: "directory",
        stat.S_IFLNK: "symlink",
        stat.S_IFIFO: "FIFO",
        stat.S_IFSOCK: "socket",
    }
    return kinds.get(stat.S_IFMT(mode), "device")


def require_file_or_nothing(path: Path) -> None:
    """Make sure that `path` may be replaced by a file."""
    kind = kind_of(path)
    if kind not in (None, "file"):
        raise WrongKindError(
            f"{shown(str(path), 300)} is a {kind}, not a file",
            hint="move it away; it is not followed",
        )


def write_durably(path: Path, content: bytes, *, staging: Path) -> None:
    """Replace the file at `path` by `content`, whole or not at all.

    `staging` is a folder on the same file system, for the unfinished file.
    """
    with taking_place_of(path, staging) as file:
        file.write(content)


def publish_durably(unfinished: Path, target: Path) -> None:
    """Put a finished file of the same file system in the place of `target`, flushed."""
    with storage_errors(target):
        require_file_or_nothing(target)
        with unfinished.open("rb") as file:
            flush(file.fileno(), target)
        unfinished.replace(target)
        # a rename does nothing where both are names of one file
        unfinished.unlink(missing_ok=True)
        sync_folder(target.parent)


@contextmanager
def taking_place_of(target: Path, staging: Path) -> Iterator[BinaryIO]:
    """Have a new file that takes the place of `target`, flushed, when all went well."""
    require_file_or_nothing(target)
    unfinished = staging / f"{target.name}.{secrets.token_hex(4)}"
    with storage_errors(target):
        try:
            with unfinished.open("xb") as file:
                yield file
                file.flush()
                flush(file.fileno(), target)
            unfinished.replace(target)
            sync_folder(target.parent)
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Have an empty file that takes the place of a user's `target` when all went well.

    A symlink is followed; of a device or a FIFO its own path is given.
    """
    with storage_errors(target):
        if _is_stream(target):
            yield target
            return
        # pathlib's own resolve() has no StorageError for links in a circle
        place = Path(os.path.realpath(target))
        require_file_or_nothing(place)
        unfinished = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        # made before the work, so that a folder that cannot be written to is noticed at once
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield unfinished
            publish_durably(unfinished, place)
        finally:
            unfinished.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)


def append_line(path: Path, line: bytes, *, staging: Path, durably: bool = False) -> int:
    """Add a line, with its newline, to a file in one write, whole or not at all; return its size.

    It begins a line of its own, also where a power cut tore the one before. Where there is no file
    one is made, by way of `staging`, a folder on the same file system; `durably` flushes it too.
    """
    require_file_or_nothing(path)
    flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
    with storage_errors(path):
        descriptor = os.open(path, flags, 0o644)
        try:
            if os.fstat(descriptor).st_nlink > 1:
                # its other name is not ours to write to, a backup's perhaps
                write_durably(path, read_file(path) or b"", staging=staging)
                shared, descriptor = descriptor, os.open(path, flags, 0o644)
                os.close(shared)
            size = os.fstat(descriptor).st_size
            if size and os.pread(descriptor, 1, size - 1) != b"\n":
                line = b"\n" + line
            if (written := os.write(descriptor, line)) < len(line):
                # the last room of a full disk took a part of it
                os.ftruncate(descriptor, size)
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
            if durably:
                flush(descriptor, path)
        finally:
            os.close(descriptor)
    return size + written


def open_file(path: Path) -> io.FileIO:
    """Open a regular file for reading; a symlink is not followed and a FIFO not waited for.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError as error:
        # a symlink; a socket, or a FIFO's like
        if error.errno in (errno.ELOOP, errno.ENXIO):
            require_file_or_nothing(path)
        raise
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        require_file_or_nothing(path)
    return io.FileIO(descriptor, "rb")


def read_file(path: Path) -> bytes | None:
    """Return a whole file of ours, or None where there is none."""
    with storage_errors(path):
        try:
            with open_file(path) as file:
                return file.read()
        except FileNotFoundError:
            return None


def read_if_file(path: Path) -> bytes | None:
    """Do as `read_file` does; what stands there and is no file is none, and never followed."""
    try:
        return read_file(path)
    except WrongKindError:
        return None


def digest_of(path: Path) -> str:
    """Return the SHA-256 of a file."""
    with storage_errors(path), open_file(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
