"""Finds losses in daily counts: dips of the whole, and origins that fell silent. Pure.

**Dips.** Weekends are low every week and holidays set in gradually; a loss is sudden. So each day
is first taken relative to its weekday, and then compared with the week before it: a dip begins
where a day falls far below that, or where two weeks do, and ends where the count is nearer to its
old level than to the bottom of the dip. No holiday of the real index comes near the bounds.

**Silences.** An origin is measured by the others: launches move between members of the federation,
but not from one day to the next to nothing. So what is expected of a member follows from its odds,
its launches to those of all others, in the days before. Where the others are gone too, that says
nothing, and neither does a day whose origins are not known.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from itertools import pairwise
from statistics import median

from msgspec import Struct

from mirror.events.findings import OTHERS
from mirror.report.anomaly import LASTING_DAYS, Anomaly, Kind
from mirror.text import plural, shown

_WEEK = 7
_PROFILE_WEEKS = 6  # weeks before and after, by which a weekday's share in its week is estimated
_LEVEL_DAYS = 5  # days that make a level: with fewer nothing is expected
_SUDDEN = 0.4  # a day below this share of the level begins a dip; real holidays: no lower than 0.48
_SUSTAINED = 0.55  # so do two weeks with a median below this share: longer than any holidays last
_CHANCE = 4  # standard deviations of a Poisson count: a smaller difference may be chance
_NOISE = 2.2  # standard deviations of the days around a dip: a lower neighbour belongs to the dip
_LOWEST = 0.9  # share of the level below which a week's lowest day may be the first of a slide
_SLIDE = 2  # a dip begins as a slide where its first day has more than so many times its median
_EDGE_DAYS = 7

_ODDS_DAYS = 7
_LEAST_EXPECTED = 20  # launches a day to be expected of an origin, or their absence means nothing
_SILENT = 0.02  # at most this share of what is expected is silence: test launches are no service
_NEWCOMER = timedelta(days=7)  # so near to a silence's first day a newcomer may have its place


class _Course(Struct, frozen=True):
    """Daily counts in order of days, and the same freed of the weekly pattern."""

    days: Sequence[date]
    counts: Sequence[int]
    shares: Sequence[float]  # a weekday's usual ratio to its week: 0.5 for half the events
    levels: Sequence[float]  # each day's count divided by its share


def find_dips(counts: Mapping[date, int]) -> tuple[Anomaly, ...]:
    """Return the dips, ascending, of daily events; a day may be absent, and all are final.

    One that lasts for more than `LASTING_DAYS` is a new level, by which later days are measured; it
    is given its first days.
    """
    return tuple(_walk(_make_course(dict(sorted(counts.items())))))


def _make_course(counts: Mapping[date, int]) -> _Course:
    # by the numbers of days, for the first and last days of the calendar have no neighbours beyond
    numbered = {day.toordinal(): count for day, count in counts.items()}
    relative = {}
    for number, count in numbered.items():
        if middle := median(_around(numbered, number, 3, 1)):
            relative[number] = count / middle
    shares = []
    for number in numbered:
        alike = _around(relative, number, _PROFILE_WEEKS * _WEEK, _WEEK)
        shares.append((median(alike) if alike else 0) or 1.0)
    levels = [count / share for count, share in zip(counts.values(), shares, strict=True)]
    return _Course(list(counts), list(counts.values()), shares, levels)


def _around(values: Mapping[int, float], number: int, reach: int, step: int) -> list[float]:
    """Return the known values of a day, and of each day so many steps before and after it."""
    near = range(number - reach, number + reach + 1, step)
    return [values[one] for one in near if one in values]


def _walk(course: _Course) -> Iterator[Anomaly]:
    before: deque[float] = deque(maxlen=_WEEK)
    number = 0
    while number < len(course.days):
        level = median(before) if len(before) >= _LEVEL_DAYS else 0.0
        if not level or not _begins(course, number, level):
            before.append(course.levels[number])
            number += 1
            continue
        end, is_lasting = _end(course, number, level)
        first = _extend_back(course.levels, number, end, before)
        stop = end if is_lasting or end == len(course.days) else _extend_on(course.levels, end)
        actual = sum(course.counts[first:stop])
        expected = round(sum(level * share for share in course.shares[first:stop]))
        goes_on = stop == len(course.days) and not is_lasting
        part = f"{100 * actual / max(1, expected):.0f} %"
        message = f"{plural(actual, 'event')} where {expected:,} were expected ({part})"
        if is_lasting:
            message = f"events fell to {part}, for more than {LASTING_DAYS} days"
            before.clear()
        message += "; it goes on" if goes_on else ""
        kind = Kind.LEVEL if is_lasting else Kind.FEW
        run = course.days[first], course.days[stop - 1]
        yield Anomaly(kind, *run, message, actual, expected, goes_on=goes_on)
        number = stop


def _begins(course: _Course, number: int, level: float) -> bool:
    expected = level * course.shares[number]
    if course.counts[number] > expected - _CHANCE * math.sqrt(expected):
        return False
    share = course.levels[number] / level
    if share < _SUDDEN:
        return True
    weeks = course.levels[number : number + 2 * _WEEK]
    return share < _SUSTAINED and len(weeks) == 2 * _WEEK and median(weeks) < _SUSTAINED * level


def _end(course: _Course, start: int, level: float) -> tuple[int, bool]:
    """Return the number of the day on which a dip is over, and whether it rather lasts."""
    low: list[float] = []
    for number in range(start, len(course.days)):
        value = course.levels[number]
        if low and value > (median(low) + level) / 2:
            return number, False
        if (course.days[number] - course.days[start]).days >= LASTING_DAYS:
            return number, True
        low.append(value)
    return len(course.days), False


def _extend_back(levels: Sequence[float], start: int, end: int, before: deque[float]) -> int:
    """Return the number of a dip's first day, and take the days that belong to it from `before`."""
    slides = levels[start] > _SLIDE * median(levels[start:end])
    for _ in range(_EDGE_DAYS):
        if start == 0 or len(before) <= _LEVEL_DAYS:
            break
        value, known = before[-1], levels[max(0, start - 1 - _WEEK) : start - 1]
        is_lowest = value < min(known) and value < _LOWEST * median(known)
        if not (_is_low(value, known) or (slides and is_lowest)):
            break
        before.pop()
        slides = False
        start -= 1
    return start


def _extend_on(levels: Sequence[float], end: int) -> int:
    """Return the number of the first day that is as high as the days that follow it."""
    for number in range(end, min(end + _EDGE_DAYS, len(levels))):
        later = levels[number + 1 : number + 1 + _WEEK]
        if len(later) < _LEVEL_DAYS or not _is_low(levels[number], later):
            return number
    return end


def _is_low(value: float, others: Sequence[float]) -> bool:
    """Return whether a day next to a dip is lower than the noise of other days explains."""
    middle = median(others)
    deviation = 1.4826 * median(abs(one - middle) for one in others) / (middle or 1)
    # a week is a small sample: assume neither no noise, nor as much as a dip is deep
    return value < middle * (1 - _NOISE * min(0.12, max(0.08, deviation)))


def find_silences(origins: Mapping[date, Mapping[str, int]]) -> tuple[Anomaly, ...]:
    """Return the silences of all origins, ascending; a day absent or empty is unknown."""
    known = {day: counts for day, counts in sorted(origins.items()) if counts}
    begun = _newcomers(known)
    names = {name for counts in known.values() for name in counts} - {OTHERS}
    found = (silence for name in names for silence in _silences_of(name, known, begun))
    return tuple(sorted(found, key=lambda one: (one.first, one.subject)))


def _newcomers(known: Mapping[date, Mapping[str, int]]) -> dict[str, date]:
    """Return the first days of origins that the day before is known to be without."""
    begun: dict[str, date] = {}
    seen: set[str] = set()
    for (yesterday, before), (day, counts) in pairwise(known.items()):
        seen |= before.keys()
        if (day - yesterday).days == 1:
            begun |= dict.fromkeys(sorted(counts.keys() - seen), day)
    return begun


def _silences_of(
    name: str, known: Mapping[date, Mapping[str, int]], begun: Mapping[str, date]
) -> Iterator[Anomaly]:
    odds: deque[float] = deque(maxlen=_ODDS_DAYS)
    usual = 0.0
    silent: list[tuple[date, int, float]] = []
    for day, counts in known.items():
        count = counts.get(name, 0)
        others = sum(counts.values()) - count
        expected = usual * others
        if expected >= _LEAST_EXPECTED and count <= _SILENT * expected:
            silent.append((day, count, expected))
            continue
        if not others or (silent and expected < _LEAST_EXPECTED and not count):
            continue
        if silent:
            yield _make_silence(name, silent, begun, goes_on=False)
            silent = []
        if count or odds:
            odds.append(count / others)
            usual = median(odds) if len(odds) >= _LEVEL_DAYS else 0.0
    if silent:
        yield _make_silence(name, silent, begun, goes_on=True)


def _make_silence(
    name: str,
    silent: Sequence[tuple[date, int, float]],
    begun: Mapping[str, date],
    *,
    goes_on: bool,
) -> Anomaly:
    days, counts, expectations = zip(*silent, strict=True)
    actual, expected, origin = sum(counts), round(sum(expectations)), shown(name, 60)
    message = f"{origin} has been silent since, while others go on"
    if not goes_on:
        message = f"{origin} is silent while others go on: "
        message += f"{plural(actual, 'launch')} where {expected:,} were expected"
    new = [one for one in begun if abs(begun[one] - days[0]) <= _NEWCOMER and one != name]
    if new:
        names = ", ".join(shown(one, 60) for one in new[:3])
        message += f"; {names} appeared at about that time"
    return Anomaly(Kind.SILENT, days[0], days[-1], message, actual, expected, origin, goes_on)
