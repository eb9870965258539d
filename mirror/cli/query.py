"""`binder-mirror query`: SQL over the launches; a table, CSV, JSON, Markdown or Parquet."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from mirror.cli.common import OUTPUT, check_output, data_dir_option, load, notice
from mirror.cli.streams import stdout_error
from mirror.dataset.query import Bounds, open_months
from mirror.dataset.query_process import answer_apart, call_apart
from mirror.errors import ConfigError, ExitCode
from mirror.store.disk import replacing
from mirror.store.layout import require_mirror
from mirror.text import parse_duration, parse_size, shown

_FORMAT_BY_SUFFIX = {
    "": "csv",
    ".csv": "csv",
    ".json": "json",
    ".md": "markdown",
    ".parquet": "parquet",
    ".txt": "table",
}
_MAX_SQL_BYTES = 1024 * 1024


class _Quantity(click.ParamType[float]):
    """A size or a duration on the command line."""

    def __init__(self, name: str, parse: Callable[[str], float]) -> None:
        self.name = name
        self._parse = parse

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> float:
        """Return the number that `value` stands for."""
        try:
            return self._parse(str(value))
        except ValueError as error:
            self.fail(f"{str(value)!r} {error}", param, ctx)


@click.command()
@click.argument("sql", required=False, metavar="[SQL|-]")
@data_dir_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "csv", "json", "markdown", "parquet"]),
    help="How to answer. A table on a terminal, for a file what its name tells, else CSV.",
)
@click.option(
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write the answer there, whole or not at all; - for standard output.",
)
@click.option(
    "--memory",
    type=_Quantity("size", parse_size),
    default="1GiB",
    show_default=True,
    help="What a query may take.",
)
@click.option(
    "--timeout",
    type=_Quantity("duration", parse_duration),
    default="5m",
    show_default=True,
    help="How long a query may take; 0 for ever.",
)
@click.pass_context
def query(
    ctx: click.Context,
    sql: str | None,
    data_dir: str | None,
    *,
    format_name: str | None,
    output: Path | None,
    memory: float,
    timeout: float,
) -> int:
    """Answer SQL over the launches: the view `launches`, read-only.

    The columns are told by "DESCRIBE launches". SQL is DuckDB's; with - it is read from standard
    input, without any there is a prompt. Reads the data set (`dataset build`) or, where there is
    none, the daily files. Nothing else can be read, and nothing written.
    """
    if format_name is None and output is not None:
        format_name = _format_of(output)
    if format_name == "parquet" and output is None:
        raise click.UsageError("--format parquet wants --output FILE")
    if output is not None and sql is None:
        raise click.UsageError("--output wants a query")
    _, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    if output is not None:
        check_output(output, data)
    form = format_name or ("table" if output is None and sys.stdout.isatty() else "csv")
    text = _read_sql() if sql == "-" else sql
    bounds = Bounds(
        memory_bytes=max(int(memory), 64 * 1024**2),
        timeout_s=timeout,
        threads=os.cpu_count() or 1,
    )
    with (
        replacing(output) if output is not None else nullcontext() as part,
        open_months(data, notice=notice, call=call_apart) as months,
    ):

        def answer(asked: str) -> None:
            with _stdout_errors() if part is None else nullcontext():
                answer_apart(months, bounds, asked, form, part)

        if text is not None:
            answer(text)
        else:
            # readline is worth its start-up time only where somebody types
            from mirror.cli.prompt import prompt  # noqa: PLC0415

            return prompt(answer)
    return int(ExitCode.COMPLETE)


def _format_of(output: Path) -> str:
    """Return the format that a file's name tells."""
    suffix = output.suffix.lower()
    if suffix not in _FORMAT_BY_SUFFIX:
        raise click.UsageError(f"the name {shown(str(output), 300)} tells no format: say --format")
    return _FORMAT_BY_SUFFIX[suffix]


def _read_sql() -> str:
    text = sys.stdin.read(_MAX_SQL_BYTES + 1)
    if len(text) > _MAX_SQL_BYTES:
        raise ConfigError("the query on standard input is longer than 1 MiB")
    return text


@contextmanager
def _stdout_errors() -> Iterator[None]:
    """Turn what keeps an answer from standard output into an error that says so.

    Raises:
        StorageError: it cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    try:
        yield
    except BrokenPipeError:
        raise
    except OSError as error:
        raise stdout_error(error) from error
