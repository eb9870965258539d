"""SQL over the launches: one view, nothing written, nothing else read, within bounds.

The view `launches` is the data set or, where there is none, one made for the moment from the daily
files, so that both have the same rows and columns. The database is in memory. Once the view is
there it is shut in: the months' files alone can be read, settings cannot be changed, and only
queries are run. A query may be led by a COPY in a WITH clause, which could write to the very files
that are read: each is bound as a subquery first, where DuckDB allows no such clause.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from mirror.dataset.columns import DATASET_COLUMNS
from mirror.errors import QueryError
from mirror.progress import show_nothing
from mirror.reading.duck import (
    literal,
    one_line,
    open_duckdb,
    os_error,
    path_literal,
    require_duckdb,
)
from mirror.store.disk import storage_error
from mirror.store.layout import DataDir
from mirror.text import plural, shown

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

_ROWS_AT_ONCE = 1000
_HIVE = "hive_partitioning = true, hive_types = {'year': INTEGER, 'month': INTEGER}"
_SNIPPET = 40
_TOLD_KINDS = {"LOAD": "INSTALL or LOAD", "TRANSACTION": "a transaction"}
"""What DuckDB calls otherwise than whoever typed it."""


class Bounds(Struct, frozen=True):
    """What a query may take."""

    memory_bytes: int = 1024**3
    timeout_s: float = 300
    """From the moment it is asked to its last row; 0 for ever."""
    threads: int = 2


class Result(Struct):
    """An answer as it comes."""

    columns: tuple[str, ...]
    rows: Iterator[Sequence[Any]]
    """To be read before the next query."""


class Session:
    """Runs queries one after another. Made by `open_session`."""

    def __init__(self, connection: "DuckDBPyConnection", output: Path | None) -> None:
        self._connection = connection
        self._output = output

    @contextmanager
    def run(self, sql: str) -> Iterator[Result]:
        """Answer a query.

        Raises:
            QueryError: it is wrong, not allowed, or wants more memory than it may have.
            StorageError: the data cannot be read.
        """
        with _query_errors(sql):
            query = self._check(sql)
            cursor = self._connection.execute(query)
            columns = tuple(str(column[0]) for column in cursor.description or ())
            yield Result(columns, _rows(cursor))

    def write_parquet(self, sql: str) -> int:
        """Write the answer to the session's output as Parquet; return the number of rows.

        Raises:
            QueryError, StorageError: as for `run`.
            OSError: the output cannot be written.
        """
        with _query_errors(sql, is_written=True):
            query = self._check(sql)
            written = self._connection.execute(
                f"COPY (\n{query}\n) TO {literal(str(self._output))} "
                "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
            ).fetchone()
        return int(written[0]) if written is not None else 0

    def _check(self, sql: str) -> str:
        """Return the one query that the text is, if it is one that may be run."""
        if not _is_text(sql):
            raise QueryError("the query is not UTF-8")
        statements = self._connection.extract_statements(sql)
        if len(statements) != 1:
            raise QueryError(
                "one query at a time, please" if statements else "there is no query",
                hint='such as "SELECT count(*) FROM launches"',
            )
        kind = str(statements[0].type).rpartition(".")[2]
        if kind != "SELECT":
            told = _TOLD_KINDS.get(kind, kind)
            raise QueryError(
                f"{told} is not allowed: the launches can be read, and nothing else be done",
                hint="PIVOT wants its values listed: ON provider IN ('GitHub', 'Git')"
                if kind == "MULTI"
                else "",
            )
        query = _without_end(str(statements[0].query))
        self._connection.execute(f"EXPLAIN FROM (\n{query}\n)").fetchall()
        return query


@contextmanager
def _query_errors(sql: str, *, is_written: bool = False) -> Iterator[None]:
    """Turn what goes wrong with a query into our errors, but for an OSError of its output."""
    import duckdb  # noqa: PLC0415 - heavy, and an extra

    try:
        yield
    except (duckdb.OutOfMemoryException, MemoryError) as error:
        raise too_large() from error
    except duckdb.IOException as error:
        refused = os_error(error) or OSError(one_line(error))
        if is_written:
            raise refused from error
        raise storage_error(refused, Path("the data set")) from error
    except duckdb.Error as error:
        raise QueryError(f"{one_line(error)}{place_of(str(error), sql)}") from error


def too_large() -> QueryError:
    """Return what a query is told that wants more than its bounds allow."""
    return QueryError(
        "the query wants more memory than it may take",
        hint="ask for less, or allow more with --memory",
    )


def _without_end(statement: str) -> str:
    """Return a statement without the semicolons and comments that it ends with."""
    import duckdb  # noqa: PLC0415 - heavy, and an extra

    # places in it are counted in bytes
    text = statement.encode()
    for place, kind in reversed(duckdb.tokenize(statement)):
        if kind != duckdb.token_type.comment and text[place:].strip() != b";":
            break
        text = text[:place]
    return text.decode()


def _is_text(sql: str) -> bool:
    """Return whether it is all characters: bytes that were none come as lone surrogates."""
    try:
        sql.encode()
    except UnicodeEncodeError:
        return False
    return True


def place_of(message: str, sql: str) -> str:
    """Return where in the query DuckDB's message points to: " (line 1, column 15: wher)"."""
    for picture, pointer in zip(lines := message.splitlines(), lines[1:], strict=False):
        head, colon, text = picture.partition(": ")
        if not (colon and head.startswith("LINE ") and pointer.strip(" ^") == ""):
            continue
        at = pointer.find("^") - len(head) - len(colon)
        found = text[max(at, 0) :][: max(pointer.count("^"), _SNIPPET)].removesuffix("...")
        for number, line in enumerate(sql.splitlines(), start=1):
            if found and (column := line.find(found)) >= 0:
                word = shown(found.split()[0], _SNIPPET) if found.split() else ""
                return f" (line {number}, column {column + 1}: {word})"
    return ""


@contextmanager
def open_session(
    files: Sequence[Path], bounds: Bounds, *, output: Path | None = None
) -> Iterator[Session]:
    """Make the view and shut the database in.

    Args:
        files: what the view is made of; see `open_months`.
        bounds: the memory that DuckDB counts is held to them.
        output: the one file that `Session.write_parquet` may write.

    Raises:
        ConfigError: DuckDB is not installed.
    """
    with open_duckdb(memory_bytes=bounds.memory_bytes, threads=bounds.threads) as connection:
        _shut_in(connection, files, output)
        yield Session(connection, output)


@contextmanager
def open_months(
    data: DataDir,
    *,
    notice: Callable[[str], None] = lambda _text: None,
    call: Callable[..., object] = lambda function, *args: function(*args),
) -> Iterator[Sequence[Path]]:
    """Have the months' files: the data set's or, where there is none, some made for the moment.

    Args:
        data: the data directory.
        notice: told what a user should know of the data.
        call: calls the function that makes the files, here or in another process.

    Raises:
        ConfigError: DuckDB is not installed.
        StorageError, DatasetError: the data set or the daily files cannot be read.
    """
    # not for the process that only answers: a query is no longer than its imports
    from mirror.dataset.build import build_into  # noqa: PLC0415
    from mirror.dataset.provenance import (  # noqa: PLC0415
        describe_doubt,
        describe_lag,
        list_months,
        months_of,
    )
    from mirror.store.inventory import load_steady_inventory  # noqa: PLC0415

    require_duckdb()
    inventory = load_steady_inventory(data)
    if months := list_months(data):
        for line in describe_lag(data, inventory):
            notice(line)
        yield list(months.values())
        return
    records = inventory.records.values()
    for line in describe_doubt(inventory):
        notice(line)
    size = sum(record.size for record in records)
    notice(
        f"there is no data set: reading {plural(len(records), 'daily file')}, {size / 1e6:,.0f} MB "
        "(`binder-mirror dataset build` makes one, for all queries to come)"
    )
    with TemporaryDirectory(prefix="binder-mirror-") as folder:
        wanted = months_of(records)
        call(build_into, Path(folder), data, wanted, show_nothing)
        yield [month.path(Path(folder)) for month in sorted(wanted)]


def _shut_in(connection: "DuckDBPyConnection", files: Sequence[Path], output: Path | None) -> None:
    columns = ", ".join(f'"{one.name}"' for one in DATASET_COLUMNS)
    if files:
        paths = ", ".join(path_literal(path) for path in files)
        view = f"SELECT {columns}, year, month FROM read_parquet([{paths}], {_HIVE})"
    else:
        nulls = ", ".join(f'NULL::{one.sql_type} AS "{one.name}"' for one in DATASET_COLUMNS)
        view = f"SELECT {nulls}, 0 AS year, 0 AS month WHERE false"
    connection.execute(f"CREATE VIEW launches AS {view}")
    allowed = ", ".join(literal(str(path)) for path in (*files, *([output] if output else [])))
    connection.execute(f"SET allowed_paths = [{allowed}]")
    connection.execute("SET enable_external_access = false")
    connection.execute("SET lock_configuration = true")


def _rows(cursor: "DuckDBPyConnection") -> Iterator[Sequence[Any]]:
    while rows := cursor.fetchmany(_ROWS_AT_ONCE):
        yield from rows
