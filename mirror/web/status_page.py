"""Renders the status page as HTML. Pure; all text from upstream is escaped."""

import hashlib
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from html import escape

from msgspec import Struct

from mirror.errors import ExitCode
from mirror.model import PollReport, Problem
from mirror.status.problems import ADVICE
from mirror.status.readiness import judge_readiness
from mirror.status.snapshot import Snapshot
from mirror.status.standing import Status, told
from mirror.text import human_bytes, plural
from mirror.web.calendar import Day, DayKind, fill_gaps, render_calendar, render_tables
from mirror.web.markup import with_times
from mirror.web.trends import render_trends

_TOLD_POLLS = 20
_TOLD_PROBLEMS = 50
_HEALTHS = {"good": "In step", "attention": "Look at it", "failing": "Not in step"}


class Assets(Struct, frozen=True):
    """Where the page's own files are served."""

    style: str
    script: str


class Page(Struct, frozen=True):
    """A page but for the running poll, which has its place between the two parts."""

    before: bytes
    after: bytes
    version: str
    """Another for whatever is different."""


def render_page(
    status: Status, snapshot: Snapshot, assets: Assets, *, interval: timedelta, now: datetime
) -> Page:
    """Return the page.

    Args:
        status: how the copy stands.
        snapshot: what it stands on.
        assets: where style and script are.
        interval: the longest time between two polls.
        now: the current time, aware UTC.
    """
    health, sentence = judge_health(status, snapshot.last_complete, interval=interval, now=now)
    days = fill_gaps(_days(status, snapshot))
    head = (
        f"{_head(assets, health)}<header><h1>Binder events archive</h1>"
        f'<p class="sentence {health}" role="status">{with_times(escape(sentence))}</p>'
        f'<p class="soft">{_origin(status, now)}</p></header>'
    )
    sections = (
        _problems(status.problems),
        _figures(status),
        _section("calendar", "Every day", _calendar(days)),
        render_trends(snapshot.months),
        _polls(snapshot.polls),
    )
    after = (
        f'</div>{"".join(sections)}</main><footer class="soft"><p>As of {_moment(now)}. '
        '<a href="/">The archive</a>, <a href="/status.json">this page for programs</a>, '
        '<a href="/metrics">metrics</a>.</p></footer></body></html>\n'
    )
    version = hashlib.sha256((head + after).encode()).hexdigest()[:16]
    main = f'<main id="main" tabindex="-1" data-version="{version}"><div id="live">'
    return Page((head + main).encode(), after.encode(), version)


def judge_health(
    status: Status, last_complete: PollReport | None, *, interval: timedelta, now: datetime
) -> tuple[str, str]:
    """Return "good", "attention" or "failing", and the sentence that says why."""
    last = status.last_poll
    if last is None:
        return "attention", "Nothing has been polled yet: the first poll fills the copy."
    if last.exit_code != ExitCode.COMPLETE or status.missing_days:
        return "failing", status.sentence
    if not judge_readiness(last_complete, interval=interval, now=now).is_ready:
        return "failing", f"Upstream has not been asked since {_moment(last.started_at)}."
    calm = status.index_state.is_healthy
    return "good" if calm and not status.quarantined else "attention", status.sentence


def _head(assets: Assets, health: str) -> str:
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        '<meta name="color-scheme" content="light dark">'
        '<noscript><meta http-equiv="refresh" content="60"></noscript>'
        f"<title>{_HEALTHS[health]}: Binder events archive</title>"
        '<link rel="icon" href="data:,">'
        f'<link rel="stylesheet" href="{assets.style}">'
        f'<script src="{assets.script}" defer></script></head>'
        '<body><a class="skip" href="#main">To the content</a>'
    )


def _origin(status: Status, now: datetime) -> str:
    if not status.upstream_url:
        return "A mirror that has not asked its upstream yet."
    line = f"A mirror of {escape(told(status.upstream_url))}."
    last, success = status.last_poll, status.last_success_at
    if last is not None:
        line += f" Asked {_ago(last.started_at, now)}."
        if last.ended_at != success:
            line += f" Last complete poll: {_moment(success)}."
    return with_times(line)


def _section(name: str, title: str, inside: str) -> str:
    return f'<section aria-labelledby="{name}"><h2 id="{name}">{title}</h2>{inside}</section>'


def _problems(problems: tuple[Problem, ...]) -> str:
    if not problems:
        return ""
    items = "".join(
        f'<li>{escape(told(one.line()))} <span class="soft">{escape(ADVICE[one.kind])}</span>'
        for one in problems[:_TOLD_PROBLEMS]
    )
    more = len(problems) - _TOLD_PROBLEMS
    rest = f"<li>and {more:,} more" if more > 0 else ""
    return _section("problems", "To look at", f'<ul class="problems">{items}{rest}</ul>')


def _figures(status: Status) -> str:
    if not status.held:
        return ""
    state = "still open" if status.newest_day in status.open_days else "final"
    changed = f"changed {_moment(status.index_changed_at)}"
    size = f"{human_bytes(status.archive_bytes)} of JSON Lines"
    figures = [
        ("Days held", f"{status.held:,}", f"{status.first_day} to {status.newest_day}"),
        ("Events", f"{status.events:,}", size),
        ("Newest day", str(status.newest_day), state),
        ("Index of upstream", str(status.index_state), changed),
    ]
    figures += [
        (name, f"{len(days):,}", _some(days))
        for name, days in (("Missing", status.missing_days), ("Vanished", status.vanished_days))
        if days
    ]
    if status.pending_findings:
        figures.append(("Pending", f"{status.pending_findings:,}", "days still to be counted"))
    if status.quarantined:
        last = status.quarantined[-1]
        figures.append(
            ("In quarantine", f"{len(status.quarantined):,}", f"the last of {last.date}")
        )
    cells = "".join(
        f'<div><dt>{name}<dd>{escape(value)}<dd class="soft">{with_times(escape(more))}</div>'
        for name, value, more in figures
    )
    return _section("figures", "What is held", f'<dl class="figures">{cells}</dl>')


def _some(days: Iterable[date]) -> str:
    ordered = sorted(days)
    latest = ", ".join(map(str, ordered[-3:]))
    return latest if len(ordered) <= 3 else f"the latest {latest}"


def _calendar(days: dict[date, Day]) -> str:
    tables = render_tables(days)
    details = f'<details id="every-day"><summary>The calendar as tables</summary>{tables}</details>'
    return render_calendar(days) + (details if days else "")


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


def _polls(polls: tuple[PollReport, ...]) -> str:
    if not polls:
        return ""
    rows = "".join(map(_poll, reversed(polls[-_TOLD_POLLS:])))
    heads = "".join(
        f'<th scope="col">{head}'
        for head in ("Begun", "Ended", "Index", "Days", "Requests", "Received", "Took")
    )
    return _section(
        "polls",
        "Last polls",
        '<div class="wide" tabindex="0" role="region" aria-label="Last polls"><table>'
        f'<caption class="unseen">The last polls, the latest first</caption><thead><tr>{heads}'
        f"<tbody>{rows}</table></div>",
    )


def _poll(poll: PollReport) -> str:
    outcomes = ", ".join(f"{count:,} {kind}" for kind, count in poll.outcomes.items())
    return (
        f'<tr><th scope="row">{_moment(poll.started_at)}<td>{_mark(poll.exit_code)}{poll.end}'
        f"<td>{escape(str(poll.index_state))}<td>{escape(told(outcomes)) or 'none due'}"
        f"<td>{poll.requests:,}<td>{human_bytes(poll.downloaded_bytes)}<td>{poll.duration_s:.1f} s"
    )


def _mark(exit_code: int) -> str:
    name, sign = ("good", "✓") if exit_code == ExitCode.COMPLETE else ("failing", "✗")
    return f'<span class="{name}" aria-hidden="true">{sign}</span> '


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at is not None else "never"


def _ago(at: datetime, now: datetime) -> str:
    seconds = (now - at).total_seconds()
    for unit, size in (("day", 86400), ("hour", 3600), ("minute", 60)):
        if seconds >= size:
            return f"{plural(int(seconds // size), unit)} ago"
    return "just now" if seconds >= 0 else f"at {_moment(at)}, which is in the future"
