"""What one poll asks for: every reason, and each boundary to the second."""

from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.plan import (
    BYTES_PER_LINE,
    UNKNOWN_FILE_BYTES,
    DayRules,
    PollRange,
    make_plan,
)
from mirror.config.settings import Config, ScheduleConfig, StorageConfig, UpstreamConfig
from mirror.model import DayRange, Due, Flag, Plan, Reason, Record
from tests.making import TEMPLATE, at, day, days, record

RULES = DayRules(TEMPLATE, timedelta(hours=8))
DAY = day("2021-08-03")
FINAL_AT = at("2021-08-04 08:00")
LATER = at("2021-08-20")
A_SECOND = timedelta(seconds=1)


def plan(
    listed: Mapping[date, int | None],
    *records: Record,
    now=LATER,
    max_file_bytes: int = 256 * 1024**2,
    days: DayRange = DayRange(),  # noqa: B008 - a frozen value
    recheck: int = 0,
) -> Plan:
    held = {one.date: one for one in records}
    asked = PollRange(days, recheck)
    return make_plan(listed, held, RULES, asked, now=now, max_file_bytes=max_file_bytes)


def reason_of(made: Plan) -> Reason | None:
    return made.due[0].reason if made.due else None


@pytest.mark.parametrize(
    ("hours", "expected"),
    [(0, "2021-08-04 00:00"), (8, "2021-08-04 08:00"), (30, "2021-08-05 06:00")],
)
def test_a_day_is_final_some_hours_after_its_end(hours, expected):
    assert DayRules(final_after=timedelta(hours=hours)).final_at(DAY) == at(expected)


@given(
    st.datetimes(datetime(2019, 1, 1), datetime(2027, 1, 1)),  # noqa: DTZ001 - put in UTC below
    st.integers(0, 48 * 60),
)
def test_days_are_open_from_the_first_open_day_on(now, minutes):
    now, rules = now.replace(tzinfo=UTC), DayRules(final_after=timedelta(minutes=minutes))
    first = rules.first_open(now)
    assert rules.final_at(first - timedelta(days=1)) <= now < rules.final_at(first)
    assert rules.is_final(first - timedelta(days=1), now)
    assert not rules.is_final(first, now)


def test_a_day_is_final_at_an_aware_moment_in_utc():
    assert RULES.final_at(DAY).utcoffset() == timedelta(0)


def test_the_name_of_a_day_is_read_back_as_that_day_and_no_other_name_is_one():
    rules = DayRules("a.{date}.jsonl")
    assert rules.day_of(rules.name_of(DAY)) == DAY
    for name in ("ax2021-08-03.jsonl", "a.2021-08-03.jsonl.x", "a.2021-02-30.jsonl", "a.jsonl"):
        assert rules.day_of(name) is None


BEFORE, AFTER = FINAL_AT - A_SECOND, FINAL_AT + A_SECOND
REASONS = {
    # why: listed, record, now, the reason
    "not held": (10, None, LATER, Reason.NEW),
    "not held and open": (10, None, BEFORE, Reason.NEW),
    "not held and without a count": (None, None, LATER, Reason.NEW),
    "not held and of no events": (0, None, LATER, Reason.NEW),
    "held as listed": (10, record(DAY, 10), LATER, None),
    "held of no events as listed": (0, record(DAY, 0), LATER, None),
    "held without a count, listed without": (None, record(DAY, 10), LATER, None),
    "listed with more": (11, record(DAY, 10), LATER, Reason.CHANGED),
    "listed with fewer": (9, record(DAY, 10), LATER, Reason.CHANGED),
    "listed with none": (0, record(DAY, 10), LATER, Reason.CHANGED),
    "listed with more and open": (11, record(DAY, 10), BEFORE, Reason.CHANGED),
    "held before it was listed": (10, record(DAY, 10, index_count=None), LATER, Reason.CHANGED),
    "disputed, and listed as it was then": (12, record(DAY, 10, index_count=12), LATER, None),
    "disputed, and listed as what is held": (
        10,
        record(DAY, 10, index_count=12),
        LATER,
        Reason.CHANGED,
    ),
    "no longer listed with a count": (None, record(DAY, 10, index_count=12), LATER, None),
    # an open day, until the very moment at which it is final
    "open, fetched long ago": (10, record(DAY, checked_at=at("2021-08-03")), BEFORE, Reason.OPEN),
    "open, fetched just now": (10, record(DAY, checked_at=BEFORE), BEFORE, Reason.OPEN),
    "open and without a count": (None, record(DAY, checked_at=BEFORE), BEFORE, Reason.OPEN),
    "final now, fetched before": (10, record(DAY, checked_at=BEFORE), FINAL_AT, Reason.SETTLING),
    "final now, fetched now": (10, record(DAY, checked_at=FINAL_AT), FINAL_AT, None),
    "final, fetched a second early": (10, record(DAY, checked_at=BEFORE), LATER, Reason.SETTLING),
    "final, fetched when it became so": (10, record(DAY, checked_at=FINAL_AT), LATER, None),
    "final, fetched a second later": (10, record(DAY, checked_at=AFTER), LATER, None),
    # put back by hand: left alone until upstream says something new
    "restored": (10, record(DAY, flags=(Flag.RESTORED,)), LATER, None),
    "restored and open": (10, record(DAY, flags=(Flag.RESTORED,)), BEFORE, None),
    "restored and not settled": (
        10,
        record(DAY, flags=(Flag.AHEAD, Flag.RESTORED), checked_at=BEFORE),
        LATER,
        None,
    ),
    "restored and listed anew": (11, record(DAY, flags=(Flag.RESTORED,)), LATER, Reason.CHANGED),
    "of another flag and not settled": (
        10,
        record(DAY, flags=(Flag.ADOPTED,), checked_at=BEFORE),
        LATER,
        Reason.SETTLING,
    ),
}


@pytest.mark.parametrize(("listed", "held", "now", "reason"), REASONS.values(), ids=REASONS)
def test_a_day_is_due_for_its_reason_or_not_at_all(listed, held, now, reason):
    made = plan({DAY: listed}, *([held] if held else []), now=now)
    assert reason_of(made) is reason
    assert made.listed == 1


def test_what_is_due_says_all_that_the_asking_needs():
    held = record(DAY, 10, size=3000)
    made = plan({DAY: 12}, held)
    assert made.due == (
        Due(
            date=DAY,
            name="events-2021-08-03.jsonl",
            reason=Reason.CHANGED,
            expected=12,
            estimated_bytes=3600,
            held=held,
        ),
    )


def test_a_new_day_is_asked_for_without_condition():
    (due,) = plan({DAY: 12}).due
    assert (due.held, due.conditional, due.expected) == (None, False, 12)


@pytest.mark.parametrize(
    ("etag", "modified", "conditional"),
    [
        ('"x"', None, True),
        (None, at("2021-08-04"), True),
        ('"x"', at("2021-08-04"), True),
        (None, None, False),
    ],
)
def test_a_condition_needs_an_etag_or_a_date(etag, modified, conditional):
    held = record(DAY, 10, etag=etag, last_modified=modified)
    assert plan({DAY: 12}, held).due[0].conditional is conditional


def test_a_day_that_is_not_listed_is_never_asked_for():
    assert plan({}, record(DAY), recheck=9) == Plan((), 0, 0)


def test_the_newest_day_comes_first_and_all_are_counted():
    listed = dict.fromkeys(days("2021-08-01", "2021-08-05"), 10)
    held = [record(one) for one in days("2021-08-02", "2021-08-03")]
    made = plan(listed, *held)
    assert [due.date.day for due in made.due] == [5, 4, 1]
    assert made.listed == 5


@pytest.mark.parametrize(
    ("since", "until", "expected"),
    [
        (None, None, [1, 2, 3, 4, 5]),
        ("2021-08-02", None, [2, 3, 4, 5]),
        (None, "2021-08-02", [1, 2]),
        ("2021-08-02", "2021-08-04", [2, 3, 4]),
        ("2021-08-03", "2021-08-03", [3]),
        ("2021-08-04", "2021-08-03", []),
    ],
)
def test_a_range_holds_both_its_ends(since, until, expected):
    asked = DayRange(since and day(since), until and day(until))
    listed = dict.fromkeys(days("2021-08-01", "2021-08-05"), 10)
    made = plan(listed, days=asked)
    assert sorted(due.date.day for due in made.due) == expected
    assert made.listed == len(expected)
    assert [one.day for one in listed if one in asked] == expected


WEEK = list(days("2021-08-01", "2021-08-07"))
CHECKED = dict(zip(WEEK, [9, 8, 12, 8, 11, 10, 13], strict=True))


def a_checked_week() -> list[Record]:
    return [record(one, checked_at=at(f"2021-08-{CHECKED[one]:02} 12:00")) for one in WEEK]


@pytest.mark.parametrize(
    ("recheck", "expected"), [(0, []), (1, [2]), (2, [2, 4]), (3, [1, 2, 4]), (99, range(1, 8))]
)
def test_those_least_recently_confirmed_are_rechecked_the_earlier_day_first(recheck, expected):
    made = plan(dict.fromkeys(WEEK, 10), *a_checked_week(), recheck=recheck)
    assert {due.reason for due in made.due} <= {Reason.RECHECK}
    assert sorted(due.date.day for due in made.due) == list(expected)
    assert all(due.conditional for due in made.due)


def test_only_days_of_the_range_are_rechecked():
    made = plan(
        dict.fromkeys(WEEK, 10), *a_checked_week(), recheck=2, days=DayRange(WEEK[4], WEEK[5])
    )
    assert [due.date.day for due in made.due] == [6, 5]


def test_a_recheck_is_for_final_days_that_were_not_put_back_by_hand():
    restored = record(WEEK[0], flags=(Flag.RESTORED,))
    end = RULES.final_at(WEEK[2])
    open_day, final = record(WEEK[2], checked_at=end), record(WEEK[1])
    now = end - A_SECOND
    made = plan(dict.fromkeys(WEEK[:3], 10), restored, final, open_day, now=now, recheck=9)
    assert [(due.date.day, due.reason) for due in made.due] == [
        (3, Reason.OPEN),
        (2, Reason.RECHECK),
    ]
    (due, _) = plan({WEEK[1]: 10, WEEK[2]: 10}, final, open_day, now=now + A_SECOND, recheck=9).due
    assert (due.date.day, due.reason) == (3, Reason.RECHECK)


def test_a_record_confirmed_by_a_clock_that_was_ahead_is_settled_again():
    ahead = record(WEEK[0], checked_at=LATER + A_SECOND)
    (due,) = plan({WEEK[0]: 10}, ahead).due
    assert due.reason is Reason.SETTLING
    assert plan({WEEK[0]: 10}, record(WEEK[0], checked_at=LATER)).due == ()


def test_a_day_that_is_due_anyway_keeps_its_reason():
    made = plan({WEEK[0]: 11, WEEK[1]: 10}, *a_checked_week(), recheck=9)
    assert [due.reason for due in made.due] == [Reason.RECHECK, Reason.CHANGED]


def test_reasons_are_counted_in_their_order():
    listed = {WEEK[0]: 10, WEEK[1]: 11, WEEK[2]: 10, WEEK[3]: 10}
    held = [record(WEEK[0]), record(WEEK[1])]
    made = plan(listed, *held, recheck=1)
    assert list(made.reasons().items()) == [("new", 2), ("changed", 1), ("recheck", 1)]
    assert Plan((), 0, 0).reasons() == {}


def test_before_anything_is_held_a_line_counts_as_a_recent_one():
    assert plan({DAY: 10}).estimated_bytes == 10 * BYTES_PER_LINE
    assert plan({DAY: None}).estimated_bytes == UNKNOWN_FILE_BYTES
    assert plan({DAY: 10}, record(WEEK[0], 0)).estimated_bytes == 10 * BYTES_PER_LINE


def test_what_is_held_tells_how_long_a_line_is():
    held = [record(WEEK[0], 10, size=1000), record(WEEK[1], 30, size=7005)]
    made = plan({DAY: 3, WEEK[4]: 2}, *held)
    assert [due.estimated_bytes for due in made.due] == [400, 600]
    assert made.estimated_bytes == 1000


def test_an_absurd_count_asks_for_no_more_room_than_a_body_may_take():
    listed = {DAY: 10**9, WEEK[4]: 10}
    assert [due.estimated_bytes for due in plan(listed).due] == [3200, 256 * 1024**2]
    made = plan(listed, max_file_bytes=10_000)
    assert [due.estimated_bytes for due in made.due] == [3200, 10_000]
    assert made.estimated_bytes == 13_200


def test_without_a_count_a_day_is_as_long_as_what_is_held_of_it():
    held = record(DAY, 10, size=1234)
    assert plan({DAY: None}, held, now=BEFORE).estimated_bytes == 1234


def test_days_asked_for_by_name_promise_nothing():
    rules = DayRules("launches-{date}")
    made = make_plan({}, {}, rules, PollRange(), now=LATER, by_name=[DAY, WEEK[0]])
    assert made.due == (
        Due(DAY, "launches-2021-08-03", Reason.BY_NAME, None, 0),
        Due(WEEK[0], "launches-2021-08-01", Reason.BY_NAME, None, 0),
    )
    assert (made.listed, made.estimated_bytes) == (0, 0)


def test_a_day_is_not_asked_for_by_name_when_held_out_of_range_or_blocked():
    held = {WEEK[3]: record(WEEK[3], 1)}
    made = make_plan(
        {},
        held,
        RULES,
        PollRange(DayRange(since=WEEK[1])),
        now=LATER,
        by_name=[WEEK[4], WEEK[3], WEEK[2], WEEK[0]],
        passed_over={WEEK[2]},
    )
    assert [due.date for due in made.due] == [WEEK[4]]


def test_a_day_at_whose_path_something_else_stands_is_listed_but_not_due():
    made = make_plan({DAY: 3}, {}, RULES, PollRange(), now=LATER, passed_over={DAY})
    assert (made.due, made.listed) == ((), 1)


COUNTS = st.integers(0, 3)


@given(
    st.dictionaries(st.sampled_from(WEEK), COUNTS | st.none()),
    st.dictionaries(st.sampled_from(WEEK), COUNTS),
    st.integers(0, 9),
)
def test_a_plan_asks_for_listed_days_once_and_for_all_that_differ(listed, held, recheck):
    records = [record(one, lines) for one, lines in held.items()]
    made = plan(listed, *records, recheck=recheck)
    asked = [due.date for due in made.due]
    assert asked == sorted(set(asked), reverse=True)
    assert set(asked) <= set(listed)
    differ = {
        one
        for one, count in listed.items()
        if one not in held or (count is not None and held[one] != count)
    }
    assert {due.date for due in made.due if due.reason is not Reason.RECHECK} == differ
    rechecked = sum(due.reason is Reason.RECHECK for due in made.due)
    assert rechecked <= recheck
    assert made.estimated_bytes == sum(due.estimated_bytes for due in made.due)


def test_the_rules_of_days_are_those_of_the_settings():
    assert DayRules.of(Config()) == DayRules()
    config = Config(
        upstream=UpstreamConfig(name_template="{date}.jsonl"),
        storage=StorageConfig(since="2021-08-03"),
        schedule=ScheduleConfig(final_after=60),
    )
    assert DayRules.of(config) == DayRules("{date}.jsonl", timedelta(minutes=1), DAY)
