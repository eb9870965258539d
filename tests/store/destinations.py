"""The destinations that the suite runs on: how to make one, and how to look at it from outside.

A new destination adds a class like these and its name to `LOOKS`.
"""

from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, contextmanager
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Protocol

from mirror.archive.plan import DayRules
from mirror.archive.ports import Destination, Listing
from mirror.model import Record
from mirror.store import aside
from mirror.store.destination import open_store
from mirror.store.inventory import load_inventory
from mirror.store.layout import DataDir
from tests.store.memory import Memory, MemoryDestination

NOW = datetime(2024, 5, 15, 12, tzinfo=UTC)


class Look(Protocol):
    """A destination seen from outside, as a reader or the next process sees it."""

    def opened(self) -> AbstractContextManager[Destination]:
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
        archive = self.data.archive
        files = (path for path in archive.rglob("*") if path.is_file())
        return {str(path.relative_to(archive)): path.read_bytes() for path in files}

    def unfinished(self) -> list[str]:
        return [path.name for path in self.data.staging.iterdir()]

    def recorded(self) -> dict[date, Record]:
        return load_inventory(self.data).records

    def predecessors(self) -> dict[date, list[bytes]]:
        found: dict[date, list[bytes]] = {}
        for version in aside.list_versions(self.data):
            body = b"".join(aside.read_version(self.data, version.date, version.sha256))
            found.setdefault(version.date, []).append(body)
        return found

    def refused(self) -> list[tuple[bytes, str]]:
        return [
            ((self.data.quarantine / one.file).read_bytes(), one.reason)
            for one in aside.list_quarantined(self.data)
        ]


class MemoryLook:
    """A memory."""

    def __init__(self, _root: Path) -> None:
        self.memory = Memory()

    @contextmanager
    def opened(self) -> Iterator[Destination]:
        yield MemoryDestination(self.memory, now=lambda: NOW)

    def published(self) -> dict[str, bytes]:
        daily = {name: body for name, (body, _) in self.memory.bodies.items()}
        files = self.memory.files.items()
        return daily | {name.value: body for name, body in files if isinstance(name, Listing)}

    def unfinished(self) -> list[str]:
        return list(map(str, self.memory.staging))

    def recorded(self) -> dict[date, Record]:
        return self.memory.inventory(DayRules()).records

    def predecessors(self) -> dict[date, list[bytes]]:
        return {
            day: [body for _, body in versions.values()]
            for day, versions in self.memory.history.items()
        }

    def refused(self) -> list[tuple[bytes, str]]:
        return list(self.memory.quarantine)


LOOKS: dict[str, type[LocalLook | MemoryLook]] = {"local": LocalLook, "memory": MemoryLook}
