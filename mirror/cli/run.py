"""`binder-mirror run`, `serve` and `health`: the daemon, its web side alone, and its pulse."""

import os
import sys
from contextlib import AbstractAsyncContextManager, ExitStack
from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import click

from mirror.cli import common
from mirror.cli.options import given
from mirror.cli.streams import say
from mirror.config.cron import longest_interval
from mirror.config.settings import Config
from mirror.errors import ConfigError, DataDirGoneError, ExitCode
from mirror.status.readiness import judge_readiness, last_success
from mirror.store.layout import DataDir, daemon_lock, make_folders
from mirror.store.polls import load_polls

if TYPE_CHECKING:
    from mirror.sync.wiring import Mirror


@click.command()
@common.on_data_dir
@common.upstream_option
@common.listen_option
def run(place: common.Place) -> None:
    """Poll on a schedule and serve the copy, until SIGTERM or SIGINT.

    SIGHUP reads the settings again. What is asked of upstream is written while it runs: one daemon
    at a time, and a `sync` by hand between its polls.
    """
    make_folders(place.data)
    _serve(*place, writes=True)


@click.command()
@common.on_mirror
@common.listen_option
def serve(place: common.Place) -> None:
    """Serve the copy alone, as beside a `sync` from cron. Nothing is asked of upstream."""
    if not place.config.server.listen:
        raise ConfigError("server.listen is empty", hint="say where to serve with --listen")
    _serve(*place, writes=False)


@click.command()
@common.on_mirror
def health(place: common.Place) -> ExitCode:
    """Check whether polls are complete and recent, as /readyz does.

    0 if there was a complete poll no older than 3 intervals and 5 minutes, else 3.
    """
    now = datetime.now(UTC)
    interval = longest_interval(place.config.schedule, now=now)
    ended_at = last_success(load_polls(place.data, 1).successes, now=now)
    found = judge_readiness(ended_at, interval=interval, now=now)
    if not (found.is_ready and given().is_quiet):
        say(f"{'ready' if found.is_ready else 'not ready'}: {found.reason}")
    return ExitCode.COMPLETE if found.is_ready else ExitCode.INCOMPLETE


def _serve(config: Config, data: DataDir, *, writes: bool) -> None:
    # bring APScheduler and the web server along
    import asyncio  # noqa: PLC0415

    from mirror.daemon.service import run_service, tune_process  # noqa: PLC0415
    from mirror.sync.wiring import open_mirror  # noqa: PLC0415

    tune_process()
    with ExitStack() as held:
        require_held = held.enter_context(daemon_lock(data)) if writes else None

        def open_writer(current: Config) -> "AbstractAsyncContextManager[Mirror]":
            nonlocal require_held
            if require_held is None:
                make_folders(data)
                require_held = held.enter_context(daemon_lock(data))
            try:
                require_held()
            except DataDirGoneError:
                # this job fails, so that it is seen; the next takes up what is there by then
                require_held = None
                held.close()
                raise
            return open_mirror(current, data)

        in_time = asyncio.run(
            run_service(
                config,
                data,
                load=partial(common.load_settings, given()),
                open_writer=open_writer if writes else None,
                environ=os.environ,
                announce=_announce,
                now=lambda: datetime.now(UTC),
            )
        )
    if not in_time:
        # a thread hangs in the disk: all that is published is whole, and nobody waits for the rest
        os._exit(ExitCode.COMPLETE)


def _announce(url: str) -> None:
    """Show a person where to look; what is piped gets the log alone."""
    if sys.stderr.isatty():
        click.echo(f"Serving {url} (status: {url}status); Ctrl-C ends it.", err=True)
