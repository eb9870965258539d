"""`binder-mirror query`: SQL over the launches; a table, CSV, JSON, Markdown or Parquet."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path

import click

from mirror.cli.common import (
    DURATION,
    OUTPUT,
    SIZE,
    check_output,
    data_dir_option,
    format_of,
    load_mirror,
)
from mirror.cli.streams import notice, stdout_error
from mirror.dataset.query import Bounds, open_months
from mirror.dataset.query_process import answer_apart, call_apart
from mirror.errors import ConfigError, ExitCode
from mirror.store.disk import replacing

_FORMAT_BY_SUFFIX = {
    "": "csv",
    ".csv": "csv",
    ".json": "json",
    ".md": "markdown",
    ".parquet": "parquet",
    ".txt": "table",
}
_MAX_SQL_BYTES = 1024 * 1024


@click.command()
@click.argument("sql", required=False, metavar="[SQL|-]")
@data_dir_option
@click.option(
    "--format",
    "format_name",
    type=click.Choice(["table", "csv", "json", "markdown", "parquet"]),
    help="How to answer. A table on a terminal, for a file by its name, else CSV.",
)
@click.option(
    "--output",
    type=OUTPUT,
    metavar="FILE",
    help="Write the answer there, whole or not at all; - for standard output.",
)
@click.option(
    "--memory",
    type=SIZE,
    metavar="SIZE",
    default="1GiB",
    show_default=True,
    help="What a query may take.",
)
@click.option(
    "--timeout",
    type=DURATION,
    metavar="DURATION",
    default="5m",
    show_default=True,
    help="How long a query may take; 0 for ever.",
)
@click.pass_context
def query(
    ctx: click.Context,
    sql: str | None,
    *,
    format_name: str | None,
    output: Path | None,
    memory: int,
    timeout: float,
) -> int:
    """Answer SQL over the launches: the view `launches`, read-only.

    "DESCRIBE launches" lists its columns. SQL is DuckDB's; with - it is read from standard
    input, without any there is a prompt. Reads the data set (`dataset build`) or, where there is
    none, the daily files. Nothing else can be read, and nothing written.
    """
    if format_name is None and output is not None:
        format_name = format_of(output.suffix.lower(), _FORMAT_BY_SUFFIX, output)
    if format_name == "parquet" and output is None:
        raise click.UsageError("--format parquet needs --output FILE")
    if output is not None and sql is None:
        raise click.UsageError("--output needs a query")
    _, data = load_mirror(ctx)
    check_output(output, data)
    form = format_name or ("table" if output is None and sys.stdout.isatty() else "csv")
    text = _read_sql() if sql == "-" else sql
    bounds = Bounds(
        memory_bytes=max(memory, 64 * 1024**2),
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
    return ExitCode.COMPLETE


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
