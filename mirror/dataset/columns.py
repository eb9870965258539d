"""The one schema of the data set: its columns, and the SQL that makes a month's rows. Pure.

A row is a launch: a line of a daily file that this version of the software knows
(`mirror.events.launch`). Put together here are the distinct launches of a month and the numbers of
its lines, as `mirror.dataset.rows` writes them, and the names of its files.

Each column of strings has a type of its own until then, the enumeration of the month's values: what
is joined, sorted and written are their numbers, and Parquet's dictionary of the column is that
enumeration, as is. Whoever reads the file sees strings.
"""

from collections.abc import Iterable, Iterator

from msgspec import Struct

from mirror.events.launch import COLUMNS
from mirror.reading.duck import SQL_TYPES, literal

SCHEMA_VERSION = 3  # of the columns and their meaning; a month of an earlier one is made again


class DatasetColumn(Struct, frozen=True):
    """One column of the data set."""

    name: str
    sql_type: str
    doc: str


_RAW = tuple(DatasetColumn(one.name, SQL_TYPES[one.type], one.doc) for one in COLUMNS)
_DERIVED = (
    DatasetColumn("date", "DATE", "The UTC day of `timestamp`."),
    DatasetColumn(
        "repository",
        "VARCHAR",
        'The same for all spellings of one repository: "github.com/user/repository"; null where '
        "`spec` is invalid for its provider.",
    ),
    DatasetColumn(
        "requested_ref", "VARCHAR", "The reference asked for in `spec`, decoded; null where none."
    ),
    DatasetColumn("file", "VARCHAR", "The daily file that the launch stands in."),
    DatasetColumn("line", "INTEGER", "The number of its line in that file, from 1."),
)
DATASET_COLUMNS = (*_RAW, *_DERIVED)
"""All columns of a month's file, in order. `year` and `month` are in the path alone."""

_OF_MOMENT = {
    "timestamp": "make_timestamptz(microseconds)",
    "date": "CAST(make_timestamp(microseconds) AS DATE)",
    "file": "name",
}
"""Columns that depend on when and in which file, and what they are made of."""
_OF_LAUNCH = tuple(one for one in DATASET_COLUMNS if one.name not in {*_OF_MOMENT, "line"})


def make_tables(
    launches: str, moments: str, lines: str, files: Iterable[tuple[int, str, int]]
) -> Iterator[str]:
    """Yield the SQL that makes the tables launches, moments and lines.

    They are made of the three files that `mirror.dataset.rows` writes, as SQL literals, and of the
    day of the month of each daily file, its name, and the lines in those before it. In lines
    `place` is the number of a line in the month, from 1.
    """
    values = ", ".join(f"({day}, {literal(name)}, {before})" for day, name, before in files)
    yield f"CREATE TEMP TABLE files(day, name, lines_before) AS VALUES {values}"
    raw = ", ".join(f'"{one.name}" {one.sql_type}' for one in _OF_LAUNCH if one in _RAW)
    derived = {one.name: one.sql_type for one in _OF_LAUNCH if one in _DERIVED}
    columns = {"launch": f"STRUCT({raw})"} | derived
    yield (
        "CREATE TEMP TABLE read_launches AS "
        "SELECT * EXCLUDE launch, unnest(launch), row_number() OVER () AS launch "
        f"FROM read_ndjson({launches}, columns = {columns}, maximum_object_size = 16777216)"
    )
    texts = [one.name for one in _OF_LAUNCH if one.sql_type == "VARCHAR"]
    yield from _enumerate("launches", "read_launches", texts)
    of_moment = ", ".join(f'{source} AS "{name}"' for name, source in _OF_MOMENT.items())
    yield (
        f"CREATE TEMP TABLE read_moments AS SELECT moment, lines_before, {of_moment} "
        "FROM (SELECT *, row_number() OVER () AS moment "
        f"FROM {_read_numbers(moments, day='SMALLINT', microseconds='BIGINT')}) "
        "JOIN files USING (day)"
    )
    yield from _enumerate("moments", "read_moments", ["file"])
    yield (
        "CREATE TEMP TABLE lines AS SELECT *, row_number() OVER () AS place "
        f"FROM {_read_numbers(lines, moment='INTEGER', launch='INTEGER')}"
    )


def select_month() -> str:
    """Return the SQL of a month's rows in their order, from the tables lines, moments and launches.

    Lines that are no launch have no numbers, and so no row.
    """
    columns = ", ".join(
        "CAST(place - lines_before AS INTEGER) AS line" if one.name == "line" else f'"{one.name}"'
        for one in DATASET_COLUMNS
    )
    return (
        f"SELECT {columns} FROM lines JOIN launches USING (launch) JOIN moments USING (moment) "
        "ORDER BY timestamp, place"
    )


def _read_numbers(path: str, **columns: str) -> str:
    """Return the SQL of a file of numbers with commas between them."""
    return (
        f"read_csv({path}, columns = {columns}, auto_detect = false, header = false, "
        "delim = ',', quote = '', escape = '')"
    )


def _enumerate(table: str, source: str, columns: Iterable[str]) -> Iterator[str]:
    """Yield the SQL that makes a table of another, with enumerations as these columns."""
    for column in columns:
        yield (
            f'CREATE TYPE "all {column}" AS ENUM '
            f'(SELECT DISTINCT "{column}" FROM {source} WHERE "{column}" IS NOT NULL)'
        )
    casts = ", ".join(f'CAST("{one}" AS "all {one}") AS "{one}"' for one in columns)
    yield f"CREATE TEMP TABLE {table} AS SELECT * REPLACE ({casts}) FROM {source}"
    # a row of nulls that nothing is joined with: DuckDB declares a column without any as required,
    # and each month would have a schema of its own
    yield f"INSERT INTO {table} DEFAULT VALUES"
