"""Data directories made of records alone: files of the right size and time, without a byte in them.

What is told from the inventory must be told without reading a file, so these have nothing to read.
"""

from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from pathlib import Path

from mirror.archive.upstream import Upstream
from mirror.model import Findings, IndexState, PollReport, Record
from mirror.store.layout import DataDir
from mirror.store.polls import append_poll
from tests.making import record
from tests.mirrors import make_hollow_mirror, split

ORIGINS = {"gke.mybinder.org": 66, "ovh.mybinder.org": 20, "gesis.mybinder.org": 14}


def findings(lines: int, origins: Mapping[str, int] | None = None, **odd: object) -> Findings:
    """Make what a day of version 5 contains."""
    counted = split(lines, ORIGINS) if origins is None else dict(origins)
    made = {
        "versions": {"5": lines},
        "providers": split(lines, {"GitHub": 93, "Git": 4, "Gist": 3}),
        "origins": counted,
        "statuses": {"success": lines},
    }
    return Findings(**(made | odd))  # type: ignore[arg-type] # fields by name, as tests give them


def held(counts: Mapping[date, int]) -> dict[date, Record]:
    """Make the records of days with so many events."""
    return {
        day: record(day, lines, findings=findings(lines), size=lines * 287 + day.toordinal() % 97)
        for day, lines in counts.items()
    }


def make_data_dir(root: Path, records: Iterable[Record]) -> DataDir:
    """Make a data directory that holds just these days."""
    upstream = Upstream("http://127.0.0.1/", accepted={r.date: r.lines for r in records})
    return make_hollow_mirror(root, records, upstream)


def poll(at: datetime, state: IndexState) -> PollReport:
    """Make the report of a complete poll."""
    return PollReport(0, state, 10, 10, 100, 1000, {}, started_at=at)


def polled(data: DataDir, polls: Iterable[PollReport]) -> None:
    """Add polls to the log of them."""
    for one in polls:
        append_poll(data, one)


def frozen(first: date, last: date, *, every: timedelta = timedelta(hours=2)) -> list[PollReport]:
    """Return the polls around an index that changed on `first` last, and on the day after `last`.

    As the mirror makes them: fresh while it changes, then unchanged, and stale after 36 hours.
    """
    begun = datetime.combine(first, time(12), UTC)
    ended = datetime.combine(last, time(23, 59), UTC)
    polls, at = [], begun - timedelta(days=3)
    while at <= ended + timedelta(days=3):
        if at <= begun or at > ended:
            state = IndexState.FRESH
        else:
            state = IndexState.STALE if at - begun > timedelta(hours=36) else IndexState.UNCHANGED
        polls.append(poll(at, state))
        at += every
    return polls
