"""Finds when upstream's index stood still or listed fewer days, by the log of polls. Pure.

Each poll records the state of the index. One that stands still is *unchanged* at first and *stale*
after a while, so a standstill begins with the last poll that found it fresh. The log is bounded: of
a trouble that goes on, the state of upstream knows when it began.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from msgspec import Struct

from mirror.archive.upstream import Upstream
from mirror.model import IndexState, PollReport
from mirror.report.anomaly import Anomaly, Kind
from mirror.text import plural

_KINDS = {
    IndexState.SHRUNK: Kind.INDEX_SHRUNK,
    IndexState.UNCHANGED: Kind.INDEX_FROZEN,
    IndexState.STALE: Kind.INDEX_FROZEN,
}


class _Stretch(Struct):
    """Consecutive polls that found the index in the same trouble."""

    kind: Kind
    first: datetime
    last: datetime
    begins_before: bool = False
    """Whether it was so at the first poll on record."""


def find_standstills(
    polls: Sequence[PollReport], upstream: Upstream, *, stale_after: timedelta
) -> tuple[Anomaly, ...]:
    """Return when the index stood still or listed fewer days, ascending.

    Args:
        polls: the polls on record, ascending.
        upstream: the recorded state of upstream.
        stale_after: how long an index may stand still.
    """
    stretches = list(_stretches(polls))
    current = _current(stretches, upstream)
    return tuple(
        _make(one, goes_on=one is current)
        for one in stretches
        if one is current or one.kind is Kind.INDEX_SHRUNK or one.last - one.first > stale_after
    )


def _stretches(polls: Sequence[PollReport]) -> Iterator[_Stretch]:
    usable = (poll for poll in polls if poll.index_state is not IndexState.UNUSABLE)
    moved_at: datetime | None = None
    for kind, group in groupby(usable, key=lambda poll: _KINDS.get(poll.index_state)):
        times = [poll.started_at for poll in group]
        if kind is None:
            moved_at = times[-1]
        elif kind is Kind.INDEX_FROZEN:
            yield _Stretch(kind, moved_at or times[0], times[-1], moved_at is None)
        else:
            yield _Stretch(kind, times[0], times[-1])


def _current(stretches: list[_Stretch], upstream: Upstream) -> _Stretch | None:
    """Return the stretch that the index is in now, with the beginning that upstream records."""
    if upstream.state not in (IndexState.STALE, IndexState.SHRUNK):
        return None
    kind = _KINDS[upstream.state]
    if not stretches or stretches[-1].kind is not kind:
        return None
    last = stretches[-1]
    began = upstream.state_since
    if kind is Kind.INDEX_FROZEN and upstream.index is not None:
        began = upstream.index.last_modified or upstream.index.first_seen_at
    if began is not None and began < last.last:
        last.first, last.begins_before = began, False
    return last


def _make(stretch: _Stretch, *, goes_on: bool) -> Anomaly:
    first, last = stretch.first.date(), stretch.last.date()
    message = "upstream's index listed fewer days than before"
    if stretch.kind is Kind.INDEX_FROZEN:
        message = f"upstream's index stood still for {plural((last - first).days, 'day')}"
    if stretch.begins_before:
        message += ", and already did at the first poll on record"
    message += "; it still does" if goes_on else ""
    return Anomaly(stretch.kind, stretch.kind.severity, first, last, message, goes_on=goes_on)
