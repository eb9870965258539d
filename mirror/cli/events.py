"""`binder-mirror events`: the events of a mirror as JSON lines, CSV or Parquet."""

import sys
from datetime import date
from pathlib import Path

import click

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
def events(  # noqa: PLR0913 - one argument an option
    ctx: click.Context,
    *,
    since: date | None,
    until: date | None,
    provider: tuple[str, ...],
    origin: tuple[str, ...],
    repo: tuple[str, ...],
    final_only: bool,
    unknown: Unknown,
    fill_origin: bool,
    form: Format | None,
    compress: Compression | None,
    output: Path | None,
) -> None:
    """Write the events held, by day and as they stand in upstream's files.

    JSON lines are upstream's own, byte for byte, whatever the filters. CSV and Parquet have every
    column of every version; what a version has not is empty or null. In CSV a cell that begins
    with = + - @ or a control character is led by an apostrophe, so that no spreadsheet runs it.

    An option given several times takes any of its values.
    """
    check_range(since, until)
    _, data = load(ctx)
    form, compress = _choose(output, form, compress)
    _check(form, compress, unknown, fill_origin=fill_origin)
    check_output(output, data)
    archive = Archive(
        data.root, name_template=data.days.name_template, final_after=data.days.final_after
    )
    chosen: AnyEvents = archive.events(
        since,
        until,
        provider=provider or None,
        origin=origin or None,
        repo=repo or None,
        unknown=unknown,
        open_days=not final_only,
        fill_origin=fill_origin,
        progress=False if _is_shown(output) else None,
    )
    _write(chosen, form, compress, output)
    _print_notices(chosen)


def _choose(
    output: Path | None, form: Format | None, compress: Compression | None
) -> tuple[Format, Compression]:
    """Return format and compression, by the name of the output where no option says them."""
    suffixes = [one.lower() for one in output.suffixes] if output is not None else []
    packed = COMPRESSION_BY_SUFFIX.get(suffixes[-1]) if suffixes else None
    inner = "".join(suffixes[-2:-1] if packed else suffixes[-1:])
    return form or format_of(inner, _FORMAT_BY_SUFFIX, output), compress or packed or "none"


def _check(form: Format, compress: Compression, unknown: Unknown, *, fill_origin: bool) -> None:
    if unknown == "raw" and form != "json":
        raise click.UsageError(f"--unknown raw is for JSON lines: {form} has no place for them")
    if compress != "none" and form == "parquet":
        raise click.UsageError("Parquet is compressed within: --compress is for JSON lines and CSV")
    if fill_origin and form == "json":
        raise click.UsageError("JSON lines are upstream's own: --fill-origin is for CSV, Parquet")


def _is_shown(output: Path | None) -> bool:
    return output is None and sys.stdout.isatty()


def _write(chosen: AnyEvents, form: Format, compress: Compression, output: Path | None) -> None:
    if output is None and sys.stdout.isatty() and (compress != "none" or form == "parquet"):
        raise ConfigError("this is nothing for a terminal", hint="name a file with --output")
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
