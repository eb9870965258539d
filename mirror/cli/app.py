"""The command itself: finds the subcommand, and turns what happens into one line and a code."""

import errno
import gc
import importlib
import os
import signal
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType
from typing import NoReturn, cast

import click

from mirror import __version__
from mirror.cli.streams import abandon_stdout, notice, prepare_streams, stdout_error
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
        with _quick_imports():
            module = importlib.import_module(_COMMANDS[cmd_name])
        return cast("click.Command", getattr(module, cmd_name))


@contextmanager
def _quick_imports() -> Iterator[None]:
    """Import without work that is never used: a third of the time of a quick command.

    structlog takes rich along where it finds it, which we import where it is seen. aiohttp reads
    the system's certificates twice; `mirror.sync.source` reads them itself, for https alone. And
    what is imported is no garbage, not even at the end.
    """
    hides_rich = "rich" not in sys.modules
    certificates = os.environ.get("SSL_CERT_FILE")
    os.environ["SSL_CERT_FILE"] = os.devnull
    if hides_rich:
        sys.modules["rich"] = cast("ModuleType", None)  # what `import` takes for "not there"
    gc.disable()
    try:
        yield
    finally:
        gc.enable()
        gc.freeze()
        if hides_rich:
            del sys.modules["rich"]
        del os.environ["SSL_CERT_FILE"]
        if certificates is not None:
            os.environ["SSL_CERT_FILE"] = certificates


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
        return int(_print_error(error))
    except (click.Abort, KeyboardInterrupt):
        notice("interrupted")
        return int(ExitCode.INTERRUPTED)
    except BrokenPipeError:
        # whoever read our output has had enough: nothing is wrong
        abandon_stdout()
        return int(ExitCode.COMPLETE)
    except Exception as error:  # noqa: BLE001 - the last line of defence: a bug, in one line
        return _print_unwritable(error) or _print_bug(error, environ)
    return int(result or 0)


def _print_error(error: MirrorError | click.ClickException) -> ExitCode:
    if isinstance(error, MirrorError):
        for line in error.line().splitlines():
            notice(line)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        where = error.ctx if isinstance(error, click.UsageError) else None
        hint = f" (see `{where.command_path} --help`)" if where is not None else ""
        notice(shown(error.format_message(), 500) + hint)
    return ExitCode.USAGE


def _print_unwritable(error: Exception) -> int | None:
    """Return the exit code where a help text could not be written; None for any other error."""
    # all that is ours to write has its own errors: help and version are written by click
    if not isinstance(error, OSError) or error.errno not in _FULL or error.filename is not None:
        return None
    abandon_stdout()
    return int(_print_error(stdout_error(error)))


def _print_bug(error: Exception, environ: Mapping[str, str]) -> int:
    if environ.get("BINDER_MIRROR_LOG__LEVEL", "").lower() == "debug":
        import traceback  # noqa: PLC0415 - for whoever asked for it

        traceback.print_exception(error)
    notice(
        f"this is a bug: {type(error).__name__}: {shown(str(error), 300)} "
        "(please report it, with what BINDER_MIRROR_LOG__LEVEL=debug shows)"
    )
    return int(ExitCode.BUG)
