"""Renders the status page from its templates; all text from upstream is escaped and bounded there.

Imports Jinja, which takes time: to be imported only where a page is made.
"""

import hashlib
import re
from datetime import date, datetime, timedelta
from functools import cache, partial

from jinja2 import Environment
from markupsafe import Markup, escape
from msgspec import Struct

from mirror.status.poll_progress import Progress
from mirror.status.problems import ADVICE
from mirror.status.snapshot import Snapshot
from mirror.status.standing import Status, judge_health, printable
from mirror.templating import load_templates
from mirror.text import ago, human_bytes, plural, utc_minute
from mirror.web.calendar import Day, DayKind, make_calendar
from mirror.web.trends import make_shares, make_trend

_MAX_POLLS = 20
_MAX_PROBLEMS = 50
_MAX_DAYS_RUNNING = 8
_MAX_RETRIES = 5
_TIME = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2})(?: ([0-9]{2}:[0-9]{2}) UTC)?\b")
# what is filled in later; nothing from upstream can look like it, for "<" is escaped
_VERSION = Markup("<version>")
_LIVE = Markup("<live>")


class Assets(Struct, frozen=True):
    """Where the page's own files are served."""

    style: str
    script: str


class Page(Struct, frozen=True):
    """A page without the running poll, which is put between the two parts."""

    before: bytes
    after: bytes
    version: str
    """A digest of both parts."""


def render_page(
    status: Status, snapshot: Snapshot, assets: Assets, *, interval: timedelta, now: datetime
) -> Page:
    """Return the page.

    Args:
        status: how the copy stands.
        snapshot: what `status` was made from.
        assets: where style and script are.
        interval: the longest time between two polls.
        now: the current time, aware UTC.
    """
    health, sentence = judge_health(status, interval=interval, now=now)
    html = (
        _templates()
        .get_template("status.html")
        .render(
            status=status,
            health=health,
            sentence=sentence,
            assets=assets,
            advice=ADVICE,
            max_problems=_MAX_PROBLEMS,
            calendar=make_calendar(_days(status, snapshot)),
            trend=make_trend(snapshot.months),
            shares=make_shares(snapshot.months),
            polls=snapshot.polls[: -_MAX_POLLS - 1 : -1],
            now=now,
            ago=partial(ago, now=now),
            version=_VERSION,
            live=_LIVE,
        )
    )
    version = hashlib.sha256(html.encode()).hexdigest()[:16]
    before, _, after = html.replace(_VERSION, version, 1).partition(_LIVE)
    return Page(before.encode(), after.encode(), version)


def render_progress(progress: Progress | None, *, is_writing: bool) -> str:
    """Return how the running poll stands, as a piece of the page; nothing where none runs.

    Args:
        progress: the poll of this process, once it knows what to ask for.
        is_writing: whether anybody writes the data directory, this process or another.
    """
    if progress is None and not is_writing:
        return ""
    return (
        _templates()
        .get_template("live.html")
        .render(progress=progress, max_days=_MAX_DAYS_RUNNING, max_retries=_MAX_RETRIES)
    )


@cache
def _templates() -> Environment:
    templates = load_templates("mirror.web")
    templates.filters |= {
        "bytes": human_bytes,
        "minute": utc_minute,
        "number": "{:,}".format,
        "plural": plural,
        "printable": printable,
        "times": _mark_times,
    }
    return templates


def _days(status: Status, snapshot: Snapshot) -> dict[date, Day]:
    opened, gone = set(status.open_days), set(status.vanished_days)
    records = snapshot.inventory.records
    days = {}
    for day, record in records.items():
        kind = DayKind.OPEN if day in opened else DayKind.VANISHED if day in gone else DayKind.HELD
        days[day] = Day(kind, record.lines)
    for day in status.missing_days:
        days[day] = Day(DayKind.MISSING)
    for one in status.quarantined:
        held = records.get(one.date)
        # a body that was taken or confirmed since then has settled the matter
        if held is None or held.checked_at < one.at:
            days[one.date] = Day(DayKind.QUARANTINED, held.lines if held else None)
    return days


def _mark_times(text: object) -> Markup:
    """Return text escaped, its dates and times as elements that machines read and none breaks."""
    return Markup(_TIME.sub(_time, escape(text)))  # noqa: S704 - it is escaped


def _time(match: re.Match[str]) -> str:
    day, minute = match.groups()
    at = f"{day}T{minute}Z" if minute else day
    return f'<time datetime="{at}">{match[0]}</time>'
