"""What the commands share: options, settings, running a coroutine until a signal, tables."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine
from datetime import date
from pathlib import Path
from typing import Any, TypeVar

import click
import msgspec

from mirror.cli.streams import abandon_stdout, stdout_error
from mirror.config.loading import load_config
from mirror.config.settings import Config, LogConfig
from mirror.errors import ConfigError, ExitCode
from mirror.logs import configure_logs
from mirror.store.layout import DataDir, open_data_dir
from mirror.text import shown

F = TypeVar("F", bound=Callable[..., Any])
T = TypeVar("T")


class DayType(click.ParamType[date]):
    """A date on the command line."""

    name = "date"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> date:
        """Return the day that `value` names."""
        if isinstance(value, date):
            return value
        try:
            return date.fromisoformat(str(value))
        except ValueError:
            self.fail(f"{str(value)!r} is no date like 2024-01-31", param, ctx)


DAY = DayType()


class OutputType(click.Path):
    """A file to be written on the command line; None for standard output, "-"."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that `value` is."""
        return None if str(value) == "-" else super().convert(value, param, ctx)


OUTPUT = OutputType()

data_dir_option = click.option(
    "--data-dir", metavar="DIR", help="The data directory (setting storage.data_dir)."
)
upstream_option = click.option(
    "--upstream", metavar="URL", help="Base URL of the archive (setting upstream.url)."
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def load(
    ctx: click.Context,
    *,
    data_dir: str | None = None,
    upstream: str | None = None,
    listen: str | None = None,
) -> tuple[Config, DataDir]:
    """Return settings and data directory, and set up the logs.

    Raises:
        ConfigError: something about them is wrong.
    """
    config = load_settings(ctx, data_dir=data_dir, upstream=upstream, listen=listen)
    configure_logs(config.log)
    return config, open_data_dir(config, os.environ)


def load_settings(
    ctx: click.Context,
    *,
    data_dir: str | None = None,
    upstream: str | None = None,
    listen: str | None = None,
) -> Config:
    """Return the settings that file, environment and options make together.

    Raises:
        ConfigError: something about them is wrong.
    """
    given = {"storage.data_dir": data_dir, "upstream.url": upstream, "server.listen": listen}
    flags = {name: value for name, value in given.items() if value is not None}
    return load_config(ctx.obj, os.environ, flags)


def check_range(since: date | None, until: date | None) -> None:
    """Refuse a range of days that ends before it begins."""
    if since is not None and until is not None and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}")


def check_output(output: Path, data: DataDir) -> None:
    """Refuse to write a user's file among the mirror's own.

    Raises:
        ConfigError: it is within the data directory.
    """
    if Path(os.path.realpath(output)).is_relative_to(data.root.resolve()):
        raise ConfigError(
            f"{shown(str(output), 300)} is within the data directory",
            hint="write it to another place",
        )


def quiet_logs(config: Config) -> None:
    """Leave the terminal to the progress display: warnings and worse are still logged."""
    if config.log.level in ("debug", "info"):
        configure_logs(LogConfig(format=config.log.format, level="warning"))


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, and it may tidy up before the end.

    Raises:
        click.exceptions.Exit: it was interrupted; with the code for the signal.
    """

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        received: list[signal.Signals] = []

        def stop(number: signal.Signals) -> None:
            received.append(number)
            task.cancel()

        for number in (signal.SIGINT, signal.SIGTERM):
            loop.add_signal_handler(number, stop, number)
        try:
            return await task
        except asyncio.CancelledError:
            if not received:
                raise
            code = {
                signal.SIGINT: ExitCode.INTERRUPTED,
                signal.SIGTERM: ExitCode.TERMINATED,
            }[received[0]]
            click.echo("binder-mirror: interrupted; the next run goes on from here", err=True)
            raise click.exceptions.Exit(int(code)) from None

    return asyncio.run(guarded())


def say(text: str) -> None:
    """Print to standard output; that nobody reads it any more is no failure.

    Raises:
        StorageError: what it is redirected to cannot be written.
    """
    try:
        click.echo(text)
    except OSError as error:
        abandon_stdout()
        if not isinstance(error, BrokenPipeError):
            raise stdout_error(error) from error


def notice(text: str) -> None:
    """Tell a person something beside the answer, on standard error."""
    click.echo(f"binder-mirror: {text}", err=True)


def print_json(value: object) -> None:
    """Print a value as one JSON object."""
    say(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())
