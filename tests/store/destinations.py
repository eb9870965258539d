"""The destinations that the suite runs on: how to make one, and how to look at it from outside.

A new destination adds a class like these and its name to `LOOKS`.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from mirror.archive.ports import Destination
from mirror.model import Record
from mirror.store import history
from mirror.store.destination import open_store
from mirror.store.inventory import load_inventory
from mirror.store.layout import DataDir
from mirror.store.quarantine import list_quarantined

NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)


class Look(Protocol):
    """A destination seen from outside, as a reader or the next process sees it."""

    def opened(self) -> Iterator[Destination]:
        """Hold the destination for writing."""
        ...

    def published(self) -> Mapping[str, bytes]:
        """Return what is visible, by name."""
        ...

    def unfinished(self) -> list[str]:
        """Return what is on its way in."""
        ...

    def recorded(self) -> Mapping[date, Record]:
        """Return what the next process will take as held."""
        ...

    def predecessors(self) -> Mapping[date, list[bytes]]:
        """Return the bodies in history."""
        ...

    def refused(self) -> list[tuple[bytes, str]]:
        """Return the bodies in quarantine with their reasons."""
        ...


class LocalLook:
    """A data directory on the local disk."""

    def __init__(self, root: Path) -> None:
        self.data = DataDir(root / "data")

    @contextmanager
    def opened(self) -> Iterator[Destination]:
        with open_store(self.data, now=lambda: NOW) as store:
            yield store

    def published(self) -> dict[str, bytes]:
        return {
            path.name: path.read_bytes() for path in self.data.archive.rglob("*") if path.is_file()
        }

    def unfinished(self) -> list[str]:
        return [path.name for path in self.data.staging.iterdir()]

    def recorded(self) -> dict[date, Record]:
        return load_inventory(self.data).records

    def predecessors(self) -> dict[date, list[bytes]]:
        found: dict[date, list[bytes]] = {}
        for version in history.list_versions(self.data):
            body = b"".join(history.read_version(self.data, version))
            found.setdefault(version.date, []).append(body)
        return found

    def refused(self) -> list[tuple[bytes, str]]:
        return [
            ((self.data.quarantine / one.file).read_bytes(), one.reason)
            for one in list_quarantined(self.data)
        ]


LOOKS = {"local": LocalLook}
