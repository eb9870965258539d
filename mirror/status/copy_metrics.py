"""The metrics of the copy: gauges from its inventory alone, so that a `sync` has them too."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from msgspec import Struct
from prometheus_client import CollectorRegistry, Gauge

from mirror.archive.plan import end_of
from mirror.archive.upstream import listed_counts, vanished
from mirror.model import IndexState
from mirror.status.readiness import judge_readiness
from mirror.status.snapshot import Snapshot

DAY_STATES = ("held", "open", "vanished", "quarantined", "missing")


class ScrapeContext(Struct, frozen=True):
    """What a snapshot is seen by."""

    now: datetime
    first_open: date
    """The first day that is not final yet."""
    interval: timedelta
    """The longest time between two polls."""
    free_bytes: int
    """Room left where the data directory is."""


class CopyGauges:
    """Shows views of one data directory."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"binder_mirror_{name}", text, labels, registry=registry)

        self._last_success = gauge(
            "last_success_timestamp_seconds", "End of the last complete poll; 0 for none."
        )
        self._last_poll = gauge("last_poll_timestamp_seconds", "End of the last poll; 0 for none.")
        self._ready = gauge("ready", "1 where /readyz and health say ready.")
        self._interval = gauge("poll_interval_seconds", "Longest time between two polls, as set.")
        self._newest_day = gauge(
            "newest_day_timestamp_seconds", "End of the newest day held; 0 for none."
        )
        self._index_changed = gauge(
            "index_changed_timestamp_seconds", "Upstream's own date of its index; 0 for none."
        )
        self._index_state = gauge("index_state", "1 for the state of upstream's index.", "state")
        self._days = gauge("days", "Days by state; open and vanished ones are held too.", "state")
        self._events = gauge("events", "Events of all held days.")
        self._archive_bytes = gauge("archive_bytes", "Bytes of all held days.")
        self._bodies = gauge("quarantined_bodies", "Refused and rotten bodies in quarantine.")
        self._bodies_bytes = gauge("quarantine_bytes", "Bytes of the bodies in quarantine.")
        self._problems = gauge("problems", "What kept the last poll from being complete.")
        self._free = gauge("disk_free_bytes", "Room left where the data directory is.")
        self._shown: tuple[Snapshot, datetime, date] | None = None

    def show(self, snapshot: Snapshot, moment: ScrapeContext) -> None:
        """Set all gauges; what goes through all days only where snapshot or minute is another."""
        minute = moment.now.replace(second=0, microsecond=0)
        shown = self._shown
        if shown is None or shown[0] is not snapshot or shown[1:] != (minute, moment.first_open):
            self._show_days(snapshot, moment)
            self._show_polls(snapshot)
            self._shown = snapshot, minute, moment.first_open
        ready = judge_readiness(snapshot.last_complete, interval=moment.interval, now=moment.now)
        self._ready.set(ready.is_ready)
        self._interval.set(moment.interval.total_seconds())
        self._free.set(moment.free_bytes)

    def _show_days(self, snapshot: Snapshot, moment: ScrapeContext) -> None:
        records, upstream, now = snapshot.inventory.records, snapshot.upstream, moment.now
        newest = max(records, default=None)
        days: Mapping[str, int] = {
            "held": len(records),
            "open": sum(day >= moment.first_open for day in records),
            "vanished": len(vanished(upstream, now=now) & records.keys()),
            "quarantined": len({one.date for one in snapshot.quarantined}),
            "missing": len(listed_counts(upstream, now=now).keys() - records.keys()),
        }
        for state in DAY_STATES:
            self._days.labels(state).set(days[state])
        self._events.set(snapshot.total.lines)
        self._archive_bytes.set(snapshot.total.size)
        self._newest_day.set(end_of(newest).timestamp() if newest else 0)
        self._bodies.set(len(snapshot.quarantined))
        self._bodies_bytes.set(sum(one.size for one in snapshot.quarantined))
        index = upstream.index
        changed = (index.last_modified or index.first_seen_at) if index is not None else None
        self._index_changed.set(changed.timestamp() if changed is not None else 0)

    def _show_polls(self, snapshot: Snapshot) -> None:
        last = snapshot.polls[-1] if snapshot.polls else None
        unusable = last is not None and last.index_state is IndexState.UNUSABLE
        known = snapshot.upstream.state if snapshot.upstream.index is not None else None
        current = IndexState.UNUSABLE if unusable else known
        for state in IndexState:
            self._index_state.labels(state.value).set(state is current)
        self._problems.set(len(last.problems) if last is not None else 0)
        self._last_poll.set(max((poll.ended_at.timestamp() for poll in snapshot.polls), default=0))
        complete = snapshot.last_complete
        self._last_success.set(complete.ended_at.timestamp() if complete is not None else 0)
