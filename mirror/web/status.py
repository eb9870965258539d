"""The status page: how the copy stands, for people at `/status`, for programs at `/status.json`."""

import asyncio
from collections.abc import Iterable
from datetime import UTC, date, datetime, timedelta
from html import escape
from importlib import resources

import msgspec
from aiohttp import web

from mirror.core.text import human_bytes, plural
from mirror.edges.live import Progress
from mirror.edges.view import View
from mirror.errors import ExitCode
from mirror.model import IndexState, PollReport
from mirror.status import Status, make_status
from mirror.web.calendar import Day, fill_gaps, render_calendar
from mirror.web.site import SITE, Site

_TOLD_POLLS = 20
_TOLD_PROBLEMS = 50
_POLICY = (
    "default-src 'none'; style-src 'self'; img-src 'self' data:; base-uri 'none'; "
    "form-action 'none'; frame-ancestors 'none'"
)
_STYLE_PATH = "/static/status.css"
_STYLE = resources.files("mirror.web").joinpath("static/status.css").read_bytes()
_ENDED = {
    ExitCode.COMPLETE: "complete",
    ExitCode.INCOMPLETE: "incomplete",
    ExitCode.UPSTREAM_UNUSABLE: "upstream unusable",
}


def add_status(app: web.Application) -> None:
    """Add `/status`, `/status.json` and their style."""
    app.router.add_get("/status", _page)
    app.router.add_get("/status.json", _json)
    app.router.add_get(_STYLE_PATH, _style)


async def _style(_request: web.Request) -> web.Response:
    headers = {"Content-Type": "text/css; charset=utf-8", "Cache-Control": "public, max-age=3600"}
    return web.Response(body=_STYLE, headers=headers)


async def _json(request: web.Request) -> web.Response:
    site = request.app[SITE]
    status, _ = await _status(site)
    facts = msgspec.to_builtins(status)
    # where it lies on this machine is nobody else's business
    del facts["data_dir"]
    facts["progress"] = msgspec.to_builtins(site.live.progress)
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=msgspec.json.encode(facts), headers=headers)


async def _page(request: web.Request) -> web.Response:
    site = request.app[SITE]
    status, view = await _status(site)
    # goes through all days: off the loop
    body = await asyncio.to_thread(render_status, status, view, site.live.progress, now=site.now())
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": _POLICY,
        "Cache-Control": "no-store",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(body=body, headers=headers)


async def _status(site: Site) -> tuple[Status, View]:
    view = await site.viewer.view()
    final_after = timedelta(seconds=site.config.schedule.final_after)
    status = await asyncio.to_thread(
        make_status, view, site.data, final_after=final_after, now=site.now()
    )
    return status, view


def render_status(status: Status, view: View, progress: Progress | None, *, now: datetime) -> bytes:
    """Return the page; every word of upstream's is escaped."""
    sections = (
        _running(status, progress),
        _problems(status.problems),
        _facts(status),
        f"<section><h2>Days</h2>{_calendar(status, view)}{_legend()}</section>",
        _polls(view.polls),
    )
    return f"""<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="60">
<title>Binder events archive: status</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="{_STYLE_PATH}">
</head>
<body>
<main>
<h1>Binder events archive</h1>
<p class="banner {_health(status)}" role="status">{escape(status.sentence)}</p>
{"".join(sections)}
<p class="foot">As of {_moment(now)}. <a href="/">The archive</a>, <a href="/status.json">this page
for programs</a>, <a href="/metrics">metrics</a>.</p>
</main>
</body>
</html>
""".encode()


def _health(status: Status) -> str:
    last = status.last_poll
    if last is None or last.exit_code != ExitCode.COMPLETE or status.missing_days:
        return "failing"
    calm = status.index_state in (IndexState.FRESH, IndexState.UNCHANGED)
    return "good" if calm and not status.quarantined else "attention"


def _running(status: Status, progress: Progress | None) -> str:
    if progress is not None:
        share = f'<progress max="{max(1, progress.days_due)}" value="{progress.days_done}">'
        return (
            f"<section><h2>A poll is running</h2><p>{share}</progress> {progress.days_done:,} of "
            f"{plural(progress.days_due, 'day')}, {human_bytes(progress.bytes_received)}</p>"
            "</section>"
        )
    if status.is_syncing:
        return "<section><h2>A sync is running</h2></section>"
    return ""


def _problems(problems: tuple[str, ...]) -> str:
    if not problems:
        return ""
    told = "".join(f"<li>{escape(text)}</li>" for text in problems[:_TOLD_PROBLEMS])
    more = len(problems) - _TOLD_PROBLEMS
    rest = f"<li>and {more:,} more</li>" if more > 0 else ""
    return f"<section><h2>To look at</h2><ul>{told}{rest}</ul></section>"


def _facts(status: Status) -> str:
    rows = (
        ("Upstream", status.upstream_url or "unknown"),
        ("Index", str(status.index_state)),
        ("Index changed", _moment(status.index_changed_at)),
        ("Last complete poll", _moment(status.last_success_at)),
        ("Held", f"{plural(status.held, 'day')}, {plural(status.events, 'event')}"),
        ("Size", human_bytes(status.archive_bytes)),
        ("Days", f"{status.first_day or '-'} to {status.newest_day or '-'}"),
        ("Open", _some(status.open_days)),
        ("Missing", _some(status.missing_days)),
        ("Vanished upstream", _some(status.vanished_days)),
        ("In quarantine", f"{len(status.quarantined):,}"),
    )
    cells = "".join(f"<dt>{name}</dt><dd>{escape(text)}</dd>" for name, text in rows)
    return f"<section><h2>How it stands</h2><dl>{cells}</dl></section>"


def _some(days: Iterable[date]) -> str:
    ordered = sorted(days)
    if not ordered:
        return "none"
    latest = ", ".join(map(str, ordered[-3:]))
    return latest if len(ordered) <= 3 else f"{len(ordered):,}, the latest {latest}"


def _calendar(status: Status, view: View) -> str:
    opened, gone = set(status.open_days), set(status.vanished_days)
    days = {}
    for day, record in view.books.records.items():
        kind = "open" if day in opened else "vanished" if day in gone else "held"
        days[day] = Day(kind, record.lines)
    for day in status.missing_days:
        days[day] = Day("missing")
    for one in status.quarantined:
        if one.date not in days or days[one.date].kind == "missing":
            days[one.date] = Day("quarantined")
    calendar = render_calendar(fill_gaps(days))
    return f'<div class="wide" tabindex="0" role="group" aria-label="Calendar">{calendar}</div>'


def _legend() -> str:
    squares = "".join(
        '<svg viewBox="0 0 10 10" aria-hidden="true">'
        f'<rect width="10" height="10" class="l{level}"></rect></svg>'
        for level in range(5)
    )
    return (
        f'<p class="legend">few {squares} many events; outlined: open. Small squares: missing '
        "(red), in quarantine (violet), vanished upstream (grey), no file anywhere (hollow).</p>"
    )


def _polls(polls: tuple[PollReport, ...]) -> str:
    if not polls:
        return ""
    rows = "".join(
        f"<tr><td>{_moment(poll.started_at)}</td><td>{_ended(poll)}</td>"
        f"<td>{escape(str(poll.index_state))}</td><td>{poll.requests:,}</td>"
        f"<td>{human_bytes(poll.downloaded_bytes)}</td><td>{poll.duration_s:.1f} s</td></tr>"
        for poll in reversed(polls[-_TOLD_POLLS:])
    )
    heads = "".join(
        f'<th scope="col">{head}</th>'
        for head in ("Begun", "Ended", "Index", "Requests", "Received", "Took")
    )
    return (
        '<section><h2>Last polls</h2><div class="wide" tabindex="0" role="group" '
        f'aria-label="Last polls"><table><thead><tr>{heads}</tr></thead><tbody>{rows}</tbody>'
        "</table></div></section>"
    )


def _ended(poll: PollReport) -> str:
    return _ENDED.get(ExitCode(poll.exit_code), "failed")


def _moment(at: datetime | None) -> str:
    return f"{at.astimezone(UTC):%Y-%m-%d %H:%M} UTC" if at is not None else "never"
