"""A prompt for SQL: a query ends with ";" or an empty line; a wrong one ends nothing else."""

import atexit
import os
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from pathlib import Path

import click

from mirror.errors import ExitCode, MirrorError

_HISTORY_LENGTH = 1000
_HELP = """\
A query ends with ";" or an empty line.  \\d the columns  \\q or Ctrl-D ends  Ctrl-C cancels"""
_COMMANDS: dict[str, str | None] = {
    "\\q": None,
    "exit": None,
    "quit": None,
    "\\d": "SELECT column_name, column_type FROM (DESCRIBE launches)",
    "\\?": "",
    "help": "",
}
"""What is no SQL: the query that it stands for, "" for help, None for the end."""


def prompt(answer: Callable[[str], None]) -> int:
    """Ask for queries until there are no more; return the exit code.

    What somebody types may be wrong; of queries from elsewhere the first failure is the exit code.

    Args:
        answer: answers one, and raises MirrorError where it cannot.
    """
    is_interactive = sys.stdin.isatty()
    if is_interactive:
        _keep_history(os.environ)
        click.echo(_HELP, err=True)
    codes = [_try(answer, query) for query in _queries(is_interactive=is_interactive)]
    return 0 if is_interactive else next(filter(None, codes), 0)


def _queries(*, is_interactive: bool) -> Iterator[str]:
    """Yield what is typed, query by query."""
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
        if not typed and (command := line.strip()) in _COMMANDS:
            if (query := _COMMANDS[command]) is None:
                return
            if query:
                yield query
            else:
                click.echo(_HELP, err=True)
            continue
        typed += [line] if line.strip() else []
        if typed and (not line.strip() or line.rstrip().endswith(";")):
            yield "\n".join(typed)
            typed = []
    if typed:
        yield "\n".join(typed)
    if is_interactive:
        click.echo("", err=True)


def _try(answer: Callable[[str], None], sql: str) -> int:
    try:
        answer(sql)
    except MirrorError as error:
        click.echo(f"binder-mirror: {error.line()}", err=True)
        return int(error.exit_code)
    except KeyboardInterrupt:
        click.echo("cancelled", err=True)
        return int(ExitCode.INTERRUPTED)
    return int(ExitCode.COMPLETE)


def _keep_history(environ: Mapping[str, str]) -> None:
    """Remember what was typed, from one time to the next, readable by the user alone."""
    try:
        import readline  # noqa: PLC0415 - not in every Python
    except ImportError:
        return
    state = environ.get("XDG_STATE_HOME")
    with suppress(OSError, RuntimeError):
        folder = (Path(state) if state else Path.home() / ".local" / "state") / "binder-mirror"
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        path = folder / "query_history"
        path.touch(mode=0o600)
        readline.read_history_file(path)
        readline.set_history_length(_HISTORY_LENGTH)
        atexit.register(_save_history, path)


def _save_history(path: Path) -> None:
    import readline  # noqa: PLC0415 - not in every Python

    with suppress(OSError):
        readline.write_history_file(path)
