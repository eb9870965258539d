"""The memory of a process together with all it has started, looked at while it runs.

The kernel's own peak (`ru_maxrss`) is that of one process; a program of several holds more.
"""

import os
import re
import threading
from pathlib import Path
from types import TracebackType
from typing import Self

_EVERY_S = 0.05


class MemoryWatch:
    """Looks at a process and its descendants 20 times a second: `with MemoryWatch(pid) as watch`.

    `peak_bytes` is the largest sum seen of their proportional set sizes: what they hold, with
    pages that several share counted once.
    """

    def __init__(self, pid: int) -> None:
        self.peak_bytes = 0
        self._pid = pid
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._watch)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stopped.set()
        self._thread.join()

    def _watch(self) -> None:
        while not self._stopped.wait(_EVERY_S):
            held = sum(_read_pss_bytes(pid) for pid in _list_family(self._pid))
            self.peak_bytes = max(self.peak_bytes, held)


def _list_family(pid: int) -> list[int]:
    """Return a process and its descendants."""
    family = [pid]
    for member in family:
        for children in Path(f"/proc/{member}/task").glob("*/children"):
            family += map(int, _read(children).split())
    return family


def _read_pss_bytes(pid: int) -> int:
    found = re.search(r"^Pss:\s+(\d+) kB", _read(Path(f"/proc/{pid}/smaps_rollup")), re.MULTILINE)
    return int(found[1]) * 1024 if found else 0


def _read(path: Path) -> str:
    """Return the text of a file of /proc; nothing where its process has ended."""
    try:
        return os.fsdecode(path.read_bytes())
    except OSError:
        return ""
