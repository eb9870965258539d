"""Whether polls are complete and recent: the one rule for `/readyz` and `health`. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import NamedTuple

_GRACE = timedelta(minutes=5)
_INTERVALS = 3  # a mirror is ready for so many intervals, and the grace, after a complete poll


class Readiness(NamedTuple):
    """Whether it is ready, and why or why not."""

    is_ready: bool
    reason: str


def is_ahead(at: datetime, now: datetime) -> bool:
    """Return whether a moment on record is in the future: a clock was wrong, then or now."""
    return at - now > _GRACE


def last_success(successes: Sequence[datetime], *, now: datetime) -> datetime | None:
    """Return when the last complete poll ended; a moment in the future where there is no other."""
    past = (at for at in successes if not is_ahead(at, now))
    return max(past, default=max(successes, default=None))


def judge_readiness(
    last_success_at: datetime | None, *, interval: timedelta, now: datetime
) -> Readiness:
    """Return whether there was a complete poll, no older than 3 intervals and 5 minutes.

    One dated in the future is of unknown age, and does not count. The age of the data itself is no
    part of it: that is upstream's business, and an alert. The interval is the longest time between
    two polls.
    """
    if last_success_at is None:
        return Readiness(is_ready=False, reason="no poll has been complete yet")
    ended = last_success_at.astimezone(UTC)
    when = f"the last complete poll ended at {ended:%Y-%m-%d %H:%M:%S} UTC"
    allowed = _INTERVALS * interval + _GRACE
    if is_ahead(last_success_at, now):
        return Readiness(is_ready=False, reason=f"{when}, in the future: a clock is or was wrong")
    if now - last_success_at > allowed:
        return Readiness(is_ready=False, reason=f"{when}, more than {allowed} ago")
    return Readiness(is_ready=True, reason=when)
