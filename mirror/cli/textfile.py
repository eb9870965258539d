"""Writes the metrics of one run to a file, for node_exporter's textfile collector.

https://github.com/prometheus/node_exporter#textfile-collector
"""

from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import datetime
from pathlib import Path

import click
from prometheus_client import CollectorRegistry, Gauge, generate_latest

from mirror.clock import utc_now
from mirror.config.settings import Config
from mirror.errors import ExitCode, MirrorError
from mirror.logs import get_logger
from mirror.status.metrics import Metrics
from mirror.status.standing import read_status
from mirror.store.disk import storage_errors, write_durably
from mirror.store.layout import DataDir


class Run:
    """One run, and how it ended.

    Attributes:
        metrics: counts what happens.
        exit_code: what the process ends with; a bug until the poll has ended.
    """

    def __init__(self) -> None:
        self.metrics = Metrics(shows_process=False)
        self.exit_code = int(ExitCode.BUG)


@contextmanager
def metrics_file(path: Path, config: Config, data: DataDir) -> Iterator[Run]:
    """Leave the metrics of a run in a file, however it ends.

    Raises:
        StorageError: the file cannot be written, after a run that ended well.
    """
    run = Run()
    try:
        yield run
    except BaseException as error:
        if isinstance(error, MirrorError | click.exceptions.Exit):
            run.exit_code = int(error.exit_code)
        try:
            _write(path, run, config, data)
        except MirrorError as second:
            # the error that ended the run matters more, and goes on
            get_logger().error("metrics.not_written", problem=second.line())
        raise
    _write(path, run, config, data)


def _write(path: Path, run: Run, config: Config, data: DataDir) -> None:
    now = utc_now()
    body = _ending(run.exit_code, now)
    with suppress(MirrorError):  # without inventory nothing is known of the copy
        body += run.metrics.render(
            read_status(data, now=now),
            interval=config.schedule.interval_span,
            free_bytes=data.free_bytes(),
            now=now,
        )[0]
    write_durably(path, body, staging=path.parent)
    with storage_errors(path):
        path.chmod(0o644)  # the collector is another user


def _ending(exit_code: int, now: datetime) -> bytes:
    registry = CollectorRegistry()
    for name, text, value in (
        ("binder_mirror_last_exit_code", "How the last run ended.", exit_code),
        ("binder_mirror_last_run_timestamp_seconds", "When the last run ended.", now.timestamp()),
    ):
        Gauge(name, text, registry=registry).set(value)
    return generate_latest(registry)
