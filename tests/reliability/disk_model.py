"""What a power cut may leave of a recorded run: what was flushed, and some of the rest.

The data of a file are durable after its fsync; a name (made, renamed, linked, removed) after an
fsync of its directory. Of what was not flushed anything may be there or not: each name by itself,
and of a file's data all, none, the first writes, a torn last write, or zeros of the right length.
A rename is one step. No file system is worse than that, and most are better.
"""

import os
import random
import stat
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import Literal

from tests.reliability.shim import Call

CHANGING = ("create", "write", "truncate", "rename", "link", "unlink", "mkdir", "rmdir", "utime")
Luck = Literal["none", "all", "some"]
_NOW_NS = 1_800_000_000 * 10**9
"""The time of a file that was written, and not given another."""


@dataclass(slots=True)
class Change:
    """A change of a file: bytes written at an offset, a new length, or a time."""

    kind: Literal["write", "truncate", "utime"]
    value: int
    data: bytes = b""


@dataclass(slots=True)
class File:
    """A file: what is durable of it, and what came since."""

    body: bytes = b""
    mtime_ns: int = _NOW_NS
    pending: list[Change] = field(default_factory=list)

    def flush(self) -> None:
        """Make all that came durable."""
        self.body, self.mtime_ns = apply(self.body, self.mtime_ns, self.pending)
        self.pending = []

    def left(self, rng: random.Random, luck: Luck) -> tuple[bytes, int]:
        """Return what is left of it, and its time."""
        if luck == "none" or not self.pending:
            return self.body, self.mtime_ns
        changes = self.pending
        if luck == "some":
            changes = changes[: rng.randint(0, len(changes))]
            if changes and changes[-1].kind == "write" and rng.random() < 0.5:
                last = changes[-1]
                torn = last.data[: rng.randint(0, len(last.data))]
                if rng.random() < 0.5:
                    torn += bytes(len(last.data) - len(torn))
                changes = [*changes[:-1], Change("write", last.value, torn)]
        return apply(self.body, self.mtime_ns, changes)


def apply(body: bytes, mtime_ns: int, changes: Iterable[Change]) -> tuple[bytes, int]:
    """Return a body and its time after changes."""
    for change in changes:
        if change.kind == "utime":
            mtime_ns = change.value
            continue
        mtime_ns = _NOW_NS
        if change.kind == "truncate":
            body = body[: change.value].ljust(change.value, b"\0")
        else:
            end = change.value + len(change.data)
            body = body[: change.value].ljust(change.value, b"\0") + change.data + body[end:]
    return body, mtime_ns


Names = dict[str, "File | None"]
"""Files by path; None is a directory."""


@dataclass(slots=True)
class Step:
    """A change of names: what is gone, what is there; a flush of the directory makes it last."""

    folder: str
    gone: str = ""
    there: str = ""
    what: File | None = None

    def on(self, names: Names) -> None:
        """Do it."""
        if self.gone:
            names.pop(self.gone, None)
        if self.there:
            names[self.there] = self.what


@dataclass(slots=True)
class Disk:
    """A disk on which calls take effect, one after the other."""

    durable: Names = field(default_factory=dict)
    names: Names = field(default_factory=dict)
    pending: list[Step] = field(default_factory=list)
    _inodes: dict[int, File] = field(default_factory=dict)

    @classmethod
    def of(cls, root: Path) -> "Disk":
        """Return a disk with what is in a folder, all of it durable."""
        disk = cls()
        for path in sorted(root.rglob("*")):
            stats, name = path.lstat(), str(path.relative_to(root))
            if stat.S_ISDIR(stats.st_mode):
                disk.names[name] = None
            else:
                file = disk._inodes.setdefault(
                    stats.st_ino, File(path.read_bytes(), stats.st_mtime_ns)
                )
                disk.names[name] = file
        disk.durable = dict(disk.names)
        return disk

    def do(self, call: Call) -> None:
        """Let a call take effect; one that failed has none."""
        if call.result < 0:
            return
        match call.name:
            case "create":
                self._open(call)
            case "write":
                change = Change("write", call.offset, call.data[: call.result])
                self._inodes[call.inode].pending.append(change)
            case "truncate" | "utime":
                file = self._inodes[call.inode] if call.inode else self.names[call.path]
                assert file is not None
                file.pending.append(Change(call.name, call.offset))
            case "fsync":
                self._flush(call)
            case "rename":
                what = self.names.get(call.path)
                self._step(Step(_folder(call.to), call.path, call.to, what))
            case "link":
                self._step(Step(_folder(call.to), "", call.to, self.names.get(call.path)))
            case "unlink" | "rmdir":
                self._step(Step(_folder(call.path), gone=call.path))
            case "mkdir":
                self._step(Step(_folder(call.path), there=call.path))
            case _:
                pass

    def _open(self, call: Call) -> None:
        if call.flags & os.O_CREAT and call.offset:
            file = self._inodes[call.inode] = File()
            self._step(Step(_folder(call.path), there=call.path, what=file))
        elif call.flags & os.O_TRUNC:
            self._inodes[call.inode].pending.append(Change("truncate", 0))

    def _step(self, step: Step) -> None:
        step.on(self.names)
        self.pending.append(step)

    def _flush(self, call: Call) -> None:
        if call.inode in self._inodes:
            self._inodes[call.inode].flush()
            return
        rest: list[Step] = []
        for step in self.pending:
            if step.folder == call.path:
                step.on(self.durable)
                # what a rename took away is not brought back by what had made it
                rest = [one for one in rest if one.there != step.gone]
            else:
                rest.append(step)
        self.pending = rest

    def left(self, rng: random.Random, luck: Luck) -> dict[str, tuple[bytes, int] | None]:
        """Return what a power cut leaves: bodies and times by path, None for a directory."""
        names = dict(self.durable)
        for step in self.pending:
            if luck == "all" or (luck == "some" and rng.random() < 0.5):
                step.on(names)
        kept = {
            name: file
            for name, file in names.items()
            if all(str(one) in names for one in PurePosixPath(name).parents if str(one) != ".")
        }
        # one file under two names has one body
        bodies = {id(file): file.left(rng, luck) for file in kept.values() if file is not None}
        return {name: bodies[id(file)] if file is not None else None for name, file in kept.items()}


def _folder(path: str) -> str:
    parent = str(PurePosixPath(path).parent)
    return "" if parent == "." else parent


def write_out(left: dict[str, tuple[bytes, int] | None], root: Path) -> None:
    """Make a data directory of what a power cut left."""
    root.mkdir()
    for name, file in sorted(left.items()):
        if file is None:
            (root / name).mkdir()
        else:
            (root / name).write_bytes(file[0])
            os.utime(root / name, ns=(file[1], file[1]))


def points(calls: Sequence[Call]) -> list[int]:
    """Return after how many calls the power may be cut: after each that changed something."""
    return [0] + [
        number
        for number, call in enumerate(calls, 1)
        if call.result >= 0 and call.name in (*CHANGING, "fsync")
    ]
