"""A destination in memory: what `mirror.archive.ports.Destination` asks for, without a disk.

What it keeps is in a `Memory`, which outlives it, as a disk outlives a process.
"""

import asyncio
import hashlib
import io
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import partial
from typing import BinaryIO

from msgspec.structs import replace

from mirror.archive.listings import parse_sums, render_digests
from mirror.archive.manifest import Inventory, Version, match_record
from mirror.archive.plan import DayRules
from mirror.archive.ports import Listing, State, Transform
from mirror.errors import StorageError
from mirror.model import FinalChange, PollReport, Record
from mirror.text import shown

_QUARANTINED_AT_MOST = 50


@dataclass
class Memory:
    """All that is kept: what another process would find."""

    bodies: dict[str, tuple[bytes, int]] = field(default_factory=dict)
    """Published daily files with their time, by name."""
    staging: dict[int, bytes] = field(default_factory=dict)
    claims: dict[date, tuple[Record, ...]] = field(default_factory=dict)
    files: dict[Listing | State, bytes] = field(default_factory=dict)
    history: dict[date, dict[str, tuple[Version, bytes]]] = field(default_factory=dict)
    quarantine: list[tuple[bytes, str]] = field(default_factory=list)
    changes: list[FinalChange] = field(default_factory=list)
    polls: list[PollReport] = field(default_factory=list)
    is_clean: bool = True
    ticks: int = 0

    def inventory(self, days: DayRules) -> Inventory:
        """Compare what is claimed with what is there."""
        found = Inventory(is_clean=self.is_clean)
        for name, (body, mtime_ns) in self.bodies.items():
            day = days.day_of(name)
            assert day is not None
            claims = self.claims.get(day, ())
            record = match_record(claims, size=len(body), mtime_ns=mtime_ns)
            if record is None:
                found.unverified[day] = claims
            else:
                found.records[day] = record
        there = found.records.keys() | found.unverified.keys()
        found.missing = {day: claims[-1] for day, claims in self.claims.items() if day not in there}
        found.is_clean = found.is_clean and not found.unverified and not found.missing
        return found

    def set_aside(self, body: bytes, reason: str) -> None:
        """Keep a body in quarantine."""
        self.quarantine.append((body, shown(reason, 500)))
        del self.quarantine[:-_QUARANTINED_AT_MOST]


class MemoryStaged:
    """A body on its way in."""

    elsewhere = None

    def __init__(self, destination: "MemoryDestination", through: Transform) -> None:
        self._destination = destination
        self._memory = destination.memory
        self._through = through
        self._memory.staging[id(self)] = b""

    async def write(self, block: Sequence[bytes]) -> None:
        work = asyncio.ensure_future(asyncio.to_thread(self._write, block))
        try:
            await asyncio.shield(work)
        except asyncio.CancelledError:
            await asyncio.wait({work})
            raise

    def _write(self, block: Sequence[bytes]) -> None:
        for chunk in block:
            for piece in self._through(chunk):
                self._memory.staging[id(self)] += piece

    async def publish(
        self,
        record: Record,
        *,
        predecessor: Record | None,
        change: FinalChange | None = None,
    ) -> Record:
        memory, body = self._memory, self._memory.staging.pop(id(self))
        memory.ticks += 1
        when = record.last_modified
        mtime_ns = int(when.timestamp()) * 10**9 if when is not None else memory.ticks
        record = replace(record, mtime_ns=mtime_ns)
        self._destination.make_way(record, predecessor)
        if change is not None:
            memory.changes.append(change)
        await self._destination.note(record)
        self._destination.withdraw(record)
        memory.bodies[record.name] = (body, mtime_ns)
        return record

    async def quarantine(self, day: date, reason: str) -> None:
        self._memory.set_aside(self._memory.staging.pop(id(self)), reason)

    def discard(self) -> None:
        self._memory.staging.pop(id(self), None)


class MemoryDestination:
    """Holds a memory for writing."""

    def __init__(self, memory: Memory, *, now: Callable[[], datetime]) -> None:
        memory.staging.clear()
        self.memory = memory
        self.days = DayRules()
        self.inventory = memory.inventory(self.days)
        self.identity = ""
        self.opener = partial(open_body, memory.bodies)
        self._now = now

    @asynccontextmanager
    async def stage(self, name: str, through: Transform) -> AsyncIterator[MemoryStaged]:
        staged = MemoryStaged(self, through)
        try:
            yield staged
        finally:
            staged.discard()

    def make_way(self, record: Record, predecessor: Record | None) -> None:
        """Keep what is about to be replaced, where it is to be kept."""
        if record.name not in self.memory.bodies:
            return
        body, _ = self.memory.bodies[record.name]
        is_rotten = False
        if predecessor is not None:
            digest = hashlib.sha256(body).hexdigest()
            sums = parse_sums(self.memory.files.get(Listing.SUMS, b""))
            if sums.get(record.name) == digest:
                predecessor = replace(predecessor, sha256=digest)
            is_rotten = digest != predecessor.sha256
            if not is_rotten:
                self._keep(body, predecessor)
        if is_rotten or record.date in self.inventory.unverified:
            self.memory.set_aside(body, "it was published and is not what upstream has")

    def withdraw(self, record: Record) -> None:
        """Take from the checksums what they say of a file that is about to be another."""
        sums = parse_sums(self.memory.files.get(Listing.SUMS, b""))
        if sums.get(record.name, record.sha256) != record.sha256:
            del sums[record.name]
            self.memory.files[Listing.SUMS] = render_digests(sums)

    def _keep(self, body: bytes, record: Record) -> None:
        version = Version(
            date=record.date,
            sha256=record.sha256,
            size=record.size,
            lines=record.lines,
            kept_at=self._now(),
            was_final=self.days.is_final(record.date, record.checked_at),
            fetched_at=record.fetched_at,
            last_modified=record.last_modified,
        )
        self.memory.history.setdefault(record.date, {})[record.sha256] = (version, body)

    async def note(self, record: Record) -> None:
        self.memory.claims[record.date] = (*self.memory.claims.get(record.date, ()), record)
        self.memory.is_clean = False
        self.inventory.take_up(record)

    def retire(self, day: date, reason: str) -> None:
        if (name := self.days.name_of(day)) in self.memory.bodies:
            self.memory.set_aside(self.memory.bodies.pop(name)[0], reason)
        self.inventory.unverified.pop(day, None)
        self.inventory.is_clean = False

    def has(self, listing: Listing) -> bool:
        return listing in self.memory.files

    def read(self, name: Listing | State) -> bytes | None:
        return self.memory.files.get(name)

    def write(self, name: Listing | State, content: bytes) -> None:
        self.memory.files[name] = content

    def unsettle(self) -> None:
        self.memory.is_clean = self.inventory.is_clean = False

    def save_manifest(self) -> None:
        known = self.inventory.claimed() | self.inventory.records
        self.memory.claims = {day: (record,) for day, record in known.items()}
        self.memory.is_clean = self.inventory.is_clean = True

    def append_poll(self, report: PollReport) -> None:
        self.memory.polls.append(report)

    def read_version(self, day: date, sha256: str) -> Iterator[bytes]:
        versions = self.memory.history.get(day, {})
        if sha256 in versions:
            yield versions[sha256][1]

    def require_room(self, needed: int, min_free: int) -> None:
        """There is always room."""


@contextmanager
def open_body(bodies: Mapping[str, tuple[bytes, int]], name: str) -> Iterator[tuple[BinaryIO, int]]:
    """Open a body; where the bodies are pickled along, another process can."""
    if name not in bodies:
        raise StorageError(f"{name}: there is none")
    body, mtime_ns = bodies[name]
    yield io.BytesIO(body), mtime_ns
