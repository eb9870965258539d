"""Launches as tables: Arrow, pandas and polars, all with the one schema of `COLUMNS`.

A reader of JSON that infers the columns from the first lines loses those that came later. Here
every column is there with its type; a field that a version does not have is null. A ConfigError
says which of the libraries is not installed.
"""

import importlib
from collections.abc import Iterable, Iterator, Sequence
from operator import attrgetter
from types import ModuleType
from typing import TYPE_CHECKING, Any

from mirror.errors import ConfigError
from mirror.events.launch import COLUMNS, ColumnType, Launch

if TYPE_CHECKING:
    import pandas as pd
    import polars as pl
    import pyarrow as pa

_BLOCK_ROWS = 8192
_GETTERS = [attrgetter(column.name) for column in COLUMNS]


def make_arrow(blocks: Iterable[Sequence[Launch]]) -> "pa.Table":
    """Return launches as an Arrow table."""
    arrow = _load("pyarrow")
    types = {
        ColumnType.TIMESTAMP: arrow.timestamp("us", tz="UTC"),
        ColumnType.STRING: arrow.string(),
        ColumnType.INTEGER: arrow.int16(),
        ColumnType.BOOLEAN: arrow.bool_(),
    }
    schema = arrow.schema(
        [arrow.field(one.name, types[one.type], metadata={"doc": one.doc}) for one in COLUMNS]
    )
    batches = (arrow.record_batch(_values(block), schema=schema) for block in _joined(blocks))
    table: pa.Table = arrow.Table.from_batches(batches, schema=schema)
    return table


def make_pandas(blocks: Iterable[Sequence[Launch]]) -> "pd.DataFrame":
    """Return launches as a pandas frame; missing values are NA."""
    pandas = _load("pandas")
    types = {
        ColumnType.TIMESTAMP: "datetime64[us, UTC]",
        ColumnType.STRING: "string",
        ColumnType.INTEGER: "int16",
        ColumnType.BOOLEAN: "boolean",
    }

    def make_frame(block: Sequence[Launch]) -> Any:
        columns = zip(COLUMNS, _values(block), strict=True)
        return pandas.DataFrame(
            {one.name: pandas.Series(values, dtype=types[one.type]) for one, values in columns}
        )

    frames = map(make_frame, _joined(blocks))
    whole: pd.DataFrame = pandas.concat(frames, ignore_index=True)
    return whole


def make_polars(blocks: Iterable[Sequence[Launch]]) -> "pl.DataFrame":
    """Return launches as a polars frame."""
    polars = _load("polars")
    types = {
        ColumnType.TIMESTAMP: polars.Datetime("us", "UTC"),
        ColumnType.STRING: polars.String,
        ColumnType.INTEGER: polars.Int16,
        ColumnType.BOOLEAN: polars.Boolean,
    }
    schema = {one.name: types[one.type] for one in COLUMNS}
    frames = (
        polars.DataFrame(_values(block), schema=schema, orient="col") for block in _joined(blocks)
    )
    whole: pl.DataFrame = polars.concat(frames, rechunk=True)
    return whole


def _joined(blocks: Iterable[Sequence[Launch]]) -> Iterator[list[Launch]]:
    """Yield blocks of `_BLOCK_ROWS` and more, for each costs a library as much as many rows.

    The last one may have less, or none at all: then it is there for its columns.
    """
    joined: list[Launch] = []
    for block in blocks:
        joined += block
        if len(joined) >= _BLOCK_ROWS:
            yield joined
            joined = []
    yield joined


def _values(block: Sequence[Launch]) -> list[list[Any]]:
    return [list(map(get, block)) for get in _GETTERS]


def _load(name: str) -> ModuleType:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(
            f"{name} is not installed", hint=f"`pip install {name}` beside binder-mirror"
        ) from error
