"""Metrics as Prometheus's own parser reads them."""

from datetime import datetime, timedelta

from prometheus_client.parser import text_string_to_metric_families

from mirror.status.metrics import ScrapeContext


def read_samples(text: str) -> dict[tuple[str, ...], float]:
    """Return each sample's value by its name and the values of its labels."""
    return {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


def at(now: datetime, *, free_bytes: int = 5 * 10**9) -> ScrapeContext:
    """Return a moment under the settings that are the default."""
    return ScrapeContext(
        now=now,
        first_open=(now - timedelta(hours=8)).date(),
        interval=timedelta(minutes=31),
        free_bytes=free_bytes,
    )
