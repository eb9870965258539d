"""Decides whether a mirror is ready: one rule for `/readyz` and `health`. Pure."""

from datetime import UTC, datetime, timedelta

from msgspec import Struct

from mirror.model import PollReport

GRACE = timedelta(minutes=5)
INTERVALS = 3


class Readiness(Struct, frozen=True):
    """Whether it is ready, and why or why not."""

    is_ready: bool
    reason: str


def judge_readiness(
    last_complete: PollReport | None, *, interval: timedelta, now: datetime
) -> Readiness:
    """Return whether there was a complete poll, no older than 3 intervals and 5 minutes.

    The age of the data itself is no part of it: that is upstream's business, and an alert.

    Args:
        last_complete: the complete poll that ended last; None for none.
        interval: the time between two polls; the longest, where they are not even.
        now: the current time, aware UTC.
    """
    if last_complete is None:
        return Readiness(is_ready=False, reason="no poll has been complete yet")
    ended_at = last_complete.ended_at
    when = f"the last complete poll ended at {ended_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    allowed = INTERVALS * interval + GRACE
    if now - ended_at > allowed:
        return Readiness(is_ready=False, reason=f"{when}, more than {allowed} ago")
    return Readiness(is_ready=True, reason=when)
