"""Plans a poll: from listed days, records and the time, which days to ask for, and why.

Pure, so a dry run is free.
"""

import heapq
from collections.abc import Collection, Mapping
from datetime import UTC, date, datetime, timedelta

from msgspec import Struct

from mirror.config.settings import Config, HttpConfig
from mirror.errors import UpstreamError
from mirror.model import DayRange, Due, Flag, Plan, Reason, Record

BYTES_PER_LINE = 320  # what an event takes in a recent file; used until there are files of our own
UNKNOWN_FILE_BYTES = 2_000_000
ABSENT_STATUSES = (403, 410)
"""Statuses that mean absence too, of a day that no listing has: a store that may not be listed
answers 403 for what it has not."""
_TRANSIENT_STATUSES = frozenset({408, 425, 429})
_DAY = timedelta(days=1)
_FIRST_YEAR, _LAST_YEAR = 2000, 2200
_DEFAULTS = Config()


class DayRules(Struct, frozen=True):
    """What a day's file is called, and when it is final: what upstream's days have in common."""

    name_template: str = _DEFAULTS.upstream.name_template  # the name, with `{date}` in it
    final_after: timedelta = timedelta(seconds=_DEFAULTS.schedule.final_after)
    """How long after a day's end upstream may still change its file."""
    since: date | None = None  # the first day to keep, where the settings say it

    @staticmethod
    def of(config: Config) -> "DayRules":
        """Return the rules that the settings make."""
        since = config.storage.since
        return DayRules(
            config.upstream.name_template,
            timedelta(seconds=config.schedule.final_after),
            date.fromisoformat(since) if since else None,
        )

    def name_of(self, day: date) -> str:
        """Return the name of a day's file."""
        return self.name_template.format(date=day)

    def day_of(self, name: str) -> date | None:
        """Return the day of a daily file by its name, or None for any other name."""
        before, _, after = self.name_template.partition("{date}")
        try:
            day = date.fromisoformat(name.removeprefix(before).removesuffix(after))
        except ValueError:
            return None
        return day if name == self.name_of(day) and is_plausible(day) else None

    def final_at(self, day: date) -> datetime:
        """Return when a day's file stops growing."""
        return end_of(day) + self.final_after

    def is_final(self, day: date, now: datetime) -> bool:
        """Return whether upstream is done with a day's file."""
        return now >= self.final_at(day)

    def first_open(self, now: datetime) -> date:
        """Return the first of the days whose files still grow: all of them are from it on."""
        return (now.astimezone(UTC) - self.final_after).date()


class PollRange(Struct, frozen=True):
    """Which days a poll is about."""

    days: DayRange = DayRange()
    recheck: int = 0  # final days to ask again about, those least recently confirmed first
    disputed: frozenset[date] = frozenset()
    """Days whose body was refused, and may yet be taken: due until that is settled."""
    remembers: bool = False  # whether the first of these days is the first to keep from now on
    kept_since: date | None = None
    """The first day to keep, where earlier ones were asked for: they are none of the copy's."""


def is_plausible(day: date) -> bool:
    """Return whether a day can be one of an archive: whatever is reckoned with it has a date."""
    return _FIRST_YEAR <= day.year < _LAST_YEAR


def end_of(day: date) -> datetime:
    """Return when a day is over, in UTC."""
    return datetime(day.year, day.month, day.day, tzinfo=UTC) + _DAY


def make_plan(
    listed: Mapping[date, int | None],
    records: Mapping[date, Record],
    rules: DayRules,
    asked: PollRange,
    *,
    now: datetime,
    by_name: Collection[date] = (),
    passed_over: Collection[date] = (),
    max_file_bytes: int = _DEFAULTS.http.max_file_size,
) -> Plan:
    """Return the days to ask upstream for, newest first; those asked for by name come last.

    `listed` has the counts that upstream's listings promise. No listing has the days `by_name`,
    which are to be looked for; those `passed_over` could not be kept, for something else stands in
    their place. Whatever count an index claims, no body is larger than `max_file_bytes`.
    """
    days = [day for day in sorted(listed, reverse=True) if day in asked.days]
    rechecked = _to_recheck(days, records, rules, asked.recheck, now)
    held_lines = sum(record.lines for record in records.values())
    held_bytes = sum(record.size for record in records.values())
    bytes_per_line = held_bytes / held_lines if held_lines else BYTES_PER_LINE
    due: list[Due] = []
    for day in days:
        held, expected = records.get(day), listed[day]
        reason = _reason(day, held, expected, rules, now)
        is_disputed = day in asked.disputed and held is not None and Flag.RESTORED not in held.flags
        if reason is None and (day in rechecked or is_disputed):
            reason = Reason.RECHECK
        if reason is not None and day not in passed_over:
            known = held.size if held is not None else UNKNOWN_FILE_BYTES
            estimate = known if expected is None else int(expected * bytes_per_line)
            size = min(estimate, max_file_bytes)
            due.append(Due(day, rules.name_of(day), reason, expected, size, held))
    # most of those asked for by name are not there: no room is set aside for them
    due += [
        Due(day, rules.name_of(day), Reason.BY_NAME, None, 0)
        for day in by_name
        if day in asked.days and day not in records and day not in passed_over
    ]
    return Plan(tuple(due), len(days), sum(one.estimated_bytes for one in due))


def _reason(
    day: date, held: Record | None, expected: int | None, rules: DayRules, now: datetime
) -> Reason | None:
    if held is None:
        return Reason.NEW
    if expected is not None and expected != held.index_count:
        return Reason.CHANGED
    if Flag.RESTORED in held.flags:
        # put back by hand: left alone until upstream says something new of it
        return None
    final = rules.final_at(day)
    if now < final:
        return Reason.OPEN
    # a clock that was ahead confirmed nothing
    return None if final <= held.checked_at <= now else Reason.SETTLING


def _to_recheck(
    days: Collection[date],
    records: Mapping[date, Record],
    rules: DayRules,
    number: int,
    now: datetime,
) -> frozenset[date]:
    """Return the final held days whose confirmation is the oldest, at most `number`."""
    if not number:
        return frozenset()
    final = [
        (record.checked_at if record.checked_at <= now else end_of(day), day)
        for day in days
        if (record := records.get(day)) is not None
        and Flag.RESTORED not in record.flags
        and rules.is_final(day, now)
    ]
    return frozenset(day for _, day in heapq.nsmallest(number, final))


def is_transient_status(status: int) -> bool:
    """Return whether an HTTP error status may pass by itself."""
    return status >= 500 or status in _TRANSIENT_STATUSES


def retry_delay(
    attempt: int, config: HttpConfig, error: UpstreamError, *, fraction: float
) -> float | None:
    """Return the seconds to wait before the next try, or None to stop.

    Full jitter, as in
    https://aws.amazon.com/blogs/architecture/exponential-backoff-and-jitter/.

    `attempt` tries were made so far; `fraction` is the jitter, a random number in [0, 1) drawn by
    the caller. The cap of the settings, `max_backoff`, holds for a `Retry-After` too.
    """
    if attempt > config.retries or not error.transient:
        return None
    # beyond 2**32 any cap is reached; the exponent is bounded for the sake of the float
    ceiling = min(config.max_backoff, config.backoff * 2.0 ** min(attempt - 1, 32))
    return min(max(fraction * ceiling, error.retry_after_s or 0), config.max_backoff)
