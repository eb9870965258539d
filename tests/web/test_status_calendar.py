"""The calendar: each day in its place, told apart by shape, and again in the tables."""

import re
from datetime import date, timedelta
from itertools import chain

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.web.figures import Calendar, Day, DayKind, level_bounds, make_calendar
from tests.web.copies import seasonal_counts

NEW_YEAR = date(2024, 1, 1)


def held(*counts: int, first: date = NEW_YEAR) -> dict[date, Day]:
    return {
        first + timedelta(days=number): Day(DayKind.HELD, count)
        for number, count in enumerate(counts)
    }


def drawn(calendar: Calendar) -> dict[int, dict[str, set[tuple[int, int]]]]:
    """Return the places (week, weekday) drawn, by year and class."""
    found: dict[int, dict[str, set[tuple[int, int]]]] = {}
    for one in calendar.years:
        year = found.setdefault(one.number, {})
        for name, d in chain.from_iterable(month.paths for month in one.months):
            for x, y in re.findall(r"M(\d+) (\d+)", d):
                year.setdefault(name, set()).add((int(x), int(y)))
    return found


def cells(calendar: Calendar) -> dict[date, str]:
    """Return what the tables say of each day."""
    return {
        month.first.replace(day=number): text
        for year in calendar.years
        for month in year.months
        for number, text in month.cells.items()
    }


def test_weeks_go_across_and_mondays_are_on_top() -> None:
    year = drawn(make_calendar(held(*[5] * 9)))[2024]
    assert set.union(*year.values()) == {(0, n) for n in range(7)} | {(1, 0), (1, 1)}


@pytest.mark.parametrize(
    ("day", "place"),
    [("2022-01-01", (0, 5)), ("2022-12-31", (52, 5)), ("2018-11-03", (43, 5))],
)
def test_a_day_has_its_place(day, place) -> None:
    one = date.fromisoformat(day)
    assert drawn(make_calendar({one: Day(DayKind.GAP)})) == {one.year: {"g": {place}}}


def test_every_kind_has_a_shape_of_its_own_and_is_named() -> None:
    days = {
        NEW_YEAR: Day(DayKind.HELD, 1),
        NEW_YEAR + timedelta(1): Day(DayKind.OPEN, 1),
        NEW_YEAR + timedelta(2): Day(DayKind.VANISHED, 1),
        NEW_YEAR + timedelta(3): Day(DayKind.QUARANTINED, 1),
        NEW_YEAR + timedelta(4): Day(DayKind.MISSING),
        NEW_YEAR + timedelta(5): Day(DayKind.GAP),
    }
    calendar = make_calendar(days)
    marks = drawn(calendar)[2024]
    squares = set.union(*(places for name, places in marks.items() if name[0] == "l"))
    assert squares == {(0, 0), (0, 1), (0, 2), (0, 3)}
    assert [marks[name] for name in "ovqmg"] == [{(0, n)} for n in range(1, 6)]
    for kind in list(DayKind)[1:]:
        assert kind in dict(calendar.marks)
    shapes = [
        re.sub(r"M\d+ \d+", "", d)
        for name, d in calendar.years[0].months[0].paths
        if name in {"o", "q", "m"}
    ]
    assert len(set(shapes)) == 3


def test_levels_rise_with_the_count() -> None:
    year = drawn(make_calendar(held(*range(100, 800, 10))))[2024]
    levels = {place: name for name, places in year.items() for place in places}
    told = [levels[place] for place in sorted(levels)]
    assert told == sorted(told)
    assert set(told) == {"l0", "l1", "l2", "l3", "l4"}


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=50))
def test_bounds_are_ascending_and_can_be_read(counts) -> None:
    bounds = level_bounds(counts)
    assert len(bounds) == 4
    assert list(bounds) == sorted(bounds)
    assert all(len(str(bound).rstrip("0")) <= 2 for bound in bounds)


def test_the_tables_say_it_all() -> None:
    counts = seasonal_counts(800, date(2024, 3, 1))
    days = {day: Day(DayKind.HELD, count) for day, count in counts.items()}
    days[date(2024, 3, 1)] = Day(DayKind.OPEN, 1234)
    days[date(2024, 2, 28)] = Day(DayKind.MISSING)

    told = cells(make_calendar(days))
    assert len(told) == (max(days) - min(days)).days + 1
    assert told[date(2024, 3, 1)] == "1,234 still open"
    assert told[date(2024, 2, 28)] == "missing"
    assert told[date(2022, 10, 25)] == "no file"
    for day, count in counts.items():
        if days[day].kind is DayKind.HELD:
            assert told[day] == f"{count:,}"


def test_gaps_are_filled_between_and_nowhere_else() -> None:
    days = held(1) | held(3, first=NEW_YEAR + timedelta(3))
    assert list(cells(make_calendar(days)).values()) == ["1", "no file", "no file", "3"]
    assert make_calendar({}).years == ()
