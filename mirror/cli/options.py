"""The options that are taken before and after a command; imports no more than the bare help needs.

Of one that is given twice, the one after the command wins.
"""

import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import click
from msgspec import Struct

from mirror.text import shown

F = TypeVar("F", bound=Callable[..., Any] | click.Command)

_FOLDER = click.Path(file_okay=False)


class Given(Struct):
    """What the options gave, before a command and after it."""

    settings: list[tuple[str, str, str]] = []  # in order: the name of each, its value, the option
    config: Path | None = None  # the file of settings that was named
    is_quiet: bool = False  # whether nothing is to be said where nothing is wrong
    upstream: Callable[[], str] = str
    """Returns the copy's upstream where a command would by itself ask another; else nothing."""


def given() -> Given:
    """Return what the options of the running command gave."""
    found: Given = click.get_current_context().meta.setdefault(__name__, Given())
    return found


def pasteable(text: str) -> str:
    """Return a text for a person whose commands have the options that are in use now."""
    if "`binder-mirror " not in text or click.get_current_context(silent=True) is None:
        return text
    from mirror.config.address import masked_address  # noqa: PLC0415 - imports more

    used = {"--config": str(config)} if (config := given().config) else {}
    for name, value, flag in given().settings:
        if name in ("storage.data_dir", "upstream.url"):
            used[flag] = masked_address(value) if name == "upstream.url" else value
    if "--upstream" not in used and (url := given().upstream()):
        used["--upstream"] = url
    options = "".join(f"{flag} {shown(shlex.quote(value), 300)} " for flag, value in used.items())
    return text.replace("`binder-mirror ", f"`binder-mirror {options}")


def setting_option(
    flag: str, setting: str, metavar: str, text: str, default: str = ""
) -> Callable[[F], F]:
    """Return an option that overrides a setting; one without a default is not in the help."""

    def keep(_ctx: click.Context, _param: click.Parameter, value: str | None) -> None:
        if value == "" and metavar == "DIR":
            # most likely a variable that is not set: the usual folder is not what was meant
            raise click.BadParameter("it is empty")
        if value is not None:
            given().settings.append((setting, value, flag))

    return click.option(
        flag,
        metavar=metavar,
        help=f"{text} (setting {setting}).",
        callback=keep,
        expose_value=False,
        show_default=default or False,
        shell_complete=_FOLDER.shell_complete if metavar == "DIR" else None,
        hidden=not default,
    )


UPSTREAM = setting_option("--upstream", "upstream.url", "URL", "Base URL of the archive")
"""Before any command; those that ask upstream show it in their own help."""


def _log_option(*flags: str, level: str, text: str) -> Callable[[F], F]:
    def keep(_ctx: click.Context, _param: click.Parameter, value: bool) -> None:
        if value:
            given().settings.append(("log.level", level, flags[0]))
            given().is_quiet = level != "debug"

    return click.option(*flags, is_flag=True, help=text, callback=keep, expose_value=False)


class _ConfigFile(click.Path):
    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> Any:
        if not str(value):
            self.fail("it is empty", param, ctx)
        return super().convert(value, param, ctx)


def _keep_config(_ctx: click.Context, _param: click.Parameter, value: Path | None) -> None:
    given().config = value or given().config


EVERYWHERE = {
    "--config": click.option(
        "--config",
        type=_ConfigFile(path_type=Path, dir_okay=False),
        metavar="FILE",
        help="The file of settings, in TOML; see `binder-mirror config path`.",
        callback=_keep_config,
        expose_value=False,
        show_default="$BINDER_MIRROR_CONFIG, else the user's, else the system's",
    ),
    "--data-dir": setting_option(
        *("--data-dir", "storage.data_dir", "DIR", "The data directory"),
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


def on_each_side(command: click.Command) -> click.Command:
    """Give a command, or all commands of a group, those of the options that they do not have."""
    # whole, while click would cut it
    command.short_help = " ".join((command.help or "").partition("\n\n")[0].split())
    if isinstance(command, click.Group):
        for one in command.commands.values():
            on_each_side(one)
        return command
    named = {name for param in command.params for name in param.opts}
    for name, option in EVERYWHERE.items():
        if name not in named:
            option(command)
    return command
