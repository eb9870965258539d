"""The command itself: finds the subcommand, and turns what happens into one line and a code."""

import gc
import importlib
import os
import signal
import sys
from collections.abc import Mapping
from contextlib import nullcontext
from typing import NoReturn

import click

from mirror import __version__
from mirror.cli.options import EVERYWHERE, UPSTREAM, on_each_side
from mirror.cli.streams import ReaderGoneError, abandon_stdout, notice, prepare_streams
from mirror.errors import ExitCode, MirrorError
from mirror.text import shown

PROGRAM = "binder-mirror"
COMPLETE_VARIABLE = "_BINDER_MIRROR_COMPLETE"
"""In which a shell asks for completions: `binder-mirror completion` tells it to."""
COMMANDS = {
    "sync": ("sync", "Bring the copy in step with upstream, once."),
    "run": ("run", "Poll on a schedule and serve the copy, until SIGTERM or SIGINT."),
    "serve": ("run", "Serve the copy alone, as beside a `sync` from cron."),
    "health": ("run", "Check whether polls are complete and recent, as /readyz does."),
    "status": ("status", "Show the state of the copy, without asking upstream."),
    "verify": ("verify", "Read every published file again and compare it with the manifest."),
    "history": ("history", "List the predecessors kept, of one day or of all."),
    "restore": ("history", "Publish a predecessor of DATE again."),
    "prune": ("history", "Delete predecessors or refused bodies for good."),
    "report": ("report", "Show what is odd about the days held, and how launches developed."),
    "dataset": ("dataset", "Keep the events as Parquet."),
    "query": ("query", "Answer SQL over the launches."),
    "events": ("events", "Write the events held, by day and as they stand in upstream's files."),
    "demo": ("demo", "Show what the mirror is for, on an archive of its own."),
    "config": ("config", "Show or check the settings."),
    "completion": ("app", "Print what has a shell complete commands, options and values."),
}
"""Each command's module and summary: a module is imported only when its command is called."""


class _Commands(click.Group):
    def list_commands(self, _ctx: click.Context) -> list[str]:
        return list(self.commands)

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        name, command, rest = super().resolve_command(ctx, args)
        if name is not None:
            module = importlib.import_module(f"mirror.cli.{COMMANDS[name][0]}")
            # `mirror.cli.main` has switched it off
            gc.freeze()
            gc.enable()
            command = self.commands[name] = on_each_side(getattr(module, name))
        return name, command, rest


@click.group(
    cls=_Commands,
    # what is not imported yet, for help, suggestions and completions
    commands={
        name: click.Command(name, short_help=summary) for name, (_, summary) in COMMANDS.items()
    },
    short_help="Keep a verified, byte-faithful copy of the mybinder.org Events Archive.",
    context_settings={
        "help_option_names": ["-h", "--help"],
        "max_content_width": 100,
        "show_default": True,
    },
    epilog="Exit codes: 0 complete, 1 a bug, 2 usage or configuration, 3 incomplete, 4 upstream "
    "unusable, 5 local storage, 6 another writer, 130/143 interrupted.",
)
@click.version_option(__version__, "-V", "--version", prog_name="binder-mirror")
def cli() -> None:
    """Keep a verified, byte-faithful copy of the mybinder.org Events Archive."""


for _option in (*EVERYWHERE.values(), UPSTREAM):
    _option(cli)


@click.command(
    epilog="For bash, in ~/.bashrc: source <(binder-mirror completion bash). For zsh, in ~/.zshrc "
    "after compinit: source <(binder-mirror completion zsh). For fish: binder-mirror completion "
    "fish > ~/.config/fish/completions/binder-mirror.fish"
)
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]), metavar="bash|zsh|fish")
def completion(shell: str) -> None:
    """Print what has a shell complete commands, options and values."""
    _complete(f"{shell}_source")


def _complete(asked: str) -> int:
    from click.shell_completion import shell_complete  # noqa: PLC0415 - for a shell alone

    import mirror.cli.shells  # noqa: F401, PLC0415 - takes the place of click's own

    return shell_complete(cli, {}, PROGRAM, COMPLETE_VARIABLE, asked)


def main() -> NoReturn:
    """Run the command line and exit."""
    prepare_streams()
    _drop_key_log()
    # as PID 1 of a container a process ignores SIGTERM unless it says otherwise
    signal.signal(signal.SIGTERM, _terminate)
    # whoever started us may have blocked them, and that is inherited
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
    if asked := os.environ.get(COMPLETE_VARIABLE):
        sys.exit(_complete(asked))
    sys.exit(run(sys.argv[1:], os.environ))


def _drop_key_log() -> None:
    """Do without SSLKEYLOGFILE where it cannot be written: no TLS context could be made with it."""
    path = os.environ.get("SSLKEYLOGFILE")
    try:
        if path:
            os.close(os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_NONBLOCK, 0o600))
    except OSError as error:
        notice(f"SSLKEYLOGFILE {shown(str(path), 300)}: {error.strerror}: it is not written")
        del os.environ["SSLKEYLOGFILE"]


def _terminate(_number: int, _frame: object) -> None:
    abandon_stdout()
    sys.exit(int(ExitCode.TERMINATED))


def run(arguments: list[str], environ: Mapping[str, str]) -> int:
    """Run one command and return its exit code; every error has become a line by then."""
    context: click.Context | None = None
    try:
        context = cli.make_context(PROGRAM, list(arguments))
        with context:
            result: int | None = cli.invoke(context)
    except click.exceptions.Exit as error:
        return error.exit_code
    except (MirrorError, click.UsageError) as error:
        return _print_error(error, context)
    except KeyboardInterrupt:
        abandon_stdout()
        notice("interrupted")
        return ExitCode.INTERRUPTED
    except ReaderGoneError:
        # whoever read our output has had enough: nothing is wrong
        return ExitCode.COMPLETE
    except Exception as error:  # noqa: BLE001 - the last line of defence
        return _print_unexpected(error, environ)
    return result or ExitCode.COMPLETE


def _print_error(
    error: MirrorError | click.UsageError, context: click.Context | None = None
) -> ExitCode:
    if isinstance(error, MirrorError):
        # the hint repeats the options that were given
        with context or nullcontext():
            for line in error.line().splitlines():
                notice(line)
        return error.exit_code
    if isinstance(error, click.exceptions.NoArgsIsHelpError):
        click.echo(error.format_message(), err=True)
    else:
        hint = f" (see `{error.ctx.command_path} --help`)" if error.ctx is not None else ""
        # click lists choices below one another
        notice(shown(" ".join(error.format_message().split()), 500) + hint)
    return ExitCode.USAGE


def _print_unexpected(error: Exception, environ: Mapping[str, str]) -> ExitCode:
    from mirror.store.disk import machine_error  # noqa: PLC0415 - brings structlog along

    if (refused := machine_error(error)) is not None:
        return _print_error(refused)
    if environ.get("BINDER_MIRROR_LOG__LEVEL", "").lower() == "debug":
        import traceback  # noqa: PLC0415 - for whoever asked for it

        traceback.print_exception(error)
    notice(
        f"this is a bug: {type(error).__name__}: {shown(str(error), 300)} "
        "(please report it, with what BINDER_MIRROR_LOG__LEVEL=debug shows)"
    )
    return ExitCode.BUG
