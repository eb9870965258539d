"""When upstream's index stood still or was short, by the polls and what is kept of it. Pure.

A poll tells the state that it found. An index that stands still is *unchanged* at first and *stale*
after a while, so a standstill begins with the last poll that found it fresh.
"""

from collections.abc import Iterator, Sequence
from datetime import date, datetime, timedelta

from msgspec import Struct

from mirror.archive.upstream import Upstream
from mirror.model import IndexState, PollReport
from mirror.report.anomaly import Anomaly, Kind, Severity
from mirror.text import plural

_STILL = (IndexState.UNCHANGED, IndexState.STALE)


class _Stretch(Struct):
    """Polls in a row that found the index in trouble."""

    kind: Kind
    first: datetime
    last: datetime
    begins_before: bool = False
    """Whether it was so at the first poll that is known."""


def find_standstills(
    polls: Sequence[PollReport], upstream: Upstream, *, stale_after: timedelta
) -> tuple[Anomaly, ...]:
    """Return when the index stood still or was short, ascending.

    Args:
        polls: those that are known, ascending.
        upstream: what is kept of upstream; it knows when a trouble that goes on began.
        stale_after: how long an index may stand still.
    """
    stretches = list(_stretches(polls))
    going_on = _going_on(stretches, upstream)
    found = [
        _make(one, goes_on=one is going_on)
        for one in stretches
        if one is going_on or one.kind is Kind.INDEX_SHRUNK or one.last - one.first > stale_after
    ]
    return tuple(found)


def _stretches(polls: Sequence[PollReport]) -> Iterator[_Stretch]:
    current: _Stretch | None = None
    moved_at: datetime | None = None
    for poll in polls:
        at, state = poll.started_at, poll.index_state
        if state is IndexState.UNUSABLE:
            continue
        kind = _kind(state)
        if current is not None and current.kind is not kind:
            yield current
            current = None
        if kind is None:
            moved_at = at
        elif current is not None:
            current.last = at
        else:
            since = moved_at if kind is Kind.INDEX_FROZEN else at
            current = _Stretch(kind, since or at, at, since is None)
    if current is not None:
        yield current


def _kind(state: IndexState) -> Kind | None:
    if state is IndexState.SHRUNK:
        return Kind.INDEX_SHRUNK
    return Kind.INDEX_FROZEN if state in _STILL else None


def _going_on(stretches: list[_Stretch], upstream: Upstream) -> _Stretch | None:
    """Return the stretch that the index is in, its beginning as upstream has it."""
    kind = {IndexState.STALE: Kind.INDEX_FROZEN, IndexState.SHRUNK: Kind.INDEX_SHRUNK}.get(
        upstream.state
    )
    if kind is None or not stretches or stretches[-1].kind is not kind:
        return None
    last = stretches[-1]
    began = upstream.state_since
    if kind is Kind.INDEX_FROZEN and upstream.index is not None:
        began = upstream.index.last_modified or upstream.index.first_seen_at
    if began is not None and began < last.last:
        last.first, last.begins_before = began, False
    return last


def _make(stretch: _Stretch, *, goes_on: bool) -> Anomaly:
    first, last = _day(stretch.first), _day(stretch.last)
    if stretch.kind is Kind.INDEX_FROZEN:
        told = f"upstream's index stood still for {plural((last - first).days, 'day')}"
    else:
        told = "upstream's index listed fewer days than before"
    if stretch.begins_before:
        told += ", and already did at the first poll that is known"
    return Anomaly(
        stretch.kind, Severity.WARNING, first, last, told + _end(goes_on=goes_on), goes_on=goes_on
    )


def _end(*, goes_on: bool) -> str:
    return "; it still does" if goes_on else ""


def _day(at: datetime) -> date:
    return at.date()
