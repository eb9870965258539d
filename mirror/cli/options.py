"""The options that are taken before and after a command; imports no more than the bare help needs.

What they give is kept in the context, for `mirror.cli.common.load_settings`: of one that is given
twice, the one after the command wins.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from mirror.text import shown

if TYPE_CHECKING:
    from click.shell_completion import CompletionItem

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

_FLAGS = "mirror.flags"
_CONFIG = "mirror.config"
_QUIET = "mirror.quiet"

Flag = tuple[str, str, str]
"""A setting that an option gives: its name, the value, the option."""


def given_flags(ctx: click.Context) -> list[Flag]:
    """Return the settings that options gave, in order."""
    flags: list[Flag] = ctx.meta.setdefault(_FLAGS, [])
    return flags


def given_config(ctx: click.Context) -> Path | None:
    """Return the file of settings that `--config` named."""
    path: Path | None = ctx.meta.get(_CONFIG)
    return path


def is_quiet(ctx: click.Context) -> bool:
    """Return whether nothing is to be said where nothing is wrong."""
    return bool(ctx.meta.get(_QUIET))


def pasteable(text: str) -> str:
    """Return a text for a person whose commands have the options that are in use now."""
    ctx = click.get_current_context(silent=True)
    if ctx is None or "`binder-mirror " not in text:
        return text
    from mirror.config.address import masked_address  # noqa: PLC0415 - imports more

    config = given_config(ctx)
    used = {"--config": str(config)} if config else {}
    for name, value, flag in given_flags(ctx):
        if name in ("storage.data_dir", "upstream.url"):
            used[flag] = masked_address(value) if name == "upstream.url" else value
    options = "".join(f"{flag} {shown(shlex.quote(value), 300)} " for flag, value in used.items())
    return text.replace("`binder-mirror ", f"`binder-mirror {options}")


def setting_option(
    flag: str,
    setting: str,
    metavar: str,
    text: str,
    default: str = "",
    *,
    may_be_empty: bool = False,
) -> Callable[[F], F]:
    """Return an option that overrides a setting.

    Args:
        flag: its name.
        setting: the setting's.
        metavar: what its value is called.
        text: what it means, without a full stop.
        default: what holds without it, and without a setting; one without is not in the help.
        may_be_empty: whether its value may be.
    """

    def keep(ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value == "" and not may_be_empty:
            raise click.BadParameter("it is empty")
        if value is not None:
            given_flags(ctx).append((setting, value, flag))

    return click.option(
        flag,
        metavar=metavar,
        help=f"{text} (setting {setting}).",
        callback=keep,
        expose_value=False,
        show_default=default or False,
        shell_complete=_complete_folders if metavar == "DIR" else None,
        hidden=not default,
    )


def _complete_folders(
    _ctx: click.Context, _param: click.Parameter, incomplete: str
) -> list["CompletionItem"]:
    from click.shell_completion import CompletionItem  # noqa: PLC0415 - for a shell alone

    return [CompletionItem(incomplete, type="dir")]


UPSTREAM = setting_option("--upstream", "upstream.url", "URL", "Base URL of the archive")
"""Before any command; those that ask upstream show it in their own help."""


def _log_option(*flags: str, level: str, text: str) -> Callable[[F], F]:
    def keep(ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            given_flags(ctx).append(("log.level", level, flags[0]))
            ctx.meta[_QUIET] = level != "debug"

    return click.option(*flags, is_flag=True, help=text, callback=keep, expose_value=False)


def _keep_config(ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    if value is not None:
        ctx.meta[_CONFIG] = value


EVERYWHERE = {
    "--config": click.option(
        "--config",
        type=click.Path(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The file of settings, in TOML; see `binder-mirror config path`.",
        callback=_keep_config,
        expose_value=False,
        show_default="$BINDER_MIRROR_CONFIG, else the user's, else the system's",
    ),
    "--data-dir": setting_option(
        "--data-dir",
        "storage.data_dir",
        "DIR",
        "The data directory",
        "$STATE_DIRECTORY, else $XDG_DATA_HOME/binder-mirror",
    ),
    "--verbose": _log_option(
        "-v", "--verbose", level="debug", text="Log all that is done (setting log.level)."
    ),
    "--quiet": _log_option(
        "-q", "--quiet", level="warning", text="Say nothing where nothing is wrong."
    ),
}
"""The options of all commands, by name."""


def on_each_side(command: F) -> F:
    """Give a command, or all commands of a group, those of the options that they do not have."""
    if isinstance(command, click.Group):
        for one in command.commands.values():
            # whole, while click would cut it
            one.short_help = " ".join((one.help or "").partition("\n\n")[0].split())
            on_each_side(one)
    elif isinstance(command, click.Command):
        named = {name for param in command.params for name in param.opts}
        for name, option in EVERYWHERE.items():
            if name not in named:
                option(command)
    return command
