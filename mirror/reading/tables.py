"""Launches as tables: Arrow, pandas and polars, all with the one schema of `COLUMNS`.

A reader of JSON that infers the columns from the first lines loses those that came later. Here
every column is there with its type; a field that a version does not have is null. A ConfigError
says which of the libraries is not installed.

Most launches differ from another in the timestamp alone (`mirror.events.repeats`). So each library
makes a table of the distinct ones without it, and takes from that the rows by their numbers.
"""

import importlib
from array import array
from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from itertools import count
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any, TypeAlias, TypeVar

from mirror.errors import ConfigError
from mirror.events.launch import COLUMNS, ColumnType, Launch

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

T = TypeVar("T")
Pairs: TypeAlias = Callable[..., Iterator[list[tuple[int, int]]]]
"""What gives the launches: `mirror.reading.reader.Events.pairs`."""

_TIMESTAMP, *_OTHERS = (one.name for one in COLUMNS)
_GETTERS = list(map(attrgetter, _OTHERS))
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_PART_ROWS = 8192
_CHUNK_ROWS = 1_000_000
"""A column of strings in Arrow has room for 2 GiB in each of its chunks."""


def make_arrow(pairs: Pairs) -> "pa.Table":
    """Return launches as an Arrow table."""
    arrow = _load("pyarrow")
    types = _make_schema(
        arrow.timestamp("us", tz="UTC"), arrow.string(), arrow.int16(), arrow.bool_()
    )
    schema = arrow.schema(
        [arrow.field(one.name, types[one.name], metadata={"doc": one.doc}) for one in COLUMNS]
    )
    others = schema.remove(0)
    moments, numbers, parts = _collect(pairs, partial(arrow.record_batch, schema=others))
    distinct = arrow.Table.from_batches(parts, schema=others).combine_chunks()
    times = arrow.array(moments, type=schema.types[0])
    taken = [
        distinct.take(arrow.array(numbers[at : at + _CHUNK_ROWS], type=arrow.int32())).add_column(
            0, schema.field(0), times[at : at + _CHUNK_ROWS]
        )
        for at in range(0, len(numbers) or 1, _CHUNK_ROWS)
    ]
    table: pa.Table = arrow.concat_tables(taken)
    return table


def make_pandas(pairs: Pairs) -> "pd.DataFrame":
    """Return launches as a pandas frame; missing values are NA."""
    pandas = _load("pandas")
    types = _make_schema("datetime64[us, UTC]", "string", "int16", "boolean")
    moment = types.pop(_TIMESTAMP)

    def make_frame(values: list[list[Any]]) -> Any:
        return pandas.DataFrame(dict(zip(types, values, strict=True)), dtype=object).astype(types)

    moments, numbers, parts = _collect(pairs, make_frame)
    whole: pd.DataFrame = pandas.concat(parts).take(numbers).reset_index(drop=True)
    whole.insert(0, _TIMESTAMP, pandas.Series(moments, dtype=moment))
    return whole


def make_polars(pairs: Pairs) -> "pl.DataFrame":
    """Return launches as a polars frame."""
    polars = _load("polars")
    types = _make_schema(polars.Datetime("us", "UTC"), polars.String, polars.Int16, polars.Boolean)
    moment = types.pop(_TIMESTAMP)
    moments, numbers, parts = _collect(pairs, partial(polars.DataFrame, schema=types, orient="col"))
    rows = polars.Series(numbers, dtype=polars.UInt32)
    # from one chunk: to take from several costs twice the memory
    whole: pl.DataFrame = polars.concat(parts, rechunk=True)[rows]
    return whole.insert_column(0, polars.Series(_TIMESTAMP, moments, dtype=moment))


def _make_schema(timestamp: T, string: T, integer: T, boolean: T) -> dict[str, T]:
    """Return the type of each column in a library's own words."""
    types = dict(zip(ColumnType, (timestamp, string, integer, boolean), strict=True))
    return {one.name: types[one.type] for one in COLUMNS}


def _collect(
    pairs: Pairs, make: Callable[[list[list[Any]]], T]
) -> tuple[Sequence[int], Sequence[int], list[T]]:
    """Return all timestamps, the numbers of the launches, and the distinct ones that they are of.

    These come in parts, which `make` makes of the values of each column.
    """
    moments, numbers = array("q"), array("i")
    parts: list[T] = []
    launches: list[Launch] = []
    next_number = count()

    def finish_part() -> None:
        parts.append(make([list(map(get, launches)) for get in _GETTERS]))
        launches.clear()

    def number(launch: Launch) -> int:
        if len(launches) >= _PART_ROWS:
            finish_part()
        launches.append(launch)
        return next(next_number)

    for block in pairs(lambda moment: (moment - _EPOCH) // _MICROSECOND, number):
        for column, found in zip((moments, numbers), zip(*block, strict=True), strict=bool(block)):
            column.extend(found)
    # one at least, for its columns
    finish_part()
    return moments, numbers, parts


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} is not installed", hint=f"`pip install {name}` beside binder-mirror"
        ) from error
