"""The repositories launched most: what only the daily files can tell."""

from collections import Counter
from collections.abc import Iterable, Sequence
from operator import attrgetter
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mirror.text import shown

if TYPE_CHECKING:
    from mirror.events.launch import Launch
    from mirror.reading.stream import Events

KEPT = 200_000
"""Repositories counted at a time: the names are upstream's, so they are bounded."""


_LONGEST = 200
"""Characters of a repository's key that are kept."""
_what = attrgetter("provider", "spec")


class Ranked(Struct, frozen=True):
    """One repository of the most launched."""

    name: str
    """Its canonical key, without credentials, fit to be shown."""
    launches: int


class Ranking(Struct, frozen=True):
    """The repositories launched most."""

    top: tuple[Ranked, ...]
    launches: int
    """All launches counted."""
    repositories: int
    """Different repositories among them; at least so many, where not all were kept."""
    uncertain_by: int = 0
    """Launches by which a repository may have more than is told; 0 where all were kept."""
    unknown: int = 0
    """Launches, and odd lines, of which no repository can be told."""

    def sentence(self) -> str:
        """Return what was counted, for a person."""
        told = f"Of {self.repositories:,} different repositories in {self.launches:,} launches."
        if self.unknown:
            told += f" {self.unknown:,} more lines name no repository."
        if self.uncertain_by:
            told += f" There were too many: each may have up to {self.uncertain_by:,} more."
        return told


class Counts:
    """Launches by repository, in bounded memory.

    Up to `kept` repositories the counts are exact. Beyond that the least launched half is
    forgotten, and how much a repository may have lost by it is known: lossy counting (Manku and
    Motwani, Approximate frequency counts over data streams, 2002).
    """

    def __init__(self, kept: int = KEPT) -> None:
        self._kept = kept
        self._counts: dict[str, int] = {}
        self._total = 0
        self._lost = 0

    def add(self, name: str, launches: int = 1) -> None:
        """Count launches of a repository."""
        self._total += launches
        self._counts[name] = self._counts.get(name, 0) + launches
        if len(self._counts) > self._kept:
            self._forget()

    def _forget(self) -> None:
        ordered: Sequence[tuple[str, int]] = sorted(self._counts.items(), key=lambda one: -one[1])
        self._lost += ordered[self._kept // 2][1]
        self._counts = dict(ordered[: self._kept // 2])

    def rank(self, number: int) -> Ranking:
        """Return the `number` most launched."""
        ordered: Iterable[tuple[str, int]] = sorted(
            self._counts.items(), key=lambda one: (-one[1], one[0])
        )
        top = tuple(Ranked(name, count) for name, count in list(ordered)[:number])
        return Ranking(top, self._total, len(self._counts), self._lost)


def rank_repositories(events: "Events[Launch]", number: int) -> Ranking:
    """Return the repositories launched most among events, reading their files.

    Args:
        events: the launches; lines that are none should be skipped.
        number: how many are told.

    Raises:
        UnrecordedError, StorageError: a daily file cannot be read, or is not the one on record.
    """
    from mirror.reading.selection import repository_of  # noqa: PLC0415 - reports seldom read files

    counts, unknown = Counts(), 0
    for block in events.launch_blocks():
        for (provider, spec), launches in Counter(map(_what, block)).items():
            key = repository_of(provider, spec)
            if key is None:
                unknown += launches
            else:
                counts.add(shown(key, _LONGEST), launches)
    return replace(counts.rank(number), unknown=unknown + events.odd.total())
