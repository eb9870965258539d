"""What a monitor sees, in the words of Prometheus (https://prometheus.io/docs/practices/naming/).

Counters are of this process, and live: what a poll of hours has asked and received is read where it
is counted, at each scrape. How the copy stands comes from its inventory
(`mirror.status.copy_metrics`). No label ever comes from upstream's data.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from http import HTTPStatus

from prometheus_client import (
    CollectorRegistry,
    Counter,
    Gauge,
    Histogram,
    ProcessCollector,
    disable_created_metrics,
)
from prometheus_client.core import CounterMetricFamily
from prometheus_client.exposition import choose_encoder
from prometheus_client.registry import Collector

from mirror import __version__
from mirror.archive.ports import Traffic
from mirror.errors import Failure
from mirror.model import Due, Outcome, OutcomeKind, Plan, PollEnd, PollReport
from mirror.status.copy_metrics import CopyGauges, ScrapeContext
from mirror.status.snapshot import Snapshot

_POLL_OUTCOMES = {end: end.name.lower() for end in PollEnd}
_JOB_OUTCOMES = ("locked", "storage", "refused", "crashed")
_POLLS = ("poll", "recheck")
_JOBS = (*_POLLS, "verify", "inspect")
_POLL_BUCKETS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)
_STATUSES = frozenset(map(int, HTTPStatus))

# when each counter began is the process's start, told once; it would double what is sent
disable_created_metrics()  # type: ignore[no-untyped-call]  # it has no annotations


class Metrics:
    """Counts what happens and shows how the copy stands; one for each process.

    An observer of polls.

    Args:
        tells_process: whether memory, descriptors and the like of the process are told too; not in
            a file for node_exporter, which has metrics of these names of its own.
    """

    def __init__(self, *, tells_process: bool = True) -> None:
        self.registry = CollectorRegistry()
        if tells_process:
            ProcessCollector(registry=self.registry)
        self._upstream = _UpstreamCollector()
        self.registry.register(self._upstream)
        self._make_poll_metrics()
        self._make_job_metrics()
        self._make_web_metrics()
        self._copy = CopyGauges(self.registry)
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

    def planned(self, plan: Plan) -> None:
        """A poll knows what it will ask for."""
        self._due.set(len(plan.due))

    def received(self, due: Due, size: int) -> None:
        """Bytes are counted by the source."""

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """A try failed."""
        del due, problem, delay_s
        self._retries.inc()

    def finished(self, outcome: Outcome) -> None:
        """A due day ended."""
        self._downloads.labels(outcome.kind.value).inc()
        self._due.dec()

    def reported(self, report: PollReport) -> None:
        """A poll is over."""
        self._polls.labels(_POLL_OUTCOMES[report.end]).inc()
        self._duration.observe(report.duration_s)

    def inspected(self, done: int, total: int, size: int) -> None:
        """What is pending is a metric of the copy."""

    @contextmanager
    def following(self, traffic: Traffic) -> Iterator[None]:
        """Show what a session asks and receives, from now on and for ever."""
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
        statuses: dict[str, int] = dict.fromkeys(("200", "304", "404"), 0)
        for status, count in total.statuses.items():
            statuses[_known(status)] = statuses.get(_known(status), 0) + count
        statuses["none"] = total.unanswered
        failures = {failure.value: total.failures.get(failure, 0) for failure in Failure}
        yield CounterMetricFamily(
            "binder_mirror_downloaded_bytes",
            "Bytes of bodies received from upstream.",
            value=total.received_bytes,
        )
        yield _family("upstream_requests", "Requests to upstream, by answer.", "status", statuses)
        yield _family(
            "download_failures",
            "Tries to have a day or a listing from upstream that failed, by what made them.",
            "reason",
            failures,
        )


def _family(name: str, text: str, label: str, values: Mapping[str, int]) -> CounterMetricFamily:
    family = CounterMetricFamily(f"binder_mirror_{name}", text, labels=[label])
    for value, count in values.items():
        family.add_metric([value], count)
    return family


def _add(total: Traffic, traffic: Traffic) -> None:
    total.received_bytes += traffic.received_bytes
    total.unanswered += traffic.unanswered
    for status, count in traffic.statuses.items():
        total.statuses[status] = total.statuses.get(status, 0) + count
    for failure, count in traffic.failures.items():
        total.failures[failure] = total.failures.get(failure, 0) + count


def _known(status: int) -> str:
    """Return the status as a label; what is none of HTTP's cannot make labels without end."""
    return str(status) if status in _STATUSES else "other"
