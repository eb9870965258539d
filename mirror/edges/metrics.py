"""What a monitor sees, in the words of Prometheus."""

from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime

from prometheus_client import CollectorRegistry
from prometheus_client.exposition import choose_encoder

from mirror.edges.folder import DataDir
from mirror.edges.view import View
from mirror.model import Due, Outcome, Plan, PollReport, Traffic


class Metrics:
    """Counts what happens and shows how the copy stands; one for each process."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()

    @contextmanager
    def following(self, traffic: Traffic) -> Iterator[None]:
        """Count what a session asks and receives, while it does."""
        yield

    def job_failed(self, job: str, outcome: str) -> None:
        """A job ended without a report."""

    def verified(self, files: int, damaged: int) -> None:
        """A slice of the copy was read."""

    def loop_lagged(self, seconds: float) -> None:
        """The event loop was late by so much."""

    def served(self, status: int, size: int) -> None:
        """A request was answered."""

    def planned(self, plan: Plan) -> None:
        """Nothing to count yet."""

    def received(self, due: Due, size: int) -> None:
        """More bytes of a day came."""

    def retrying(self, due: Due, problem: str, delay_s: float) -> None:
        """A try failed."""

    def finished(self, outcome: Outcome) -> None:
        """A due day ended."""

    def reported(self, report: PollReport) -> None:
        """A poll is over."""

    def render(self, view: View, data: DataDir, *, accept: str, now: datetime) -> tuple[bytes, str]:
        """Return the metrics and their content type."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
