"""The command itself: finds the subcommand, and turns what happens into one line and a code."""

import errno
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import NoReturn, cast

import click

from mirror import __version__
from mirror.cli.lean import lean_imports
from mirror.cli.streams import abandon_stdout, prepare_streams, stdout_error
from mirror.errors import ExitCode, MirrorError
from mirror.text import shown

_FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)

_COMMANDS = {
    "sync": "mirror.cli.sync",
    "run": "mirror.cli.run",
    "serve": "mirror.cli.run",
    "health": "mirror.cli.run",
    "status": "mirror.cli.status",
    "verify": "mirror.cli.verify",
    "history": "mirror.cli.versions",
    "restore": "mirror.cli.versions",
    "prune": "mirror.cli.prune",
    "report": "mirror.cli.report",
    "dataset": "mirror.cli.dataset",
    "query": "mirror.cli.query",
    "events": "mirror.cli.events",
    "demo": "mirror.cli.demo",
    "config": "mirror.cli.config",
}
"""Where each command lives; imported when it is called, so that none pays for another."""


class _Commands(click.Group):
    def list_commands(self, ctx: click.Context) -> list[str]:
        del ctx
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        del ctx
        if cmd_name not in _COMMANDS:
            return None
        with lean_imports():
            module = importlib.import_module(_COMMANDS[cmd_name])
        return cast("click.Command", getattr(module, cmd_name))


@click.group(
    cls=_Commands,
    context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100},
    epilog="Exit codes: 0 complete, 1 a bug, 2 usage or configuration, 3 incomplete, 4 upstream "
    "unusable, 5 local storage, 6 another writer, 130/143 interrupted.",
)
@click.option(
    "--config",
    "config_file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="FILE",
    envvar="BINDER_MIRROR_CONFIG",
    help="Settings, in TOML; see `binder-mirror config show`.",
)
@click.version_option(__version__, "-V", "--version", prog_name="binder-mirror")
@click.pass_context
def cli(ctx: click.Context, config_file: Path | None) -> None:
    """Keep a verified, byte-faithful copy of the mybinder.org Events Archive."""
    ctx.obj = config_file


def main() -> NoReturn:
    """Run the command line and exit."""
    prepare_streams()
    # as PID 1 of a container a process ignores SIGTERM unless it says otherwise
    signal.signal(signal.SIGTERM, lambda _number, _frame: sys.exit(int(ExitCode.TERMINATED)))
    sys.exit(run(sys.argv[1:], os.environ))


def run(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code; every error has become a line by then."""
    try:
        with cli.make_context("binder-mirror", list(arguments)) as context:
            result = cli.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (MirrorError, click.ClickException) as error:
        return int(_tell_error(error))
    except (click.Abort, KeyboardInterrupt):
        _tell("interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output has had enough: nothing is wrong
        abandon_stdout()
        return int(ExitCode.COMPLETE)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug, told in one line
        return _tell_unwritable(error) or _tell_bug(error, environ)
    return int(result or 0)


def _tell_error(error: MirrorError | click.ClickException) -> ExitCode:
    if isinstance(error, MirrorError):
        for line in error.line().splitlines():
            _tell(line)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        where = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see `{where.command_path} --help`)" if where is not None else ""
        _tell(shown(error.format_message(), 500) + hint)
    return ExitCode.USAGE


def _tell_unwritable(error: Exception) -> int | None:
    """Return the exit code where a help text could not be written; None for any other error."""
    # all that is ours to write has its own errors: help and version are written by click
    if not isinstance(error, OSError) or error.errno not in _FULL or error.filename is not None:
        return None
    abandon_stdout()
    return int(_tell_error(stdout_error(error)))


def _tell_bug(error: Exception, environ: Mapping[str, str]) -> int:
    if environ.get("BINDER_MIRROR_LOG__LEVEL", "").lower() == "debug":
        import traceback  # noqa: PLC0415 - for whoever asked for it

        traceback.print_exception(error)
    _tell(
        f"this is a bug: {type(error).__name__}: {shown(str(error), 300)} "
        "(please report it, with what BINDER_MIRROR_LOG__LEVEL=debug shows)"
    )
    return int(ExitCode.BUG)


def _tell(line: str) -> None:
    print(f"binder-mirror: {line}", file=sys.stderr)  # noqa: T201
