"""The search for days that the index does not list: when, how far, and what is remembered."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.upstream import ARCHIVE_BEGINS, ASKED_AT_MOST, days_to_ask
from mirror.model import IndexState
from tests.archive.steps import (
    A_SECOND,
    D1,
    D2,
    D3,
    D4,
    D5,
    D6,
    EMPTY,
    HOUR,
    KNOWN,
    NOW,
    STALE_AFTER,
    THREE,
    accept,
    facts_of,
    search_due,
    unchanged,
)
from tests.making import at, day


def test_the_search_begins_after_the_newest_day_accepted_before_the_trouble():
    shrunk = accept(KNOWN, {D5: 5})
    assert shrunk.floor == D3
    assert days_to_ask(shrunk, now=NOW) == (D6, D4)
    stale = unchanged(KNOWN, NOW + STALE_AFTER + A_SECOND)
    assert stale.floor == D3
    assert days_to_ask(stale, now=NOW) == (D6, D5, D4)


def test_of_an_index_both_shrunk_and_stale_the_days_known_before_are_the_floor():
    old = facts_of("x", modified=NOW - 2 * STALE_AFTER)
    assert accept(KNOWN, {D5: 5}, facts=old).floor == D3
    assert accept(accept(EMPTY, {D1: 1, D2: 2}), {D5: 5}, facts=old).floor == D2


def test_a_new_index_that_is_stale_already_is_no_floor_below_itself():
    old = facts_of("x", modified=NOW - 2 * STALE_AFTER)
    assert accept(EMPTY, THREE, facts=old).floor == D3
    assert accept(KNOWN, THREE | {D4: 4}, facts=old).floor == D4


def test_the_floor_stands_until_the_trouble_is_over():
    shrunk = replace(accept(KNOWN, {D4: 4}), searched_at=NOW, absent={D6: NOW})
    later = unchanged(accept(shrunk, {D5: 5}, now=NOW + HOUR), NOW + 2 * HOUR)
    assert (later.floor, later.searched_at, later.absent) == (D3, NOW, {D6: NOW})
    healed = accept(later, THREE | {D4: 4, D5: 5}, now=NOW + 3 * HOUR)
    assert (healed.state, healed.floor) == (IndexState.FRESH, None)
    assert (healed.searched_at, healed.absent) == (None, {})


def test_a_new_trouble_is_searched_for_at_once():
    shrunk = replace(accept(KNOWN, {D4: 4}), searched_at=NOW)
    healed = accept(shrunk, THREE | {D4: 4}, now=NOW + HOUR)
    again = accept(healed, {D5: 5}, now=NOW + 2 * HOUR)
    assert again.floor == D4
    assert search_due(again, NOW + 2 * HOUR)


def test_trouble_that_changes_its_kind_is_one_trouble():
    stale = replace(unchanged(KNOWN, NOW + 2 * STALE_AFTER), searched_at=NOW + 2 * STALE_AFTER)
    shrunk = accept(stale, {D6: 6}, now=NOW + 2 * STALE_AFTER + HOUR)
    assert (stale.state, shrunk.state) == (IndexState.STALE, IndexState.SHRUNK)
    assert (shrunk.floor, shrunk.searched_at) == (D3, NOW + 2 * STALE_AFTER)


def test_trouble_under_another_name_keeps_its_floor():
    old = facts_of("x", modified=NOW - 2 * STALE_AFTER)
    conflicting = accept(KNOWN, {D1: 1, D3: 3}, D2, facts=old)
    assert (conflicting.state, conflicting.floor) == (IndexState.CONFLICTING, D3)
    later = replace(accept(conflicting, THREE | {D5: 5}, facts=old), searched_at=None)
    assert (later.state, later.floor) == (IndexState.STALE, D3)


@pytest.mark.parametrize("counts", [{}, {D5: 5}])
def test_a_first_index_of_one_day_at_most_is_searched_through_from_the_beginning(counts):
    first = accept(EMPTY, counts, *([D4] if not counts else []))
    assert search_due(first, NOW)
    assert first.floor == date.min
    assert days_to_ask(first, now=NOW)[:2] == ((D6, D4) if counts else (D6, D5))


def test_a_first_index_of_one_day_is_searched_for_every_six_hours_and_no_oftener():
    first = replace(accept(EMPTY, {D5: 5}), searched_at=NOW, absent={D6: NOW})
    later = unchanged(first, NOW + HOUR)
    assert (later.searched_at, later.absent) == (NOW, {D6: NOW})
    assert not search_due(later, NOW + HOUR)
    assert search_due(later, NOW + 6 * HOUR)
    stale = unchanged(accept(EMPTY, {D5: 5}), NOW + 2 * STALE_AFTER)
    assert (stale.state, stale.floor) == (IndexState.STALE, date.min)


def test_a_kill_before_that_search_does_not_lose_it():
    first = accept(EMPTY, {D5: 5})
    again = unchanged(first, NOW + HOUR)
    assert again.floor == date.min
    assert search_due(again, NOW + HOUR)
    assert accept(again, {D6: 6}, now=NOW + 2 * HOUR).floor == date.min


def test_a_young_archive_that_grows_is_no_trouble():
    upstream = replace(accept(EMPTY, {D5: 5}), searched_at=NOW, absent={D4: NOW})
    grown = accept(upstream, {D5: 5, D6: 6}, now=NOW + HOUR)
    assert grown.state is IndexState.FRESH
    assert (grown.searched_at, grown.absent) == (None, {})
    assert not search_due(grown, NOW + 9 * HOUR)


@pytest.mark.parametrize(
    ("since", "due"),
    [
        (timedelta(0), False),
        (timedelta(hours=6) - A_SECOND, False),
        (timedelta(hours=6), True),
        (timedelta(days=9), True),
    ],
)
def test_a_search_is_made_every_six_hours(since, due):
    shrunk = replace(accept(KNOWN, {D3: 3}), searched_at=NOW)
    assert search_due(shrunk, NOW + since) is due
    assert not search_due(replace(KNOWN, searched_at=NOW), NOW + HOUR)


def test_days_that_are_known_are_not_asked_for():
    shrunk = replace(accept(KNOWN, {D5: 5}), found={D6: None})
    assert days_to_ask(shrunk, now=NOW) == (D4,)


def test_two_hundred_days_are_asked_for_in_one_poll_the_newest_first():
    shrunk = replace(accept(KNOWN, {D3: 3}), floor=None)
    asked = days_to_ask(shrunk, now=NOW)
    assert len(asked) == ASKED_AT_MOST == 200
    assert asked[:4] == (D6, D5, D4, day("2021-07-31"))
    assert list(asked) == sorted(asked, reverse=True)
    rest = days_to_ask(replace(shrunk, absent=dict.fromkeys(asked, NOW)), now=NOW)
    assert rest[0] == asked[-1] - timedelta(days=1)


def test_no_search_goes_back_beyond_the_archives_beginning():
    first = accept(EMPTY, {day("2018-11-05"): 5})
    now = at("2018-11-05 12:00")
    assert days_to_ask(first, now=now) == (day("2018-11-04"), day("2018-11-03"))
    assert days_to_ask(first, now=at("2018-11-02 12:00")) == ()
    early = replace(first, floor=day("2018-01-01"))
    assert days_to_ask(early, now=now)[-1] == ARCHIVE_BEGINS == day("2018-11-03")


def test_a_floor_at_or_after_today_leaves_nothing_to_ask():
    assert days_to_ask(replace(KNOWN, floor=D6), now=NOW) == ()
    assert days_to_ask(replace(KNOWN, floor=D6 + timedelta(days=1)), now=NOW) == ()


ABSENT = [
    # days back from today, age of the 404, whether it is asked for again
    (0, timedelta(hours=6) - A_SECOND, False),
    (0, timedelta(hours=6), True),
    (3, timedelta(hours=6) - A_SECOND, False),
    (3, timedelta(hours=6), True),
    (4, timedelta(hours=6), False),
    (4, timedelta(days=7) - A_SECOND, False),
    (4, timedelta(days=7), True),
    (90, timedelta(days=7) - A_SECOND, False),
    (90, timedelta(days=7), True),
]


@pytest.mark.parametrize(("back", "age", "asked"), ABSENT)
def test_a_404_is_remembered_six_hours_for_recent_days_and_seven_days_for_others(back, age, asked):
    one = NOW.date() - timedelta(days=back)
    upstream = replace(EMPTY, floor=one - timedelta(days=1), absent={one: NOW - age})
    assert (one in days_to_ask(upstream, now=NOW)) is asked
