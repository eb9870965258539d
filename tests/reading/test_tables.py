"""Launches as tables: Arrow, pandas and polars, with the columns and rows that there are to be."""

from datetime import date, datetime
from pathlib import Path

import pytest

from mirror import Archive
from mirror.events.launch import COLUMNS
from tests.mirrors import DAYS, NOW, make_mirror
from tests.upstream.launches import make_day

MIXED = date(2019, 6, 12)
NAMES = [column.name for column in COLUMNS]


def open_archive(root: Path, now: datetime = NOW) -> Archive:
    return Archive(root, now=lambda: now)


@pytest.fixture
def eras(tmp_path: Path) -> Archive:
    """An archive whose first lines know nothing of the later columns."""
    days = [date(2018, 11, 3), MIXED, date(2020, 6, 18), date(2021, 7, 2), date(2026, 3, 2)]
    data = make_mirror(tmp_path / "eras", {day: make_day(day, 150) for day in days})
    return open_archive(data.root, datetime.fromisoformat("2027-01-01T00:00:00+00:00"))


def rows_of(archive: Archive) -> list[tuple[object, ...]]:
    return [tuple(getattr(launch, name) for name in NAMES) for launch in archive.events()]


def test_arrow_has_every_column_and_type_whatever_comes_first(eras):
    table = eras.to_arrow()
    assert table.column_names == NAMES
    assert [str(field.type) for field in table.schema] == [
        *("timestamp[us, tz=UTC]", "string", "int16", "string", "string", "string"),
        *("string", "string", "bool", "string"),
    ]
    assert [tuple(row.values()) for row in table.to_pylist()] == rows_of(eras)
    assert eras.to_arrow(until=date(2018, 11, 3)).schema == table.schema
    assert eras.to_arrow(provider="nobody").schema == table.schema
    assert eras.to_arrow(provider="nobody").num_rows == 0


def test_pandas_has_every_column_and_type_whatever_comes_first(eras):
    frame = eras.to_pandas()
    types = {name: str(kind) for name, kind in frame.dtypes.items()}
    assert types == {
        **dict.fromkeys(NAMES, "string"),
        "timestamp": "datetime64[us, UTC]",
        "version": "int16",
        "build_token": "boolean",
    }
    plain = frame.astype(object).where(frame.notna(), None)
    assert list(plain.itertuples(index=False, name=None)) == rows_of(eras)
    assert list(frame.index) == list(range(len(frame)))
    empty = eras.to_pandas(provider="nobody")
    assert list(empty.columns) == NAMES
    assert {name: str(kind) for name, kind in empty.dtypes.items()} == types


def test_polars_has_every_column_and_type_whatever_comes_first(eras):
    frame = eras.to_polars()
    assert frame.columns == NAMES
    assert [str(kind) for kind in frame.dtypes] == [
        "Datetime(time_unit='us', time_zone='UTC')",
        *("String", "Int16", "String", "String", "String"),
        *("String", "String", "Boolean", "String"),
    ]
    assert frame.rows() == rows_of(eras)
    assert eras.to_polars(provider="nobody").schema == frame.schema


def test_tables_of_many_blocks_have_each_launch_once_and_in_order(tmp_path):
    make_mirror(tmp_path, {DAYS[0]: make_day(DAYS[0], 20_000), DAYS[1]: make_day(DAYS[1], 10)})
    archive = open_archive(tmp_path)
    refs = [launch.ref for launch in archive.events()]
    assert len(refs) == 20_010
    assert archive.to_arrow()["ref"].to_pylist() == refs
    assert archive.to_pandas()["ref"].to_list() == refs
    assert archive.to_polars()["ref"].to_list() == refs


def test_sums_are_equal_whichever_way(eras):
    total = sum(day.events for day in eras.days())
    assert total == 750
    assert sum(1 for _ in eras.events()) == total
    assert sum(one.launches for one in eras.launches_per_day()) == total
    assert sum(map(len, eras.events().launch_blocks())) == total
    assert b"".join(eras.events().lines()).count(b"\n") == total
    assert len(eras.to_arrow()) == len(eras.to_pandas()) == len(eras.to_polars()) == total
