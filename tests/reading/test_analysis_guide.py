"""The guide for analysts: every example runs, and its table of columns is that of the code."""

import contextlib
import io
import re
from pathlib import Path

from mirror.dataset.columns import DATASET_COLUMNS
from mirror.events.launch import COLUMNS
from tests.mirrors import DAYS, make_mirror
from tests.upstream.launches import make_day

GUIDE = Path(__file__).parents[2] / "docs" / "analysis.md"
READING = GUIDE.read_text().partition("\n## Reading the events from Python\n")[2]


def test_every_example_runs(tmp_path, monkeypatch):
    make_mirror(tmp_path / "binder-archive", {day: make_day(day, 300) for day in DAYS})
    monkeypatch.chdir(tmp_path)
    examples = re.findall(r"```python\n(.*?)```", READING, re.DOTALL)
    names: dict[str, object] = {}
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        for example in examples:
            exec(compile(example, str(GUIDE), "exec"), names)
    assert len(examples) == 7
    assert names["total"] == names["launches"] == 900
    assert names["versions"] == [(5, 900)]
    assert "900 launches on 3 days" in told.getvalue()
    assert names["by_origin"].to_numpy().sum() == 900


def test_the_table_of_columns_is_that_of_the_code():
    rows = re.findall(r"^\| (\w+) \| (\w+).*? \| (\d) \|", READING, re.MULTILINE)
    assert rows == [(one.name, one.type.value, str(one.since)) for one in COLUMNS]


DATASET_TYPES = {
    "timestamp, UTC": "TIMESTAMP WITH TIME ZONE",
    "string": "VARCHAR",
    "int16": "SMALLINT",
    "int32": "INTEGER",
    "boolean": "BOOLEAN",
    "date": "DATE",
}


def test_the_table_of_the_data_set_is_that_of_the_code():
    section = GUIDE.read_text().partition("\n## The Parquet data set\n")[2]
    described: dict[str, str] = {}
    for names, types in re.findall(r"^\| (`.*?) \| (.*?) \|", section, re.MULTILINE)[:11]:
        columns = re.findall(r"`(\w+)`", names)
        kinds = [types] if types in DATASET_TYPES else types.split(", ")
        described |= dict(zip(columns, kinds if len(kinds) > 1 else kinds * 3, strict=False))
    assert {name: DATASET_TYPES[kind] for name, kind in described.items()} == {
        one.name: one.sql_type for one in DATASET_COLUMNS
    }
