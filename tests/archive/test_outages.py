"""The two outages of the real archive, day by day, as states; and its real index growing."""

import gzip
import json
from collections.abc import Mapping
from datetime import date, datetime, timedelta

from msgspec.structs import replace

from mirror.archive.listings import parse_index, render_index
from mirror.archive.plan import DayRules, PollRange, make_plan
from mirror.archive.upstream import (
    Upstream,
    accept_index,
    days_to_ask,
    listed_counts,
    vanished,
)
from mirror.model import IndexState, Reason, Record
from tests.archive.steps import EMPTY, STALE_AFTER, accept, facts_of, listing, search_due, unchanged
from tests.making import TEMPLATE, at, day, days, entry, record

FROZEN = day("2025-06-17")
SHRUNK = day("2025-10-14")
HEALED = day("2026-02-17")
BEFORE = {one: 5000 + one.day for one in days("2025-01-01", "2025-06-17")}
LAST_WRITTEN = at("2025-06-17 14:00")
FULL = accept(EMPTY, BEFORE, now=LAST_WRITTEN)
NO_FILE = {day("2025-07-01"), day("2025-09-30")}


def noon(one: date) -> datetime:
    return datetime(one.year, one.month, one.day, 12, tzinfo=LAST_WRITTEN.tzinfo)


def ask_by_name(upstream: Upstream, now: datetime) -> tuple[Upstream, tuple[date, ...]]:
    """Ask for days by name and remember the answers, as a poll does."""
    asked = days_to_ask(upstream, now=now)
    gone = dict.fromkeys((one for one in asked if one in NO_FILE), now)
    found = dict.fromkeys(one for one in asked if one not in NO_FILE)
    return replace(
        upstream,
        searched_at=now,
        found={**upstream.found, **found},
        absent={**upstream.absent, **gone},
    ), asked


def live_through_the_frozen_months(until: date) -> Upstream:
    """The index and its page stand still while the daily files go on."""
    upstream = FULL
    for one in days("2025-06-18", str(until)):
        now = noon(one)
        upstream = unchanged(upstream, now)
        if search_due(upstream, now):
            upstream, _ = ask_by_name(listing(upstream, BEFORE, now), now)
    return upstream


# the index that stood still, 2025-06-17 to 10-14


def test_the_frozen_index_is_unchanged_for_36_hours_and_stale_from_then_on():
    moment = LAST_WRITTEN + STALE_AFTER
    before = unchanged(FULL, moment)
    assert before.state is IndexState.UNCHANGED
    assert not search_due(before, moment)
    moment += timedelta(seconds=1)
    after = unchanged(before, moment)
    assert (after.state, after.state_since) == (IndexState.STALE, moment)
    assert search_due(after, moment)
    assert unchanged(after, noon(SHRUNK)).state_since == moment


def test_the_days_behind_the_frozen_index_are_asked_for_by_name_newest_first():
    upstream = unchanged(FULL, noon(day("2025-06-20")))
    upstream, asked = ask_by_name(upstream, noon(day("2025-06-20")))
    assert asked == (day("2025-06-20"), day("2025-06-19"), day("2025-06-18"))
    tomorrow = noon(day("2025-06-21"))
    assert days_to_ask(unchanged(upstream, tomorrow), now=tomorrow) == (day("2025-06-21"),)


def test_a_mirror_that_was_off_for_half_the_outage_catches_up_in_one_search():
    now = noon(day("2025-09-01"))
    assert days_to_ask(unchanged(FULL, now), now=now) == tuple(
        reversed(list(days("2025-06-18", "2025-09-01")))
    )


def test_after_the_frozen_months_every_file_that_there_was_is_known():
    upstream = live_through_the_frozen_months(day("2025-10-13"))
    expected = set(days("2025-01-01", "2025-10-13")) - NO_FILE
    assert set(listed_counts(upstream, now=noon(day("2025-10-13")))) == expected
    assert upstream.accepted == BEFORE
    assert upstream.floor == FROZEN
    assert (upstream.unlisted, upstream.state) == ({}, IndexState.STALE)


def test_a_day_without_a_file_is_asked_for_again_but_not_at_every_search():
    upstream, asked_at = FULL, []
    for hour in range(0, 24 * 30, 6):
        now = noon(day("2025-07-01")) + timedelta(hours=hour)
        upstream = unchanged(upstream, now)
        assert search_due(upstream, now)
        upstream, asked = ask_by_name(upstream, now)
        if day("2025-07-01") in asked:
            asked_at.append(hour)
    # every 6 h through 07-04, the third day after; then once in 7 days
    assert asked_at[:14] == list(range(0, 84, 6))
    assert asked_at[14:] == [78 + 168, 78 + 2 * 168, 78 + 3 * 168]


# the index that was one line long, 2025-10-14 to 2026-02-17


def page_of(one: date) -> dict[date, int]:
    """The page stayed whole, and knows better counts than the index ever did."""
    return {x: 6000 + x.day for x in days("2025-01-01", str(one)) if x not in NO_FILE}


def live_through_the_shrunk_months(until: date) -> Upstream:
    upstream = live_through_the_frozen_months(day("2025-10-13"))
    for one in days("2025-10-14", str(until)):
        now = noon(one)
        upstream = accept(upstream, {one: 100}, now=now)
        assert upstream.state is IndexState.SHRUNK
        if search_due(upstream, now):
            upstream, _ = ask_by_name(listing(upstream, page_of(one), now), now)
    return upstream


def test_an_index_of_one_line_loses_none_of_the_days_known_before():
    before = live_through_the_frozen_months(day("2025-10-13"))
    now = noon(SHRUNK)
    upstream = accept(before, {SHRUNK: 100}, now=now)
    assert (upstream.state, upstream.state_since) == (IndexState.SHRUNK, now)
    assert upstream.accepted == BEFORE | {SHRUNK: 100}
    assert listed_counts(upstream, now=now) == (listed_counts(before, now=now) | {SHRUNK: 100})
    assert upstream.floor == FROZEN
    assert search_due(upstream, now)


def test_for_months_the_page_tells_the_counts_and_no_day_vanishes():
    last = day("2026-02-16")
    upstream = live_through_the_shrunk_months(last)
    now = noon(last)
    assert listed_counts(upstream, now=now) == page_of(last) | {last: 100}
    assert vanished(upstream, now=now + timedelta(days=6)) == frozenset()
    assert (upstream.state_since, upstream.floor) == (noon(SHRUNK), FROZEN)
    assert set(upstream.unlisted.values()) == {None}


def test_once_the_page_is_gone_too_the_days_vanish_after_a_week_and_are_kept_on_record():
    upstream = live_through_the_shrunk_months(day("2025-11-30"))
    gone_at = noon(day("2025-12-01"))
    only = day("2025-12-01")
    upstream = listing(accept(upstream, {only: 100}, now=gone_at), {}, gone_at)
    week = gone_at + timedelta(days=7)
    assert vanished(upstream, now=week - timedelta(seconds=1)) == frozenset()
    after = accept(upstream, {only: 100}, now=week)
    assert after.state is IndexState.FRESH
    assert vanished(after, now=week) == upstream.unlisted.keys()
    assert set(after.accepted) > set(BEFORE)


def test_the_whole_index_again_heals_everything():
    upstream = live_through_the_shrunk_months(day("2026-02-16"))
    whole = page_of(HEALED) | {HEALED: 321}
    after = accept(upstream, whole, now=noon(HEALED))
    assert after.state is IndexState.FRESH
    assert (after.unlisted, after.found, after.absent, after.floor) == ({}, {}, {}, None)
    assert listed_counts(after, now=noon(HEALED)) == whole
    assert not search_due(after, noon(HEALED))


def test_a_mirror_begun_in_the_outage_learns_all_from_the_page_and_by_name():
    last = day("2026-01-10")
    now = noon(last)
    first = accept(EMPTY, {last: 100}, now=now)
    assert search_due(first, now)
    with_page = listing(first, page_of(last), now)
    assert listed_counts(with_page, now=now) == page_of(last) | {last: 100}
    asked = days_to_ask(with_page, now=now)
    assert asked[:2] == (day("2025-09-30"), day("2025-07-01"))
    assert asked[2] == day("2024-12-31")
    assert len(asked) == 200


# a real upstream growing: 76 snapshots of the index between 2018-12-02 and 2021-07-26

RULES = DayRules()


def fetch(held: Mapping[date, Record], listed: Mapping[date, int | None], now: datetime):
    """Fetch all that a plan asks for; return what is held then and the days by reason."""
    plan = make_plan(listed, held, RULES, PollRange(), now=now)
    by_reason: dict[Reason, set[date]] = {}
    for due in plan.due:
        by_reason.setdefault(due.reason, set()).add(due.date)
        assert due.conditional is (due.reason is not Reason.NEW)
        assert due.expected == listed[due.date]
    fetched = {
        due.date: record(due.date, due.expected or 0, checked_at=now, fetched_at=now)
        for due in plan.due
    }
    return {**held, **fetched}, by_reason


def test_each_of_76_real_indexes_asks_for_exactly_the_new_and_changed_days(real_data):
    upstream, held, before = EMPTY, {}, {}
    with gzip.open(real_data / "index-snapshots.jsonl.gz") as file:
        snapshots = [json.loads(line) for line in file]
    assert len(snapshots) == 76
    for snapshot in snapshots:
        now = datetime.fromisoformat(snapshot["built_before"])
        lines = [json.dumps(one).encode() for one in snapshot["index"]]
        body = b"\n".join(lines)
        parsed = parse_index(body, name_template=TEMPLATE, today=now.date())
        assert (parsed.refused_lines, parsed.conflicts) == (0, ())
        assert render_index(parsed.entries) == body + b"\n"
        counts = {day(one["date"]): int(one["count"]) for one in snapshot["index"]}
        facts = facts_of(str(now), modified=now, seen=now)
        upstream = accept_index(upstream, parsed, facts, now=now, stale_after=STALE_AFTER)
        assert upstream.state is IndexState.FRESH
        listed = listed_counts(upstream, now=now)
        assert listed == counts

        last_checked = {one: held[one].checked_at for one in held}
        held, due = fetch(held, listed, now)
        assert due.pop(Reason.NEW, set()) == counts.keys() - before.keys()
        changed = {one for one in before if before[one] != counts[one]}
        assert due.pop(Reason.CHANGED, set()) == changed
        same = before.keys() - changed
        final = {one for one in same if RULES.is_final(one, now)}
        assert due.pop(Reason.OPEN, set()) == same - final
        early = {one for one in final if not RULES.is_final(one, last_checked[one])}
        assert due.pop(Reason.SETTLING, set()) == early
        assert due == {}
        # at once again: a quiet poll asks for the open days alone
        _, again = fetch(held, listed_counts(unchanged(upstream, now), now=now), now)
        assert set(again) <= {Reason.OPEN}
        before = counts
    assert len(held) == 997
    assert {one: held[one].lines for one in held} == before
    assert render_index(entry(one, held[one].lines) for one in held) == (
        (real_data / "index-2021-07-26.jsonl").read_bytes()
    )
