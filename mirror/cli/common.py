"""What the commands share: options, types of values, settings, and running until a signal."""

import os
import signal
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Mapping
from contextlib import suppress
from datetime import date
from functools import partial, wraps
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import click

from mirror.cli.options import Given, given, setting_option
from mirror.cli.streams import answer, notice
from mirror.config.address import identity_of
from mirror.config.loading import Setting, find_config, load_config
from mirror.config.settings import Config, ServerConfig, UpstreamConfig
from mirror.errors import ConfigError, ExitCode, MirrorError
from mirror.logs import configure_logs
from mirror.model import DayRange
from mirror.store.inventory import load_inventory, load_upstream, require_known_formats
from mirror.store.layout import DataDir, open_data_dir, require_mirror
from mirror.text import parse_duration, parse_size, plural, shown

if TYPE_CHECKING:
    from mirror.reading.reader import Archive
    from mirror.sync.wiring import Mirror

K = TypeVar("K")
T = TypeVar("T")

_CODES = {signal.SIGINT: ExitCode.INTERRUPTED, signal.SIGTERM: ExitCode.TERMINATED}


def load_settings(given: Given) -> Config:
    """Return the settings of file, environment and options; ConfigError says what is wrong."""
    flags = [
        Setting(*name.partition(".")[::2], value, flag) for name, value, flag in given.settings
    ]
    return load_config(find_config(given.config, os.environ), os.environ, flags)


upstream_option = setting_option(
    *("--upstream", "upstream.url", "URL", "Base URL of the archive"), default=UpstreamConfig().url
)
listen_option = setting_option(
    *("--listen", "server.listen", "HOST:PORT", "Where to serve"), default=ServerConfig().listen
)
json_option = click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")


class Place(NamedTuple):
    """Where a command works: the settings, and the data directory that they name."""

    config: Config
    data: DataDir


def on_data_dir(command: Callable[..., T], *, has_mirror: bool = False) -> Callable[..., T]:
    """Open settings, logs and data directory; the command gets its `Place` as first argument."""

    @wraps(command)
    def with_place(*args: Any, **options: Any) -> T:
        config = load_settings(given())
        configure_logs(config.log)
        data = open_data_dir(config, os.environ)
        given().upstream = partial(_other_upstream, config, data)
        require_known_formats(data)
        if has_mirror:
            require_mirror(data)
        return command(Place(config, data), *args, **options)

    return with_place


def _other_upstream(config: Config, data: DataDir) -> str:
    """Return the upstream of the copy where it is not that of the settings; else nothing."""
    known = ""
    with suppress(MirrorError):
        known = load_upstream(data, "").url
    return known if known != identity_of(config.upstream.url) else ""


on_mirror = partial(on_data_dir, has_mirror=True)
"""Do the same for a command that has nothing to do where there is no mirror yet."""


def option_type(read: Callable[[str], T], problem: str = "") -> Callable[[str], T]:
    """Make a type of option values: what `read` refuses is told by `problem`, or its ValueError."""

    @wraps(read)
    def convert(text: str) -> T:
        try:
            return read(text)
        except ValueError as error:
            raise click.BadParameter(f"{text!r} {problem or error}") from None

    return convert


DAY = option_type(date.fromisoformat, "is not a date like 2024-01-31")
DURATION = option_type(parse_duration)
SIZE = option_type(parse_size)


def days_options(command: Callable[..., T]) -> Callable[..., T]:
    """Add `--since` and `--until`; the command gets them as one value, `days`."""

    @click.option("--since", type=DAY, metavar="DATE", help="The first day.")
    @click.option("--until", type=DAY, metavar="DATE", help="The last day, included.")
    @wraps(command)
    def with_days(*args: Any, since: date | None, until: date | None, **options: Any) -> T:
        if since is not None and until is not None and since > until:
            raise click.UsageError(f"--since {since} is after --until {until}")
        return command(*args, days=DayRange(since, until), **options)

    return with_days


class _Output(click.Path):
    """A file to write; None for standard output, "-"."""

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        return None if str(value) == "-" else super().convert(value, param, ctx)


OUTPUT = _Output(path_type=Path, dir_okay=False)
output_option = click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write there, whole or not at all; - for standard output.",
)


def check_output(output: Path | None, data: DataDir) -> None:
    """Refuse to write a user's file among the mirror's own; raises ConfigError."""
    if output is not None and Path(os.path.realpath(output)).is_relative_to(data.root.resolve()):
        raise ConfigError(
            f"{shown(str(output), 300)} is within the data directory",
            hint="write it to another place",
        )


def format_of(named: K | None, suffix: str, formats: Mapping[str, K], output: Path | None) -> K:
    """Return the format that is named, else the one that the suffix of the output stands for."""
    if named is not None:
        return named
    if suffix not in formats:
        name = shown(str(output), 300)
        raise click.UsageError(f"the name {name} does not say which format: use --format")
    return formats[suffix]


def open_archive(data: DataDir) -> "Archive":
    """Return the events of a data directory, to be read."""
    from mirror.reading.reader import Archive  # noqa: PLC0415 - brings the decoder along

    rules = data.days
    return Archive(data.root, name_template=rules.name_template, final_after=rules.final_after)


def conclude(code: int, facts: object, lines: Iterable[str], *, as_json: bool) -> int:
    """Print how a command's work ended, but for -q where all is well; return `code`."""
    if as_json or code != ExitCode.COMPLETE or not given().is_quiet:
        answer(facts, lines, as_json=as_json)
    return code


def run_until_signal(work: Coroutine[Any, Any, T], data: DataDir | None = None) -> T:
    """Run a coroutine; SIGINT and SIGTERM cancel it, and it may tidy up before the end.

    Of the data directory that it fills it is said then what is held, and an Exit is raised with the
    code for the signal.
    """
    import asyncio  # noqa: PLC0415 - what no coroutine waits for is quicker without it

    received: list[ExitCode] = []

    async def guarded() -> T:
        task = asyncio.ensure_future(work)

        def stop(code: ExitCode) -> None:
            # once: a second would cut short what the first has it tidy up
            if not received:
                task.cancel()
            received.append(code)

        for number, code in _CODES.items():
            asyncio.get_running_loop().add_signal_handler(number, stop, code)
        return await task

    try:
        return asyncio.run(guarded())
    except asyncio.CancelledError:
        if not received:
            raise
        for number in _CODES:
            # it ends already
            signal.signal(number, signal.SIG_IGN)
        parting = "interrupted; the next run goes on from here"
        with suppress(MirrorError):
            if data is not None:
                held = plural(len(load_inventory(data).records), "day")
                parting = f"stopped; {held} held; next run goes on"  # fits in 60 columns
        notice(parting)
        raise click.exceptions.Exit(received[0]) from None


def with_mirror(config: Config, data: DataDir, work: Callable[["Mirror"], Awaitable[T]]) -> T:
    """Hold the data directory for writing while `work` is done with it, or until a signal."""
    from mirror.sync.wiring import open_mirror  # noqa: PLC0415 - brings the HTTP client along

    async def held() -> T:
        async with open_mirror(config, data) as mirror:
            return await work(mirror)

    return run_until_signal(held(), data)
