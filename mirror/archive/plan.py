"""What one poll asks for: listed days, records and the time to a plan.

Pure, so a dry run is free.
"""

from collections.abc import Collection, Iterator, Mapping
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from mirror.model import Due, Flag, Plan, Reason, Record

BYTES_PER_LINE = 320
"""What an event takes in a recent file; used until our own files tell better."""
UNKNOWN_FILE_BYTES = 2_000_000
_DAY = timedelta(days=1)


class PlanPolicy(Struct, frozen=True):
    """The settings and options that bear on a plan."""

    name_template: str
    final_after: timedelta
    since: date | None = None
    until: date | None = None
    recheck: int = 0
    """Final days to ask again about, those least recently confirmed first."""
    passed_over: frozenset[date] = frozenset()
    """Days at whose path something else stands: not asked for, since they could not be kept."""
    max_file_bytes: int = 256 * 1024**2
    """`http.max_file_size`: whatever count an index claims, no body is larger."""


def final_at(day: date, final_after: timedelta) -> datetime:
    """Return when a day's file stops growing."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + (_DAY + final_after)


def first_open_day(now: datetime, final_after: timedelta) -> date:
    """Return the first of the days whose files still grow: all of them are from it on."""
    return (now.astimezone(UTC) - final_after).date()


def make_plan(
    listed: Mapping[date, int | None],
    records: Mapping[date, Record],
    policy: PlanPolicy,
    *,
    now: datetime,
    by_name: Collection[date] = (),
) -> Plan:
    """Return the days to ask upstream for, newest first; those asked for by name come last.

    Args:
        listed: the days that upstream has, with the count that its listings promise.
        records: the days that are held.
        policy: settings and the range asked for.
        now: the current time, aware UTC.
        by_name: days that no listing has, and that are to be looked for.
    """
    days = [day for day in sorted(listed, reverse=True) if is_in_range(day, policy)]
    rechecked = _to_recheck(days, records, policy, now)
    bytes_per_line = _bytes_per_line(records)

    def dues() -> Iterator[Due]:
        for day in (day for day in days if day not in policy.passed_over):
            held = records.get(day)
            reason = _reason(day, held, listed[day], policy, now)
            if reason is None and day in rechecked:
                reason = Reason.RECHECK
            if reason is not None:
                yield Due(
                    date=day,
                    name=policy.name_template.format(date=day),
                    reason=reason,
                    expected=listed[day],
                    estimated_bytes=min(
                        _estimate(listed[day], held, bytes_per_line), policy.max_file_bytes
                    ),
                    held=held,
                    conditional=held is not None
                    and (held.etag is not None or held.last_modified is not None),
                )

    due = (*dues(), *_plan_by_name(by_name, records, policy))
    return Plan(due, listed=len(days), estimated_bytes=sum(one.estimated_bytes for one in due))


def _plan_by_name(
    days: Collection[date], records: Mapping[date, Record], policy: PlanPolicy
) -> Iterator[Due]:
    for day in days:
        if is_in_range(day, policy) and day not in records and day not in policy.passed_over:
            # most of them are not there: no room is set aside for them
            yield Due(day, policy.name_template.format(date=day), Reason.BY_NAME, None, 0)


def is_in_range(day: date, policy: PlanPolicy) -> bool:
    """Return whether the day is within the range asked for, both ends included."""
    return (policy.since is None or day >= policy.since) and (
        policy.until is None or day <= policy.until
    )


def _reason(
    day: date, held: Record | None, expected: int | None, policy: PlanPolicy, now: datetime
) -> Reason | None:
    if held is None:
        return Reason.NEW
    if expected is not None and expected != held.index_count:
        return Reason.CHANGED
    if Flag.RESTORED in held.flags:
        # put back by hand: left alone until upstream says something new of it
        return None
    final = final_at(day, policy.final_after)
    if now < final:
        return Reason.OPEN
    return Reason.SETTLING if held.checked_at < final else None


def _to_recheck(
    days: Collection[date], records: Mapping[date, Record], policy: PlanPolicy, now: datetime
) -> frozenset[date]:
    """Return the final held days whose confirmation is the oldest, at most `policy.recheck`."""
    if not policy.recheck:
        return frozenset()
    final = [
        records[day]
        for day in days
        if day in records
        and Flag.RESTORED not in records[day].flags
        and now >= final_at(day, policy.final_after)
    ]
    final.sort(key=lambda record: (record.checked_at, record.date))
    return frozenset(record.date for record in final[: policy.recheck])


def _bytes_per_line(records: Mapping[date, Record]) -> float:
    lines = sum(record.lines for record in records.values())
    return sum(record.size for record in records.values()) / lines if lines else BYTES_PER_LINE


def _estimate(expected: int | None, held: Record | None, bytes_per_line: float) -> int:
    if expected is not None:
        return int(expected * bytes_per_line)
    return held.size if held is not None else UNKNOWN_FILE_BYTES
