"""An anomaly: consecutive days with one thing odd about them, and how much it matters. Pure."""

from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from enum import StrEnum
from itertools import groupby
from typing import TypeVar

from msgspec import Struct, field

Key = TypeVar("Key")
LASTING_DAYS = 92  # what lasts longer is no news any more, but a new level, or one that has left


class Severity(StrEnum):
    """How much an anomaly matters to whoever counts launches."""

    SERIOUS = "serious"  # launches are missing, or counted twice
    WARNING = "warning"  # numbers may mislead
    NOTE = "note"  # good to know


class Kind(StrEnum):
    """What is odd."""

    MISSING = "missing"
    FEW = "few"
    EMPTY = "empty"
    SILENT = "silent"
    DUPLICATE = "duplicate"
    ALIKE = "alike"
    SHRUNK = "shrunk"
    BEHIND = "behind"
    INDEX_FROZEN = "index-frozen"
    INDEX_SHRUNK = "index-shrunk"
    NOT_OBJECTS = "not-objects"
    UNKNOWN_SCHEMA = "unknown-schema"
    UNKNOWN_VERSION = "unknown-version"
    BAD_FIELDS = "bad-fields"
    UNKNOWN_PROVIDER = "unknown-provider"
    MISSING_FIELDS = "missing-fields"
    OTHER_DAY = "other-day"
    DISORDERED = "disordered"
    LEVEL = "new-level"
    VERSIONS = "versions"
    LATE = "late"
    VANISHED = "vanished"

    @property
    def words(self) -> str:
        """The kind for a person: "new level"."""
        return self.replace("-", " ")


_SERIOUS = {Kind.MISSING, Kind.FEW, Kind.EMPTY, Kind.DUPLICATE, Kind.SHRUNK}
_NOTES = {Kind.OTHER_DAY, Kind.DISORDERED, Kind.VERSIONS, Kind.LATE, Kind.VANISHED}


class Anomaly(Struct, frozen=True, omit_defaults=True):
    """Consecutive days with one thing odd about them."""

    kind: Kind
    first: date
    last: date
    message: str = field(name="told")  # what is odd, for a person; printable
    actual: int | None = None  # events, or lines, counted on these days
    expected: int | None = None  # events expected on these days
    subject: str = ""  # the origin concerned; printable
    goes_on: bool = False  # whether it lasts to the end of what is known

    @property
    def days(self) -> int:
        """Days from the first to the last."""
        return (self.last - self.first).days + 1

    @property
    def severity(self) -> Severity:
        """How much it matters."""
        # one day may be so by chance, and an origin that left long ago is no news
        is_brief = self.days == 1 and self.kind in (Kind.SILENT, Kind.ALIKE)
        has_left = self.goes_on and self.days > LASTING_DAYS and self.kind is Kind.SILENT
        if is_brief or has_left or self.kind in _NOTES:
            return Severity.NOTE
        return Severity.SERIOUS if self.kind in _SERIOUS else Severity.WARNING


def in_order(anomalies: Iterable[Anomaly]) -> tuple[Anomaly, ...]:
    """Return anomalies ascending by first day, last day and kind."""
    return tuple(sorted(anomalies, key=lambda one: (one.first, one.last, one.kind)))


def runs(days: Mapping[date, Key]) -> Iterator[tuple[date, date, Key]]:
    """Yield the first and last day of each run of consecutive days of one key, ascending."""
    numbered = enumerate(sorted(days))
    # within a run, day and number go up together
    for (_, key), run in groupby(numbered, lambda one: (one[1].toordinal() - one[0], days[one[1]])):
        members = [day for _, day in run]
        yield members[0], members[-1], key


def span(first: date, last: date) -> str:
    """Return a run of days as people write it: "2025-01-09 to 2025-01-16", or one day."""
    return f"{first}" if first == last else f"{first} to {last}"
