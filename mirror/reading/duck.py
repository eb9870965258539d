"""Opens DuckDB connections, translates its errors, and writes text and paths as SQL.

Errors come as JSON: their message, where in the SQL they are, and the number of one of the
operating system's, which may stand deep within another.
"""

import glob
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import msgspec
from msgspec import Struct

from mirror.errors import ConfigError, DatasetError
from mirror.events.launch import ColumnType
from mirror.text import shown

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

Connection: TypeAlias = "DuckDBPyConnection"
SQL_TYPES = {
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "SMALLINT",
    ColumnType.BOOLEAN: "BOOLEAN",
}
"""What DuckDB calls the types of columns; Parquet files have them too."""
_MESSAGE_LENGTH = 500
_ERRNO = re.compile(r'"errno\\*":\\*"([0-9]{1,4})\\*"')


def require_duckdb() -> None:
    """Make sure that DuckDB can be imported."""
    try:
        import duckdb  # noqa: F401, PLC0415 - heavy, and an extra
    except ImportError as error:
        raise ConfigError(
            "the data set and SQL want DuckDB", hint="`pip install duckdb`"
        ) from error


@contextmanager
def open_duckdb(
    *, memory_bytes: int, threads: int = 1, scratch: Path | None = None
) -> Iterator[Connection]:
    """Open a database in memory that reads times as UTC and fetches nothing from the network.

    What has no room in memory goes to the `scratch` folder; nowhere without one.
    """
    require_duckdb()
    import duckdb  # noqa: PLC0415 - heavy, and an extra

    connection = duckdb.connect(
        config={
            "threads": str(threads),
            "memory_limit": f"{memory_bytes}B",
            "temp_directory": str(scratch) if scratch is not None else "",
            "autoinstall_known_extensions": "false",
            "autoload_known_extensions": "false",
            "errors_as_json": "true",
        }
    )
    try:
        connection.execute("SET TimeZone = 'UTC'")
        yield connection
    finally:
        connection.close()


@contextmanager
def duckdb_errors(what: str) -> Iterator[None]:
    """Turn DuckDB's errors about `what` into a DatasetError, or the system's into an OSError."""
    import duckdb  # noqa: PLC0415 - heavy, and an extra

    try:
        yield
    except duckdb.Error as error:
        if (refused := os_error(error)) is not None:
            raise refused from error
        raise DatasetError(f"{what}: {one_line(error)}") from error


def os_error(error: Exception) -> OSError | None:
    """Return the error of the operating system that one of DuckDB's tells of."""
    found = _ERRNO.search(str(error))
    number = int(found[1]) if found else 0
    return OSError(number, os.strerror(number)) if number else None


def one_line(error: Exception) -> str:
    """Return what DuckDB says, without the advice below it, fit to show."""
    kind, colon, message = str(error).partition(": ")
    with suppress(msgspec.DecodeError):
        message = msgspec.json.decode(message, type=_Told).exception_message
    return shown(" ".join(f"{kind}{colon}{message}".split("\n\n")[0].split()), _MESSAGE_LENGTH)


class _Told(Struct):
    exception_message: str


def literal(text: str) -> str:
    """Return a string as SQL writes it."""
    return "'" + text.replace("'", "''") + "'"


def quoted(name: str) -> str:
    """Return a name as SQL writes it, whatever it holds."""
    return '"' + name.replace('"', '""') + '"'


def path_literal(path: Path) -> str:
    """Return the path of one file as SQL writes it: what looks like a pattern is none."""
    return literal(glob.escape(str(path)))
