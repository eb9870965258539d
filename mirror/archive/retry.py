"""When to ask again: error and attempt to a delay, or the decision to stop. Pure.

Full jitter, as in https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.
"""

from msgspec import Struct

from mirror.errors import UpstreamError

_TRANSIENT_STATUSES = frozenset({408, 425, 429})


class RetryPolicy(Struct, frozen=True):
    """How often and how long; seconds."""

    retries: int
    """Tries after the first."""
    backoff_s: float
    max_backoff_s: float
    """Caps a single wait, `Retry-After` included."""


def is_transient_status(status: int) -> bool:
    """Return whether an HTTP error status may pass by itself."""
    return status >= 500 or status in _TRANSIENT_STATUSES


def retry_delay(
    attempt: int, policy: RetryPolicy, *, fraction: float, error: UpstreamError | None = None
) -> float | None:
    """Return the seconds to wait before the next try, or None to stop.

    Args:
        attempt: tries made so far, from 1.
        policy: the bounds.
        fraction: a random number in [0, 1): the jitter, drawn by the caller.
        error: what failed; None where a body came and was refused.
    """
    if attempt > policy.retries or (error is not None and not error.transient):
        return None
    # beyond 2**32 any cap is reached; the exponent is bounded for the sake of the float
    ceiling = min(policy.max_backoff_s, policy.backoff_s * 2.0 ** min(attempt - 1, 32))
    delay = fraction * ceiling
    if error is not None and error.retry_after_s is not None:
        delay = max(delay, error.retry_after_s)
    return min(delay, policy.max_backoff_s)
