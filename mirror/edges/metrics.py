"""What a monitor sees, in the words of Prometheus.

Counters are of this process; what tells how the copy stands comes from the books at each scrape, so
that a server beside a `sync` from cron shows it too. No label ever comes from upstream's data.
"""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http import HTTPStatus

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.exposition import choose_encoder

from mirror import __version__
from mirror.core.plan import final_at
from mirror.core.upstream import listed_counts, vanished
from mirror.edges.folder import DataDir
from mirror.edges.view import View
from mirror.errors import ExitCode
from mirror.model import Due, IndexState, Outcome, OutcomeKind, Plan, PollReport, Traffic

_POLL_OUTCOMES = {
    ExitCode.COMPLETE: "complete",
    ExitCode.INCOMPLETE: "incomplete",
    ExitCode.UPSTREAM_UNUSABLE: "unusable",
}
_JOB_OUTCOMES = ("locked", "storage", "refused", "crashed")
_POLLS = ("poll", "recheck")
_JOBS = (*_POLLS, "verify", "tidy")
_DAY_STATES = ("held", "open", "vanished", "quarantined", "missing")
_POLL_BUCKETS = (0.05, 0.25, 1, 5, 15, 60, 300, 900, 3600, 4 * 3600)
_LAG_BUCKETS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.5, 1, 5)


class Metrics:
    """Counts what happens and shows how the copy stands; one for each process.

    An observer of polls.
    """

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self._make_counters()
        self._make_gauges()

    def _make_counters(self) -> None:
        def counter(name: str, text: str, *labels: str) -> Counter:
            return Counter(f"binder_mirror_{name}", text, labels, registry=self.registry)

        self._polls = counter("polls", "Polls of this process, by how they ended.", "outcome")
        for outcome in (*_POLL_OUTCOMES.values(), *_JOB_OUTCOMES):
            self._polls.labels(outcome)
        self._failures = counter("job_failures", "Jobs without a report.", "job", "outcome")
        for job in _JOBS:
            for outcome in _JOB_OUTCOMES:
                self._failures.labels(job, outcome)
        self._downloads = counter("downloads", "Due days, by how they ended.", "outcome")
        for kind in OutcomeKind:
            self._downloads.labels(kind.value)
        self._retries = counter("retries", "Tries that failed and were made again.")
        self._bytes = counter("downloaded_bytes", "Bytes received from upstream.")
        self._requests = counter("upstream_requests", "Requests to upstream.", "status")
        for status in ("200", "304", "404", "none"):
            self._requests.labels(status)
        self._verified = counter("verified_files", "Published files read again.")
        self._damaged = counter("damage_found", "Files found damaged.")
        self._served = counter("http_requests", "Requests answered, by class.", "status")
        for status in ("2xx", "3xx", "4xx", "5xx"):
            self._served.labels(status)
        self._duration = Histogram(
            "binder_mirror_poll_duration_seconds",
            "How long polls took.",
            buckets=_POLL_BUCKETS,
            registry=self.registry,
        )
        self._lag = Histogram(
            "binder_mirror_loop_lag_seconds",
            "How late the event loop was, looked at every second.",
            buckets=_LAG_BUCKETS,
            registry=self.registry,
        )

    def _make_gauges(self) -> None:
        def gauge(name: str, text: str, *labels: str) -> Gauge:
            return Gauge(f"binder_mirror_{name}", text, labels, registry=self.registry)

        gauge("build_info", "What runs here.", "version").labels(__version__).set(1)
        self._last_success = gauge(
            "last_success_timestamp_seconds", "End of the last complete poll; 0 for none."
        )
        self._last_poll = gauge("last_poll_timestamp_seconds", "End of the last poll; 0 for none.")
        self._newest_day = gauge(
            "newest_day_timestamp_seconds", "End of the newest day held; 0 for none."
        )
        self._index_changed = gauge(
            "index_changed_timestamp_seconds", "Upstream's own date of its index; 0 for none."
        )
        self._index_state = gauge("index_state", "1 for the state of the index.", "state")
        self._days = gauge("days", "Days by state.", "state")
        self._events = gauge("events", "Events of all held days.")
        self._archive_bytes = gauge("archive_bytes", "Bytes of all held days.")
        self._problems = gauge("problems", "Problems of the last poll.")
        self._free = gauge("disk_free_bytes", "Room left where the data directory is.")

    def planned(self, plan: Plan) -> None:
        """Nothing to count yet."""

    def received(self, due: Due, size: int) -> None:
        """Bytes are counted by the session."""

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """A try failed."""
        del due, problem, delay_s
        self._retries.inc()

    def finished(self, outcome: Outcome) -> None:
        """A due day ended."""
        self._downloads.labels(outcome.kind.value).inc()

    def reported(self, report: PollReport) -> None:
        """A poll is over."""
        self._polls.labels(_POLL_OUTCOMES[ExitCode(report.exit_code)]).inc()
        self._duration.observe(report.duration_s)

    @contextmanager
    def following(self, traffic: Traffic) -> Iterator[None]:
        """Count what a session has asked and received, at its end."""
        try:
            yield
        finally:
            self._bytes.inc(traffic.received_bytes)
            for status, count in traffic.statuses.items():
                self._requests.labels(_known_status(status)).inc(count)
            answered = sum(traffic.statuses.values())
            self._requests.labels("none").inc(max(0, traffic.requests - answered))

    def job_failed(self, job: str, outcome: str) -> None:
        """A job ended without a report; a poll that does is a poll all the same."""
        self._failures.labels(job, outcome).inc()
        if job in _POLLS:
            self._polls.labels(outcome).inc()

    def verified(self, files: int, damaged: int) -> None:
        """A slice of the copy was read."""
        self._verified.inc(files)
        self._damaged.inc(damaged)

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was late by so much."""
        self._lag.observe(max(0, seconds))

    def served(self, status: int) -> None:
        """A request was answered."""
        self._served.labels(f"{status // 100}xx").inc()

    def render(
        self,
        view: View,
        data: DataDir,
        *,
        final_after: timedelta,
        accept: str,
        now: datetime,
    ) -> tuple[bytes, str]:
        """Return the metrics and their content type."""
        self._show_copy(view, final_after=final_after, now=now)
        self._show_polls(view)
        self._free.set(data.free_bytes())
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type

    def _show_copy(self, view: View, *, final_after: timedelta, now: datetime) -> None:
        records, upstream = view.books.records, view.upstream
        newest = max(records, default=None)
        days: Mapping[str, int] = {
            "held": len(records),
            "open": sum(now < final_at(day, final_after) for day in records),
            "vanished": len(vanished(upstream, now=now) & records.keys()),
            "quarantined": len({one.date for one in view.quarantined}),
            "missing": len(listed_counts(upstream, now=now).keys() - records.keys()),
        }
        for state in _DAY_STATES:
            self._days.labels(state).set(days[state])
        self._events.set(sum(record.lines for record in records.values()))
        self._archive_bytes.set(sum(record.size for record in records.values()))
        self._newest_day.set(final_at(newest, timedelta()).timestamp() if newest else 0)
        index = upstream.index
        changed = (index.last_modified or index.first_seen_at) if index is not None else None
        self._index_changed.set(changed.timestamp() if changed is not None else 0)

    def _show_polls(self, view: View) -> None:
        last = view.polls[-1] if view.polls else None
        unusable = last is not None and last.index_state is IndexState.UNUSABLE
        known = view.upstream.state if view.upstream.index is not None else None
        current = IndexState.UNUSABLE if unusable else known
        for state in IndexState:
            self._index_state.labels(state.value).set(state is current)
        self._problems.set(len(last.problems) if last is not None else 0)
        self._last_poll.set(max(map(_ended_s, view.polls), default=0))
        complete = [poll for poll in view.polls if poll.exit_code == ExitCode.COMPLETE]
        self._last_success.set(max(map(_ended_s, complete), default=0))


def _ended_s(poll: PollReport) -> float:
    return poll.started_at.astimezone(UTC).timestamp() + poll.duration_s


def _known_status(status: int) -> str:
    """Return the status as a label; what is none of HTTP's cannot make labels without end."""
    return str(status) if status in _STATUSES else "other"


_STATUSES = frozenset(map(int, HTTPStatus))
