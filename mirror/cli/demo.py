"""`binder-mirror demo`: shows the tour of `mirror.demo.tour`."""

from pathlib import Path

import click

from mirror.cli import common
from mirror.cli.streams import say
from mirror.config.settings import LogConfig
from mirror.logs import configure_logs

_PORT = 8000


@click.command()
@click.option(
    "--data-dir",
    metavar="DIR",
    default="demo-data",
    help="Where the demo's copy is kept; replaced each time.",
)
@click.option(
    "--days", type=click.IntRange(5, 1000), default=60, help="Days of the archive at the beginning."
)
@click.option("--serve", "serves", is_flag=True, help="Go on serving the archive, until Ctrl-C.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    help=f"Where --serve does so, on 127.0.0.1; 0 for any.  [default: {_PORT}]",
)
def demo(data_dir: str, days: int, port: int | None, *, serves: bool) -> None:
    """Show what the mirror is for, on an archive of its own; no network is used.

    Serves a small archive on a loopback port, lets it live through a few days and incidents, and
    mirrors it. Then it says what to try; with --serve the archive stays, to be mirrored by hand.
    """
    if port is not None and not serves:
        raise click.UsageError("--port goes with --serve")
    from mirror.demo.tour import run_tour  # noqa: PLC0415 - brings an HTTP server along

    configure_logs(LogConfig(level="error"))
    if serves and port is None:
        port = _PORT
    common.run_until_signal(run_tour(Path(data_dir), days=days, port=port, show=say))
