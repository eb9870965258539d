"""`binder-mirror status`: the state of the copy, as a table or JSON.

Works while a sync runs, and on a full or read-only disk.
"""

from datetime import UTC, datetime

import click

from mirror.archive.plan import end_of
from mirror.cli import common
from mirror.cli.streams import answer
from mirror.events.findings import ODDITIES
from mirror.model import PollReport
from mirror.status.standing import Status, read_status
from mirror.status.wording import problem_lines, report_facts
from mirror.text import ago, counts_text, human_bytes, plural, utc_minute


@click.command()
@common.on_mirror
@common.json_option
def status(place: common.Place, *, as_json: bool) -> None:
    """Show the state of the copy, without asking upstream."""
    now = datetime.now(UTC)
    found = read_status(place.data, now=now, counts=place.config.storage.findings)
    answer(report_facts(found), _render(found, now), as_json=as_json)


def _render(found: Status, now: datetime) -> list[str]:
    poll, findings = found.last_poll, found.findings
    odd = ((what, getattr(findings, name)) for name, what in ODDITIES.items())
    pending = f"the content of {plural(found.pending_findings, 'day')} is still to be counted"
    rows = {
        "data": found.data_dir + (" (a sync is running)" if found.is_syncing else ""),
        "upstream": found.upstream_url or "not asked yet",
        "index": _index(found, now),
        "held": _held(found),
        "kept": f"days from {found.since} on" if found.since else "",
        "newest day": _newest(found, now),
        "last poll": _how(poll, now) if poll is not None else "none",
        "last success": _when(found.last_success_at, now),
        "open": ", ".join(map(str, found.open_days)),
        "vanished": ", ".join(map(str, found.vanished_days)),
        "changed": ", ".join(f"{one.day} {one.how}" for one in found.final_changes),
        "flagged": counts_text(found.flagged),
        "versions": counts_text(findings.versions),
        "providers": counts_text(findings.providers),
        "oddities": "; ".join(f"{what} {count:,}" for what, count in odd if count),
        "pending": pending if found.pending_findings else "",
    }
    lines = [found.sentence, *(f"  {label:<12}  {text}" for label, text in rows.items() if text)]
    return lines + problem_lines(found.problems, "!")


def _index(found: Status, now: datetime) -> str:
    is_healthy, since = found.index_state.is_healthy, found.index_state_since
    if is_healthy and since is None:
        return "none yet"
    text = "healthy" if is_healthy else str(found.index_state)
    text += f" since {utc_minute(since)}" if since is not None else ""
    if found.index_changed_at is not None:
        text += f", last changed {_when(found.index_changed_at, now)}"
    return text


def _held(found: Status) -> str:
    days, events = plural(found.held, "day"), plural(found.events, "event")
    text = f"{days}, {events}, {human_bytes(found.archive_bytes)}"
    if found.first_day is not None:
        text += f", from {found.first_day} to {found.newest_day}"
    return text


def _newest(found: Status, now: datetime) -> str:
    if found.newest_day is None:
        return "none"
    end = end_of(found.newest_day)
    return f"{found.newest_day}, " + (f"ended {ago(end, now=now)}" if end < now else "still open")


def _how(poll: PollReport, now: datetime) -> str:
    how = f"{poll.end}, of some days alone" if poll.is_partial else poll.end
    return f"{_when(poll.started_at, now)}: {how}"


def _when(at: datetime | None, now: datetime) -> str:
    return f"{utc_minute(at)} ({ago(at, now=now)})" if at is not None else "never"
