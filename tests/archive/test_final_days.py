"""What counts as a change of a final day, what is kept for it, and for how long it is told."""

from datetime import timedelta

import msgspec
import pytest

from mirror.archive.final_days import (
    changes_of,
    find_change,
    keeps_predecessor,
    parse_changes,
    tell_changes,
    to_tell,
)
from mirror.archive.plan import DayRules
from mirror.model import ChangeKind, FinalChange, Outcome, OutcomeKind, ProblemKind
from tests.making import at, day, record

DAY = day("2021-08-03")
RULES = DayRules()
FINAL = record(DAY, 10)
OPEN = record(DAY, 10, checked_at=at("2021-08-04 07:59"))


@pytest.mark.parametrize(
    ("lines", "how"),
    [
        (9, ChangeKind.SHRUNK),
        (0, ChangeKind.SHRUNK),
        (10, ChangeKind.REWRITTEN),
        (11, ChangeKind.GROWN),
    ],
)
def test_a_final_body_that_is_replaced_is_a_change_by_its_lines(
    lines: int, how: ChangeKind
) -> None:
    after = record(DAY, lines, sha256="a" * 64, fetched_at=at("2021-09-01"))

    change = find_change(FINAL, after, RULES)

    assert change == FinalChange(DAY, how, at("2021-09-01"), 10, lines, FINAL.sha256, after.sha256)
    assert keeps_predecessor(FINAL, after, change)


@pytest.mark.parametrize(("lines", "kept"), [(9, True), (10, False), (11, False), (0, True)])
def test_an_open_day_may_change_but_what_lost_lines_is_kept(lines: int, kept: bool) -> None:
    after = record(DAY, lines, sha256="a" * 64)

    assert find_change(OPEN, after, RULES) is None
    assert keeps_predecessor(OPEN, after, None) is kept


def test_the_same_body_is_no_change() -> None:
    assert find_change(FINAL, record(DAY, 10, etag=None), RULES) is None


def changed(back: int, before: str, after: str, one: str = "2021-08-03") -> FinalChange:
    when = at("2021-09-30") - timedelta(days=back)
    return FinalChange(day(one), ChangeKind.SHRUNK, when, 10, 5, before * 64, after * 64)


def test_a_log_of_changes_is_read_line_by_line_and_a_repetition_is_one() -> None:
    first, second = changed(9, "a", "b"), changed(5, "b", "a")
    other = changed(7, "a", "b", "2021-08-02")
    again = changed(8, "a", "b")
    lines = [b"", *map(msgspec.json.encode, (first, other, again, second, first)), b'{"day": "20']

    assert parse_changes(b"\n".join(lines)) == (first, other, second, first)
    assert parse_changes(b"") == ()


def test_changes_are_told_for_thirty_days_unless_the_day_is_as_it_was() -> None:
    told = [changed(back, "a", "b", f"2021-08-{back:02}") for back in (31, 30, 2, 1)]
    records = {day("2021-08-02"): record(day("2021-08-02"), sha256="a" * 64)}

    assert to_tell(told, records, now=at("2021-09-30")) == (told[3], told[1])
    # a clock that was ahead when it was noticed hides nothing
    assert to_tell([changed(-400, "a", "b")], {}, now=at("2021-09-30"))


def test_a_person_is_told_of_twenty_and_how_many_more() -> None:
    told = list(tell_changes([changed(1, "a", "b")] * 21))

    assert len(told) == 21
    assert told[0].line() == (
        "2021-08-03: upstream shrank this final day from 10 lines to 5; before, its digest was "
        "aaaaaaaaaaaa"
    )
    assert told[-1].line() == "and 1 more final day"
    assert {one.kind for one in told} == {ProblemKind.FINAL_CHANGED}


def test_the_newest_day_comes_first() -> None:
    changes = [changed(1, "a", "b", f"2021-08-0{number}") for number in (2, 3, 1)]
    outcomes = [Outcome(one.day, OutcomeKind.PUBLISHED, change=one) for one in changes]

    assert [one.day.day for one in changes_of([*outcomes, outcomes[0]])] == [3, 2, 2, 1]
    assert changes_of([Outcome(DAY, OutcomeKind.PUBLISHED)]) == ()
