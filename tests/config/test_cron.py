"""A crontab line means what crontab(5) says, not what APScheduler makes of it."""

from datetime import UTC, datetime, timedelta

import pytest
from apscheduler.triggers.cron import CronTrigger

from mirror.config.loading import crontab_fields

SUNDAY = datetime(2026, 11, 22, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("field", "days"),
    [
        ("*", "*"),
        ("0", "sun"),
        ("7", "sun"),
        ("1", "mon"),
        ("1-5", "mon,tue,wed,thu,fri"),
        ("5-7", "sun,fri,sat"),
        ("0,3", "sun,wed"),
        ("*/2", "sun,tue,thu,sat"),
        ("1-5/2", "mon,wed,fri"),
        ("mon-wed", "mon,tue,wed"),
        ("SAT", "sat"),
    ],
)
def test_weekdays_are_counted_from_sunday(field: str, days: str) -> None:
    assert crontab_fields(f"5 4 * * {field}")["day_of_week"] == days


@pytest.mark.parametrize(
    "line",
    [
        "",
        "* * * *",
        "* * * * * *",
        "0 0 * * 8",
        "0 0 * * 5-1",
        "0 0 * * */0",
        "0 0 * * 1-",
        "0 0 * * x",
        "0 0 * * ٣",
        "0 0 * * 1//2",
    ],
)
def test_what_is_no_crontab_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"fields|weekday"):
        crontab_fields(line)


def test_the_scheduler_fires_on_the_day_that_was_meant() -> None:
    trigger = CronTrigger(**crontab_fields("30 6 * * 1"), timezone=UTC)

    fire = trigger.get_next_fire_time(None, SUNDAY)

    assert fire == SUNDAY.replace(hour=6, minute=30) + timedelta(days=1)
