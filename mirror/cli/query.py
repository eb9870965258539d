"""`binder-mirror query`: SQL over the launches; a table, CSV, JSON, Markdown or Parquet.

DuckDB runs in a process of its own (`mirror.dataset.query_process`), ended by Ctrl-C.
"""

import atexit
import os
import sys
from collections.abc import Callable, Iterator
from contextlib import nullcontext, suppress
from pathlib import Path

import click

from mirror.cli import common
from mirror.cli.streams import notice, stdout_errors
from mirror.dataset.columns import DATASET_COLUMNS
from mirror.dataset.months import open_months
from mirror.dataset.query import Bounds, key_hint
from mirror.dataset.query_process import answer_apart, bind_apart, call_apart
from mirror.errors import ConfigError, ExitCode, MirrorError
from mirror.store.disk import replacing

_FORMATS = ("table", "csv", "json", "markdown", "parquet")
_FORMAT_BY_SUFFIX = {"": "csv", ".md": "markdown", ".txt": "table"}
_FORMAT_BY_SUFFIX |= {f".{name}": name for name in _FORMATS}
_MAX_SQL_BYTES = 1024 * 1024
_COLUMNS = ", ".join(f"{one.name} {one.sql_type}" for one in DATASET_COLUMNS)
_HELP = """\
A query ends with ";" or an empty line.  \\d the columns  \\q or Ctrl-D ends  Ctrl-C cancels"""
_DESCRIBE = "SELECT column_name, column_type FROM (DESCRIBE launches)"


_EXAMPLE = """\
repo('user/repo') is the key that `repository` has for a repository, of any of its spellings: an
address, a DOI, the link of a launch. Its launches by month:

\b
  SELECT year, month, count(*) AS launches FROM launches
  WHERE repository = repo('ipython/ipython-in-depth') GROUP BY ALL ORDER BY ALL
"""


@click.command(epilog=f"Columns: {_COLUMNS}; year, month.\n\n{_EXAMPLE}")
@common.on_mirror
@click.argument("sql", required=False, metavar="[SQL|-]")
@click.option(
    "--format",
    "format_name",
    type=click.Choice(_FORMATS),
    help="How to answer. A table on a terminal, for a file by its name, else CSV.",
)
@common.output_option
@click.option(
    "--memory", type=common.SIZE, metavar="SIZE", default="1GiB", help="What a query may take."
)
@click.option(
    "--timeout",
    type=common.DURATION,
    metavar="DURATION",
    default="5m",
    help="How long a query may take; 0 for ever.",
)
def query(
    place: common.Place,
    sql: str | None,
    *,
    format_name: str | None,
    output: Path | None,
    memory: int,
    timeout: float,
) -> int:
    """Answer SQL over the launches: the view `launches`, read-only.

    "DESCRIBE launches" lists its columns. SQL is DuckDB's; with - it is read from standard
    input, without any there is a prompt. Reads the data set (`dataset build`) and, for what it
    lacks, the daily files. Nothing else can be read, and nothing written.

    Exits 3 where a day on record has to be left out.
    """
    if output is None:
        form = format_name or ("table" if sys.stdout.isatty() else "csv")
        if form == "parquet":
            raise click.UsageError("--format parquet needs --output FILE")
    elif sql is None:
        raise click.UsageError("--output needs a query")
    else:
        suffix = output.suffix.lower()
        form = common.format_of(format_name, suffix, _FORMAT_BY_SUFFIX, output)
    common.check_output(output, place.data)
    text = _read_sql() if sql == "-" else sql
    bounds = Bounds(max(memory, 64 * 1024**2), timeout_s=timeout, threads=os.cpu_count() or 1)
    left_out: list[str] = []

    def before_reading(told: str) -> None:
        if text is not None:
            bind_apart(bounds, text)
        notice(told)

    with (
        replacing(output) if output is not None else nullcontext() as part,
        open_months(
            place.data, notice=before_reading, warn=left_out.append, call=call_apart
        ) as months,
    ):
        for line in left_out:
            notice(line)

        def answer(asked: str) -> None:
            if hint := key_hint(asked):
                notice(hint)
            with stdout_errors() if part is None else nullcontext():
                answer_apart(months, bounds, asked, form, part)

        code = 0
        if text is None:
            code = _prompt(answer)
        else:
            answer(text)
    return code or (ExitCode.INCOMPLETE if left_out else ExitCode.COMPLETE)


def _read_sql() -> str:
    text = sys.stdin.read(_MAX_SQL_BYTES + 1)
    if len(text) > _MAX_SQL_BYTES:
        raise ConfigError("the query on standard input is longer than 1 MiB")
    return text


def _prompt(answer: Callable[[str], None]) -> int:
    """Ask for queries until there are no more; return the exit code.

    What somebody types may be wrong; of queries from elsewhere the first failure is the exit code.
    """
    is_interactive = sys.stdin.isatty()
    if is_interactive:
        _keep_history()
        click.echo(_HELP, err=True)
    codes = [_try(answer, query) for query in _queries(is_interactive=is_interactive)]
    return 0 if is_interactive else next(filter(None, codes), 0)


def _queries(*, is_interactive: bool) -> Iterator[str]:
    """Yield what is typed, query by query: each ends with ";", an empty line, or the input."""
    typed: list[str] = []
    while True:
        try:
            line = input(("   ...> " if typed else "query> ") if is_interactive else "")
        except EOFError:
            break
        except KeyboardInterrupt:
            typed = []
            click.echo("", err=True)
            continue
        command = line.strip() if not typed else ""
        if command in ("\\q", "exit", "quit"):
            return
        if command in ("\\?", "help"):
            click.echo(_HELP, err=True)
        elif command == "\\d":
            yield _DESCRIBE
        else:
            typed += [line] if line.strip() else []
            if typed and (not line.strip() or line.rstrip().endswith(";")):
                yield "\n".join(typed)
                typed = []
    if typed:
        yield "\n".join(typed)
    if is_interactive:
        click.echo("", err=True)


def _try(answer: Callable[[str], None], sql: str) -> ExitCode:
    try:
        answer(sql)
    except MirrorError as error:
        notice(error.line())
        return error.exit_code
    except KeyboardInterrupt:
        click.echo("cancelled", err=True)
        return ExitCode.INTERRUPTED
    return ExitCode.COMPLETE


def _keep_history() -> None:
    """Remember what was typed, from one time to the next, readable by the user alone."""
    # not in every Python; a user may have no home
    with suppress(ImportError, OSError, RuntimeError):
        import readline  # noqa: PLC0415 - worth its start-up time only where somebody types

        state = os.environ.get("XDG_STATE_HOME") or Path.home() / ".local" / "state"
        path = Path(state, "binder-mirror", "query_history")
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        path.touch(mode=0o600)
        readline.read_history_file(path)
        readline.set_history_length(1000)

        def save() -> None:
            with suppress(OSError):
                readline.write_history_file(path)

        atexit.register(save)
