"""The metrics, for Prometheus (https://prometheus.io/docs/practices/naming/).

Counters are of this process, and live: what a poll of hours has asked and received is read where it
is counted, at each scrape. Gauges of the copy come from its snapshot alone, so that a `sync` has
them too. No label ever comes from upstream's data.
"""

from collections import Counter as Counts
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import date, datetime, timedelta
from http import HTTPStatus

from msgspec import Struct
from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mirror import __version__
from mirror.archive.plan import end_of
from mirror.archive.ports import PollEvent, Retrying, Traffic
from mirror.archive.upstream import listed_counts, vanished
from mirror.errors import Failure
from mirror.model import IndexState, Outcome, OutcomeKind, Plan, PollEnd, PollReport
from mirror.status.readiness import judge_readiness
from mirror.status.snapshot import Snapshot
from mirror.status.standing import index_changed_at, index_state_of

_POLL_OUTCOMES = {end: end.name.lower() for end in PollEnd}
_JOB_OUTCOMES = ("locked", "storage", "refused", "crashed")
_POLLS = ("poll", "recheck")
_JOBS = (*_POLLS, "verify", "inspect")
_POLL_BUCKETS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_STATUSES = frozenset(map(int, HTTPStatus))

# when each counter began is the process's start, which has a metric of its own
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations


class ScrapeContext(Struct, frozen=True):
    """What the metrics of the copy depend on beside its snapshot."""

    now: datetime
    first_open: date
    """The first day that is not final yet."""
    interval: timedelta
    """The longest time between two polls."""
    free_bytes: int
    """Room left where the data directory is."""


class Metrics:
    """Counts what happens and shows how the copy stands; one for each process.

    Args:
        shows_process: whether memory, descriptors and the like of the process are shown too; not in
            a file for node_exporter, which has metrics of these names of its own.
    """

    def __init__(self, *, shows_process: bool = True) -> None:
        self.registry = CollectorRegistry()
        if shows_process:
            ProcessCollector(registry=self.registry)
        self._upstream = _UpstreamCollector()
        self.registry.register(self._upstream)
        self._make_poll_metrics()
        self._make_job_metrics()
        self._make_web_metrics()
        self._copy = _CopyCollector()
        self.registry.register(self._copy)
        self._gauge("build_info", "What runs here.", "version").labels(__version__).set(1)

    def _counter(self, name: str, text: str, *labels: str) -> Counter:
        return Counter(f"binder_mirror_{name}", text, labels, registry=self.registry)

    def _gauge(self, name: str, text: str, *labels: str) -> Gauge:
        return Gauge(f"binder_mirror_{name}", text, labels, registry=self.registry)

    def _histogram(self, name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
        name = f"binder_mirror_{name}"
        return Histogram(name, text, buckets=buckets, registry=self.registry)

    def _make_poll_metrics(self) -> None:
        self._polls = self._counter("polls", "Polls of this process, by how they ended.", "outcome")
        for outcome in (*_POLL_OUTCOMES.values(), *_JOB_OUTCOMES):
            self._polls.labels(outcome)
        self._duration = self._histogram(
            "poll_duration_seconds", "How long polls took.", _POLL_BUCKETS
        )
        self._downloads = self._counter("downloads", "Due days, by how they ended.", "outcome")
        for kind in OutcomeKind:
            self._downloads.labels(kind.value)
        self._retries = self._counter("retries", "Tries for a day that failed and were made again.")
        self._due = self._gauge("downloads_due", "Days that the running poll has still to ask for.")

    def _make_job_metrics(self) -> None:
        self._runs = self._counter("job_runs", "Jobs begun.", "kind")
        self._failures = self._counter("job_failures", "Jobs without a report.", "kind", "outcome")
        self._running_since = self._gauge(
            "job_running_since_timestamp_seconds", "When the running job began; 0 for none.", "kind"
        )
        self._ended = self._gauge(
            "job_last_end_timestamp_seconds", "When a job ended last, however; 0 for never.", "kind"
        )
        for job in _JOBS:
            self._runs.labels(job)
            self._running_since.labels(job)
            self._ended.labels(job)
            for outcome in _JOB_OUTCOMES:
                self._failures.labels(job, outcome)
        self._next_poll = self._gauge(
            "next_poll_timestamp_seconds", "When the next poll is due; 0 where none is."
        )
        self._verified = self._counter("verified_files", "Published files read again.")
        self._verified_bytes = self._counter("verified_bytes", "Bytes of the files read again.")
        self._damaged = self._counter("damage_found", "Files found damaged.")

    def _make_web_metrics(self) -> None:
        self._served = self._counter("http_requests", "Requests answered, by class.", "status")
        for status in ("2xx", "3xx", "4xx", "5xx"):
            self._served.labels(status)
        self._lag = self._histogram(
            "loop_lag_seconds", "How late the event loop was, looked at every second.", _LAG_BUCKETS
        )

    def observe(self, event: PollEvent) -> None:
        """Count an event of a poll; bytes are counted by the source."""
        match event:
            case Plan():
                self._due.set(len(event.due))
            case Retrying():
                self._retries.inc()
            case Outcome():
                self._downloads.labels(event.kind.value).inc()
                self._due.dec()
            case PollReport():
                self._polls.labels(_POLL_OUTCOMES[event.end]).inc()
                self._duration.observe(event.duration_s)

    @contextmanager
    def following(self, traffic: Traffic) -> Iterator[None]:
        """Show what a session asks and receives, while it runs and after."""
        self._upstream.begin(traffic)
        try:
            yield
        finally:
            self._upstream.end(traffic)

    def job_began(self, job: str, at: datetime) -> None:
        """A job begins."""
        self._runs.labels(job).inc()
        self._running_since.labels(job).set(at.timestamp())

    def job_ended(self, job: str, at: datetime) -> None:
        """A job is over, however it went."""
        self._running_since.labels(job).set(0)
        self._ended.labels(job).set(at.timestamp())
        self._due.set(0)

    def job_failed(self, job: str, outcome: str) -> None:
        """A job ended without a report; a poll that does is a poll all the same."""
        self._failures.labels(job, outcome).inc()
        if job in _POLLS:
            self._polls.labels(outcome).inc()

    def poll_scheduled(self, at: datetime | None) -> None:
        """The next poll is due at this time."""
        self._next_poll.set(at.timestamp() if at is not None else 0)

    def verified(self, files: int, size: int, damaged: int) -> None:
        """A slice of the copy was read: so many files and bytes."""
        self._verified.inc(files)
        self._verified_bytes.inc(size)
        self._damaged.inc(damaged)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was late by so much."""
        self._lag.observe(max(0, seconds))

    def served(self, status: int) -> None:
        """A request was answered."""
        self._served.labels(f"{status // 100}xx").inc()

    def render(
        self, snapshot: Snapshot, moment: ScrapeContext, *, accept: str = ""
    ) -> tuple[bytes, str]:
        """Return the metrics and their content type, for a client that accepts these types."""
        self._copy.show(snapshot, moment)
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type


class _CopyCollector(Collector):
    """Shows the copy; the days are gone through again only if snapshot or minute has changed."""

    def __init__(self) -> None:
        self._made_of: tuple[Snapshot, datetime, date] | None = None
        self._kept: list[GaugeMetricFamily] = []
        self._live: list[GaugeMetricFamily] = []

    def show(self, snapshot: Snapshot, context: ScrapeContext) -> None:
        """Show this snapshot from now on."""
        minute = context.now.replace(second=0, microsecond=0)
        made_of = self._made_of
        if (
            made_of is None
            or made_of[0] is not snapshot
            or made_of[1:]
            != (
                minute,
                context.first_open,
            )
        ):
            self._kept = [*_day_gauges(snapshot, context), *_poll_gauges(snapshot)]
            self._made_of = snapshot, minute, context.first_open
        ready = judge_readiness(snapshot.last_complete, interval=context.interval, now=context.now)
        interval_s = context.interval.total_seconds()
        self._live = [
            _gauge("ready", "1 where /readyz and health say ready.", ready.is_ready),
            _gauge("poll_interval_seconds", "Longest time between two polls, as set.", interval_s),
            _gauge("disk_free_bytes", "Room left where the data directory is.", context.free_bytes),
        ]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        """Yield the gauges as they stand."""
        yield from self._kept
        yield from self._live


def _day_gauges(snapshot: Snapshot, context: ScrapeContext) -> Iterator[GaugeMetricFamily]:
    records, upstream, now = snapshot.inventory.records, snapshot.upstream, context.now
    newest, bodies = max(records, default=None), snapshot.quarantined
    days = {
        "held": len(records),
        "open": sum(day >= context.first_open for day in records),
        "vanished": len(vanished(upstream, now=now) & records.keys()),
        "quarantined": len({one.date for one in bodies}),
        "missing": len(listed_counts(upstream, now=now).keys() - records.keys()),
    }
    yield _gauges("days", "Days by state; open and vanished ones are held too.", "state", days)
    yield _gauge("events", "Events of all held days.", snapshot.total.lines)
    yield _gauge("archive_bytes", "Bytes of all held days.", snapshot.total.size)
    yield _gauge(
        "newest_day_timestamp_seconds",
        "End of the newest day held; 0 for none.",
        _timestamp(end_of(newest) if newest else None),
    )
    yield _gauge("quarantined_bodies", "Refused and rotten bodies in quarantine.", len(bodies))
    size = sum(one.size for one in bodies)
    yield _gauge("quarantine_bytes", "Bytes of the bodies in quarantine.", size)


def _poll_gauges(snapshot: Snapshot) -> Iterator[GaugeMetricFamily]:
    upstream, complete = snapshot.upstream, snapshot.last_complete
    last = snapshot.polls[-1] if snapshot.polls else None
    is_known = upstream.index is not None or last is not None
    current = index_state_of(upstream, last) if is_known else None
    states = {state.value: state is current for state in IndexState}
    yield _gauges("index_state", "1 for the state of upstream's index.", "state", states)
    yield _gauge(
        "index_changed_timestamp_seconds",
        "Upstream's own date of its index; 0 for none.",
        _timestamp(index_changed_at(upstream)),
    )
    count = len(last.problems) if last is not None else 0
    yield _gauge("problems", "What kept the last poll from being complete.", count)
    yield _gauge(
        "last_poll_timestamp_seconds",
        "End of the last poll; 0 for none.",
        max((_timestamp(poll.ended_at) for poll in snapshot.polls), default=0),
    )
    yield _gauge(
        "last_success_timestamp_seconds",
        "End of the last complete poll; 0 for none.",
        _timestamp(complete.ended_at if complete is not None else None),
    )


def _gauge(name: str, text: str, value: float) -> GaugeMetricFamily:
    return GaugeMetricFamily(f"binder_mirror_{name}", text, value=value)


def _gauges(name: str, text: str, label: str, values: Mapping[str, int]) -> GaugeMetricFamily:
    family = GaugeMetricFamily(f"binder_mirror_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _timestamp(at: datetime | None) -> float:
    return at.timestamp() if at is not None else 0


class _UpstreamCollector(Collector):
    """Shows what was asked of upstream: of sessions that are over, and of those that run.

    The source counts in plain values, for it does so at each chunk; they are read here.
    """

    def __init__(self) -> None:
        self._over = Traffic()
        self._running: list[Traffic] = []

    def begin(self, traffic: Traffic) -> None:
        """Count a session from now on."""
        self._running.append(traffic)

    def end(self, traffic: Traffic) -> None:
        """Keep what a session has come to."""
        self._running = [one for one in self._running if one is not traffic]
        _add(self._over, traffic)

    def collect(self) -> Iterator[CounterMetricFamily]:
        """Yield the counters as they stand."""
        total = Traffic()
        for traffic in (self._over, *self._running):
            _add(total, traffic)
        statuses = Counts({"200": 0, "304": 0, "404": 0, "none": total.unanswered})
        for status, count in total.statuses.items():
            statuses[_known(status)] += count
        failures = {failure.value: total.failures[failure] for failure in Failure}
        yield CounterMetricFamily(
            "binder_mirror_downloaded_bytes",
            "Bytes of bodies received from upstream.",
            value=total.received_bytes,
        )
        yield _counters("upstream_requests", "Requests to upstream, by answer.", "status", statuses)
        text = "Tries for a day or a listing that failed, by cause."
        yield _counters("download_failures", text, "reason", failures)


def _add(total: Traffic, traffic: Traffic) -> None:
    total.received_bytes += traffic.received_bytes
    total.unanswered += traffic.unanswered
    total.statuses.update(traffic.statuses)
    total.failures.update(traffic.failures)


def _counters(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"binder_mirror_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _known(status: int) -> str:
    """Return the status as a label; unknown codes map to `other`, to bound cardinality."""
    return str(status) if status in _STATUSES else "other"
