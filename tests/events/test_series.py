"""Counts of days summed by period, and by period and name."""

from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.events.series import (
    Total,
    add_names,
    fill_periods,
    month_of,
    quarter_of,
    sum_counts,
    week_of,
)
from tests.making import day

COUNTS = st.dictionaries(
    st.dates(date(2018, 11, 3), date(2026, 12, 31)), st.integers(0, 10**6), max_size=60
)


@pytest.mark.parametrize(
    ("period", "one", "start"),
    [
        (week_of, "2026-11-23", "2026-11-23"),
        (week_of, "2026-11-29", "2026-11-23"),
        (week_of, "2021-01-01", "2020-12-28"),
        (month_of, "2024-02-29", "2024-02-01"),
        (quarter_of, "2024-02-29", "2024-01-01"),
    ],
)
def test_a_period_begins(period, one, start) -> None:
    assert period(day(one)) == day(start)


def test_days_are_summed_by_month() -> None:
    counts = [(day("2021-02-01"), 5), (day("2021-01-31"), 3), (day("2021-01-01"), 0)]
    assert list(sum_counts(counts, month_of).items()) == [
        (day("2021-01-01"), Total(2, 3)),
        (day("2021-02-01"), Total(1, 5)),
    ]


@given(COUNTS, st.sampled_from([week_of, month_of, quarter_of]))
def test_nothing_is_lost_or_counted_twice(counts, period) -> None:
    sums = sum_counts(counts.items(), period)
    assert sum(total.count for total in sums.values()) == sum(counts.values())
    assert sum(total.days for total in sums.values()) == len(counts)
    assert list(sums) == sorted(sums)
    assert all(period(start) == start for start in sums)


def test_a_mean_is_of_the_days_that_count() -> None:
    assert Total(days=4, count=10).mean == 2.5


def test_names_are_summed() -> None:
    assert add_names([{"Gist": 1}, {"GitHub": 7, "Gist": 1}, {}]) == {"Gist": 2, "GitHub": 7}


@given(st.dates(date(2018, 1, 1), date(2026, 12, 31)), st.integers(0, 800))
def test_every_month_between_is_there_once(first, length) -> None:
    last = first + timedelta(days=length)
    months = fill_periods(first, last, month_of)
    assert months[0] == month_of(first)
    assert months[-1] == month_of(last)
    assert len(months) == (last.year - first.year) * 12 + last.month - first.month + 1
