"""Origins that fell silent: a member of the federation that stops while the others go on. Pure.

What is expected of an origin is told by the others: launches move between members, but not from
one day to the next to nothing. So a member is measured by its odds, its launches to those of all
others, in the days before; where the others are gone too that says nothing.
"""

from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date
from statistics import median

from msgspec import Struct

from mirror.events.findings import OTHERS

_KNOWN_DAYS = 7
_AT_LEAST_DAYS = 5
_AT_LEAST = 20
"""Launches a day that must be expected of an origin before their absence tells anything."""
_SILENT = 0.02
"""An origin with no more than this share of what was expected is silent: a test launch is not
service."""


class Silence(Struct, frozen=True):
    """A stretch of days on which an origin was silent."""

    origin: str
    first: date
    last: date
    actual: int
    expected: int
    has_ended: bool
    """Whether the origin came back."""


def find_silences(origins: Mapping[date, Mapping[str, int]]) -> tuple[Silence, ...]:
    """Return the silences of all origins, ascending.

    Args:
        origins: launches by day and origin; a day on which no event tells its origin says nothing.
    """
    days = sorted(day for day, counts in origins.items() if counts)
    names = sorted({name for day in days for name in origins[day]} - {OTHERS})
    totals = [sum(origins[day].values()) for day in days]
    found: list[Silence] = []
    for name in names:
        counts = [origins[day].get(name, 0) for day in days]
        found += _of_one(name, days, counts, totals)
    return tuple(sorted(found, key=lambda one: (one.first, one.origin)))


def _of_one(
    name: str, days: Sequence[date], counts: Sequence[int], totals: Sequence[int]
) -> Iterator[Silence]:
    odds: deque[float] = deque(maxlen=_KNOWN_DAYS)
    usual = 0.0
    silent: list[tuple[date, int, float]] = []
    for day, count, total in zip(days, counts, totals, strict=True):
        others = total - count
        expected = usual * others
        if expected >= _AT_LEAST and count <= _SILENT * expected:
            silent.append((day, count, expected))
            continue
        if not others or (silent and expected < _AT_LEAST and not count):
            continue
        if silent:
            yield _make(name, silent, has_ended=True)
            silent = []
        if not count and not odds:
            continue
        odds.append(count / others)
        usual = median(odds) if len(odds) >= _AT_LEAST_DAYS else 0.0
    if silent:
        yield _make(name, silent, has_ended=False)


def _make(name: str, silent: Sequence[tuple[date, int, float]], *, has_ended: bool) -> Silence:
    return Silence(
        origin=name,
        first=silent[0][0],
        last=silent[-1][0],
        actual=sum(count for _, count, _ in silent),
        expected=round(sum(expected for _, _, expected in silent)),
        has_ended=has_ended,
    )
