"""The metrics, for Prometheus (https://prometheus.io/docs/practices/naming/).

Counters are of this process, and live: what a poll of hours has asked and received is read where it
is counted, at each scrape. Gauges of the copy come from its status alone, so that a `sync` has them
too. No label ever comes from upstream's data.
"""

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime, timedelta
from http import HTTPStatus
from itertools import product
from typing import TypeVar

import prometheus_client as prometheus
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mirror import __version__
from mirror.archive.plan import end_of
from mirror.archive.ports import PollEvent, Retrying, Traffic
from mirror.errors import Failure
from mirror.model import IndexState, Outcome, OutcomeKind, Plan, PollEnd, PollReport
from mirror.status.readiness import is_ahead, judge_readiness
from mirror.status.standing import Status

_POLL_OUTCOMES = {end: end.name.lower() for end in PollEnd}
_JOB_OUTCOMES = ("locked", "storage", "refused", "crashed")
_POLLS = ("poll", "recheck")
_JOBS = (*_POLLS, "verify", "inspect")
_CLASSES = ("2xx", "3xx", "4xx", "5xx")
_RUNNING_SINCE = "job_running_since_timestamp_seconds"
_LAST_END = "job_last_end_timestamp_seconds"
_STATUSES = frozenset(map(int, HTTPStatus))

_Definitions = Mapping[str, tuple[str, Mapping[str, Iterable[str]]]]
"""By name: what a metric is, and the values of its labels, which are there from the start."""
_COUNTERS: _Definitions = {
    "polls": (
        "Polls of this process, by how they ended.",
        {"outcome": (*_POLL_OUTCOMES.values(), *_JOB_OUTCOMES)},
    ),
    "downloads": ("Due days, by how they ended.", {"outcome": OutcomeKind}),
    "retries": ("Tries for a day that failed and were made again.", {}),
    "job_runs": ("Jobs begun.", {"kind": _JOBS}),
    "job_failures": ("Jobs without a report.", {"kind": _JOBS, "outcome": _JOB_OUTCOMES}),
    "verified_files": ("Published files read again.", {}),
    "verified_bytes": ("Bytes of the files read again.", {}),
    "damage_found": ("Files found damaged.", {}),
    "http_requests": ("Requests answered, by class.", {"status": _CLASSES}),
}
_GAUGES: _Definitions = {
    "build_info": ("What runs here.", {"version": [__version__]}),
    "downloads_due": ("Days that the running poll has still to ask for.", {}),
    _RUNNING_SINCE: ("When the running job began; 0 for none.", {"kind": _JOBS}),
    _LAST_END: ("When a job ended last, however; 0 for never.", {"kind": _JOBS}),
    "next_poll_timestamp_seconds": ("When the next poll is due; 0 where none is.", {}),
}
_DURATIONS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LAGS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_HISTOGRAMS = {
    "poll_duration_seconds": ("How long polls took.", _DURATIONS),
    "loop_lag_seconds": ("How late the event loop was, looked at every second.", _LAGS),
}
_COLLECTED = {
    "days": ("Days by state; open and vanished ones are held too.", "state"),
    "events": ("Events of all held days.", ""),
    "archive_bytes": ("Bytes of all held days.", ""),
    "newest_day_timestamp_seconds": ("End of the newest day held; 0 for none.", ""),
    "quarantined_bodies": ("Refused and rotten bodies in quarantine.", ""),
    "quarantine_bytes": ("Bytes of the bodies in quarantine.", ""),
    "index_state": ("1 for the state of upstream's index.", "state"),
    "index_changed_timestamp_seconds": ("Upstream's own date of its index; 0 for none.", ""),
    "problems": ("What kept the last poll from being complete.", ""),
    "last_poll_timestamp_seconds": ("End of the last poll; 0 for none, or one in the future.", ""),
    "last_success_timestamp_seconds": ("End of the last complete poll; 0 likewise.", ""),
    "ready": ("1 where /readyz and health say ready.", ""),
    "poll_interval_seconds": ("Longest time between two polls, as set.", ""),
    "disk_free_bytes": ("Room left where the data directory is.", ""),
    "downloaded_bytes": ("Bytes of bodies received from upstream.", ""),
    "upstream_requests": ("Requests to upstream, by answer.", "status"),
    "final_days_changed": ("Final days that upstream changed, since the copy was begun.", "how"),
    "download_failures": ("Tries for a day or a listing that failed, by cause.", "reason"),
}
"""By name: what a metric is that is read where it is counted, and its label if it has one."""
_Values = Mapping[str, float | Mapping[str, float]]  # by name of a metric: its value, or by label
_Made = TypeVar("_Made", prometheus.Counter, prometheus.Gauge)

# when each counter began is the process's start, which has a metric of its own
prometheus.disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations
# one process counts here; a variable of another program's would have files of counters written
prometheus.values.ValueClass = prometheus.values.MutexValue


class Metrics(Collector):
    """Counts what happens and shows how the copy stands; one for each process.

    With `shows_process` memory, descriptors and the like of the process are shown too; not in a
    file for node_exporter, which has metrics of these names of its own.
    """

    def __init__(self, *, shows_process: bool = True) -> None:
        self._registry = prometheus.CollectorRegistry()
        if shows_process:
            prometheus.ProcessCollector(registry=self._registry)
        self.traffic, self._over = Traffic(), Traffic()  # of the running session; of those before
        self._copy: _Values = {}
        self._changes: _Values = {}
        self._registry.register(self)
        self._counters = _make(prometheus.Counter, _COUNTERS, self._registry)
        self._gauges = _make(prometheus.Gauge, _GAUGES, self._registry)
        self._histograms = {
            name: prometheus.Histogram(_full(name), text, buckets=buckets, registry=self._registry)
            for name, (text, buckets) in _HISTOGRAMS.items()
        }
        self._gauges["build_info"].labels(__version__).set(1)

    def observe(self, event: PollEvent) -> None:
        """Count an event of a poll; bytes are counted by the source."""
        match event:
            case Plan():
                self._gauges["downloads_due"].set(len(event.due))
            case Retrying():
                self._counters["retries"].inc()
            case Outcome():
                self._counters["downloads"].labels(event.kind.value).inc()
                self._gauges["downloads_due"].dec()
            case PollReport():
                self._counters["polls"].labels(_POLL_OUTCOMES[event.end]).inc()
                self._histograms["poll_duration_seconds"].observe(event.duration_s)

    @contextmanager
    def following(self, traffic: Traffic) -> Iterator[None]:
        """Show what a session asks and receives, while it runs and after; one at a time."""
        self.traffic = traffic
        try:
            yield
        finally:
            self._over.add(traffic)
            self.traffic = Traffic()

    def job_began(self, job: str, at: datetime) -> None:
        """A job begins."""
        self._counters["job_runs"].labels(job).inc()
        self._gauges[_RUNNING_SINCE].labels(job).set(at.timestamp())

    def job_ended(self, job: str, at: datetime) -> None:
        """A job is over, however it went."""
        self._gauges[_RUNNING_SINCE].labels(job).set(0)
        self._gauges[_LAST_END].labels(job).set(at.timestamp())
        self._gauges["downloads_due"].set(0)

    def job_failed(self, job: str, outcome: str) -> None:
        """A job ended without a report; a poll that does is a poll all the same."""
        self._counters["job_failures"].labels(job, outcome).inc()
        if job in _POLLS:
            self._counters["polls"].labels(outcome).inc()

    def poll_scheduled(self, at: datetime | None) -> None:
        """The next poll is due at this time."""
        self._gauges["next_poll_timestamp_seconds"].set(_timestamp(at))

    def verified(self, files: int, size: int, damaged: int) -> None:
        """A slice of the copy was read: so many files and bytes."""
        self._counters["verified_files"].inc(files)
        self._counters["verified_bytes"].inc(size)
        self._counters["damage_found"].inc(damaged)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was late by so much."""
        self._histograms["loop_lag_seconds"].observe(max(0, seconds))

    def served(self, status: int) -> None:
        """A request was answered."""
        self._counters["http_requests"].labels(f"{status // 100}xx").inc()

    def render(
        self,
        status: Status,
        *,
        interval: timedelta,  # longest time between two polls
        free_bytes: int,
        now: datetime,
        accept: str = "",
    ) -> tuple[bytes, str]:
        """Return the metrics and their content type, one that the client accepts."""
        ready = judge_readiness(status.last_success_at, interval=interval, now=now)
        self._copy = {
            **_copy_values(status, now),
            "ready": ready.is_ready,
            "poll_interval_seconds": interval.total_seconds(),
            "disk_free_bytes": free_bytes,
        }
        self._changes = {"final_days_changed": status.final_changes_total}
        try:
            encode, content_type = choose_encoder(accept)
        except (TypeError, ValueError):
            # a version in it is none
            encode, content_type = choose_encoder("")
        return encode(self._registry), content_type

    def collect(self) -> Iterator[prometheus.Metric]:
        """Yield what is asked of upstream, and how the copy stands."""
        yield from _families(GaugeMetricFamily, self._copy)
        traffic = Traffic()
        traffic.add(self._over)
        traffic.add(self.traffic)
        counted = {**_upstream_values(traffic), **self._changes}
        yield from _families(CounterMetricFamily, counted)


def _make(
    kind: type[_Made], rows: _Definitions, registry: prometheus.CollectorRegistry
) -> dict[str, _Made]:
    made = {}
    for name, (text, labels) in rows.items():
        made[name] = kind(_full(name), text, list(labels), registry=registry)
        for values in product(*labels.values()) if labels else ():
            made[name].labels(*values)
    return made


def _full(name: str) -> str:
    return f"binder_mirror_{name}"


def _timestamp(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0


def _known(at: datetime | None, now: datetime) -> float:
    """Return a moment as a timestamp; 0 where it is in the future, of which no age can be told."""
    return 0 if at is not None and is_ahead(at, now) else _timestamp(at)


def _copy_values(status: Status, now: datetime) -> _Values:
    newest, last, bodies = status.newest_day, status.last_poll, status.quarantined
    is_known = status.index_changed_at is not None or last is not None
    return {
        "days": {
            "held": status.held,
            "open": len(status.open_days),
            "vanished": len(status.vanished_days),
            "quarantined": len({one.date for one in bodies}),
            "missing": len(status.missing_days),
        },
        "events": status.events,
        "archive_bytes": status.archive_bytes,
        "newest_day_timestamp_seconds": _timestamp(end_of(newest) if newest else None),
        "quarantined_bodies": len(bodies),
        "quarantine_bytes": sum(one.size for one in bodies),
        "index_state": {one.value: is_known and one is status.index_state for one in IndexState},
        "index_changed_timestamp_seconds": _timestamp(status.index_changed_at),
        "problems": len(last.problems) if last else 0,
        "last_poll_timestamp_seconds": _known(last.ended_at if last else None, now),
        "last_success_timestamp_seconds": _known(status.last_success_at, now),
    }


def _upstream_values(traffic: Traffic) -> _Values:
    statuses = Counter({"200": 0, "304": 0, "404": 0, "none": traffic.unanswered})
    for status, count in traffic.statuses.items():
        # unknown codes map to `other`, to bound cardinality
        statuses[str(status) if status in _STATUSES else "other"] += count
    return {
        "downloaded_bytes": traffic.received_bytes,
        "upstream_requests": statuses,
        "download_failures": {one.value: traffic.failures[one] for one in Failure},
    }


def _families(
    kind: type[CounterMetricFamily | GaugeMetricFamily], values: _Values
) -> Iterator[prometheus.Metric]:
    for name, value in values.items():
        text, label = _COLLECTED[name]
        family = kind(_full(name), text, labels=[label] if label else [])
        for labels, count in value.items() if isinstance(value, Mapping) else (("", value),):
            family.add_metric([labels] if label else [], count)
        yield family
