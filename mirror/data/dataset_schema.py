"""The one schema of the data set: its columns, and the SQL that reads them off lines. Pure.

A row is a launch: a line of a daily file that this version of the software knows
(`mirror.events.launch`). DuckDB reads the lines of a day far faster than Python does, but takes
them as they come: a number for a string, the first of two equal keys. So its reading is accepted
only where the findings tell of nothing odd, and where it accounts for every byte of the file: what
was read, and the keys and punctuation of lines as upstream writes them, come to the file's size.
Any other file is read by our own decoder.
"""

from msgspec import Struct

from mirror.events.launch import COLUMNS, ColumnType
from mirror.events.lines import MAX_LINE_BYTES
from mirror.events.schema import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA

SCHEMA_VERSION = 1
"""Of the columns and their meaning; a month of an earlier one is made anew."""


class DatasetColumn(Struct, frozen=True):
    """One column of the data set."""

    name: str
    sql_type: str
    doc: str


_SQL_TYPES = {
    ColumnType.TIMESTAMP: "TIMESTAMP WITH TIME ZONE",
    ColumnType.STRING: "VARCHAR",
    ColumnType.INTEGER: "SMALLINT",
    ColumnType.BOOLEAN: "BOOLEAN",
}
_RAW = tuple(DatasetColumn(one.name, _SQL_TYPES[one.type], one.doc) for one in COLUMNS)
_DERIVED = (
    DatasetColumn("date", "DATE", "The UTC day of `timestamp`."),
    DatasetColumn(
        "repository",
        "VARCHAR",
        'The same for all spellings of one repository: "github.com/user/repository"; null where '
        "the spec is none of its provider's.",
    ),
    DatasetColumn(
        "requested_ref", "VARCHAR", "The reference asked for in `spec`, decoded; null where none."
    ),
    DatasetColumn("file", "VARCHAR", "The daily file that the launch stands in."),
    DatasetColumn("line", "INTEGER", "The number of its line in that file, from 1."),
)
DATASET_COLUMNS = (*_RAW, *_DERIVED)
"""All columns of a month's file, in order. `year` and `month` are in the path alone."""

EXPORT_COLUMNS = ("origin", "provider", "spec", "timestamp")
"""What the JupyterHub project's weekly data set has, in its order."""

RAW_TABLE = (
    "CREATE OR REPLACE TEMP TABLE raw (day INTEGER, line INTEGER, bytes BIGINT, "
    + ", ".join(f'"{one.name}" {one.sql_type}' for one in _RAW if one.name != "schema")
    + ")"
)
_TEXT_COLUMNS = (
    "{" + ", ".join(f"'{one.name}': 'VARCHAR'" for one in _RAW if one.name != "schema") + "}"
)
_DECODED_COLUMNS = (
    "{'line': 'INTEGER', 'launch': 'STRUCT("
    + ", ".join(f'"{one.name}" {one.sql_type}' for one in _RAW if one.name != "schema")
    + ")'}"
)
_DECODED_NAMES = ", ".join(f'launch."{one.name}"' for one in _RAW if one.name != "schema")


def insert_day(day: int, path: str) -> str:
    """Return the SQL that takes in a daily file as DuckDB reads it; `bytes` is null where odd.

    Args:
        day: the day of the month.
        path: the file, as an SQL literal.
    """
    values = ", ".join(
        f'TRY_CAST("{one.name}" AS {one.sql_type})' for one in _RAW if one.name != "schema"
    )
    length = _line_bytes()
    return (
        f"INSERT INTO raw SELECT {day}, row_number() OVER (), "
        f"CASE WHEN {_is_regular()} AND {length} <= {MAX_LINE_BYTES} THEN {length} END, {values} "
        f"FROM read_ndjson({path}, columns = {_TEXT_COLUMNS}, ignore_errors = true)"
    )


def insert_decoded(day: int, path: str) -> str:
    """Return the SQL that takes in launches that our own decoder has written out.

    Args:
        day: the day of the month.
        path: the file of lines with `line` and `launch`, as an SQL literal.
    """
    return (
        f"INSERT INTO raw SELECT {day}, line, NULL, {_DECODED_NAMES} "
        f"FROM read_ndjson({path}, columns = {_DECODED_COLUMNS}, maximum_object_size = 16777216)"
    )


def select_month(*, in_order: bool) -> str:
    """Return the SQL of a month's rows, from the tables raw, files (day) and specs (of a provider).

    Args:
        in_order: whether `raw` is in order already, so that sorting would be for nothing.
    """
    sources = {
        "schema": f"'{LAUNCH_SCHEMA}'",
        "spec": "coalesce(specs.shown, raw.spec)",
        "date": "CAST(timestamp AS DATE)",
        "file": "files.name",
    }
    columns = ", ".join(
        f'{sources.get(one.name, one.name)} AS "{one.name}"' for one in DATASET_COLUMNS
    )
    order = "" if in_order else " ORDER BY timestamp, day, line"
    return (
        f"SELECT {columns} FROM raw JOIN specs USING (provider, spec) JOIN files USING (day){order}"
    )


def _is_regular() -> str:
    """Return the SQL that tells a launch as upstream writes it, of what the findings call clean.

    By these it has the schema, a known version and that version's fields, each of its type; left to
    be seen are its moment, and fields of a later version.
    """
    later = " AND ".join(
        f"(\"{one.name}\" IS NOT NULL) = (version >= '{one.since}')"
        for one in COLUMNS
        if one.since > 1
    )
    return (
        "length(timestamp) = 25 AND timestamp BETWEEN '2000' AND '3' "
        "AND substr(timestamp, 11, 1) = 'T' AND substr(timestamp, 12, 2) < '24' "
        "AND suffix(timestamp, '+00:00') AND TRY_CAST(timestamp AS TIMESTAMPTZ) IS NOT NULL "
        f"AND {later}"
    )


def _line_bytes() -> str:
    """Return the SQL of the bytes of a regular line, newline included, as `json.dumps` makes it."""
    framing = " ".join(f"WHEN '{version}' THEN {_framing_bytes(version)}" for version in FIELDS)
    values = " + ".join(
        f'coalesce(strlen("{one.name}"), 0)' if one.since > 1 else f'strlen("{one.name}")'
        for one in COLUMNS
        if one.name not in ("schema", "timestamp", "version")
    )
    return f"(CASE version {framing} END + {values})"


def _framing_bytes(version: int) -> int:
    """Return the bytes of a line beside its values, but for those that are as long in each."""
    fields = FIELDS[version]
    keys = sum(len(f'"{name}": ') for name in fields)
    quotes = sum(2 for name in fields if FIELD_TYPES[name] is str)
    alike = len(LAUNCH_SCHEMA) + len("2018-11-03T00:00:00+00:00") + len(str(version))
    return len("{}\n") + keys + quotes + len(", ") * (len(fields) - 1) + alike
