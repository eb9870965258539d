"""What upstream has said, step by step: its states, and what is known of each day."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.judge import is_older
from mirror.archive.listings import Refusal
from mirror.archive.plan import DayRules
from mirror.archive.upstream import (
    Dispute,
    accept_index,
    dropped,
    has_stood,
    listed_counts,
    mend_times,
    needs_rereading,
    open_dispute,
    vanished,
    wanted_days,
)
from mirror.model import IndexState
from tests.archive.steps import (
    A_SECOND,
    D1,
    D2,
    D3,
    D4,
    D5,
    EMPTY,
    HOUR,
    KNOWN,
    NOW,
    STALE_AFTER,
    THREE,
    accept,
    facts_of,
    listing,
    parsed_of,
    search_due,
    unchanged,
)

# an index that is as it should be


def test_a_first_index_is_fresh_and_all_its_days_are_accepted():
    assert KNOWN.state is IndexState.FRESH
    assert KNOWN.state_since == NOW
    assert KNOWN.accepted == THREE
    assert (KNOWN.unlisted, KNOWN.found, KNOWN.floor) == ({}, {}, None)
    assert KNOWN.index == facts_of(f"{THREE} ()")
    assert not search_due(KNOWN, NOW)
    assert listed_counts(KNOWN, now=NOW) == THREE


def test_a_new_index_adds_days_and_changes_counts_ascending_by_date():
    later = accept(KNOWN, {D1: 1, D2: 2, D3: 33, D4: 4}, now=NOW + HOUR)
    assert list(later.accepted.items()) == [(D1, 1), (D2, 2), (D3, 33), (D4, 4)]
    assert later.state is IndexState.FRESH
    earlier_day = accept(later, {D1: 1, D2: 2, D3: 33, D4: 4, date(2020, 1, 1): 9})
    assert next(iter(earlier_day.accepted)) == date(2020, 1, 1)


def test_health_has_one_beginning_whether_fresh_or_unchanged():
    later = unchanged(KNOWN, NOW + HOUR)
    assert (later.state, later.state_since) == (IndexState.UNCHANGED, NOW)
    again = accept(later, THREE | {D4: 4}, now=NOW + 2 * HOUR)
    assert (again.state, again.state_since) == (IndexState.FRESH, NOW)


def test_the_very_same_index_is_unchanged_though_its_body_came():
    assert KNOWN.index is not None
    again = accept(KNOWN, THREE, now=NOW + HOUR, facts=KNOWN.index)
    assert again.state is IndexState.UNCHANGED


def test_refused_lines_are_told_until_the_next_index():
    parsed = replace(parsed_of(THREE), refused=(Refusal(1, "why", "text"),), refused_lines=25)
    upstream = accept_index(EMPTY, parsed, facts_of("x"), now=NOW, stale_after=STALE_AFTER)
    assert unchanged(upstream, NOW + HOUR).refused == (Refusal(1, "why", "text"),)
    assert unchanged(upstream, NOW + HOUR).refused_lines == 25
    after = accept(upstream, THREE)
    assert (after.refused, after.refused_lines) == ((), 0)


# conflicting


def test_a_day_with_two_counts_keeps_the_one_accepted_before():
    upstream = accept(KNOWN, {D1: 1, D3: 3, D4: 4}, D2)
    assert upstream.state is IndexState.CONFLICTING
    assert upstream.conflicts == (D2,)
    assert upstream.accepted == THREE | {D4: 4}
    assert upstream.unlisted == {}
    assert accept(upstream, THREE | {D4: 4}).conflicts == ()


def test_a_new_day_with_two_counts_is_not_accepted():
    upstream = accept(KNOWN, THREE, D4)
    assert D4 not in listed_counts(upstream, now=NOW)
    assert listing(upstream, {D4: 4}, NOW).found == {}


def test_a_day_found_without_the_index_stays_found_while_the_index_contradicts_itself():
    upstream = accept(replace(KNOWN, found={D4: 4}), THREE, D4)
    assert upstream.found == {D4: 4}
    assert accept(upstream, THREE | {D4: 5}).found == {}


def test_conflicting_lasts_while_the_index_is_unchanged():
    upstream = accept(KNOWN, {D1: 1, D3: 3}, D2, now=NOW + HOUR)
    later = unchanged(upstream, NOW + 2 * HOUR)
    assert (later.state, later.state_since) == (IndexState.CONFLICTING, NOW + HOUR)


def test_shrunk_is_told_before_conflicting_and_conflicting_before_stale():
    old = facts_of("x", modified=NOW - 2 * STALE_AFTER)
    assert accept(KNOWN, {D1: 1}, D2, facts=old).state is IndexState.SHRUNK
    assert accept(KNOWN, {D1: 1, D3: 3}, D2, facts=old).state is IndexState.CONFLICTING
    assert accept(KNOWN, THREE, facts=old).state is IndexState.STALE


# stale


@pytest.mark.parametrize(
    ("modified", "seen", "age", "stale"),
    [
        (NOW, NOW - 9 * STALE_AFTER, STALE_AFTER, False),
        (NOW, NOW, STALE_AFTER + A_SECOND, True),
        (None, NOW, STALE_AFTER, False),
        (None, NOW, STALE_AFTER + A_SECOND, True),
        (NOW - 2 * STALE_AFTER, NOW, timedelta(0), True),
        (NOW + STALE_AFTER, NOW, timedelta(0), False),
        (NOW, NOW, -STALE_AFTER, False),
    ],
)
def test_an_index_is_stale_by_its_own_date_else_since_first_seen(modified, seen, age, stale):
    upstream = accept(EMPTY, THREE, facts=facts_of("x", modified, seen))
    assert unchanged(upstream, NOW + age).state is (
        IndexState.STALE if stale else IndexState.UNCHANGED
    )
    assert search_due(upstream, NOW + age) is stale


# shrunk and vanished


def test_days_that_the_index_drops_stay_accepted_and_are_known_as_unlisted():
    upstream = accept(KNOWN, {D3: 3}, now=NOW + HOUR)
    assert upstream.state is IndexState.SHRUNK
    assert upstream.state_since == NOW + HOUR
    assert upstream.accepted == THREE
    assert upstream.unlisted == {D1: NOW + HOUR, D2: NOW + HOUR}
    assert listed_counts(upstream, now=NOW + HOUR) == THREE
    later = accept(upstream, {D3: 3, D4: 4}, now=NOW + 2 * HOUR)
    assert later.unlisted == {D1: NOW + HOUR, D2: NOW + HOUR}
    assert later.state_since == NOW + HOUR


def test_a_day_that_comes_back_is_listed_again():
    upstream = accept(accept(KNOWN, {D3: 3}), THREE, now=NOW + HOUR)
    assert (upstream.state, upstream.unlisted) == (IndexState.FRESH, {})


def test_the_pages_count_wins_for_days_that_the_index_does_not_list():
    upstream = accept(KNOWN, {D3: 3})
    upstream = listing(upstream, {D1: 11, D2: 2, D3: 33, D4: 44}, NOW + HOUR)
    assert upstream.unlisted == {D1: None, D2: None}
    assert upstream.accepted == {D1: 11, D2: 2, D3: 3}
    assert upstream.found == {D4: 44}
    assert listed_counts(upstream, now=NOW) == {D1: 11, D2: 2, D3: 3, D4: 44}


@pytest.mark.parametrize("page", [{}, {D3: 3}])
def test_a_day_that_neither_listing_has_is_gone_since_then(page):
    upstream = listing(listing(accept(KNOWN, {D2: 2, D3: 3}), {D1: 1}, NOW), page, NOW + HOUR)
    assert upstream.unlisted == {D1: NOW + HOUR}
    assert listing(upstream, page, NOW + 2 * HOUR).unlisted == {D1: NOW + HOUR}
    assert listing(upstream, {D1: 1}, NOW + 2 * HOUR).unlisted == {D1: None}


def test_a_day_gone_from_both_listings_for_seven_days_has_vanished():
    upstream = accept(KNOWN, {D2: 2, D3: 3})
    week = NOW + timedelta(days=7)
    assert vanished(upstream, now=week - A_SECOND) == frozenset()
    assert dropped(upstream, now=week - A_SECOND) == {D1}
    assert vanished(upstream, now=week) == {D1}
    assert not dropped(upstream, now=week)
    assert listed_counts(upstream, now=week - A_SECOND) == THREE
    assert listed_counts(upstream, now=week) == {D2: 2, D3: 3}
    after = accept(upstream, {D2: 2, D3: 3, D4: 4}, now=week)
    assert (after.state, after.state_since) == (IndexState.FRESH, week)
    assert after.accepted == THREE | {D4: 4}
    assert accept(after, THREE | {D4: 4}, now=week).unlisted == {}


def test_a_day_that_the_page_still_has_never_vanishes():
    upstream = listing(accept(KNOWN, {D2: 2, D3: 3}), {D1: 1}, NOW)
    assert vanished(upstream, now=NOW + timedelta(days=999)) == frozenset()
    assert dropped(upstream, now=NOW + timedelta(days=999)) == {D1}


def test_an_accepted_count_is_better_than_one_that_was_found():
    upstream = replace(KNOWN, found={D3: None, D4: None, D5: 5})
    assert listed_counts(upstream, now=NOW) == THREE | {D4: None, D5: 5}


def test_the_page_may_add_a_count_to_a_day_found_by_name():
    upstream = replace(KNOWN, found={D4: None, D5: 5})
    assert listing(upstream, {D4: 4}, NOW).found == {D4: 4, D5: 5}
    assert listing(upstream, {}, NOW).found == {D4: None, D5: 5}


# an index of an earlier version, and bodies in dispute


@pytest.mark.parametrize(
    ("generation", "modified", "older"),
    [
        (4, NOW, True),
        (5, NOW - HOUR, False),
        (6, NOW - HOUR, False),
        (None, NOW - A_SECOND, True),
        (None, NOW, False),
        (None, NOW + A_SECOND, False),
        (None, None, False),
    ],
)
def test_an_index_is_older_by_its_generation_else_by_its_date(generation, modified, older):
    meta = ReplyMeta(generation=generation, last_modified=modified)
    facts = replace(facts_of("x"), generation=5)
    assert is_older(meta, facts, now=NOW) is older
    assert is_older(meta, facts_of("x", modified=None), now=NOW) is False
    by_date = modified is not None and modified < NOW
    assert is_older(meta, facts_of("x"), now=NOW) is by_date
    assert is_older(meta, facts, sha256="x", now=NOW) is False


def test_an_accepted_index_ends_the_trial_of_older_ones():
    on_trial = replace(KNOWN, index_older_since=NOW)
    assert accept(on_trial, THREE).index_older_since is None
    assert unchanged(on_trial, NOW + HOUR).index_older_since is None


def test_a_trial_goes_on_for_the_same_bytes_and_begins_anew_for_others():
    first = open_dispute(None, sha256="x", reason="behind", now=NOW)
    assert first == Dispute("x", NOW, "behind")
    again = open_dispute(first, sha256="x", reason="other", now=NOW + HOUR)
    assert again == Dispute("x", NOW, "other")
    other = open_dispute(first, sha256="y", reason="other", now=NOW + HOUR)
    assert other == Dispute("y", NOW + HOUR, "other")


def test_a_trial_of_an_age_goes_on_for_any_bytes_until_one_comes_that_is_not_older():
    first = open_dispute(None, sha256="x", reason="older", now=NOW, is_older=True)
    assert first == Dispute("x", NOW, "older", NOW)
    other = open_dispute(first, sha256="y", reason="older", now=NOW + HOUR, is_older=True)
    assert other == Dispute("y", NOW + HOUR, "older", NOW)
    newer = open_dispute(other, sha256="y", reason="behind", now=NOW + 2 * HOUR)
    assert newer == Dispute("y", NOW + HOUR, "behind")
    later = open_dispute(newer, sha256="y", reason="older", now=NOW + 3 * HOUR, is_older=True)
    assert later.older_since == NOW + 3 * HOUR


@pytest.mark.parametrize(
    ("age", "stands"),
    [
        (-timedelta(days=999), False),
        (timedelta(hours=6) - A_SECOND, False),
        (timedelta(hours=6), True),
        (timedelta(days=9), True),
    ],
)
def test_what_upstream_says_stands_once_it_was_said_for_long_enough(age, stands):
    assert has_stood(NOW, now=NOW + age, disagree_after=6 * 3600) is stands
    assert has_stood(None, now=NOW + age, disagree_after=0) is False


# a clock that was wrong, and is put right


def test_no_moment_of_the_future_outlives_the_clock_that_wrote_it():
    ahead = NOW + timedelta(days=365)
    wrong = replace(
        accept(KNOWN, {D3: 3}, now=NOW - HOUR),
        index=facts_of("x", modified=ahead, seen=ahead),
        state_since=ahead,
        unlisted={D1: ahead, D2: None},
        absent={D4: ahead, D5: NOW},
        searched_at=ahead,
        disputes={D3: Dispute("x", ahead, "behind"), D4: Dispute("y", NOW, "older", ahead)},
        index_older_since=ahead,
        floor=ahead.date(),
    )
    mended = mend_times(wrong, now=NOW)
    assert mended.index == facts_of("x", modified=None, seen=NOW)
    assert (mended.state_since, mended.searched_at, mended.index_older_since) == (None, None, None)
    assert mended.unlisted == {D1: NOW, D2: None}
    assert mended.absent == {D5: NOW}
    assert mended.disputes == {D4: Dispute("y", NOW, "older")}
    assert mended.floor == D3
    assert mend_times(mended, now=NOW + HOUR) == mended
    assert mend_times(EMPTY, now=NOW) == EMPTY


def test_a_day_after_tomorrow_is_kept_and_is_nothing_to_ask_for_until_it_comes():
    later = NOW.date() + timedelta(days=2)
    upstream = accept(replace(KNOWN, found={later: 5}), THREE | {later: 4})
    assert listed_counts(upstream, now=NOW) == THREE
    assert listed_counts(upstream, now=NOW + timedelta(days=1)) == THREE | {later: 4}
    shrunk = accept(upstream, THREE, now=NOW + HOUR)
    assert (shrunk.state, shrunk.accepted[later]) == (IndexState.FRESH, 4)
    assert dropped(shrunk, now=NOW + timedelta(days=1))
    assert accept(upstream, {D2: 2}).floor == D3


def test_the_index_is_read_again_where_the_day_it_was_read_on_may_matter():
    later = NOW.date() + timedelta(days=2)
    assert not needs_rereading(EMPTY, now=NOW)
    assert not needs_rereading(KNOWN, now=NOW)
    assert needs_rereading(accept(KNOWN, THREE | {later: 4}), now=NOW)
    assert not needs_rereading(accept(KNOWN, THREE | {later: 4}), now=NOW + timedelta(days=1))
    assert needs_rereading(replace(KNOWN, index=replace(facts_of("x"), whole=False)), now=NOW)


def test_the_days_that_are_wanted_begin_where_settings_or_the_copy_say():
    assert wanted_days(KNOWN, DayRules(), now=NOW) == {D1, D2, D3}
    assert wanted_days(KNOWN, DayRules(since=D2), now=NOW) == {D2, D3}
    assert wanted_days(replace(KNOWN, since=D3), DayRules(), now=NOW) == {D3}
