"""When upstream's index stood still or was short, by the polls."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.upstream import IndexFacts, Upstream
from mirror.model import IndexState, PollReport
from mirror.report.anomaly import Anomaly, Kind
from mirror.report.detection import find_index_anomalies
from tests.making import at
from tests.report.inventories import frozen, poll

_STALE_AFTER = timedelta(hours=36)
_CALM = Upstream("http://127.0.0.1/")


def look(polls: Sequence[PollReport], upstream: Upstream = _CALM) -> tuple[Anomaly, ...]:
    return find_index_anomalies(polls, upstream, stale_after=_STALE_AFTER)


def states(first: str, text: str, *, every: timedelta = timedelta(hours=12)) -> list[PollReport]:
    """Make polls of a state each: f(resh), u(nchanged), s(tale), h (shrunk), x (unusable)."""
    by_letter = {
        "f": IndexState.FRESH,
        "u": IndexState.UNCHANGED,
        "s": IndexState.STALE,
        "h": IndexState.SHRUNK,
        "x": IndexState.UNUSABLE,
    }
    return [poll(at(first) + every * number, by_letter[one]) for number, one in enumerate(text)]


def stretches(odd: Sequence[Anomaly]) -> list[tuple[str, str, str]]:
    return [(one.kind.value, str(one.first), str(one.last)) for one in odd]


def test_the_frozen_index_of_2025_is_found_with_its_dates() -> None:
    odd = look(frozen(date(2025, 6, 17), date(2025, 10, 14)))

    assert stretches(odd) == [("index-frozen", "2025-06-17", "2025-10-14")]
    assert odd[0].message == "upstream's index stood still for 119 days"
    assert not odd[0].goes_on


def test_quiet_hours_between_two_changes_are_none() -> None:
    assert look(states("2025-06-01", "fuufuufuuf")) == ()
    assert look([]) == ()


def test_a_mirror_that_did_not_poll_says_nothing_of_the_index() -> None:
    assert look([*states("2025-06-01", "fuf"), *states("2025-06-20", "fuf")]) == ()


@pytest.mark.parametrize("letter", ["s", "h"])
def test_of_a_time_in_which_nobody_polled_nothing_is_said(letter: str) -> None:
    polls = [
        *states("2025-01-01", "fu" + "u" * 3 + letter * 3),
        *states("2025-09-01", letter * 5),
        *states("2026-06-01", letter * 5 + "f"),
    ]

    firsts = [(first, last) for _, first, last in stretches(look(polls)) if last > "2025-01-04"]

    assert firsts == [("2025-09-01", "2025-09-03"), ("2026-06-01", "2026-06-03")]
    assert "stood still for 2 days" in look(polls)[-1].message or letter == "h"


def test_after_a_time_without_polls_a_standstill_begins_with_the_poll_that_saw_it() -> None:
    polls = [*states("2025-01-01", "fuf"), *states("2025-09-01", "sssssf")]

    assert stretches(look(polls)) == [("index-frozen", "2025-09-01", "2025-09-03")]


def test_a_first_poll_does_not_say_what_was_before_it_but_what_the_index_is_dated() -> None:
    index = IndexFacts("00", at("2026-11-29"), last_modified=at("2026-03-05"))
    upstream = replace(_CALM, index=index, state=IndexState.STALE, state_since=at("2026-11-29"))

    (odd,) = look(states("2026-11-29", "sss"), upstream)

    assert stretches([odd]) == [("index-frozen", "2026-11-29", "2026-11-30")]
    assert odd.message == (
        "upstream's index stood still for 1 day, and is dated 2026-03-05; it still does"
    )


def test_a_short_index_is_found_from_the_first_to_the_last_poll_that_saw_it() -> None:
    assert stretches(look(states("2025-10-14", "fhhhhhhf"))) == [
        ("index-shrunk", "2025-10-14", "2025-10-17")
    ]


def test_an_index_that_stood_still_and_then_was_short_was_in_two_troubles() -> None:
    assert stretches(look(states("2025-10-01", "fuuussshhhhf"))) == [
        ("index-frozen", "2025-10-01", "2025-10-04"),
        ("index-shrunk", "2025-10-04", "2025-10-06"),
    ]


def test_an_unusable_answer_interrupts_nothing() -> None:
    assert stretches(look(states("2025-10-01", "fuuxsxssf"))) == [
        ("index-frozen", "2025-10-01", "2025-10-04")
    ]


def test_one_that_goes_on_began_when_upstream_says_so() -> None:
    """The polls are bounded: the first of a long standstill are gone."""
    index = IndexFacts("00", at("2025-06-18"), last_modified=at("2025-06-17 04:00"))
    upstream = replace(_CALM, index=index, state=IndexState.STALE, state_since=at("2025-06-19"))

    (odd,) = look(states("2025-09-01", "ssss"), upstream)

    assert stretches([odd]) == [("index-frozen", "2025-06-17", "2025-09-02")]
    assert odd.goes_on
    assert odd.message == "upstream's index stood still for 77 days; it still does"


@pytest.mark.parametrize("letter", ["s", "h"])
def test_one_whose_beginning_nobody_knows_says_so(letter: str) -> None:
    (odd,) = look(states("2025-09-01", letter * 6 + "f"))

    assert (str(odd.first), str(odd.last)) == ("2025-09-01", "2025-09-03")
    assert ("already did" in odd.message) == (letter == "s")


def test_a_short_index_of_now_is_told_though_it_has_just_begun() -> None:
    upstream = replace(_CALM, state=IndexState.SHRUNK, state_since=at("2025-10-14 12:00"))

    (odd,) = look(states("2025-10-14", "fh"), upstream)

    assert (odd.kind, odd.goes_on) == (Kind.INDEX_SHRUNK, True)
    assert odd.first == datetime(2025, 10, 14, tzinfo=UTC).date()
