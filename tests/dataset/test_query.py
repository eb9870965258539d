"""SQL over the launches: the same answers with and without a data set, and nothing but answers."""

import csv
import io
import json
import re
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import date
from pathlib import Path

import pytest

from mirror.dataset.build import keep_in_step
from mirror.dataset.months import list_months, open_months
from mirror.dataset.query import Bounds, Session, key_hint, open_session
from mirror.dataset.table import write_markdown
from mirror.errors import QueryError
from mirror.reading.duck import literal
from mirror.store.layout import DataDir
from tests.mirrors import hold, make_mirror, of_all_eras

BODIES = of_all_eras()
LINES = sum(body.count(b"\n") for body in BODIES.values())


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> DataDir:
    made = make_mirror(tmp_path_factory.mktemp("query") / "data", BODIES)
    keep_in_step(made)
    return made


@contextmanager
def opened(data: DataDir, **options) -> Iterator[Session]:
    with open_months(data, **options) as months, open_session(months, Bounds()) as made:
        yield made


@pytest.fixture
def session(data: DataDir) -> Iterator[Session]:
    with opened(data) as made:
        yield made


def answer(session: Session, sql: str) -> list[tuple]:
    with session.run(session.bind(sql)) as rows:
        return list(map(tuple, rows))


def refusal(session: Session, sql: str) -> str:
    with pytest.raises(QueryError) as caught, session.run(session.bind(sql)) as rows:
        list(rows)
    assert "\n" not in caught.value.line()
    return caught.value.line()


def copied(folder: Path, sql: str, form: str) -> str:
    target = folder / f"answer.{form}"
    with open_session([], Bounds(), output=target) as session:
        session.copy(session.bind(sql), form)
    return target.read_bytes().decode()


SUMS = """SELECT file, count(*), sum(line), count(DISTINCT repository), max(ref)
FROM launches GROUP BY ALL ORDER BY ALL"""


def test_daily_files_answer_as_the_data_set_does(data: DataDir, session: Session, tmp_path: Path):
    bare = make_mirror(tmp_path / "data", BODIES)
    told: list[str] = []
    with opened(bare, notice=told.append) as without:
        assert answer(without, SUMS) == answer(session, SUMS)
        assert answer(without, "SELECT count(*) FROM launches") == [(LINES,)]
        assert answer(without, "DESCRIBE launches") == answer(session, "DESCRIBE launches")
    assert "no data set" in told[0]
    assert not bare.dataset.exists()


def test_an_empty_mirror_answers_with_nothing(tmp_path: Path):
    with opened(make_mirror(tmp_path / "data", {})) as empty:
        assert answer(empty, "SELECT count(*), max(repository) FROM launches") == [(0, None)]


def test_what_the_data_set_lacks_is_read_and_told(tmp_path: Path):
    data = make_mirror(tmp_path / "data", BODIES)
    keep_in_step(data)
    new, changed = date(2020, 6, 19), date(2020, 6, 18)
    first = BODIES[changed].partition(b"\n")[0] + b"\n"
    hold(data, {changed: BODIES[changed] + first, new: first})
    told: list[str] = []
    with opened(data, notice=told.append) as session:
        assert answer(session, "SELECT count(*) FROM launches") == [(LINES + 2,)]
    assert told[0].startswith("the data set is behind in 1 month")


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT year, month FROM launches LIMIT 1;",
        "FROM launches LIMIT 1 -- with a comment",
        "WITH a AS (SELECT 1 AS b) SELECT * FROM a",
        "SUMMARIZE launches",
        "SHOW TABLES",
        "VALUES (1)",
        "SELECT * FROM launches PIVOT (count(*) FOR provider IN ('GitHub', 'Git'))",
    ],
)
def test_queries_of_all_kinds(session: Session, sql: str):
    assert answer(session, sql)


def test_a_refusal_names_what_was_typed(session: Session):
    assert refusal(session, "INSTALL httpfs").startswith("INSTALL or LOAD is not allowed")
    assert refusal(session, "BEGIN").startswith("a transaction is not allowed")


def test_order_is_kept(session: Session):
    ordered = answer(session, "SELECT spec, line FROM launches ORDER BY line DESC, spec")
    assert ordered == sorted(ordered, key=lambda row: (-row[1], row[0]))


WRITES = "COPY (SELECT 1) TO '{}' (FORMAT csv, USE_TMP_FILE false)"


@pytest.mark.parametrize(
    "sql",
    [
        WRITES,
        "EXPLAIN ANALYZE " + WRITES,
        "WITH x AS (" + WRITES + ") SELECT 1",
        "WITH x AS (" + WRITES + ") FROM x",
        "WITH x AS (" + WRITES + "), a AS (SELECT 1 AS b) PIVOT a ON b USING count(*)",
        "SELECT 1) TO '{}' (FORMAT csv, USE_TMP_FILE false); COPY (SELECT 1",
        "SELECT 1; " + WRITES,
        "FROM query('WITH x AS (COPY (SELECT 1) TO ''{}'' (USE_TMP_FILE false)) SELECT 1')",
        "PREPARE p AS " + WRITES,
        "EXPORT DATABASE '{}'",
        "ATTACH '{}.db' AS other",
        "CREATE TABLE x AS WITH x AS (" + WRITES + ") SELECT 1",
    ],
)
def test_nothing_is_written_not_even_where_reading_is_allowed(
    data: DataDir, session: Session, tmp_path: Path, sql: str
):
    inside = next(data.dataset.glob("*/*/launches.parquet"))
    before = {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()}
    for target in (inside, tmp_path / "outside"):
        refusal(session, sql.replace("{}", str(target)))
    assert {path: path.read_bytes() for path in data.root.rglob("*") if path.is_file()} == before
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('/etc/passwd')",
        "SELECT * FROM '/etc/passwd'",
        "SELECT * FROM read_text('/etc/hostname')",
        "SELECT * FROM read_blob('/etc/hostname')",
        "SELECT * FROM glob('/etc/*')",
        "SELECT * FROM read_json('{data}/manifest.jsonl')",
        "SELECT * FROM read_parquet('{data}/dataset/**/*.parquet')",
        "SELECT * FROM 'https://example.org/launches.parquet'",
        "SELECT * FROM sniff_csv('/etc/passwd')",
        "SELECT getenv('HOME')",
    ],
)
def test_nothing_else_is_read(data: DataDir, session: Session, sql: str):
    refusal(session, sql.replace("{data}", str(data.root)))


@pytest.mark.parametrize(
    "sql",
    [
        "INSTALL httpfs",
        "LOAD httpfs",
        "ATTACH ':memory:' AS other",
        "SET memory_limit = '1TB'",
        "SET enable_external_access = true",
        "RESET lock_configuration",
        "PRAGMA memory_limit = '1TB'",
        "CALL force_checkpoint()",
        "CREATE TABLE x (a INTEGER)",
        "CREATE OR REPLACE VIEW launches AS SELECT 1",
        "DROP VIEW launches",
        "INSERT INTO launches VALUES (1)",
        "CREATE SECRET s (TYPE s3)",
        "BEGIN",
        "USE memory",
        "PIVOT launches ON provider USING count(*)",
        "",
        "-- nothing",
        "SELECT 1; SELECT 2",
    ],
)
def test_nothing_else_is_done(session: Session, sql: str):
    refusal(session, sql)
    assert answer(session, "SELECT count(*) FROM launches") == [(LINES,)]


@pytest.mark.parametrize(
    ("sql", "told"),
    [
        ("SELEKT 1", "(line 1, column 1: SELEKT)"),
        ("SELECT count(*)\nFROM launches\nWHERE nosuch = 1", "(line 3, column 7: nosuch)"),
        ("SELECT 'x', nosuch FROM launches", "(line 1, column 13: nosuch)"),
        ("-- é\n ;; SELECT 'é',\n é, nosuch FROM launches;", "(line 3, column 2: é)"),
        ("SELECT nosuch, 1 AS nosuch2, nosuch", "(line 1, column 8: nosuch)"),
        ("SELECT 1 /* c", "(line 1, column 10: /* c)"),
        ("SELECT * FROM nosuch", "nosuch"),
        ("SELECT 'a'::INTEGER", "Could not convert"),
        ('SELECT * FROM "\x1b[31m"', "\\x1b"),
    ],
)
def test_a_wrong_query_is_told_in_one_line_with_its_place(session: Session, sql: str, told: str):
    assert told in refusal(session, sql)


def test_a_query_that_wants_too_much_memory_is_refused():
    with open_session([], Bounds(memory_bytes=64 * 1024**2)) as session:
        assert "--memory" in refusal(
            session, "SELECT list(hash(range)::VARCHAR) FROM range(20000000)"
        )
        assert answer(session, "SELECT 1") == [(1,)]


VALUES = """SELECT 1 AS "int", 1.50 AS "decimal", 2.5::DOUBLE AS "double", 'inf'::DOUBLE AS "inf",
NULL AS "null", true AS "bool", DATE '2024-01-05' AS "date",
TIMESTAMPTZ '2024-01-05 10:00:00+00' AS "moment", TIMESTAMP '2024-01-05 10:00:00.5' AS "local",
[1, 2] AS "list", {'a': 'b', 'c d': [TIMESTAMPTZ '2024-01-05 10:00:00+00']} AS "struct",
MAP {'k': 1} AS "map", MAP {'k': ['nan'::FLOAT, 1.5]} AS "nested",
row(1, 'x', 'inf'::DOUBLE) AS "row",
NULL::STRUCT(a INTEGER) AS "nothing", [[1], NULL, [2, NULL]] AS "lists",
'x'::BLOB AS "blob", sum(1) AS "sum", 170141183460469231731687303715884105727 AS "huge",
INTERVAL 1 MONTH AS "interval", '{"a":1}'::JSON AS "json", 'a'::ENUM('a', 'b') AS "enum",
TIME '10:00:00' AS "time", '0b0c8f0e-5d0c-4d0b-8c0e-5d0c4d0b8c0e'::UUID AS "uuid",
'=1+1' AS "formula", -1 AS "minus" """
SAME = {
    "int": 1,
    "decimal": 1.5,
    "double": 2.5,
    "sum": 1,
    "huge": 2**127 - 1,
    "minus": -1,
    "bool": True,
    "date": "2024-01-05",
    "moment": "2024-01-05T10:00:00+00:00",
    "local": "2024-01-05T10:00:00.5",
    "blob": "eA==",
    "interval": "1 month",
    "json": '{"a":1}',
    "enum": "a",
    "time": "10:00:00",
    "uuid": "0b0c8f0e-5d0c-4d0b-8c0e-5d0c4d0b8c0e",
}
"""What CSV and JSON have alike."""
NESTED = {
    "list": [1, 2],
    "struct": {"a": "b", "c d": ["2024-01-05T10:00:00+00:00"]},
    "map": {"k": 1},
    "nested": {"k": [None, 1.5]},
    "row": [1, "x", None],
    "lists": [[1], None, [2, None]],
}


def test_json_is_one_array_with_numbers_as_numbers(tmp_path: Path):
    (row,) = json.loads(copied(tmp_path, VALUES, "json"))
    assert row == SAME | NESTED | {"inf": None, "null": None, "nothing": None, "formula": "=1+1"}
    assert json.loads(copied(tmp_path, "SELECT 1 WHERE false", "json")) == []
    twice = json.loads(copied(tmp_path, "SELECT 1 AS a, 2 AS a, 3 AS a_2", "json"))
    assert sorted(twice[0].values()) == [1, 2, 3]


def test_csv_has_one_text_for_each_value(tmp_path: Path):
    header, row = csv.reader(io.StringIO(copied(tmp_path, VALUES, "csv")))
    values = dict(zip(header, row, strict=True))
    assert (values.pop("formula"), values.pop("inf")) == ("'=1+1", "inf")
    assert (values.pop("null"), values.pop("nothing")) == ("", "")
    assert {name: json.loads(values.pop(name)) for name in NESTED} == NESTED
    assert values == {name: str(value) for name, value in SAME.items()} | {
        "bool": "true",
        "decimal": "1.50",
    }


@pytest.mark.parametrize(
    ("value", "text"),
    [
        ("TIMESTAMPTZ '2024-01-05 10:00:00.000001'", "2024-01-05T10:00:00.000001+00:00"),
        ("TIMESTAMPTZ '2024-01-05 10:00:00+02'", "2024-01-05T08:00:00+00:00"),
        ("TIMESTAMPTZ '-infinity'", "-infinity"),
        ("TIMESTAMPTZ '0044-03-15 (BC) 10:00:00'", "0044-03-15 (BC) 10:00:00+00"),
        ("TIMESTAMP '2024-01-05'", "2024-01-05T00:00:00"),
        ("TIMESTAMP_NS '2024-01-05 10:00:00.123456789'", "2024-01-05T10:00:00.123456789"),
        ("TIMESTAMP_MS '2024-01-05 10:00:00.12'", "2024-01-05T10:00:00.12"),
        ("TIMESTAMP_S '12024-01-05 10:00:00'", "12024-01-05T10:00:00"),
        ("NULL::TIMESTAMP", ""),
    ],
)
def test_a_moment_is_written_as_iso_8601_to_its_last_digit(tmp_path: Path, value: str, text: str):
    (row,) = csv.DictReader(io.StringIO(copied(tmp_path, f"SELECT {value} AS at, 1", "csv")))
    assert row["at"].removeprefix("'") == text


def test_csv_tells_an_empty_text_from_null(tmp_path: Path):
    rows = "VALUES (1, '', '=a'), (2, NULL, NULL), (3, 'b', '')"
    assert copied(tmp_path, rows, "csv").splitlines()[1:] == ['1,"",\'=a', "2,,", '3,b,""']


ODD_TEXTS = ["", "a,b", 'say "x"', "two\nlines", "cr\rhere", "x\r\n", " lead", "#"]
ODD_TEXTS += ["é\u2028\U0001f600", "'"]
FORMULAS = ["=1", "+1", "-1", "@a", "\tx", "\rx"]


@pytest.mark.parametrize("columns", [1, 2])
def test_csv_brings_back_every_text_and_no_formula(tmp_path: Path, columns: int):
    rows = ", ".join(
        f"({', '.join([literal(text)] * columns)})" for text in [*ODD_TEXTS, *FORMULAS]
    )
    written = copied(tmp_path, f"VALUES {rows}", "csv")
    _, *read = csv.reader(io.StringIO(written, newline=""))
    expected = [*ODD_TEXTS, *(f"'{text}" for text in FORMULAS)]
    assert read == [[text] * columns for text in expected]
    assert [
        list(row.values()) for row in json.loads(copied(tmp_path, f"VALUES {rows}", "json"))
    ] == [[text] * columns for text in [*ODD_TEXTS, *FORMULAS]]


def test_names_of_columns_are_no_formula_either_and_may_be_odd(tmp_path: Path):
    sql = 'SELECT 1 AS "=1", 2 AS "a ""b"", c"'
    assert next(csv.reader(io.StringIO(copied(tmp_path, sql, "csv")))) == ["'=1", 'a "b", c']
    assert json.loads(copied(tmp_path, sql, "json")) == [{"=1": 1, 'a "b", c': 2}]
    assert copied(tmp_path, "SELECT 1 AS a WHERE false", "csv") == "a\n"
    assert copied(tmp_path, "SELECT NULL AS a", "csv") == 'a\n""\n'


def test_what_is_copied_keeps_its_order(tmp_path: Path):
    sql = "SELECT range AS n FROM range(300000) ORDER BY hash(range), range"
    by_json = [row["n"] for row in json.loads(copied(tmp_path, sql, "json"))]
    assert copied(tmp_path, sql, "csv").split() == ["n", *map(str, by_json)]
    with open_session([], Bounds()) as session:
        assert by_json == [n for (n,) in answer(session, sql)]


def test_markdown_has_no_markup(session: Session):
    out = io.StringIO()
    sql = "SELECT 'a|b' || chr(10) || '<i>' AS x, NULL AS y, 1.50 AS z, [true] AS l"
    answer = session.bind(sql)
    with session.run(answer) as rows:
        write_markdown(answer.columns, rows, out)
    assert out.getvalue().splitlines()[2] == "| a\\|b &lt;i> |  | 1.50 | [true] |"


def test_a_copy_goes_to_the_one_file_that_was_named(data: DataDir, tmp_path: Path):
    polars = pytest.importorskip("polars")
    target = tmp_path / "out.parquet"
    months = list(list_months(data).values())
    with open_session(months, Bounds(), output=target) as session:
        counted = session.bind("SELECT provider, count(*) AS n FROM launches GROUP BY ALL")
        assert session.copy(counted, "parquet")
    assert polars.read_parquet(target)["n"].sum() == LINES


@pytest.mark.parametrize(
    "name",
    [
        "Qiskit/qiskit-tutorial",
        "https://github.com/QISKit/qiskit-tutorial.git",
        "https://mybinder.org/v2/gh/qiskit/qiskit-tutorial/HEAD",
        "github.com/qiskit/qiskit-tutorial",
    ],
)
def test_repo_is_the_key_of_each_spelling(session: Session, name: str) -> None:
    assert answer(session, f"SELECT repo('{name}')") == [("github.com/qiskit/qiskit-tutorial",)]
    assert answer(session, "SELECT repo('gitlab.com/A/b'), repo('c/d') -- it's") == [
        ("gitlab.com/a/b", "github.com/c/d")
    ]


def test_repo_finds_the_launches_of_a_repository(session: Session) -> None:
    (wanted, count), *_ = answer(
        session, "SELECT repository, count(*) FROM launches GROUP BY 1 ORDER BY 2 DESC, 1"
    )
    assert count > 1
    assert answer(
        session, f"SELECT count(*) FROM launches WHERE repository = repo('{wanted}')"
    ) == [(count,)]


@pytest.mark.parametrize(
    "argument", ["'no repository'", "''", "spec", "NULL", "'a/b''c'", "upper('a/b')"]
)
def test_repo_refuses_what_it_cannot_look_up(session: Session, argument: str) -> None:
    told = refusal(session, f"SELECT repo({argument}) FROM launches")
    assert re.search("user/repo, an address or a DOI; not ('.*'|NULL)$", told)


@pytest.mark.parametrize(
    "condition",
    [
        *("repository = 'A/b'", "\"where\".repository='A/b'", "REPOSITORY IN ('A/b')"),
        *("'A/b' = repository", "repository LIKE 'A/b%'", "repository not ilike 'A/b'"),
        "repository LIKE '%A/b'",
    ],
)
def test_who_compares_repository_with_a_name_is_told_how_keys_are_written(condition: str) -> None:
    hint = key_hint(f"SELECT count(*) FROM launches WHERE {condition}")
    assert "github.com/a/b" in hint
    assert "repo('A/b')" in hint


@pytest.mark.parametrize(
    "condition",
    [
        *("repository = 'github.com/a/b'", "spec = 'A/b'", "repository = repo('A/b')"),
        *("'github.com/a/b' = repository", "repository LIKE 'github.com/a/b%'", "'A/b' = spec"),
        *("repository ILIKE '%A/b'", "repository LIKE '%a/_%'", "repository LIKE 'github.com/a/%'"),
    ],
)
def test_who_compares_it_with_a_key_is_told_nothing(condition: str) -> None:
    assert key_hint(f"SELECT count(*) FROM launches WHERE {condition}") == ""
