"""Metrics as Prometheus's own parser reads them."""

from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from mirror.status.metrics import Metrics
from mirror.status.standing import Status


def read_samples(text: str) -> dict[tuple[str, ...], float]:
    """Return each sample's value by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def render(metrics: Metrics, status: Status, now: datetime) -> str:
    """Return the metrics as a scrape shows them under the settings that are the default."""
    interval = timedelta(minutes=31)
    return metrics.render(status, interval=interval, free_bytes=5 * 10**9, now=now)[0].decode()
