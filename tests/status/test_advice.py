"""Each problem comes with what to do about it, known by the words that our own parts use."""

from datetime import timedelta

import pytest

from mirror.archive.plan import PlanPolicy
from mirror.archive.upstream import Upstream
from mirror.model import Flag, IndexState, Outcome, OutcomeKind, Refusal
from mirror.status.advice import advise
from mirror.sync.summary import make_problems, make_warnings
from tests.making import TEMPLATE, at, day, record

FALLBACK = advise("")
POLICY = PlanPolicy(TEMPLATE, final_after=timedelta(hours=8))


def test_what_upstream_must_put_right_is_told_so() -> None:
    upstream = Upstream("", conflicts=(day("2024-01-01"),), refused=(Refusal(3, "no date", "x"),))
    refused, conflict = make_problems(upstream, [], {}, POLICY)
    assert advise(refused) == advise(conflict)
    assert advise(refused).startswith("Nothing held is lost. Tell")


def test_what_is_in_the_way_must_be_moved() -> None:
    (problem,) = make_problems(Upstream(""), [], {day("2024-01-01"): "directory"}, POLICY)
    assert advise(problem).startswith("Move it away")


@pytest.mark.parametrize("kind", ["mismatch", "behind", "rolled-back"])
def test_what_only_a_count_speaks_against_mends_itself(kind) -> None:
    problem = f"{kind}: y"
    outcome = Outcome(day("2024-01-01"), "x", OutcomeKind.REFUSED, problem=problem, current=False)
    (problem,) = make_problems(Upstream(""), [outcome], {}, POLICY)
    assert "taken as it is" in advise(problem)


@pytest.mark.parametrize("state", [IndexState.SHRUNK, IndexState.STALE])
def test_an_index_in_trouble_is_its_publishers_business(state) -> None:
    upstream = Upstream("", state=state, state_since=at("2024-01-01"))
    (warning,) = make_warnings(upstream, [], now=at("2024-01-02"))
    assert advise(warning).startswith("Nothing held is lost.")


def test_a_disputed_day_needs_nothing() -> None:
    disputed = record(day("2024-01-01"), flags=(Flag.DISPUTED,))
    (warning,) = make_warnings(Upstream(""), [disputed], now=at("2024-01-02"))
    assert advise(warning) not in ("", FALLBACK)


def test_anything_else_has_advice_too() -> None:
    assert advise("2024-01-01: the moon is in the way") == FALLBACK
    assert "the next poll asks again" in FALLBACK


def test_what_is_in_quarantine_can_be_looked_at() -> None:
    told = "1 refused or rotten in quarantine, the last of 2024-01-01: mismatch: it has 2 lines"
    assert "quarantine/" in advise(told)
