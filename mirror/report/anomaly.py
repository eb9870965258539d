"""What a report tells of: a stretch of days, what is odd about it, what was expected. Pure."""

from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from enum import StrEnum

from msgspec import Struct

_DAY = timedelta(days=1)


class Severity(StrEnum):
    """How much an anomaly matters to whoever counts launches."""

    SERIOUS = "serious"
    """Launches are not there, or are there twice."""
    WARNING = "warning"
    """Numbers may mislead."""
    NOTE = "note"
    """Good to know."""


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
    UNKNOWN_PROVIDER = "unknown-provider"
    MISSING_FIELDS = "missing-fields"
    OTHER_DAY = "other-day"
    DISORDERED = "disordered"
    LEVEL = "new-level"
    VERSIONS = "versions"
    LATE = "late"
    VANISHED = "vanished"


class Anomaly(Struct, frozen=True, omit_defaults=True):
    """One stretch of days with one thing odd about it."""

    kind: Kind
    severity: Severity
    first: date
    last: date
    told: str
    """What it is, for a person; fit to be shown."""
    actual: int | None = None
    """Events, or lines, that were counted on these days."""
    expected: int | None = None
    """How many of them were to be expected."""
    subject: str = ""
    """The origin that it is about, fit to be shown."""
    goes_on: bool = False
    """Whether it lasts to the end of what is known."""

    @property
    def days(self) -> int:
        """Days from the first to the last."""
        return (self.last - self.first).days + 1


def runs(days: Iterable[date]) -> Iterator[tuple[date, date]]:
    """Yield the first and last days of each stretch of consecutive days, ascending."""
    first = last = None
    for day in sorted(days):
        if first is None or last is None:
            first = last = day
        elif day - last == _DAY:
            last = day
        else:
            yield first, last
            first = last = day
    if first is not None and last is not None:
        yield first, last


def between(first: date, last: date) -> Iterator[date]:
    """Yield every day from the first to the last."""
    return (first + _DAY * number for number in range((last - first).days + 1))


def span(first: date, last: date) -> str:
    """Return a stretch of days as people write it: "2025-01-09 to 2025-01-16", or one day."""
    return f"{first}" if first == last else f"{first} to {last}"
