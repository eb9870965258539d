"""Whether a mirror is fit to be sent readers: one rule for `/readyz` and `health`. Pure."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta

from msgspec import Struct

from mirror.errors import ExitCode
from mirror.model import PollReport

GRACE = timedelta(minutes=5)
INTERVALS = 3


class Readiness(Struct, frozen=True):
    """Whether it is ready, and why or why not."""

    is_ready: bool
    reason: str


def judge_readiness(
    polls: Sequence[PollReport], *, interval: timedelta, now: datetime
) -> Readiness:
    """Return whether there was a complete poll, no older than 3 intervals and 5 minutes.

    The age of the data itself is no part of it: that is upstream's business, and an alert.

    Args:
        polls: the last polls, latest last.
        interval: the time between two polls; the longest, where they are not even.
        now: the current time, aware UTC.
    """
    ended = [
        poll.started_at + timedelta(seconds=poll.duration_s)
        for poll in polls
        if poll.exit_code == ExitCode.COMPLETE
    ]
    if not ended:
        return Readiness(is_ready=False, reason="no poll has been complete yet")
    # the latest by time, not by place: a clock that was wrong may have put them out of order
    age = now - max(ended)
    when = f"the last complete poll ended at {max(ended).astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    allowed = INTERVALS * interval + GRACE
    if age > allowed:
        return Readiness(is_ready=False, reason=f"{when}, more than {allowed} ago")
    return Readiness(is_ready=True, reason=when)
