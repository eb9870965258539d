"""What the routes share: data directory, snapshot, metrics, settings."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from functools import lru_cache

from mirror.config.settings import Config
from mirror.report.facts import Report, read_report
from mirror.status.metrics import Metrics
from mirror.status.poll_progress import PollProgress
from mirror.status.readiness import Readiness, judge_readiness, last_success
from mirror.status.snapshot import Snapshot
from mirror.status.snapshot_cache import SnapshotCache
from mirror.status.standing import Status, make_status
from mirror.store.layout import DataDir


@dataclass(slots=True, eq=False)
class Site:
    """What the pages are made from; the daemon puts new settings in as they come."""

    config: Config
    data: DataDir
    interval: timedelta  # longest time between two polls, for readiness
    now: Callable[[], datetime]
    live: PollProgress = field(default_factory=PollProgress)
    """How the running poll stands; never moves where the web side runs alone."""
    metrics: Metrics = field(default_factory=Metrics)
    snapshots: SnapshotCache = field(init=False)

    def __post_init__(self) -> None:
        self.snapshots = SnapshotCache(self.data)

    def status(self, snapshot: Snapshot) -> Status:
        """Return how the copy stands by a snapshot of it."""
        counts = self.config.storage.findings
        return make_status(snapshot, self.data, now=self.now(), counts=counts)

    @lru_cache(maxsize=1)  # noqa: B019 - one more site or snapshot at most is kept
    def report(self, snapshot: Snapshot) -> Report:
        """Return the report on all days of a snapshot: made once for it, in a tenth of a second."""
        return read_report(self.data, self.config, now=self.now(), snapshot=snapshot)

    def readiness(self, snapshot: Snapshot) -> Readiness:
        """Return whether polls are complete and recent."""
        now = self.now()
        ended_at = last_success(snapshot.successes, now=now)
        return judge_readiness(ended_at, interval=self.interval, now=now)
