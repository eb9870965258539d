"""Builds the shim that stands between a process and its file system, and says what it can do."""

import ctypes
import errno
import hashlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

SOURCE = Path(__file__).with_name("shim.c")
OFF, LIST, RECORD, FAIL = range(4)
SHORT, KILL_BEFORE, KILL_AFTER = -1, -2, -3
ACTIONS = {SHORT: "short", KILL_BEFORE: "killed before", KILL_AFTER: "killed after"}

_SPACE = (errno.ENOSPC, errno.EDQUOT)
_WRITING = (*_SPACE, errno.EIO, errno.EROFS)
FAULTS: Mapping[str, Sequence[int]] = {
    "open": (errno.EIO, errno.EMFILE),
    "create": (*_WRITING, errno.EMFILE),
    "opendir": (errno.EIO, errno.EMFILE),
    "write": (*_SPACE, errno.EIO, SHORT),
    "read": (errno.EIO, SHORT),
    "fsync": (*_SPACE, errno.EIO),
    "close": (*_SPACE, errno.EIO),
    "truncate": (errno.EIO, errno.EROFS),
    "rename": _WRITING,
    "link": (*_WRITING, errno.EMLINK),
    "mkdir": _WRITING,
    "unlink": (errno.EIO, errno.EROFS),
    "rmdir": (errno.EIO, errno.EROFS),
    "utime": (errno.EIO, errno.EROFS),
    "chmod": (errno.EIO, errno.EROFS),
    "stat": (errno.EIO,),
    "statvfs": (errno.EIO,),
    "flock": (errno.EIO, errno.ENOLCK),
    "sendfile": (*_SPACE, errno.EIO),
}
"""What each call may fail with; kills come before and after each that changes something."""


@dataclass(frozen=True, slots=True)
class Fault:
    """What is to happen at which call.

    Attributes:
        number: which call of its kind, from 1.
        action: the errno, or one of SHORT, KILL_BEFORE and KILL_AFTER.
        lasting: whether every later call that needs the same fails too, as on a full disk.
        kind: the name of the calls that are counted; all of them where it is empty.
    """

    number: int
    action: int
    lasting: bool = False
    kind: str = ""

    def __str__(self) -> str:
        lasting = " from then on" if self.lasting else ""
        return f"{self.kind or 'call'} {self.number} {action_name(self.action)}{lasting}"


class NoCompilerError(Exception):
    """There is no C compiler here."""


def build_shim() -> Path:
    """Return the built shim, made where it is not there yet."""
    source = SOURCE.read_bytes()
    name = f"binder-mirror-shim-{hashlib.sha256(source).hexdigest()[:16]}.so"
    target = Path(tempfile.gettempdir()) / name
    if target.exists():
        return target
    compiler = shutil.which("gcc") or shutil.which("cc")
    if compiler is None:
        raise NoCompilerError("a C compiler (gcc) is needed to build the shim")
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder) / name
        flags = ("-O1", "-fPIC", "-shared")
        subprocess.run([compiler, *flags, "-o", made, SOURCE, "-ldl", "-lpthread"], check=True)
        shutil.copy(made, target.with_suffix(".new"))
        target.with_suffix(".new").replace(target)
    return target


def arm(root: Path, mode: int, fault: Fault, log_fd: int) -> None:
    """Arm the shim that this process was started with."""
    arm = ctypes.CDLL(None).shim_arm
    arm.argtypes = [*[ctypes.c_char_p] * 2, *[ctypes.c_int, ctypes.c_long], *[ctypes.c_int] * 3]
    kind = fault.kind.encode()
    arm(bytes(root), kind, mode, fault.number, fault.action, int(fault.lasting), log_fd)


@dataclass(frozen=True, slots=True)
class Call:
    """A call that was listed or recorded.

    Attributes:
        name: what was called; variants of a call have one name.
        path: what it was about, relative to the folder watched.
        to: the second path, if it has one.
        inode: the inode of its descriptor, 0 where it has none.
        offset: where it wrote, how far it cut, which time it set; for "create" whether nothing
            was there before.
        flags: those of "open" and "create", which opens for writing.
        result: what it returned.
        data: what it wrote, where that is recorded.
    """

    name: str
    path: str
    to: str
    inode: int
    offset: int
    flags: int
    result: int
    data: bytes = b""

    @property
    def faults(self) -> Sequence[int]:
        """What it may fail with, and where the process may be killed."""
        if self.name in ("open", "opendir", "read", "stat", "statvfs", "close"):
            return FAULTS[self.name]
        return (*FAULTS[self.name], KILL_BEFORE, KILL_AFTER)


def read_calls(log: Path, root: Path) -> Iterator[Call]:
    """Yield the calls of a log."""
    body = log.read_bytes()
    prefix = f"{root}/"
    at = 0
    while at < len(body):
        end = body.index(b"\n", at)
        name, path, to, *numbers = body[at:end].decode().split("\t")
        inode, offset, flags, result, size = map(int, numbers)
        at = end + 1 + size
        data = body[end + 1 : at]
        where = [one.removeprefix(prefix) if one != str(root) else "" for one in (path, to)]
        yield Call(name, where[0], where[1], inode, offset, flags, result, data)


def action_name(action: int) -> str:
    """Return how a fault is called in a report."""
    return ACTIONS.get(action) or errno.errorcode.get(action, str(action))
