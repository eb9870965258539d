"""Times to poll at: crontab lines, translated for APScheduler, and the longest pause between two.

APScheduler is slow to import: it is, where there is a crontab line.
"""

import re
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING

from mirror.config.settings import ScheduleConfig
from mirror.text import plural

if TYPE_CHECKING:
    from apscheduler.triggers.base import BaseTrigger

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_DAY = "|".join(("[0-7]", *_DAYS))
_MONTHS = ("jan", "feb", "mar", "apr", "may", "jun", "jul", "aug", "sep", "oct", "nov", "dec")
_NICKNAMES = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_A_LEAP_YEAR = datetime(2000, 1, 1, tzinfo=UTC)
_FIELD = re.compile(r"(?:(?:(?:\*|\d+-\d+)(?:/\d+)?|\d+)(?:,(?!$)|$))+")
"""A crontab's field, names replaced: numbers, ranges and asterisks, after which alone comes a step;
APScheduler takes more, which crontabs have not."""
_WEEKDAYS = re.compile(rf"(?:(?:\*|({_DAY})-({_DAY}))(?:/(0?[1-9]|[1-9][0-9]))?|({_DAY}))")
"""One choice in a crontab's last field: first day, last day, step; or the one day."""
_LOOKED_AHEAD = timedelta(days=5 * 366)  # a leap day is among them


def crontab_trigger(line: str, jitter_s: float | None = None, **instead: str) -> "BaseTrigger":
    """Return what fires at the times of a crontab line, up to `jitter_s` later.

    With fields by APScheduler's names, such as `day="*"`, these hold and not the line's own. A
    ValueError says what is wrong with the line, or that it has no time that ever comes.
    """
    from apscheduler.triggers.combining import OrTrigger  # noqa: PLC0415
    from apscheduler.triggers.cron import CronTrigger  # noqa: PLC0415

    choices = (choice | instead for choice in crontab_choices(line))
    triggers = [CronTrigger(**choice, timezone=UTC) for choice in choices]
    # to look for a 30 February takes it a second, each time
    coming = [one for one in triggers if one.get_next_fire_time(None, _A_LEAP_YEAR) is not None]
    if not coming:
        raise ValueError("it never comes: its months have no such day")
    return OrTrigger(coming, jitter=jitter_s)


def crontab_choices(line: str) -> list[dict[str, str]]:
    """Return what a crontab line means: one or two choices of times, by APScheduler's names.

    As crontab(5) has it, a day of the month *or* of the week will do where both are restricted,
    which is where neither has an asterisk. APScheduler wants both, and counts the days of the week
    from Monday, while 0 and 7 are Sunday in a crontab. A ValueError says that there are not five
    fields, or that one is no choice of its numbers.
    """
    values = _NICKNAMES.get(line.strip().lower(), line).lower().split()
    if len(values) != 5 or not line.isascii():
        raise ValueError(f"has {plural(len(values), 'field')}, not 5")
    minute, hour, day, month, weekdays = values
    for number, name in enumerate(_MONTHS, start=1):
        month = re.sub(rf"\b{name}\b", str(number), month)
    times = {"minute": minute, "hour": hour, "month": month}
    for name, field in {**times, "day of the month": day}.items():
        if _FIELD.fullmatch(field) is None:
            raise ValueError(f'"{field}" is no choice for the {name}')
    of_week = weekdays if weekdays == "*" else _weekdays(weekdays)
    if "*" in day or "*" in weekdays:
        return [{**times, "day": day, "day_of_week": of_week}]
    return [{**times, "day": day}, {**times, "day_of_week": of_week}]


def _weekdays(field: str) -> str:
    days: set[int] = set()
    for part in field.split(","):
        wrong = ValueError(f'"{part}" is no choice of weekdays')
        if (match := _WEEKDAYS.fullmatch(part)) is None:
            raise wrong
        ends = (match[1] or match[4] or "0", match[2] or match[4] or "6")
        start, end = (int(day) if day.isdigit() else _DAYS.index(day) for day in ends)
        if end < start:
            raise wrong
        days.update(day % 7 for day in range(start, end + 1, int(match[3] or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def jitter_s(config: ScheduleConfig) -> float:
    """Return by how many seconds a poll may be late at most."""
    # more than half the interval would be no rhythm any more
    return config.jitter if config.cron else min(config.jitter, config.interval / 2)


def longest_interval(config: ScheduleConfig, *, now: datetime) -> timedelta:
    """Return the longest time between two polls, jitter included."""
    longest = timedelta(seconds=config.interval)
    if config.cron:
        # it fires at the same times on each of its days: so those are looked at, and its days
        each_day = crontab_trigger(config.cron, day="*", month="*", day_of_week="*")
        at_midnight = crontab_trigger(config.cron, hour="0", minute="0")
        *times, _ = _fires(each_day, now, timedelta(days=1), step=timedelta(minutes=1))
        days = _fires(at_midnight, now, _LOOKED_AHEAD, step=timedelta(days=1))
        nights = [after - before - (times[-1] - times[0]) for before, after in pairwise(days)]
        longest = max(nights + [after - before for before, after in pairwise(times)])
    return longest + timedelta(seconds=jitter_s(config))


def _fires(
    trigger: "BaseTrigger", now: datetime, span: timedelta, *, step: timedelta
) -> list[datetime]:
    """Return when a trigger fires from midnight on, at least `step` apart, and once after that."""
    begin = now.replace(hour=0, minute=0, second=0, microsecond=0) + timedelta(days=1)
    fires = [trigger.get_next_fire_time(None, begin)]
    while fires[-1] < begin + span:
        fires.append(trigger.get_next_fire_time(None, fires[-1] + step))
    return fires
