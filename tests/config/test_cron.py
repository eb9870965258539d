"""A crontab line means what crontab(5) says, not what APScheduler makes of it."""

from datetime import UTC, datetime

import pytest

from mirror.config.cron import crontab_choices, crontab_trigger

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
    (choice,) = crontab_choices(f"5 4 * * {field}")
    assert choice["day_of_week"] == days


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
        "0 0 * * 1/2",
        "5/15 * * * *",
        "1,,2 * * * *",
        "1, * * * *",
        "*-5 * * * *",
        "60 * * * *",
        "* 24 * * *",
        "0 0 last * *",
        "0 0 1st-mon * *",
        "0 0 * may/2 *",
        "0 0 * ma *",
        "@reboot",
        "\uff10 0 * * *",
    ],
)
def test_what_is_no_crontab_line_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match=r"fields?,|weekday|choice for the|higher than"):
        crontab_trigger(line)


def fires(line: str, count: int) -> list[str]:
    """Return the days and times at which a line first fires after a Sunday noon."""
    trigger, fire, found = crontab_trigger(line), None, []
    while len(found) < count and (fire := trigger.get_next_fire_time(fire, fire or SUNDAY)):
        found.append(f"{fire:%a %m-%d %H:%M}")
    return found


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        ("30 6 * * 1", ["Mon 11-23 06:30", "Mon 11-30 06:30", "Mon 12-07 06:30"]),
        # a day of the month or of the week, where both are restricted
        ("0 12 25 * 5", ["Wed 11-25 12:00", "Fri 11-27 12:00", "Fri 12-04 12:00"]),
        ("0 0 24-25 11,12 tue", ["Tue 11-24 00:00", "Wed 11-25 00:00", "Tue 12-01 00:00"]),
        ("0 0 30 2 1", ["Mon 02-01 00:00", "Mon 02-08 00:00", "Mon 02-15 00:00"]),
        # both, where one has an asterisk
        ("0 0 */2 * 1", ["Mon 11-23 00:00", "Mon 12-07 00:00", "Mon 12-21 00:00"]),
        ("0 0 1 Jan,FEB *", ["Fri 01-01 00:00", "Mon 02-01 00:00", "Sat 01-01 00:00"]),
        ("0 0 1 jan-mar/2 *", ["Fri 01-01 00:00", "Mon 03-01 00:00", "Sat 01-01 00:00"]),
        ("@hourly", ["Sun 11-22 12:00", "Sun 11-22 13:00", "Sun 11-22 14:00"]),
        ("@Weekly", ["Sun 11-29 00:00", "Sun 12-06 00:00", "Sun 12-13 00:00"]),
        ("0 0 29 feb *", ["Tue 02-29 00:00", "Sun 02-29 00:00", "Fri 02-29 00:00"]),
    ],
)
def test_it_fires_when_crontab_5_says(line: str, expected: list[str]) -> None:
    assert fires(line, len(expected)) == expected


@pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 30-31 feb *", "0 0 31 4,6,9,11 *"])
def test_a_line_that_never_fires_is_refused(line: str) -> None:
    with pytest.raises(ValueError, match="never comes"):
        crontab_trigger(line)
