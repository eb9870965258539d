"""The SQL that turns the values of an answer into those of a format. Pure.

Moments are written in ISO 8601, bytes in base64. What is nested is JSON in every text; JSON has no
infinite numbers, so they are null there.
"""

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, cast

from msgspec import Struct
from msgspec.structs import replace

from mirror.reading.duck import quoted
from mirror.text import FORMULA_PATTERN, disarm

if TYPE_CHECKING:
    from duckdb.sqltypes import DuckDBPyType

_NUMBERS = {"integer", "uinteger", "bignum", "float", "double", "decimal"} | {
    f"{sign}{size}int" for sign in ("", "u") for size in ("tiny", "small", "big", "huge")
}
_NESTED = {"list", "array", "map", "struct", "tuple"}
_SCALARS = {
    "timestamp with time zone": "replace(replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%f%z'), "
    "'.000000', ''), '+00', '+00:00')",
    "float": "CASE WHEN isfinite({0}) THEN {0} END",
    "double": "CASE WHEN isfinite({0}) THEN {0} END",
    "blob": "to_base64({})",
    # of text that is JSON it is text again
    "varchar": "{}::VARCHAR",
    "union": "{}::VARCHAR",
    "variant": "{}::VARCHAR",
} | dict.fromkeys(
    ("timestamp", "timestamp_s", "timestamp_ms", "timestamp_ns"),
    "replace(strftime({}, '%Y-%m-%dT%H:%M:%S.%f'), '.000000', '')",
)


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
        return f"SELECT {values} FROM (\n{self.query}\n) AS answer({', '.join(places)})"


def select_csv(answer: Answer) -> str:
    """Return the SQL of an answer for CSV: no cell begins like a formula, none is `""` for nothing.

    A line that would be empty has `""`: readers pass over empty lines.
    """
    has_one_column = len(answer.columns) == 1

    def make(value: str, kind: "DuckDBPyType") -> str:
        cell = make_cell(value, kind)
        if kind.id not in {*_NUMBERS, "interval"}:
            cell = f"regexp_replace({cell}, '({FORMULA_PATTERN})', '''\\1')"
        return (
            f"coalesce({cell}::VARCHAR, '')" if has_one_column else f"nullif({cell}::VARCHAR, '')"
        )

    return replace(answer, columns=list(map(disarm, answer.columns))).select(make)


def select_json(answer: Answer) -> str:
    """Return the SQL of an answer of which DuckDB writes the right JSON."""
    return answer.select(make_json)


def make_json(value: str, kind: "DuckDBPyType") -> str:
    """Return the SQL of a value of which DuckDB makes the right JSON."""
    if kind.id not in _NESTED:
        return _SCALARS.get(kind.id, "{}").format(value)
    # those of an array have its size too, which is no type
    children = cast("list[tuple[str, DuckDBPyType]]", kind.children)
    if kind.id in {"list", "array"}:
        return f"list_transform({value}, lambda one: {make_json('one', children[0][1])})"
    if kind.id == "map":
        entry = f"{{'key': one.key, 'value': {make_json('one.value', children[1][1])}}}"
        return f"map_from_entries(list_transform(map_entries({value}), lambda one: {entry}))"
    if kind.id == "struct":
        made = "struct_pack"
        fields = [
            f"{quoted(name)} := {make_json(f'{value}.{quoted(name)}', child)}"
            for name, child in children
        ]
    else:
        made = "row"
        fields = [make_json(f"{value}[{at}]", child) for at, (_, child) in enumerate(children, 1)]
    return f"CASE WHEN {value} IS NOT NULL THEN {made}({', '.join(fields)}) END"


def make_cell(value: str, kind: "DuckDBPyType") -> str:
    """Return the SQL of a value for a table: a number, or text."""
    if kind.id in _NUMBERS:
        return value
    text = make_json(value, kind)
    return f"to_json({text})::VARCHAR" if kind.id in _NESTED else f"{text}::VARCHAR"
