"""Makes up whole days of launches in the archive's own format, fast and for ever the same.

A day is drawn from prepared lines that lack their timestamp: `eras` says what they
hold, `repositories` what is launched.
"""

import json
import random
from bisect import bisect_left
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from itertools import accumulate

from tests.upstream.eras import MINUTES_A_DAY, Era, split_day
from tests.upstream.repositories import Repository, draw_repositories

# A line as its text before and after the timestamp.
_Template = tuple[str, str]
# Templates of an era and their cumulative weights.
_Pool = tuple[list[_Template], list[float]]

_STAMP = "@timestamp@"
_CLOCK = [f"T{m // 60:02}:{m % 60:02}:00+00:00" for m in range(MINUTES_A_DAY)]
# Twice as many launches in the afternoon (UTC) as in the small hours.
_RHYTHM = list(accumulate(100 - abs(m - 900) // 15 for m in range(MINUTES_A_DAY)))
_REQUEST_ORIGINS = ["same-origin", "same-origin", "", "https://jupyter.org", "https://docs.example"]

# One event in so many reaches the logs late, and lands in the middle of its file.
_LATE_EVERY = 50
_LATE_MINUTES = 180

# The file of this day really holds an event of the day before.
_CARRIED_OVER = {date(2019, 2, 22)}

_WEEKEND_SHARE = 0.55
# Days of few or no events, as shares of a usual day.
_OUTAGES = {
    date(2025, 1, 11): 0.15,
    date(2025, 1, 12): 0.14,
    date(2025, 1, 13): 0.22,
    date(2025, 1, 14): 0.0,
    date(2025, 1, 15): 0.005,
    date(2025, 1, 16): 0.0,
}


def daily_count(day: date, events_per_day: int) -> int:
    """Say how many events a day has: fewer at weekends, none in a known outage.

    Args:
        day: A UTC day.
        events_per_day: The mean of a working day.

    Returns:
        The number, always the same for the same arguments.
    """
    share = _WEEKEND_SHARE if day.weekday() >= 5 else 1.0
    noise = random.Random(day.toordinal()).uniform(0.9, 1.1)
    return round(events_per_day * share * noise * _OUTAGES.get(day, 1.0))


def make_day(day: date, count: int, *, seed: int = 0, until: datetime | None = None) -> bytes:
    """Make the body of a day's file.

    Args:
        day: The UTC day.
        count: The number of events of the whole day.
        seed: Another seed makes another day.
        until: The moment, aware, at which the raw logs are read: later events
            and late ones are missing. None for the whole day.

    Returns:
        JSON Lines, sorted by timestamp, each ended by a newline; exactly `count`
        without `until`.
    """
    rng = random.Random(f"{seed}/{day}/{count}")
    minutes = sorted(rng.choices(range(MINUTES_A_DAY), cum_weights=_RHYTHM, k=count))
    iso_day = day.isoformat()
    lines: list[str] = []
    for stretch in split_day(day):
        part = minutes[bisect_left(minutes, stretch.start) : bisect_left(minutes, stretch.stop)]
        templates, cum_weights = _merge_pools([_make_pool(era, seed) for era in stretch.eras])
        drawn = rng.choices(templates, cum_weights=cum_weights, k=len(part))
        lines += [
            before + iso_day + _CLOCK[minute] + after
            for minute, (before, after) in zip(part, drawn, strict=True)
        ]
    if day in _CARRIED_OVER and lines:
        yesterday = (day - timedelta(days=1)).isoformat()
        lines[0] = lines[0].replace(iso_day + _CLOCK[minutes[0]], yesterday + _CLOCK[-1])
    if until is not None:
        lines = _select_arrived(lines, minutes, until - datetime.combine(day, time(), UTC))
    return "".join(lines).encode()


def _select_arrived(lines: list[str], minutes: list[int], age: timedelta) -> list[str]:
    """Keep the lines that are in the logs when the day is `age` old."""
    now = age.total_seconds() / 60
    late = dict.fromkeys(range(0, len(lines), _LATE_EVERY), _LATE_MINUTES)
    return [
        line
        for index, (line, minute) in enumerate(zip(lines, minutes, strict=True))
        if minute + late.get(index, 0) < now
    ]


def _merge_pools(pools: list[_Pool]) -> _Pool:
    if len(pools) == 1:
        return pools[0]
    templates: list[_Template] = []
    cum_weights: list[float] = []
    for more, weights in pools:
        offset = cum_weights[-1] if cum_weights else 0.0
        templates += more
        cum_weights += [offset + weight for weight in weights]
    return templates, cum_weights


@lru_cache(maxsize=32)
def _make_pool(era: Era, seed: int) -> _Pool:
    # The same source for all eras: repositories live on from one to the next.
    rng = random.Random(f"{seed}/repositories")
    events: list[dict[str, object]] = []
    weights: list[float] = []
    for repository in draw_repositories(rng, era.providers):
        # What is launched often is launched in several ways.
        ways = 1 + int(repository.weight // 5)
        events += [_make_event(era, repository, rng) for _ in range(ways)]
        weights += [repository.weight / ways] * ways
    if era.version >= 5:
        # A logger's own field slips through now and then.
        events.append(events[0] | {"python_logger": None})
        weights.append(0.5)
    return [_make_template(era, event) for event in events], list(accumulate(weights))


def _make_event(era: Era, repository: Repository, rng: random.Random) -> dict[str, object]:
    disguised = era.gists_disguised and repository.provider == "Gist"
    event: dict[str, object] = {
        "timestamp": _STAMP,
        "schema": "binderhub.jupyter.org/launch",
        "version": era.version,
        "provider": "GitHub" if disguised else repository.provider,
        "spec": repository.spec,
    }
    if era.version >= 4:
        event["ref"] = repository.ref
    event["status"] = "success"
    if era.version >= 5:
        event["build_token"] = rng.random() < 0.1
    if era.version >= 3:
        event["origin"] = rng.choice(era.origins)
    if era.version >= 6:
        event["request_origin"] = rng.choice(_REQUEST_ORIGINS)
    return event


def _make_template(era: Era, event: dict[str, object]) -> _Template:
    text = json.dumps(event, sort_keys=era.alphabetical) + "\n"
    before, _, after = text.partition(_STAMP)
    return before, after
