"""Puts the parts of the daemon together; what writes is passed in."""

from collections.abc import Callable, Mapping
from datetime import datetime

from mirror.config.settings import Config
from mirror.daemon.jobs import Jobs, OpenWriter
from mirror.daemon.notify import Notifier
from mirror.daemon.schedule import Schedule, longest_interval
from mirror.daemon.service import Service
from mirror.daemon.work import Work
from mirror.status.metrics import Metrics
from mirror.status.poll_progress import PollProgress
from mirror.status.snapshot import SnapshotCache
from mirror.store.layout import DataDir
from mirror.web.site import Site


def make_service(
    config: Config,
    data: DataDir,
    *,
    load: Callable[[], Config],
    open_writer: OpenWriter | None,
    environ: Mapping[str, str],
    announce: Callable[[str], None],
    now: Callable[[], datetime],
) -> Service:
    """Return what runs until a signal.

    Args:
        config: the settings.
        data: the data directory.
        load: reads the settings again.
        open_writer: holds the data directory for writing; None where only the web side runs.
        environ: the process's environment, where a service manager leaves word.
        announce: told the address that is served.
        now: the clock, aware UTC.
    """
    snapshots = SnapshotCache(data)
    metrics, live = Metrics(), PollProgress()
    site = Site(
        config=config,
        data=data,
        snapshots=snapshots,
        metrics=metrics,
        live=live,
        interval=longest_interval(config.schedule, now=now()),
        now=now,
    )
    work = None
    if open_writer is not None:
        jobs = Jobs(
            config,
            data,
            open_writer=open_writer,
            snapshots=snapshots,
            metrics=metrics,
            live=live,
            now=now,
        )
        work = Work(Schedule(config.schedule), jobs, live)
    return Service(
        config,
        load=load,
        site=site,
        notifier=Notifier(environ),
        work=work,
        announce=announce,
    )
