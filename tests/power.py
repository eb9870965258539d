"""Power cuts: what a disk may hold of a data directory, at each moment of a run.

What was flushed is there: of a file its bytes, of a folder its names. What was not may be there or
not, each for itself. The moments are those before and after a call that flushes or names.
"""

import os
import random
import shutil
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest

_CALLS = ("fsync", "replace", "rename", "link", "unlink")


class Content(NamedTuple):
    """What is in a file, and its time."""

    body: bytes
    mtime_ns: int


Image = dict[str, Content]
"""The files of a data directory, by path."""


class PowerCuts:
    """Watches a data directory while it is written; see `watched`.

    Attributes:
        images: what the disk may hold after a cut, one or more for each moment.
    """

    def __init__(self, root: Path, seed: int) -> None:
        self.images: list[Image] = []
        self._root = root
        self._random = random.Random(seed)
        self._lock = threading.RLock()
        self._flushed: dict[int, Content] = {}
        self._named: dict[str, dict[str, int]] = {}
        self._open: list[int] = []

    def note_all(self) -> None:
        """Take all that is there as flushed."""
        for folder, _, names in os.walk(self._root):
            self._named[folder] = _names_in(folder)
            for name in names:
                with (Path(folder) / name).open("rb") as file:
                    self.note(file.fileno())

    def note(self, descriptor: int) -> None:
        """Note what a flush has made durable."""
        path = Path(f"/proc/self/fd/{descriptor}")
        if path.is_dir():
            folder = str(path.readlink())
            self._named[folder] = _names_in(folder)
            return
        stats = os.fstat(descriptor)
        if stats.st_ino not in self._flushed:
            # held open, so that no other file gets its number
            self._open.append(os.dup(descriptor))
        self._flushed[stats.st_ino] = Content(path.read_bytes(), stats.st_mtime_ns)

    def close(self) -> None:
        """Let go of the files."""
        for descriptor in self._open:
            os.close(descriptor)

    def cut(self) -> None:
        """Add what the disk may hold now: as little as may be, all, and something between."""
        for chance in (0.0, 1.0, 0.5):
            self.images.append(self._image(chance))

    def _image(self, chance: float) -> Image:
        image: Image = {}
        for folder in {*self._named, *(str(one) for one in self._root.iterdir() if one.is_dir())}:
            present = _names_in(folder) if Path(folder).is_dir() else {}
            is_written = self._random.random() < chance
            names = present if is_written else self._named.get(folder, {})
            for name, number in names.items():
                now = _content(Path(folder) / name) if present.get(name) == number else None
                flushed = self._flushed.get(number)
                if now is None or (flushed is not None and self._random.random() >= chance):
                    now = flushed
                elif flushed is None and self._random.random() >= chance:
                    now = Content(b"", now.mtime_ns)
                if now is not None:
                    image[os.path.relpath(Path(folder) / name, self._root)] = now
        return image

    def wrap(self, call: str) -> Callable[..., Any]:
        """Return a call of `os` that is watched."""
        real: Callable[..., Any] = getattr(os, call)

        def watched_call(*args: Any, **options: Any) -> Any:
            with self._lock:
                self.cut()
                result = real(*args, **options)
                if call == "fsync":
                    self.note(args[0])
                return result

        return watched_call


@contextmanager
def watched(root: Path, *, seed: int = 0) -> Iterator[PowerCuts]:
    """Have all that may be left of a data directory at each moment of what is done meanwhile."""
    cuts = PowerCuts(root, seed)
    cuts.note_all()
    with pytest.MonkeyPatch.context() as patch:
        for call in _CALLS:
            patch.setattr(os, call, cuts.wrap(call))
        try:
            yield cuts
        finally:
            cuts.cut()
            cuts.close()


def restore(image: Image, root: Path) -> None:
    """Make a data directory as a cut has left it."""
    shutil.rmtree(root, ignore_errors=True)
    for name, content in image.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content.body)
        os.utime(path, ns=(content.mtime_ns, content.mtime_ns))
    for folder in ("archive", "history", "quarantine", "staging"):
        (root / folder).mkdir(parents=True, exist_ok=True)


def _names_in(folder: str) -> dict[str, int]:
    return {one.name: one.inode() for one in os.scandir(folder) if one.is_file()}


def _content(path: Path) -> Content | None:
    with suppress(FileNotFoundError):
        return Content(path.read_bytes(), path.stat().st_mtime_ns)
    return None
