"""One rule for `/readyz` and `health`: a complete poll, no older than 3 intervals and 5 minutes."""

from datetime import UTC, datetime, timedelta

import pytest
from msgspec.structs import replace

from mirror.model import IndexState, PollReport
from mirror.status.readiness import judge_readiness, last_success

NOW = datetime(2026, 5, 4, 12, tzinfo=UTC)
INTERVAL = timedelta(minutes=30)
COMPLETE = PollReport(
    exit_code=0,
    index_state=IndexState.FRESH,
    listed=1,
    held=1,
    events=1,
    archive_bytes=1,
    outcomes={},
)


@pytest.mark.parametrize(
    ("age", "ready"),
    [
        (timedelta(0), True),
        (timedelta(minutes=95), True),
        (timedelta(minutes=95, seconds=1), False),
        (timedelta(minutes=-5), True),
        (timedelta(minutes=-5, seconds=-1), False),
        (timedelta(days=-365), False),
    ],
)
def test_a_complete_poll_counts_for_three_intervals_and_five_minutes(
    age: timedelta, ready: bool
) -> None:
    assert judge_readiness(NOW - age, interval=INTERVAL, now=NOW).is_ready is ready


def test_it_is_the_end_of_the_poll_that_counts() -> None:
    long = replace(COMPLETE, started_at=NOW - timedelta(hours=5), duration_s=4 * 3600)

    assert judge_readiness(long.ended_at, interval=INTERVAL, now=NOW).is_ready


def test_without_a_complete_poll_it_is_not_ready() -> None:
    found = judge_readiness(None, interval=INTERVAL, now=NOW)

    assert not found.is_ready
    assert found.reason == "no poll has been complete yet"


def test_a_poll_dated_in_the_future_is_said_to_be() -> None:
    found = judge_readiness(NOW + timedelta(days=365), interval=INTERVAL, now=NOW)

    assert found.reason == (
        "the last complete poll ended at 2027-05-04 12:00:00 UTC, in the future: a clock is or was "
        "wrong"
    )


def test_the_last_success_is_the_last_one_that_is_no_later_than_now() -> None:
    ahead, behind = NOW + timedelta(days=365), NOW - timedelta(hours=1)

    assert last_success((behind, ahead), now=NOW) == behind
    assert last_success((ahead,), now=NOW) == ahead
    assert last_success((), now=NOW) is None


def test_the_reason_says_since_when() -> None:
    found = judge_readiness(NOW - timedelta(hours=9), interval=INTERVAL, now=NOW)

    assert found.reason == (
        "the last complete poll ended at 2026-05-04 03:00:00 UTC, more than 1:35:00 ago"
    )
