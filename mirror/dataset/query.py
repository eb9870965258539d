"""SQL over the launches: one view, nothing written, nothing else read, within bounds.

The view `launches` is the data set or, where there is none, one made for the moment from the daily
files, so that both have the same rows and columns. The database is in memory. Once the view is
there it is shut in: the months' files alone can be read, settings cannot be changed, and only
queries are run. A query may be led by a COPY in a WITH clause, which could write to the very files
that are read: each is run by DuckDB's table function `query`, which allows no such clause.

The macro `repo('user/repo')` is the key of a repository in any of its spellings. It knows the texts
of the query alone: DuckDB can call functions of Python where NumPy is installed, and nowhere else.

The SQL of an answer has each value turned into that of a format. Moments are written in ISO 8601,
bytes in base64. What is nested is JSON in every text; JSON has no infinite numbers, so they are
null there.
"""

import re
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from decimal import Decimal
from itertools import chain, groupby
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias, cast

from msgspec import Struct
from msgspec.structs import replace

from mirror.dataset.columns import DATASET_COLUMNS
from mirror.errors import QueryError, SpecError
from mirror.events.spec import repository_key
from mirror.reading.duck import literal, one_line, open_duckdb, os_error, path_literal, quoted
from mirror.text import FORMULA_PATTERN, disarm, shown

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection
    from duckdb.sqltypes import DuckDBPyType

Rows: TypeAlias = Iterator[Sequence[int | float | Decimal | str | None]]

_ROWS_AT_ONCE = 1000
_HIVE = "hive_partitioning = true, hive_types = {'year': INTEGER, 'month': INTEGER}"
_SNIPPET = 40
_LOCATION = re.compile(r'"location":"\[([0-9]+),([0-9]+)\]"')
_TEXT = re.compile(r"'((?:[^']|'')*)'")
_COMPARED = re.compile(
    rf"\brepository\s*(?:=|(?:NOT\s+)?(?:IN\s*\(|(I?LIKE)))\s*{_TEXT.pattern}"
    rf"|{_TEXT.pattern}\s*=\s*repository\b",
    re.IGNORECASE,
)
_TYPED = {"LOAD": "INSTALL or LOAD", "TRANSACTION": "a transaction"}
"""What DuckDB calls otherwise than whoever typed it."""
_NUMBERS = {"integer", "uinteger", "bignum", "float", "double", "decimal"} | {
    f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")
}
_NESTED = {"list", "array", "map", "struct", "tuple"}
_SCALARS = {
    # what is no date with a time stays as it is: infinity, or a year before our era
    "timestamp with time zone": r"regexp_replace({}::VARCHAR, '^(\S+) (\S+)$', '\1T\2:00')",
    "float": "CASE WHEN isfinite({0}) THEN {0} END",
    "double": "CASE WHEN isfinite({0}) THEN {0} END",
    "blob": "to_base64({})",
    # of text that is JSON it is text again
    "varchar": "{}::VARCHAR",
    "union": "{}::VARCHAR",
    "variant": "{}::VARCHAR",
} | dict.fromkeys(
    ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    r"regexp_replace({}::VARCHAR, '^(\S+) (\S+)$', '\1T\2')",
)


class Bounds(Struct, frozen=True):
    """What a query may take."""

    memory_bytes: int = 1024**3
    timeout_s: float = 300  # from the moment it is asked to its last row; 0 for ever
    threads: int = 2


class Answer(Struct):
    """A query whose answer is known by its columns, and not worked out yet."""

    query: str
    columns: Sequence[str]
    types: Sequence["DuckDBPyType"]

    def select(self, make: Callable[[str, "DuckDBPyType"], str]) -> str:
        """Return the SQL of the answer, each value made by `make` of its SQL and its type."""
        places = [f"c{number}" for number in range(len(self.columns))]
        values = ", ".join(
            f"{make(place, kind)} AS {quoted(name)}"
            for place, name, kind in zip(places, self.columns, self.types, strict=True)
        )
        # the values last: what DuckDB says of a place in them is said of none in the query
        return f"{_source_of(self.query)} AS answer({', '.join(places)}) SELECT {values}"


class Session(Struct):
    """Runs queries one after another. Made by `open_session`."""

    connection: "DuckDBPyConnection"
    output: Path | None  # the one file that may be written

    def bind(self, sql: str) -> Answer:
        """Return the answer to a query; a QueryError says what is wrong, or not allowed, in it."""
        with _query_errors(sql):
            # bytes that are no characters come as lone surrogates
            if sql.encode(errors="replace").decode() != sql:
                raise QueryError("the query is not UTF-8")
            statements = self.connection.extract_statements(sql)
            if len(statements) != 1:
                raise QueryError(
                    "one query at a time, please" if statements else "there is no query",
                    hint='such as "SELECT count(*) FROM launches"',
                )
            kind = str(statements[0].type).rpartition(".")[2]
            if kind != "SELECT":
                hint = "PIVOT wants its values listed: ON provider IN ('GitHub', 'Git')"
                raise QueryError(
                    f"{_TYPED.get(kind, kind)} is not allowed: the launches can be read, and "
                    "nothing else be done",
                    hint=hint if kind == "MULTI" else "",
                )
            self._define_repo(sql)
            # without a row it is bound, and not worked out
            bound = self.connection.execute(f"{_source_of(sql)} LIMIT 0").description or ()
            return Answer(sql, [str(one[0]) for one in bound], [one[1] for one in bound])

    @contextmanager
    def run(self, answer: Answer) -> Iterator[Rows]:
        """Work out an answer as numbers and text: rows to be read before the next query.

        A QueryError says that a value is wrong, or more memory wanted than it may have.
        """
        with _query_errors(answer.query):
            cursor = self.connection.execute(answer.select(_make_cell))
            yield chain.from_iterable(iter(lambda: cursor.fetchmany(_ROWS_AT_ONCE), []))

    def copy(self, answer: Answer, form: str) -> int:
        """Write an answer to the session's output; return the number of rows.

        Args:
            answer: the answer, of a session without an output: what is bound can read no pipe that
                it would fill, and whose end it would wait for.
            form: csv, json (one array of objects), both into a pipe, or parquet.

        Raises:
            QueryError: as for `run`.
            OSError: the file cannot be written; of a pipe its reader knows why.
        """
        select, options = COPY_FORMATS[form]
        with _query_errors(answer.query, is_written=form == "parquet"):
            self._define_repo(answer.query)
            written = self.connection.execute(
                f"COPY ({select(answer)}) TO {literal(str(self.output))} "
                f"({options}, USE_TMP_FILE false)"
            ).fetchone()
        return int(written[0]) if written is not None else 0

    def _define_repo(self, sql: str) -> None:
        keys = ""
        for name in dict.fromkeys(map(_unquoted, _TEXT.findall(sql))):
            with suppress(SpecError):
                keys += f" WHEN {literal(name)} THEN {literal(repository_key(name))}"
        self.connection.execute(
            f"CREATE OR REPLACE TEMP MACRO repo(name) AS CASE name{keys or ' WHEN NULL THEN NULL'} "
            "ELSE error('repo() takes a repository between single quotes, as user/repo, an address "
            "or a DOI; not ' || coalesce('''' || name || '''', 'NULL')) END"
        )


def key_hint(sql: str) -> str:
    """Return what to say to somebody who compares `repository` with what is no key; else ""."""
    for like, right, left in _COMPARED.findall(sql):
        name, pattern = _unquoted(right or left), re.escape(_unquoted(right or left))
        if like:
            # all of an owner's: a slash at the end is none of a key's
            name, pattern = name.strip("%"), pattern.replace("%", ".*").replace("_", ".")
            pattern = pattern.removesuffix("/.*") if name.endswith("/") else pattern
        with suppress(SpecError):
            key = repository_key(name)
            if not re.fullmatch(pattern, key, re.IGNORECASE if like.upper() == "ILIKE" else 0):
                return f"repository holds keys, as {key}: write repo({literal(name)}) to find it"
    return ""


def _unquoted(text: str) -> str:
    return text.replace("''", "'")


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
        from mirror.store.disk import storage_error  # noqa: PLC0415 - slow, and for this alone

        raise storage_error(refused, Path("the data set")) from error
    except duckdb.Error as error:
        raise QueryError(f"{one_line(error)}{_place_of(error, sql)}") from error


def too_large() -> QueryError:
    """Return the error of a query that wants more memory than its bounds allow."""
    return QueryError(
        "the query wants more memory than it may take",
        hint="ask for less, or allow more with --memory",
    )


def _source_of(query: str) -> str:
    return f"FROM query({literal(query)})"


def _place_of(error: Exception, sql: str) -> str:
    """Return the place in the query that DuckDB points to: " (line 1, column 15: wher)"."""
    text, found = sql.encode(), _LOCATION.search(str(error))
    start, length = map(int, found.groups()) if found else (len(text), 0)
    if start >= len(text):
        return ""
    *lines, line = text[:start].decode(errors="ignore").split("\n")
    # of a comment without end DuckDB gives no length
    word = shown(text[start:][: length or None].decode(errors="ignore"), _SNIPPET)
    return f" (line {len(lines) + 1}, column {len(line) + 1}: {word})"


@contextmanager
def open_session(
    files: Sequence[Path], bounds: Bounds, *, output: Path | None = None
) -> Iterator[Session]:
    """Make the view of `mirror.dataset.months.open_months` and shut the database in.

    The memory that DuckDB counts is held to the bounds; `output` is the one file that
    `Session.copy` may write.
    """
    with open_duckdb(memory_bytes=bounds.memory_bytes, threads=bounds.threads) as connection:
        if files:
            columns = ", ".join(f'"{one.name}"' for one in DATASET_COLUMNS)
            # by name: folders above them may look like partitions too, and make columns
            view = " UNION ALL ".join(
                f"SELECT {columns}, year, month "
                f"FROM read_parquet([{', '.join(map(path_literal, of_root))}], {_HIVE})"
                for _, of_root in groupby(files, lambda path: path.parents[2])
            )
        else:
            nulls = ", ".join(f'NULL::{one.sql_type} AS "{one.name}"' for one in DATASET_COLUMNS)
            view = f"SELECT {nulls}, 0 AS year, 0 AS month WHERE false"
        connection.execute(f"CREATE VIEW launches AS {view}")
        allowed = ", ".join(literal(str(path)) for path in (*files, output) if path)
        connection.execute(f"SET allowed_paths = [{allowed}]")
        connection.execute("SET enable_external_access = false")
        connection.execute("SET lock_configuration = true")
        yield Session(connection, output)


def _select_csv(answer: Answer) -> str:
    """Return the SQL of an answer for CSV: no cell begins like a formula; null is nothing.

    An empty text is `""`, and so is null where it would be a line by itself: readers pass over
    empty lines.
    """
    has_one_column = len(answer.columns) == 1

    def make(value: str, kind: "DuckDBPyType") -> str:
        cell = _make_cell(value, kind)
        if kind.id not in {*_NUMBERS, "interval"}:
            cell = f"regexp_replace({cell}, '({FORMULA_PATTERN})', '''\\1')"
        return f"coalesce({cell}::VARCHAR, '')" if has_one_column else f"{cell}::VARCHAR"

    return replace(answer, columns=list(map(disarm, answer.columns))).select(make)


def _make_json(value: str, kind: "DuckDBPyType") -> str:
    """Return the SQL of a value of which DuckDB makes the right JSON."""
    if kind.id not in _NESTED:
        return _SCALARS.get(kind.id, "{}").format(value)
    # those of an array have its size too, which is no type
    children = cast("list[tuple[str, DuckDBPyType]]", kind.children)
    if kind.id in {"list", "array"}:
        return f"list_transform({value}, lambda one: {_make_json('one', children[0][1])})"
    if kind.id == "map":
        entry = f"{{'key': one.key, 'value': {_make_json('one.value', children[1][1])}}}"
        return f"map_from_entries(list_transform(map_entries({value}), lambda one: {entry}))"
    if kind.id == "struct":
        made = "struct_pack"
        fields = [
            f"{quoted(name)} := {_make_json(f'{value}.{quoted(name)}', child)}"
            for name, child in children
        ]
    else:
        made = "row"
        fields = [_make_json(f"{value}[{at}]", child) for at, (_, child) in enumerate(children, 1)]
    return f"CASE WHEN {value} IS NOT NULL THEN {made}({', '.join(fields)}) END"


def _make_cell(value: str, kind: "DuckDBPyType") -> str:
    """Return the SQL of a value for a table: a number, or text."""
    if kind.id in _NUMBERS:
        return value
    text = _make_json(value, kind)
    return f"to_json({text})::VARCHAR" if kind.id in _NESTED else f"{text}::VARCHAR"


COPY_FORMATS: dict[str, tuple[Callable[[Answer], str], str]] = {
    "csv": (_select_csv, "FORMAT csv"),
    "json": (lambda answer: answer.select(_make_json), "FORMAT json, ARRAY true"),
    "parquet": (lambda answer: _source_of(answer.query), "FORMAT parquet, COMPRESSION zstd"),
}
"""The formats that DuckDB writes: the SQL of an answer, and the options of COPY."""
