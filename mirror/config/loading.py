"""Finds and loads the settings: TOML, environment and flags; tells all that is wrong at once.

TOML is overridden by `BINDER_MIRROR_<TABLE>__<KEY>`, that by flags. `config/mirror.toml` is
`render(Config())`. Each error names its place, such as a line of TOML.
"""

import difflib
import os
import re
import textwrap
import tomllib
from collections.abc import Iterable, Iterator, Mapping
from datetime import date
from pathlib import Path
from typing import TypeVar, get_args, get_type_hints
from urllib.parse import urlsplit

import msgspec
from msgspec import Meta, Struct

from mirror.config.address import identity_of, masked_address
from mirror.config.cron import crontab_trigger
from mirror.config.settings import Config, Unit
from mirror.errors import ConfigError
from mirror.text import shown

T = TypeVar("T")

ENV_PREFIX = "BINDER_MIRROR_"
SYSTEM_CONFIG = Path("/etc/binder-mirror/mirror.toml")
_KUBERNETES = re.compile(r"_SERVICE_(HOST|PORT)|_PORT_[0-9]+_|=[a-z]+://")
"""Of a variable and its value: one that Kubernetes makes for a service of our name."""
_MAX_CONFIG_BYTES = 1024 * 1024
_KEYS = {
    table: get_type_hints(kind, include_extras=True)
    for table, kind in get_type_hints(Config).items()
}
"""The type and meaning of each key, by table."""


class Setting(Struct, frozen=True):
    """One value as given."""

    table: str
    key: str
    value: object
    place: str  # where it is given: file and line, variable or flag


def load_config(
    path: Path | None, environ: Mapping[str, str], flags: Iterable[Setting] = ()
) -> Config:
    """Return the settings that a TOML file, if any, environment and flags make together.

    A ConfigError says that the file cannot be read, or what is wrong, a line for each setting.
    """
    given = [*(_read_file(path) if path is not None else ()), *_read_environment(environ), *flags]
    tables: dict[str, dict[str, object]] = {}
    problems = list(_misspelt(environ))
    for setting in given:
        try:
            value = _convert(setting)
        except ValueError as error:
            is_known = setting.key and setting.table in _KEYS
            name = f"{setting.table}.{setting.key}" if is_known else setting.table
            problems.append(f"{setting.place}: {name} {error}")
        else:
            tables.setdefault(setting.table, {})[setting.key] = value
    if problems:
        raise ConfigError("\n".join(problems))
    return msgspec.convert(tables, Config)


def config_places(environ: Mapping[str, str]) -> list[Path]:
    """Return where a file of settings is looked for that nobody named, the user's own first."""
    own = user_folder(environ, "XDG_CONFIG_HOME", ".config")
    return [*([own / "binder-mirror" / "mirror.toml"] if own else ()), SYSTEM_CONFIG]


def find_config(named: Path | None, environ: Mapping[str, str]) -> Path | None:
    """Return the file of settings in force: an option's, the environment's, else one found."""
    if named is None and (variable := environ.get(f"{ENV_PREFIX}CONFIG")):
        named = Path(variable)
    return named or next(filter(os.path.exists, config_places(environ)), None)


def home_folder() -> Path | None:
    """Return the home directory; None where there is none."""
    try:
        return Path.home()
    except RuntimeError:
        # no HOME, and a user that the system does not know, as in a container
        return None


def user_folder(environ: Mapping[str, str], variable: str, usual: str) -> Path | None:
    """Return a user's folder by the XDG Base Directory Specification; None where there is no home.

    Of the variable, as the specification has it, only a whole path counts; otherwise it is at its
    usual place in the home directory.
    """
    if (named := Path(environ.get(variable, ""))).is_absolute():
        return named
    return home / usual if (home := home_folder()) else None


def render(config: Config) -> str:
    """Return the settings as a TOML file with comments; upstream's credentials are masked."""
    lines: list[str] = []
    for name, keys in _KEYS.items():
        table = getattr(config, name)
        lines += [f"# {table.__doc__}", f"[{name}]"]
        for key, hint in keys.items():
            text = _part(hint, str) or ""
            lines += textwrap.wrap(text, 98, initial_indent="# ", subsequent_indent="# ")
            value = getattr(table, key)
            if (name, key) == ("upstream", "url"):
                value = masked_address(value)
            if unit := _part(hint, Unit):
                value = unit.write(value)
            lines.append(f"{key} = {msgspec.json.encode(value).decode()}")
        lines.append("")
    return "\n".join(lines)


def _read_file(path: Path) -> Iterator[Setting]:
    try:
        with path.open("rb") as file:
            raw = file.read(_MAX_CONFIG_BYTES)
        text = raw.decode()
        document = tomllib.loads(text)
    except OSError as error:
        raise ConfigError(
            f"cannot read the settings in {path}: {error.strerror}", hint="see --config"
        ) from error
    except (UnicodeDecodeError, tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"{path}: not TOML: {error}") from error
    for table, keys in document.items():
        if not isinstance(keys, dict):
            yield Setting(table, "", keys, f"{path}:{_line_of(text, '', table)}")
            continue
        if table not in _KEYS:
            yield Setting(table, "", keys, f"{path}:{_line_of(text, table, '')}")
            continue
        for key, value in keys.items():
            given, where = value, f"{path}:{_line_of(text, table, key)}"
            if (table, key) == ("storage", "data_dir") and isinstance(value, str) and value:
                # a command is run in any folder; what stands in a file is seen from there
                given = value if value.startswith("~") else str(path.absolute().parent / value)
            yield Setting(table, key, given, where)


def _read_environment(environ: Mapping[str, str]) -> Iterator[Setting]:
    for name, value in sorted(environ.items()):
        table, separator, key = name.removeprefix(ENV_PREFIX).partition("__")
        if name.startswith(ENV_PREFIX) and separator:
            yield Setting(table.lower(), key.lower(), value, name)


def _misspelt(environ: Mapping[str, str]) -> Iterator[str]:
    """Yield a line for each variable of ours that is none of a setting."""
    known = [f"{table}__{key}".upper() for table, keys in _KEYS.items() for key in keys]
    for variable, value in sorted(environ.items()):
        name = variable.removeprefix(ENV_PREFIX)
        is_setting = not variable.startswith(ENV_PREFIX) or "__" in name or name == "CONFIG"
        if not is_setting and not _KUBERNETES.search(f"{variable}={value}"):
            meant = f"they are {ENV_PREFIX}<TABLE>__<KEY>"
            if near := difflib.get_close_matches(name, [*known, "CONFIG"], n=1):
                meant = f'did you mean "{ENV_PREFIX}{near[0]}"?'
            yield f"{variable}: is no setting; {meant}"


def _line_of(text: str, table: str, key: str) -> int:
    """Return the number of the line that sets `key`, as well as it is found without a parser.

    Without a key, of the line that begins the table.
    """
    current = ""
    for number, line in enumerate(text.splitlines(), start=1):
        if header := re.match(r"\s*\[\s*([^\]]+?)\s*\]", line):
            current = header[1]
            if not key and current == table:
                return number
        elif current == table and re.match(rf"\s*[\"']?{re.escape(key)}[\"']?\s*=", line):
            return number
    return 1


def _convert(setting: Setting) -> object:
    """Return the value in the key's own type; ValueError says what is wrong with it."""
    keys, value = _KEYS.get(setting.table), setting.value
    if keys is None:
        raise ValueError(f"is no table of settings{_guess(setting.table, _KEYS)}")
    if not setting.key:
        raise ValueError("is a table of settings, not a value")
    if setting.key not in keys:
        raise ValueError(f"is no setting{_guess(setting.key, keys)}")
    hint = keys[setting.key]
    if isinstance(value, date):
        # TOML has dates of its own
        value = value.isoformat()
    text = f'"{value}"' if isinstance(value, str) else str(value)
    is_not = f", not {shown(masked_address(text))}"
    if (unit := _part(hint, Unit)) and isinstance(value, str | int | float):
        try:
            value = unit.read(value)
        except ValueError as error:
            raise ValueError(f"{error}{is_not}") from None
    try:
        # a variable is text, whatever its key's type is
        strict = not setting.place.startswith(ENV_PREFIX)
        converted: object = msgspec.convert(value, hint, strict=strict)
    except msgspec.ValidationError:
        raise ValueError(f"must be {_what_is_right(hint)}{is_not}") from None
    if check := _CHECKS.get(f"{setting.table}.{setting.key}"):
        check(str(converted))
    return converted


def _what_is_right(hint: object) -> str:
    """Return which values there are of a type: "a whole number from 1 to 64"."""
    kind, unit, bounds = get_args(hint)[0], _part(hint, Unit), _part(hint, Meta)
    if few := ("true", "false") if kind is bool else get_args(kind):
        return f"one of {', '.join(few)}"
    what = {str: "text", int: "a whole number" if unit is None else "a size"}
    text = what.get(kind, "a duration")
    if bounds is None:
        return text
    write = unit.write if unit is not None else "{:,}".format
    least, most = (bound and write(bound) for bound in (bounds.ge or 0, bounds.le))
    return f"{text} from {least} to {most}" if most else f"{text} of at least {least}"


def _guess(name: str, known: Mapping[str, object]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    return f'; did you mean "{near[0]}"?' if near else f"; there are: {', '.join(known)}"


def _check_url(url: str) -> None:
    good = identity_of(url).startswith(("http://", "https://"))
    # an @ in the path is most likely the end of a password with a slash in it
    if not good or set(url) & set("?#") or "@" in urlsplit(url).path:
        safe = shown(masked_address(url))
        raise ValueError(f'must be a base URL like "https://host/path/", not "{safe}"')


def _check_template(template: str) -> None:
    if not re.fullmatch(r"[A-Za-z0-9_.-]*\{date\}[A-Za-z0-9_.-]*", template):
        raise ValueError("must hold {date} once, and else only letters, digits, '.', '_', '-'")
    if template.startswith((".", "-")) or template == "{date}":
        raise ValueError("must be a plain file name that begins with a letter or digit")


def _check_listen(listen: str) -> None:
    if listen and not re.fullmatch(r"(\[[0-9a-fA-F:]+\]|[^:\s]+):[0-9]{1,5}", listen):
        raise ValueError('must be "HOST:PORT" or ""')


def _check_cron(cron: str) -> None:
    if not cron:
        return
    try:
        crontab_trigger(cron)
    except ValueError as error:
        raise ValueError(f"is no crontab line: {shown(str(error), 300)}") from None


def _check_since(since: str) -> None:
    try:
        date.fromisoformat(since or "2018-11-03")
    except ValueError:
        raise ValueError(f'must be a date like "2024-01-31" or "", not "{shown(since)}"') from None


_CHECKS = {
    "storage.since": _check_since,
    "upstream.url": _check_url,
    "upstream.name_template": _check_template,
    "server.listen": _check_listen,
    "schedule.cron": _check_cron,
}


def _part(hint: object, kind: type[T]) -> T | None:
    return next((one for one in get_args(hint) if isinstance(one, kind)), None)
