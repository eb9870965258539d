"""`binder-mirror events`: the events of a mirror as JSON lines, CSV or Parquet."""

import sys
from datetime import date
from pathlib import Path
from typing import Any

import click
from msgspec import Struct

from mirror.cli.common import (
    OUTPUT,
    check_output,
    check_range,
    data_dir_option,
    format_of,
    load,
    range_options,
)
from mirror.cli.streams import abandon_stdout, notice, stdout_error
from mirror.errors import ConfigError, SpecError, UnknownSchemaError
from mirror.events.repository import repository_key
from mirror.reading.reader import Archive
from mirror.reading.selection import Unknown
from mirror.reading.sinks import (
    COMPRESSION_BY_SUFFIX,
    WRITERS,
    AnyEvents,
    Compression,
    Format,
    open_sink,
)
from mirror.text import plural, shown

_FORMAT_BY_SUFFIX: dict[str, Format] = {
    "": "json",
    ".json": "json",
    ".jsonl": "json",
    ".ndjson": "json",
    ".csv": "csv",
    ".parquet": "parquet",
}


def _repository(text: str) -> str:
    """Return the name of a repository, in any spelling that there is."""
    try:
        repository_key(text)
    except SpecError as error:
        raise click.BadParameter(error.line()) from None
    return text


class _Asked(Struct, frozen=True):
    """What is asked for; each field is an option."""

    since: date | None
    until: date | None
    provider: tuple[str, ...]
    origin: tuple[str, ...]
    repo: tuple[str, ...]
    final_only: bool
    unknown: Unknown
    fill_origin: bool
    form: Format | None
    compress: Compression | None
    output: Path | None

    @property
    def is_for_terminal(self) -> bool:
        """Whether the events are shown to a person."""
        return self.output is None and sys.stdout.isatty()

    def encoding(self) -> tuple[Format, Compression]:
        """Return format and compression, by the name of the output where no option says them."""
        suffixes = [one.lower() for one in self.output.suffixes] if self.output else []
        packed = COMPRESSION_BY_SUFFIX.get(suffixes[-1]) if suffixes else None
        inner = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
        form = self.form or format_of(inner, _FORMAT_BY_SUFFIX, self.output)
        return form, self.compress or packed or "none"


@click.command()
@data_dir_option
@range_options
@click.option("--provider", multiple=True, metavar="NAME", help="Only launches of this provider.")
@click.option("--origin", multiple=True, metavar="HOST", help="Only launches by this BinderHub.")
@click.option(
    "--repo",
    type=_repository,
    multiple=True,
    metavar="NAME",
    help="Only launches of this repository, in any spelling: user/repository, an address, a DOI, "
    "the link of a launch.",
)
@click.option("--final-only", is_flag=True, help="Leave out days that are still open.")
@click.option(
    "--unknown",
    type=click.Choice(["raise", "skip", "raw"]),
    default="raise",
    show_default=True,
    help="What to do about a line that is no launch of a known version: end with exit code 3, pass "
    "over it, or give it as it is (JSON lines only; of one of more than 1 MiB the beginning).",
)
@click.option(
    "--fill-origin", is_flag=True, help="Take mybinder.org for the origin before 2019-06-12."
)
@click.option(
    "--format",
    "form",
    type=click.Choice(["json", "csv", "parquet"]),
    help="JSON lines, if the name of the output says nothing else.",
)
@click.option(
    "--compress",
    type=click.Choice(["none", "gzip", "zstd"]),
    help="None, if the name of the output does not end in .gz or .zst.",
)
@click.option(
    "-o",
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write to a file, which is replaced when all is written; - for standard output.",
)
@click.pass_context
def events(ctx: click.Context, /, **options: Any) -> None:
    """Write the events held, by day and as they stand in upstream's files.

    JSON lines are upstream's own, byte for byte, whatever the filters. CSV and Parquet have every
    column of every version; what a version has not is empty or null. In CSV a cell that begins
    with = + - @ or a control character is led by an apostrophe, so that no spreadsheet runs it.

    An option given several times takes any of its values.
    """
    asked = _Asked(**options)
    check_range(asked.since, asked.until)
    _, data = load(ctx)
    form, compress = asked.encoding()
    _check(asked, form, compress)
    check_output(asked.output, data)
    archive = Archive(
        data.root, name_template=data.days.name_template, final_after=data.days.final_after
    )
    chosen: AnyEvents = archive.events(
        asked.since,
        asked.until,
        provider=asked.provider or None,
        origin=asked.origin or None,
        repo=asked.repo or None,
        unknown=asked.unknown,
        open_days=not asked.final_only,
        fill_origin=asked.fill_origin,
        progress=False if asked.is_for_terminal else None,
    )
    _write(chosen, form, compress, asked.output)
    _print_notices(chosen)


def _check(asked: _Asked, form: Format, compress: Compression) -> None:
    if asked.unknown == "raw" and form != "json":
        raise click.UsageError(f"--unknown raw is for JSON lines: {form} has no place for them")
    if compress != "none" and form == "parquet":
        raise click.UsageError("Parquet is compressed within: --compress is for JSON lines and CSV")
    if asked.fill_origin and form == "json":
        raise click.UsageError("JSON lines are upstream's own: --fill-origin is for CSV, Parquet")
    if asked.is_for_terminal and (compress != "none" or form == "parquet"):
        raise ConfigError("this is nothing for a terminal", hint="name a file with --output")


def _write(chosen: AnyEvents, form: Format, compress: Compression, output: Path | None) -> None:
    try:
        with open_sink(output, compress) as sink:
            WRITERS[form](chosen, sink)
            if output is None:
                sink.flush()
    except UnknownSchemaError as error:
        hint = "--unknown skip passes over such lines, --unknown raw gives them as they are"
        raise UnknownSchemaError(str(error), hint=hint) from error
    except BrokenPipeError:
        # whoever read has had enough
        abandon_stdout()
    except OSError as error:
        abandon_stdout()
        raise stdout_error(error) from error


def _print_notices(chosen: AnyEvents) -> None:
    """Print what a reader of the output should know."""
    if not chosen.days:
        notice("no day of that range is held")
    elif not chosen.given:
        notice(f"no event found: {chosen.describe()}")
    partial = [str(day.date) for day in chosen.days if not day.is_final]
    if partial:
        notice(
            f"{', '.join(partial)}: not final yet, there will be more events "
            "(--final-only leaves out such days)"
        )
    if total := chosen.odd.total():
        kinds = ", ".join(f"{shown(kind)} {count:,}" for kind, count in sorted(chosen.odd.items()))
        notice(f"{plural(total, 'line')} of no known launch: {kinds}")
