"""What the commands share: options, types of values, settings, and running until a signal."""

import asyncio
import os
import signal
from collections.abc import Callable, Coroutine, Mapping
from datetime import date
from functools import wraps
from pathlib import Path
from typing import Any, TypeVar

import click

from mirror.cli.streams import notice
from mirror.config.loading import load_config
from mirror.config.settings import Config
from mirror.errors import ConfigError, ExitCode
from mirror.logs import configure_logs
from mirror.store.layout import DataDir, open_data_dir, require_mirror
from mirror.text import parse_duration, parse_size, shown

F = TypeVar("F", bound=Callable[..., Any])
K = TypeVar("K", bound=str)
T = TypeVar("T")


_FLAGS = "mirror.flags"
"""Where a command's context keeps the settings that options override, by "table.key"."""


def load_settings(ctx: click.Context) -> Config:
    """Return the settings that file, environment and options make together.

    Raises:
        ConfigError: something about them is wrong.
    """
    return load_config(ctx.obj, os.environ, ctx.meta.get(_FLAGS, {}))


def load(ctx: click.Context) -> tuple[Config, DataDir]:
    """Return settings and data directory, and set up the logs.

    Raises:
        ConfigError: something about them is wrong.
    """
    config = load_settings(ctx)
    configure_logs(config.log)
    return config, open_data_dir(config, os.environ)


def load_mirror(ctx: click.Context) -> tuple[Config, DataDir]:
    """Return settings and data directory, for a command that needs a mirror to be there.

    Raises:
        ConfigError: something about them is wrong, or there is no mirror.
    """
    config, data = load(ctx)
    require_mirror(data)
    return config, data


def _setting_option(flag: str, setting: str, metavar: str, text: str) -> Callable[[F], F]:
    """Return an option that overrides a setting: `load_settings` sees it, no command has to."""

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value is not None:
            ctx.meta.setdefault(_FLAGS, {})[setting] = value

    return click.option(
        flag,
        metavar=metavar,
        help=f"{text} (setting {setting}).",
        callback=keep,
        expose_value=False,
    )


data_dir_option = _setting_option("--data-dir", "storage.data_dir", "DIR", "The data directory")
upstream_option = _setting_option("--upstream", "upstream.url", "URL", "Base URL of the archive")
listen_option = _setting_option("--listen", "server.listen", "HOST:PORT", "Where to serve")
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


def option_type(read: Callable[[str], T]) -> Callable[[str], T]:
    """Make a type of option values of a function whose ValueError says what is wrong with one."""

    @wraps(read)
    def convert(text: str) -> T:
        try:
            return read(text)
        except (ValueError, OverflowError) as error:
            raise click.BadParameter(f"{text!r} {error}") from None

    return convert


@option_type
def parse_day(text: str) -> date:
    """Return the day that is named."""
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ValueError("is not a date like 2024-01-31") from None


DURATION = option_type(parse_duration)
SIZE = option_type(parse_size)


def range_options(command: F) -> F:
    """Add `--since` and `--until`, days that are included."""
    until = click.option("--until", type=parse_day, metavar="DATE", help="The last day, included.")
    since = click.option("--since", type=parse_day, metavar="DATE", help="The first day.")
    return since(until(command))


def check_range(since: date | None, until: date | None) -> None:
    """Refuse a range of days that ends before it begins."""
    if since is not None and until is not None and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}")


class OutputType(click.Path):
    """A file to be written on the command line; None for standard output, "-"."""

    def __init__(self) -> None:
        super().__init__(path_type=Path, dir_okay=False)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        """Return the path that `value` is."""
        return None if str(value) == "-" else super().convert(value, param, ctx)


OUTPUT = OutputType()


def check_output(output: Path | None, data: DataDir) -> None:
    """Refuse to write a user's file among the mirror's own.

    Raises:
        ConfigError: it is within the data directory.
    """
    if output is not None and Path(os.path.realpath(output)).is_relative_to(data.root.resolve()):
        raise ConfigError(
            f"{shown(str(output), 300)} is within the data directory",
            hint="write it to another place",
        )


def format_of(suffix: str, formats: Mapping[str, K], output: Path | None) -> K:
    """Return the format that the name of an output stands for."""
    if suffix not in formats:
        name = shown(str(output), 300)
        raise click.UsageError(f"the name {name} does not say which format: use --format")
    return formats[suffix]


def run_until_signal(work: Coroutine[Any, Any, T]) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, and it may tidy up before the end.

    Raises:
        click.exceptions.Exit: it was interrupted; with the code for the signal.
    """

    async def guarded() -> T:
        loop = asyncio.get_running_loop()
        task = asyncio.ensure_future(work)
        received: list[ExitCode] = []

        def stop(code: ExitCode) -> None:
            received.append(code)
            task.cancel()

        loop.add_signal_handler(signal.SIGINT, stop, ExitCode.INTERRUPTED)
        loop.add_signal_handler(signal.SIGTERM, stop, ExitCode.TERMINATED)
        try:
            return await task
        except asyncio.CancelledError:
            if not received:
                raise
            notice("interrupted; the next run goes on from here")
            raise click.exceptions.Exit(int(received[0])) from None

    return asyncio.run(guarded())
