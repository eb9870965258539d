"""A data directory as readers see it: a frozen view, kept fresh beside whoever writes.

No lock is taken and nothing is written, so that a view can be had of a read-only disk and while a
sync runs. A view is loaded anew when one of the files behind it has changed.
"""

import asyncio
import time
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

from mirror.core.upstream import Upstream
from mirror.edges.books import (
    Books,
    compare_books,
    load_claims,
    load_polls,
    load_upstream,
)
from mirror.edges.folder import DataDir
from mirror.edges.quarantine import Quarantined, list_quarantined
from mirror.model import PollReport, Record

LOADED_POLLS = 200
"""The last polls that a view has."""
_FRESH_S = 1.0
"""A view younger than this is not looked at again."""
_LOAD_SHARE = 20
"""Loading takes at most this part of the time, while a first sync journals file after file."""

Fingerprint = tuple[tuple[int, int, int] | None, ...]


class View(Struct, frozen=True):
    """What a data directory says at one moment."""

    books: Books
    claims: Mapping[str, tuple[Record, ...]]
    """By file name: the records that may speak of the file there, oldest first. Which one does is
    told by the opened file's size and time (`mirror.core.manifest.choose`)."""
    upstream: Upstream
    polls: tuple[PollReport, ...]
    """The last polls, latest last."""
    quarantined: tuple[Quarantined, ...]


def load_view(data: DataDir, name_template: str) -> View:
    """Return the view of now.

    Raises:
        StorageError, ConfigError: the books cannot be read.
    """
    claims = load_claims(data)
    return View(
        books=compare_books(claims, data.archive, name_template),
        claims={records[-1].name: records for records in claims.candidates.values()},
        upstream=load_upstream(data, ""),
        polls=tuple(load_polls(data, LOADED_POLLS)),
        quarantined=tuple(list_quarantined(data)),
    )


class Viewer:
    """Keeps a view fresh. To be used on one event loop.

    Args:
        data: the data directory.
        name_template: what a daily file is called.
    """

    def __init__(self, data: DataDir, name_template: str) -> None:
        self._data = data
        self._name_template = name_template
        self._view: View | None = None
        self._fingerprint: Fingerprint = ()
        self._looked_at = -_FRESH_S
        self._pause_s = _FRESH_S
        self._lock = asyncio.Lock()

    async def view(self, *, fresh: bool = False) -> View:
        """Return a view, at most about a second old.

        Args:
            fresh: look again in any case, as when a file is not the one on record.

        Raises:
            StorageError, ConfigError: the books cannot be read.
        """
        asked_at = time.monotonic()
        view = self._view
        if view is not None and not fresh and asked_at - self._looked_at < self._pause_s:
            return view
        async with self._lock:
            # whoever waited for another's look has what it came for
            if self._view is None or self._looked_at < asked_at:
                await asyncio.to_thread(self._look)
            if self._view is None:
                raise RuntimeError("a look without a view")
            return self._view

    def _look(self) -> None:
        started = time.monotonic()
        fingerprint = _fingerprint(self._data)
        if self._view is None or fingerprint != self._fingerprint:
            self._view = load_view(self._data, self._name_template)
            self._fingerprint = fingerprint
        self._looked_at = time.monotonic()
        self._pause_s = max(_FRESH_S, _LOAD_SHARE * (self._looked_at - started))


def _fingerprint(data: DataDir) -> Fingerprint:
    watched = (
        data.manifest,
        data.journal,
        data.upstream,
        data.polls,
        data.archive,
        data.quarantine,
    )
    return tuple(_stamp(path) for path in watched)


def _stamp(path: Path) -> tuple[int, int, int] | None:
    try:
        stats = path.lstat()
    except OSError:
        return None
    return stats.st_mtime_ns, stats.st_size, stats.st_ino
