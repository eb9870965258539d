"""Translates a crontab line into APScheduler's fields. Pure.

Its own reading of a line differs in the last field: it counts the days from Monday, while 0 and 7
are Sunday to crontab(5) and to everybody who writes one.
"""

_DAYS = ("sun", "mon", "tue", "wed", "thu", "fri", "sat")
_FIELDS = ("minute", "hour", "day", "month")


def crontab_fields(line: str) -> dict[str, str]:
    """Return the five fields by APScheduler's names, weekdays by theirs.

    Raises:
        ValueError: there are not five fields, or the last one is no choice of weekdays.
    """
    values = line.split()
    if len(values) != len(_FIELDS) + 1:
        raise ValueError(f"has {len(values)} fields, not 5")
    fields = dict(zip(_FIELDS, values[:-1], strict=True))
    return {**fields, "day_of_week": _weekdays(values[-1].lower())}


def _weekdays(field: str) -> str:
    if field == "*":
        return field
    days: set[int] = set()
    for part in field.split(","):
        span, _, step = part.partition("/")
        first, dash, last = span.partition("-")
        if span == "*":
            first, dash, last = "0", "-", "6"
        start = _weekday(first)
        end = _weekday(last) if dash else start
        if end < start or (step and not _number(step, part) >= 1):
            raise ValueError(f'"{part}" is no choice of weekdays')
        days.update(day % 7 for day in range(start, end + 1, int(step or 1)))
    return ",".join(_DAYS[day] for day in sorted(days))


def _weekday(text: str) -> int:
    if text in _DAYS:
        return _DAYS.index(text)
    number = _number(text, text)
    if number > 7:
        raise ValueError(f'"{text}" is no weekday')
    return number


def _number(text: str, part: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 2):
        raise ValueError(f'"{part}" is no choice of weekdays')
    return int(text)
