"""`binder-mirror status`: the state of the copy, as a table or JSON.

Works while a sync runs, and on a full or read-only disk.
"""

from datetime import datetime

import click

from mirror.archive.plan import end_of
from mirror.cli.common import data_dir_option, json_option, load_mirror
from mirror.cli.streams import answer
from mirror.clock import utc_now
from mirror.events.findings import ODDITIES
from mirror.model import PollReport
from mirror.status.problems import problem_lines
from mirror.status.standing import Status, read_status, status_facts
from mirror.text import ago, human_bytes, plural, utc_minute


@click.command()
@data_dir_option
@json_option
@click.pass_context
def status(ctx: click.Context, *, as_json: bool) -> None:
    """Show the state of the copy, without asking upstream."""
    config, data = load_mirror(ctx)
    now = utc_now()
    found = read_status(data, now=now, counts=config.storage.findings)
    answer(status_facts(found), render_status(found, now=now), as_json=as_json)


def render_status(found: Status, *, now: datetime) -> str:
    """Return the status as a person reads it."""
    rows = [
        ("data", found.data_dir + (" (a sync is running)" if found.is_syncing else "")),
        ("upstream", found.upstream_url or "not asked yet"),
        ("index", _index(found, now)),
        ("held", _held(found)),
        ("newest day", _newest(found, now)),
        ("last poll", _poll(found.last_poll, now)),
        ("last success", _when(found.last_success_at, now)),
    ]
    rows += [
        (label, ", ".join(map(str, days)))
        for label, days in (("open", found.open_days), ("vanished", found.vanished_days))
        if days
    ]
    if found.flagged:
        flags = (f"{flag} {count:,}" for flag, count in found.flagged.items())
        rows.append(("flagged", ", ".join(flags)))
    rows += _findings(found)
    width = max(len(label) for label, _ in rows)
    lines = [found.sentence, *(f"  {label:<{width}}  {text}" for label, text in rows)]
    lines += problem_lines(found.problems, "!")
    return "\n".join(lines)


def _index(found: Status, now: datetime) -> str:
    text = str(found.index_state)
    if found.index_changed_at is not None:
        text += f", changed {_when(found.index_changed_at, now)}"
    if found.index_state_since is not None:
        text += f"; in this state since {utc_minute(found.index_state_since)}"
    return text


def _held(found: Status) -> str:
    text = (
        f"{plural(found.held, 'day')}, {plural(found.events, 'event')}, "
        f"{human_bytes(found.archive_bytes)}"
    )
    if found.first_day is not None:
        text += f", from {found.first_day} to {found.newest_day}"
    return text


def _newest(found: Status, now: datetime) -> str:
    if found.newest_day is None:
        return "none"
    end = end_of(found.newest_day)
    return f"{found.newest_day}, " + (f"ended {ago(end, now=now)}" if end < now else "still open")


def _poll(poll: PollReport | None, now: datetime) -> str:
    if poll is None:
        return "none"
    return f"{_when(poll.started_at, now)}: {poll.end}"


def _findings(found: Status) -> list[tuple[str, str]]:
    findings = found.findings
    rows = [
        (name, ", ".join(f"{value} {count:,}" for value, count in counts.items()))
        for name, counts in (("versions", findings.versions), ("providers", findings.providers))
        if counts
    ]
    odd = ((what, getattr(findings, name)) for name, what in ODDITIES.items())
    if text := "; ".join(f"{what} {count:,}" for what, count in odd if count):
        rows.append(("oddities", text))
    if found.pending_findings:
        days = plural(found.pending_findings, "day")
        rows.append(("pending", f"the content of {days} is still to be counted"))
    return rows


def _when(at: datetime | None, now: datetime) -> str:
    return f"{utc_minute(at)} ({ago(at, now=now)})" if at is not None else "never"
