"""The data set in other people's readers, and one sum over every path to the events."""

import csv
import json
import re
from collections import Counter
from pathlib import Path

import pytest

from mirror import Archive
from mirror.dataset.build import keep_in_step
from mirror.dataset.months import open_months
from mirror.dataset.query import Bounds, open_session
from mirror.store.layout import DataDir
from tests.command import ROOT, Shell
from tests.mirrors import make_mirror, of_all_eras

BODIES = of_all_eras()
LINES = [line for body in BODIES.values() for line in body.splitlines()]
PROVIDERS = Counter(json.loads(line)["provider"] for line in LINES)
GUIDE = (ROOT / "docs" / "analysis.md").read_text()


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    made = make_mirror(tmp_path_factory.mktemp("readers") / "data", BODIES)
    keep_in_step(made)
    return made


def with_duckdb(root: Path) -> dict[str, int]:
    duckdb = pytest.importorskip("duckdb")
    found = duckdb.sql(
        f"SELECT provider, count(*) FROM '{root}/**/*.parquet' WHERE year > 0 GROUP BY ALL"
    )
    return dict(found.fetchall())


def with_polars(root: Path) -> dict[str, int]:
    polars = pytest.importorskip("polars")
    frame = polars.scan_parquet(root, hive_partitioning=True)
    counted = frame.filter(polars.col("year") > 0).group_by("provider").len().collect()
    return dict(counted.iter_rows())


def with_pandas(root: Path) -> dict[str, int]:
    pandas = pytest.importorskip("pandas")
    frame = pandas.read_parquet(root)
    assert {"year", "month"} <= set(frame.columns)
    return frame["provider"].value_counts().to_dict()


def with_pyarrow(root: Path) -> dict[str, int]:
    pyarrow = pytest.importorskip("pyarrow.dataset")
    table = pyarrow.dataset(root, format="parquet", partitioning="hive").to_table()
    assert {"year", "month"} <= set(table.column_names)
    return {one["values"]: one["counts"] for one in table["provider"].value_counts().to_pylist()}


def test_all_months_have_one_schema(data):
    parquet = pytest.importorskip("pyarrow.parquet")
    schemas = [parquet.read_schema(path) for path in sorted(data.dataset.glob("*/*/*.parquet"))]
    assert len(schemas) > 5
    assert all(schema.equals(schemas[0]) for schema in schemas)
    assert all(field.nullable for field in schemas[0])


@pytest.mark.filterwarnings("ignore")
def with_dask(root: Path) -> dict[str, int]:
    dask = pytest.importorskip("dask.dataframe")
    return dask.read_parquet(root)["provider"].value_counts().compute().to_dict()


READERS = (with_duckdb, with_polars, with_pandas, with_pyarrow, with_dask)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("reader", READERS, ids=lambda reader: reader.__name__)
def test_each_reader_counts_the_same(data: DataDir, reader):
    assert {str(name): int(count) for name, count in reader(data.dataset).items()} == PROVIDERS


@pytest.mark.parametrize("sql", re.findall(r"```sql\n(.*?)```", GUIDE, re.DOTALL))
def test_each_query_of_the_guide_answers(data: DataDir, sql: str):
    with open_months(data) as months, open_session(months, Bounds()) as session:
        answer = session.bind(sql)
        with session.run(answer) as rows:
            found = list(rows)
    assert found
    if "launches" in answer.columns and not re.search("LIMIT|WHERE", sql):
        at = answer.columns.index("launches")
        assert sum(row[at] for row in found) == len(LINES)


async def test_one_sum_over_every_path(shell: Shell):
    await shell.synced()
    index = [json.loads(line) for line in shell.data.index.read_bytes().splitlines()]
    expected = sum(int(entry["count"]) for entry in index)
    assert sum(shell.body(day).count(b"\n") for day in shell.days) == expected
    assert sum(1 for _ in Archive(shell.data.root).events()) == expected
    assert (await shell.run("dataset", "build", "--json")).json["rows"] == expected
    assert sum(with_duckdb(shell.data.dataset).values()) == expected
    everything = await shell.run("query", "FROM launches", "--format", "csv")
    assert len(list(csv.reader(everything.out.splitlines()))) == expected + 1
    counted = await shell.run("query", "SELECT count(*) AS n FROM launches", "--format", "json")
    assert json.loads(counted.out) == [{"n": expected}]
