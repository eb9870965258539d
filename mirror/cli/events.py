"""`binder-mirror events`: the events of a mirror as JSON lines, CSV or Parquet."""

import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from typing import Any, get_args

import click

from mirror.cli import common
from mirror.cli.options import given
from mirror.cli.streams import ReaderGoneError, notice
from mirror.errors import ConfigError, SpecError, UnknownSchemaError
from mirror.events.spec import PROVIDERS, repository_key
from mirror.model import DayRange
from mirror.reading import sinks
from mirror.reading.sinks import AnyEvents, Compression, Format
from mirror.text import plural, shown

_FORMAT_BY_SUFFIX: dict[str, Format] = {"": "json", ".jsonl": "json", ".ndjson": "json"}
_FORMAT_BY_SUFFIX |= {f".{name}": name for name in get_args(Format)}

_PROVIDERS = {name.casefold(): name for name in PROVIDERS}

_choice = partial(click.option, multiple=True, callback=lambda _ctx, _param, values: values or None)
"""An option that may be given several times; None where it is not given: that chooses all."""


def _repository(text: str) -> str:
    try:
        repository_key(text)
    except SpecError as error:
        raise click.BadParameter(error.line()) from None
    return text


@click.command()
@common.on_data_dir
@common.days_options
@_choice(
    "--provider",
    # as events have it, in whatever case it is typed
    type=lambda text: _PROVIDERS.get(text.casefold(), text),
    metavar="NAME",
    help=f"Only launches of this provider, such as {', '.join(PROVIDERS)}.",
    shell_complete=lambda _ctx, _param, begun: [
        one for one in PROVIDERS if one.casefold().startswith(begun.casefold())
    ],
)
@_choice("--origin", metavar="HOST", help="Only launches by this BinderHub.")
@_choice(
    "--repo",
    type=_repository,
    metavar="NAME",
    help="Only launches of this repository, in any spelling: user/repository, an address, a DOI, "
    "the link of a launch.",
)
@click.option("--final-only", is_flag=True, help="Leave out days that are still open.")
@click.option(
    "--unknown",
    type=click.Choice(["raise", "skip", "raw"]),
    default="raise",
    help="What to do about a line that is no launch of a known version: end with exit code 3, pass "
    "over it, or give it as it is (JSON lines only; of one of more than 1 MiB the beginning).",
)
@click.option(
    "--fill-origin", is_flag=True, help="Take mybinder.org for the origin before 2019-06-12."
)
@click.option(
    "--format",
    "format_name",
    type=click.Choice(get_args(Format)),
    help="JSON lines, if the name of the output says nothing else.",
)
@click.option(
    "--compress",
    type=click.Choice(get_args(Compression)),
    help="None, if the name of the output does not end in .gz or .zst.",
)
@common.output_option
def events(
    place: common.Place,
    /,
    days: DayRange,
    *,
    final_only: bool,
    format_name: Format | None,
    compress: Compression | None,
    output: Path | None,
    **choice: Any,
) -> None:
    """Write the events held, by day and as they stand in upstream's files.

    JSON lines are upstream's own, byte for byte, whatever the filters. CSV and Parquet have every
    column of every version; what a version has not is empty or null. In CSV a cell that begins
    with = + - @ or a control character is led by an apostrophe, so that no spreadsheet runs it.

    An option given several times takes any of its values.
    """
    name = Path(str(output or "").lower())
    if packed := sinks.COMPRESSION_BY_SUFFIX.get(name.suffix):
        name = name.with_suffix("")
    form = common.format_of(format_name, name.suffix, _FORMAT_BY_SUFFIX, output)
    compression = compress or packed or "none"
    is_for_terminal = output is None and sys.stdout.isatty()
    _check(form, compression, choice)
    if is_for_terminal and (compression != "none" or form == "parquet"):
        raise ConfigError("this is nothing for a terminal", hint="name a file with --output")
    common.check_output(output, place.data)
    progress = False if is_for_terminal or given().is_quiet else None
    chosen: AnyEvents = common.open_archive(place.data).events(
        days.since, days.until, open_days=not final_only, progress=progress, **choice
    )
    try:
        with suppress(ReaderGoneError), sinks.open_sink(output, compression) as sink:
            sinks.WRITERS[form](chosen, sink)
            if output is None:
                sink.flush()
    except UnknownSchemaError as error:
        hint = "--unknown skip passes over such lines, --unknown raw gives them as they are"
        raise UnknownSchemaError(str(error), hint=hint) from error
    _print_notices(chosen, choice["provider"] or ())


def _check(form: Format, compress: Compression, choice: Mapping[str, Any]) -> None:
    if choice["unknown"] == "raw" and form != "json":
        raise click.UsageError(f"--unknown raw is for JSON lines: {form} has no place for them")
    if compress != "none" and form == "parquet":
        raise click.UsageError("Parquet is compressed within: --compress is for JSON lines and CSV")
    if choice["fill_origin"] and form == "json":
        raise click.UsageError("JSON lines are upstream's own: --fill-origin is for CSV, Parquet")


def _print_notices(chosen: AnyEvents, providers: Sequence[str]) -> None:
    if not chosen.days:
        notice("no day of that range is held")
    elif not chosen.given:
        near = [
            _PROVIDERS[name]
            for one in providers
            for name in get_close_matches(one.casefold(), _PROVIDERS, n=1)
        ]
        meant = f"; did you mean {' or '.join(near)}?" if near and near != [*providers] else ""
        notice(f"no event found: {chosen.describe()}{meant}")
    partial = [str(day.date) for day in chosen.days if not day.is_final]
    if partial:
        notice(
            f"{', '.join(partial)}: not final yet, there will be more events "
            "(--final-only leaves out such days)"
        )
    if total := chosen.odd.total():
        kinds = ", ".join(f"{shown(kind)} {count:,}" for kind, count in sorted(chosen.odd.items()))
        notice(f"{plural(total, 'line')} of no known launch: {kinds}")
