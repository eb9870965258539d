"""Held days summed by month, and what is taken over from earlier sums."""

import random
from datetime import date
from itertools import islice

from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mirror.events.findings import MAX_KEYS, add_up, merge
from mirror.events.series import Months, month_of, sum_months
from mirror.model import Findings, Record
from tests.making import day, days, record

FINDINGS = st.none() | st.builds(
    Findings,
    origins=st.dictionaries(st.sampled_from("abc"), st.integers(0, 9)),
    disordered=st.integers(0, 9),
)
RECORDS = st.lists(
    st.builds(
        record,
        st.dates(date(2019, 11, 1), date(2020, 3, 31)),
        findings=FINDINGS,
    ),
    unique_by=lambda one: one.date,
    max_size=40,
)
TWO_MONTHS = [record(one) for one in days("2020-01-20", "2020-02-10")]


def total_findings(records: list[Record]) -> Findings:
    return merge(one.findings for one in records if one.findings is not None)


@given(RECORDS)
def test_months_come_to_what_their_days_come_to(records: list[Record]) -> None:
    months = sum_months(records)
    assert list(months) == sorted({month_of(one.date) for one in records})
    ordered = [one for month in months.values() for one in month.records]
    assert ordered == sorted(records, key=lambda one: one.date)
    assert all(month_of(one.date) == start for start in months for one in months[start].records)
    found = merge(one.findings for one in months.values() if one.findings is not None)
    assert found == total_findings(records)


@given(RECORDS, RECORDS)
def test_what_is_taken_over_is_what_would_be_summed(
    earlier: list[Record], later: list[Record]
) -> None:
    kept = earlier[: len(earlier) // 2]
    records = list({one.date: one for one in (*later, *kept)}.values())
    assert sum_months(records, sum_months(earlier)) == sum_months(records)


def test_a_month_without_a_look_at_its_days_has_no_findings() -> None:
    assert [month.findings for month in sum_months(TWO_MONTHS).values()] == [None, None]
    looked_at = sum_months([replace(TWO_MONTHS[0], findings=Findings())])
    assert looked_at[day("2020-01-01")].findings == Findings()


def test_only_the_month_of_a_changed_day_is_summed_again() -> None:
    found = [replace(one, findings=Findings(origins={"a": 1})) for one in TWO_MONTHS]
    before = sum_months(found)
    found[-1] = replace(found[-1], findings=Findings(origins={"b": 1}))
    after = sum_months(read_again(found), before)
    january, february = before
    assert after[january].findings is before[january].findings
    assert after[february].findings == Findings(origins={"a": 9, "b": 1})


def test_what_is_taken_over_keeps_nothing_of_before_alive() -> None:
    before, records = sum_months(TWO_MONTHS), read_again(TWO_MONTHS)
    after = sum_months(records, before)
    held = {id(one) for one in records}
    assert held_by(after) == held != held_by(before)


def test_a_day_that_is_gone_is_counted_no_more() -> None:
    before = sum_months(TWO_MONTHS)
    assert sum_months(TWO_MONTHS[1:], before) == sum_months(TWO_MONTHS[1:])
    assert sum_months([], before) == {}


def test_sums_by_month_have_every_name() -> None:
    many = [Findings(origins={f"{number:03}": 1}) for number in range(MAX_KEYS + 8)]
    assert len(add_up(many).origins) == MAX_KEYS + 8
    random.Random(1).shuffle(many)
    some = iter(many)
    halves = [add_up(islice(some, 20)), add_up(some)]
    assert merge(halves) == merge(many)


def read_again(records: list[Record]) -> list[Record]:
    """Return equal records that are others, as from another reading of the manifest."""
    return [replace(one) for one in records]


def held_by(months: Months) -> set[int]:
    return {id(one) for month in months.values() for one in month.records}
