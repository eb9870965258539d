"""Dips in a daily count: stretches of days far below what the days before let one expect. Pure.

Weekends are low every week and holidays are come to gradually; a loss is sudden. So each day is
first taken relative to its weekday, and then measured against the week before it: a dip begins
where a day falls far below that, or where two weeks do, and ends where the count is nearer to
what it was than to what it fell to. No holiday of the real index comes near the bounds.
"""

import math
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from datetime import date, timedelta
from statistics import median

from msgspec import Struct

_DAY = timedelta(days=1)
_WEEK = 7
_PROFILE_WEEKS = 6
"""Weeks before and after, from which it is taken how a weekday stands to its week."""
_KNOWN_DAYS = 5
"""Days before that make a level: without them nothing is expected."""
_SUDDEN = 0.4
"""A day below this share of the level begins a dip. Real holidays: no lower than 0.48."""
_SUSTAINED = 0.55
"""So does a day from which on two weeks are, in their median, below this share: longer than any
holidays are."""
_CHANCE = 4
"""Standard deviations by which a count must be lower than chance alone would leave it."""
_NOISE = 2.2
"""Standard deviations of the days before by which a neighbour is low enough to belong to a dip."""
_LOWEST = 0.9
"""Enough for the day before a dip that is slid into, if it is the lowest of its week."""
_SLIDE = 2
"""Times the dip's median that its first day still has where the dip is slid into."""
_EDGE_DAYS = 7
LASTING_DAYS = 92
"""A dip that lasts longer is a new level, and measured against no more."""


class Dip(Struct, frozen=True):
    """A stretch of days far below what was to be expected."""

    first: date
    last: date
    actual: int
    """The events of these days."""
    expected: int
    """The events that the days before let one expect of those of them that are there."""
    has_ended: bool
    """Whether the count came back; otherwise it lasts to the end, or has become the new level."""
    is_lasting: bool = False
    """Whether it stayed low for more than `LASTING_DAYS`, of which it tells the first ones."""


class _Course(Struct, frozen=True):
    """The counts, and what they are relative to their weekdays."""

    counts: Mapping[date, int]
    days: Sequence[date]
    shares: Mapping[date, float]
    """How a day's weekday stands to its week: 0.5 on a Saturday of half the events."""
    levels: Mapping[date, float]
    """Each day's count, relative to its weekday."""


def find_dips(counts: Mapping[date, int]) -> tuple[Dip, ...]:
    """Return the dips, ascending.

    Args:
        counts: events by day, of whole days; a day may be absent.
    """
    return tuple(_walk(_make_course(counts)))


def _make_course(counts: Mapping[date, int]) -> _Course:
    relative = {}
    for day, count in counts.items():
        week = [counts[near] for near in _around(day, 3, _DAY) if near in counts]
        if middle := median(week):
            relative[day] = count / middle
    shares = {}
    for day in counts:
        alike = _around(day, _PROFILE_WEEKS, timedelta(days=_WEEK))
        known = [relative[one] for one in alike if one in relative]
        shares[day] = (median(known) if known else 0) or 1.0
    levels = {day: count / shares[day] for day, count in counts.items()}
    return _Course(counts, sorted(counts), shares, levels)


def _around(day: date, reach: int, step: timedelta) -> Iterator[date]:
    # the first and the last days of the calendar have no neighbours beyond
    number, by = day.toordinal(), step.days
    low = max(-reach, -((number - 1) // by))
    high = min(reach, (date.max.toordinal() - number) // by)
    return (day + step * back for back in range(low, high + 1))


def _walk(course: _Course) -> Iterator[Dip]:
    before: deque[float] = deque(maxlen=_WEEK)
    number = 0
    while number < len(course.days):
        level = median(before) if len(before) >= _KNOWN_DAYS else 0.0
        if not level or not _begins(course, number, level):
            before.append(course.levels[course.days[number]])
            number += 1
            continue
        end, lasts = _end(course, number, level)
        first = _reach_back(course, number, end, before)
        last = end if lasts or end == len(course.days) else _reach_on(course, end)
        yield _make_dip(course, first, last, level, is_lasting=lasts)
        if lasts:
            before.clear()
        number = last


def _begins(course: _Course, number: int, level: float) -> bool:
    day = course.days[number]
    expected = level * course.shares[day]
    if course.counts[day] > expected - _CHANCE * math.sqrt(expected):
        return False
    share = course.levels[day] / level
    if share < _SUDDEN:
        return True
    weeks = course.days[number : number + 2 * _WEEK]
    return (
        share < _SUSTAINED
        and len(weeks) == 2 * _WEEK
        and median(course.levels[one] for one in weeks) < _SUSTAINED * level
    )


def _end(course: _Course, start: int, level: float) -> tuple[int, bool]:
    """Return the number of the day on which a dip is over, and whether it rather lasts."""
    low: list[float] = []
    for number in range(start, len(course.days)):
        value = course.levels[course.days[number]]
        if low and value > (median(low) + level) / 2:
            return number, False
        if (course.days[number] - course.days[start]).days >= LASTING_DAYS:
            return number, True
        low.append(value)
    return len(course.days), False


def _reach_back(course: _Course, start: int, end: int, before: deque[float]) -> int:
    """Return the number of a dip's first day, and take those that belong to it out of `before`."""
    bottom = median(course.levels[day] for day in course.days[start:end])
    slides = course.levels[course.days[start]] > _SLIDE * bottom
    for _ in range(_EDGE_DAYS):
        if start == 0 or len(before) <= _KNOWN_DAYS:
            break
        value = before.pop()
        known = [course.levels[day] for day in course.days[max(0, start - 1 - _WEEK) : start - 1]]
        if not (_is_low(value, known) or (slides and _is_lowest(value, known))):
            before.append(value)
            break
        slides = False
        start -= 1
    return start


def _reach_on(course: _Course, end: int) -> int:
    """Return the number of the first day that is as high as the days that follow it."""
    for number in range(end, min(end + _EDGE_DAYS, len(course.days))):
        later = [course.levels[day] for day in course.days[number + 1 : number + 1 + _WEEK]]
        if len(later) < _KNOWN_DAYS or not _is_low(course.levels[course.days[number]], later):
            return number
    return end


def _is_low(value: float, others: Sequence[float]) -> bool:
    """Return whether a day next to a dip is below what noise leaves of the other days."""
    middle = median(others)
    deviation = 1.4826 * median(abs(one - middle) for one in others) / (middle or 1)
    # a week tells little of the noise: neither none at all, nor as much as a dip is deep
    return value < middle * (1 - _NOISE * min(0.12, max(0.08, deviation)))


def _is_lowest(value: float, others: Sequence[float]) -> bool:
    """Return whether a day is low enough to begin a fall that goes on the day after."""
    return value < min(others) and value < _LOWEST * median(others)


def _make_dip(course: _Course, first: int, stop: int, level: float, *, is_lasting: bool) -> Dip:
    days = course.days[first:stop]
    return Dip(
        first=days[0],
        last=days[-1],
        actual=sum(course.counts[day] for day in days),
        expected=round(sum(level * course.shares[day] for day in days)),
        has_ended=stop < len(course.days) and not is_lasting,
        is_lasting=is_lasting,
    )
