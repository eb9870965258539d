"""The clock: read here alone, and passed in wherever a time is needed."""

from datetime import UTC, datetime


def utc_now() -> datetime:
    """Return the current time, aware UTC."""
    return datetime.now(UTC)
