"""`binder-mirror query`: SQL over the launches; a table, CSV, JSON, Markdown or Parquet."""

import os
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TextIO

import click

from mirror.cli.common import OUTPUT, check_output, data_dir_option, load, notice
from mirror.cli.streams import stdout_error
from mirror.dataset.isolated import run_apart
from mirror.dataset.query import Bounds, Session, open_months
from mirror.dataset.query_format import as_is, write_csv, write_json, write_markdown
from mirror.dataset.query_process import answer_apart
from mirror.errors import ConfigError, ExitCode
from mirror.store.layout import require_mirror
from mirror.store.output import replacing
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
_WRITERS = {"csv": write_csv, "json": write_json, "markdown": write_markdown}


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
    text = _read_sql() if sql == "-" else sql
    bounds = Bounds(
        memory_bytes=max(int(memory), 64 * 1024**2),
        timeout_s=timeout,
        threads=os.cpu_count() or 1,
    )
    with (
        replacing(output) if output is not None else nullcontext() as part,
        open_months(data, notice=notice, run=run_apart) as months,
    ):

        def answer(asked: str) -> None:
            answer_apart(
                months,
                bounds,
                lambda session: _answer(session, asked, format_name, part),
                output=part,
            )

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


def _answer(session: Session, sql: str, format_name: str | None, output: Path | None) -> None:
    """Answer one query, on standard output or into a file."""
    if format_name == "parquet":
        session.write_parquet(sql)
        return
    is_terminal = output is None and sys.stdout.isatty()
    name = format_name or ("table" if is_terminal else "csv")
    show = _show if is_terminal else as_is
    with session.run(sql) as result, _open_text(output) as out:
        if name == "table":
            # rich is worth its start-up time only where it is seen
            from mirror.cli.table import print_table  # noqa: PLC0415

            print_table(result, out)
        else:
            _WRITERS[name](result, out.write, show)


def _show(text: str) -> str:
    """Return a string as a terminal may have it, however long."""
    return shown(text, max(len(text) * 10, 1))


def _read_sql() -> str:
    text = sys.stdin.read(_MAX_SQL_BYTES + 1)
    if len(text) > _MAX_SQL_BYTES:
        raise ConfigError("the query on standard input is longer than 1 MiB")
    return text


@contextmanager
def _open_text(output: Path | None) -> Iterator[TextIO]:
    """Open what text is written to, at the end of which all of it is.

    Raises:
        StorageError: standard output cannot be written.
        OSError: the file cannot be written.
        BrokenPipeError: nobody reads it any more.
    """
    if output is not None:
        with output.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            yield out
        return
    try:
        yield sys.stdout
        sys.stdout.flush()
    except BrokenPipeError:
        raise
    except OSError as error:
        raise stdout_error(error) from error
