"""`binder-mirror events` as people run it: formats, filters, pipes, files, and what goes wrong."""

import csv
import gzip
import io
import json
import os
import pty
import subprocess
import sys
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pandas as pd
import pytest

from mirror import Archive
from mirror.events.launch import COLUMNS, Launch
from mirror.reading.sinks import make_cell
from tests.command import COMMAND, Done, plain_environment
from tests.mirrors import DAYS, make_mirror, three_days
from tests.upstream.launches import make_day

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

NAMES = [column.name for column in COLUMNS]
ERAS = [date(2018, 11, 3), date(2019, 6, 12), date(2020, 6, 18), date(2026, 3, 2)]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    make_mirror(tmp_path / "data", three_days())
    return tmp_path / "data"


def run_bytes(root: Path, *arguments: object, **changes: str) -> tuple[int, bytes, str]:
    environ = plain_environment(root) | changes
    command = [*COMMAND, "events", "--data-dir", str(root), *map(str, arguments)]
    done = subprocess.run(command, check=False, capture_output=True, env=environ)
    return done.returncode, done.stdout, done.stderr.decode()


def run(root: Path, *arguments: object, **changes: str) -> Done:
    code, out, err = run_bytes(root, *arguments, **changes)
    return Done(code, out.decode(), err)


# JSON lines


def test_lines_are_upstreams_own_byte_for_byte(root):
    assert run_bytes(root) == (0, b"".join(three_days().values()), "")


def test_filters(root):
    code, out, err = run_bytes(
        root,
        *("--since", DAYS[0], "--until", DAYS[1]),
        *("--provider", "GitHub", "--provider", "Gist"),
        *("--repo", "QISKit/qiskit-tutorial"),
    )
    expected = [
        line + b"\n"
        for day in DAYS[:2]
        for line in three_days()[day].split(b"\n")
        if b"qiskit-tutorial" in line.lower()
    ]
    assert (code, err) == (0, "")
    assert out == b"".join(expected) != b""


def test_nothing_found_is_nothing_written_and_told(root):
    code, out, err = run_bytes(root, "--origin", "nowhere.example")
    assert (code, out) == (0, b"")
    assert err.startswith("binder-mirror: no event found: 3 days from 2024-03-01 to 2024-03-03, ")
    assert err.endswith(", origin nowhere.example\n")


@pytest.mark.parametrize("typed", ["github", "GITHUB"])
def test_a_provider_may_be_typed_in_any_case(root, typed):
    assert run_bytes(root, "--provider", typed) == run_bytes(root, "--provider", "GitHub")


def test_a_provider_that_is_mistyped_gets_a_suggestion(root):
    code, out, err = run_bytes(root, "--provider", "githb")
    assert (code, out) == (0, b"")
    assert err.endswith(", provider githb; did you mean GitHub?\n")


def test_head_closes_the_pipe_quietly(tmp_path):
    make_mirror(tmp_path / "data", {DAYS[0]: make_day(DAYS[0], 30_000)})
    for arguments in ("", " --format csv", " --compress gzip"):
        command = f"{' '.join(COMMAND)} events --data-dir {tmp_path / 'data'}{arguments}"
        done = subprocess.run(
            ["bash", "-c", f"{command} | head -c 100 | wc -c; echo ${{PIPESTATUS[0]}}"],
            check=True,
            capture_output=True,
            text=True,
            env=plain_environment(tmp_path),
        )
        assert done.stdout == "100\n0\n"
        assert done.stderr == ""


# CSV


def read_csv(text: str) -> list[list[str]]:
    return list(csv.reader(io.StringIO(text, newline="")))


def test_csv_has_every_column_of_every_version(tmp_path):
    make_mirror(tmp_path, {day: make_day(day, 50) for day in ERAS})
    done = run(tmp_path, "--format", "csv")
    assert (done.code, done.err) == (0, "")
    header, *rows = read_csv(done.out)
    assert header == NAMES
    launches = list(Archive(tmp_path, now=lambda: datetime(2027, 1, 1, tzinfo=UTC)).events())
    lines = [",".join(make_cell(getattr(one, name)) for name in NAMES) for one in launches]
    assert rows == read_csv("\r\n".join(lines))
    assert rows[0][0] == launches[0].timestamp.isoformat()
    frame = pd.read_csv(io.StringIO(done.out), parse_dates=["timestamp"])
    assert len(frame) == len(launches)


FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", '=HYPERLINK("http://x")']


def test_no_cell_is_a_formula(tmp_path):
    line = json.loads(make_day(DAYS[0], 1))
    bodies = [json.dumps(line | {"spec": text, "ref": text}) + "\n" for text in FORMULAS]
    make_mirror(tmp_path, {DAYS[0]: "".join(bodies).encode()})
    done = run(tmp_path, "--format", "csv")
    assert done.code == 0
    rows = list(csv.DictReader(io.StringIO(done.out, newline="")))
    assert [row["spec"] for row in rows] == [f"'{text}" for text in FORMULAS]
    assert not any(
        cell.startswith(("=", "+", "-", "@", "\t", "\r")) for row in rows for cell in row.values()
    )


def test_an_empty_text_is_told_from_null(tmp_path):
    line = json.loads(make_day(date(2026, 4, 1), 1))
    bodies = [json.dumps({**line, "request_origin": origin}) for origin in ("", None, "=a", "b")]
    make_mirror(tmp_path, {date(2026, 4, 1): ("\n".join(bodies) + "\n").encode()})
    done = run(tmp_path, "--format", "csv")
    assert done.code == 0
    assert NAMES[-1] == "request_origin"
    assert [row.rpartition(",")[2] for row in done.out.splitlines()[1:]] == ['""', "", "'=a", "b"]
    path = tmp_path / "launches.csv"
    path.write_text(done.out)
    read = duckdb.sql(f"FROM read_csv('{path}', allow_quoted_nulls = false)")
    assert [row[-1] for row in read.fetchall()] == ["", None, "'=a", "b"]


def test_cells_keep_what_is_no_formula():
    text = 'a,"b"\nc=1+1-2@3'
    assert read_csv(make_cell(text)) == [[text]]
    cells = [make_cell(value) for value in (None, True, False, 5, "", "a b")]
    assert cells == ["", "true", "false", "5", '""', "a b"]


# Parquet


@pytest.mark.parametrize("form", ["csv", "json"])
def test_a_terminal_is_not_controlled_by_an_event(tmp_path, form):
    spec = "a/\x9b31mRED\x7f\u202e/b" + ("\x1b" if form == "csv" else "")
    line = json.loads(make_day(DAYS[0], 1)) | {"spec": spec}
    body = json.dumps(line, ensure_ascii=form == "csv")
    make_mirror(tmp_path, {DAYS[0]: body.encode() + b"\n"})
    seen = on_a_terminal(tmp_path, "--format", form)
    assert "a/\\x9b31mRED\\x7f\\u202e" in seen
    assert not {"\x1b", "\x9b", "\x7f", "\u202e"} & set(seen)


def test_a_terminal_is_not_controlled_by_what_is_no_event(tmp_path):
    make_mirror(tmp_path, {DAYS[0]: b"\x1b]0;title\x07 \xff\n" + make_day(DAYS[0], 2)})
    seen = on_a_terminal(tmp_path, "--unknown", "raw")
    assert seen.startswith("\\x1b]0;title\\x07 \\xff\r\n")
    assert seen.replace("\r", "").endswith(make_day(DAYS[0], 2).decode())


def on_a_terminal(root: Path, *arguments: str) -> str:
    ours, terminal = pty.openpty()
    command = [*COMMAND, "events", "--data-dir", str(root), *arguments]
    subprocess.run(command, check=True, stdout=terminal, env=plain_environment(root))
    os.close(terminal)
    seen = os.read(ours, 100_000)
    os.close(ours)
    return seen.decode()


def test_parquet_has_every_column_and_type(tmp_path):
    make_mirror(tmp_path / "data", {day: make_day(day, 50) for day in ERAS})
    path = tmp_path / "launches.parquet"
    done = run(tmp_path / "data", "--output", path)
    assert (done.code, done.out, done.err) == (0, "", "")
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        columns = connection.execute(f"DESCRIBE FROM '{path}'").fetchall()
        rows = connection.execute(f"FROM '{path}'").fetchall()
    assert [(name, kind) for name, kind, *_ in columns] == [
        ("timestamp", "TIMESTAMP WITH TIME ZONE"),
        ("schema", "VARCHAR"),
        ("version", "SMALLINT"),
        *[(name, "VARCHAR") for name in ("provider", "spec", "status", "origin", "ref")],
        ("build_token", "BOOLEAN"),
        ("request_origin", "VARCHAR"),
    ]
    launches = Archive(tmp_path / "data").events(open_days=True)
    assert rows == [tuple(getattr(one, name) for name in NAMES) for one in launches]


def test_parquet_through_a_pipe(root):
    code, out, err = run_bytes(root, "--format", "parquet", "--provider", "nobody")
    assert (code, "no event found" in err) == (0, True)
    frame = pd.read_parquet(io.BytesIO(out))
    assert (len(frame), list(frame.columns)) == (0, NAMES)


def test_sums_are_equal_over_every_format(root, tmp_path):
    total = sum(body.count(b"\n") for body in three_days().values())
    parquet = tmp_path / "x.parquet"
    assert run(root, "-o", parquet).code == 0
    assert len(pd.read_parquet(parquet)) == total
    assert len(read_csv(run(root, "--format", "csv").out)) == total + 1
    assert run(root).out.count("\n") == total
    assert sum(1 for line in Archive(root).events() if isinstance(line, Launch)) == total


# files and compression


@pytest.mark.parametrize(
    ("name", "arguments", "opened"),
    [
        ("x.jsonl", (), bytes),
        ("x.jsonl.gz", (), gzip.decompress),
        ("x.jsonl.zst", (), zstd.decompress),
        ("x", ("--compress", "zstd"), zstd.decompress),
        ("x.gz", ("--compress", "none"), bytes),
    ],
)
def test_a_file_is_compressed_as_its_name_says(root, tmp_path, name, arguments, opened):
    path = tmp_path / name
    done = run(root, "--output", path, *arguments)
    assert (done.code, done.out, done.err) == (0, "", "")
    assert opened(path.read_bytes()) == b"".join(three_days().values())
    assert sorted(one.name for one in tmp_path.iterdir()) == sorted(["data", name])


def test_a_file_is_of_the_format_its_name_says(root, tmp_path):
    path = tmp_path / "x.csv.gz"
    assert run(root, "-o", path).code == 0
    assert gzip.decompress(path.read_bytes()).startswith(b"timestamp,schema,")


def test_compressed_through_a_pipe(root):
    for name, opened in (("gzip", gzip.decompress), ("zstd", zstd.decompress)):
        _, out, _ = run_bytes(root, "--compress", name)
        assert opened(out) == b"".join(three_days().values())


def test_a_name_may_be_in_capitals_and_a_dash_is_standard_output(root, tmp_path):
    whole = b"".join(three_days().values())
    assert run(root, "--output", tmp_path / "X.JSONL.GZ").code == 0
    assert gzip.decompress((tmp_path / "X.JSONL.GZ").read_bytes()) == whole
    assert run_bytes(root, "--output", "-") == (0, whole, "")


def test_a_file_that_fails_leaves_the_old_one(tmp_path):
    make_mirror(tmp_path / "data", {DAYS[0]: three_days()[DAYS[0]] + b"no JSON\n"})
    path = tmp_path / "x.jsonl"
    path.write_text("old")
    message = run(tmp_path / "data", "--output", path).refused(3)
    assert message.startswith("events-2024-03-01.jsonl, line 108: not one JSON object (")
    assert path.read_text() == "old"
    assert sorted(one.name for one in tmp_path.iterdir()) == ["data", "x.jsonl"]


# what is no launch, and days that are open


def test_unknown_lines(tmp_path):
    odd = b'{"schema": "x"}\nno JSON \x1b[31m\n'
    body = three_days()[DAYS[0]]
    make_mirror(tmp_path, {DAYS[0]: body + odd})
    code, out, err = run_bytes(tmp_path)
    assert (code, out) == (3, body)
    assert err == (
        'binder-mirror: events-2024-03-01.jsonl, line 108: schema "x" (--unknown skip passes over '
        "such lines, --unknown raw gives them as they are)\n"
    )
    told = "binder-mirror: 2 lines of no known launch: not-an-object 1, unknown-schema 1\n"
    assert run_bytes(tmp_path, "--unknown", "skip") == (0, body, told)
    assert run_bytes(tmp_path, "--unknown", "raw") == (0, body + odd, told)


def test_an_open_day_is_told_and_can_be_left_out(tmp_path):
    today = datetime.now(UTC).date()
    make_mirror(tmp_path, {DAYS[0]: make_day(DAYS[0], 5), today: make_day(today, 3)})
    done = run(tmp_path)
    assert (done.code, done.out.count("\n")) == (0, 8)
    assert f"{today}: not final yet" in done.err
    done = run(tmp_path, "--final-only")
    assert (done.code, done.out.count("\n"), done.err) == (0, 5, "")


def test_the_origin_that_was_meant(tmp_path):
    make_mirror(tmp_path, {ERAS[0]: make_day(ERAS[0], 5)})
    _, *rows = read_csv(run(tmp_path, "--format", "csv", "--fill-origin").out)
    assert {row[NAMES.index("origin")] for row in rows} == {"mybinder.org"}


# refusals


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (("--since", "yesterday"), 2, "is not a date like"),
        (("--since", "2024-03-02", "--until", "2024-03-01"), 2, "is after --until 2024-03-01"),
        (("--repo", "https://user:s3cret@/x"), 2, "no repository"),
        (("--repo", "???"), 2, "'--repo': no repository: '?***' (user/repository, an address or a"),
        (("--repo", ""), 2, "'--repo': no repository: ''"),
        (("--repo", "a\nb"), 2, "control characters"),
        (("--format", "xml"), 2, "xml"),
        (("--format", "csv", "--unknown", "raw"), 2, "JSON lines"),
        (("--format", "parquet", "--compress", "gzip"), 2, "Parquet is compressed"),
        (("--fill-origin",), 2, "upstream's own"),
        (("--output", "/nowhere/x.jsonl"), 5, "/nowhere/x.jsonl"),
        (("--output", "/dev/full"), 5, "No space left"),
        (("--output", "x.csv.xz"), 2, "the name x.csv.xz does not say which format: use --format"),
        (("--output", "x.xlsx"), 2, "use --format"),
    ],
)
def test_refusals_are_one_line(root, arguments, code, message):
    told = run(root, *arguments).refused(code)
    assert message in told
    assert "s3cret" not in told


def test_a_range_of_which_nothing_is_held_is_told(root):
    done = run(root, "--since", "2024-04-01")
    assert (done.code, done.out) == (0, "")
    assert done.said == ["binder-mirror: no day of that range is held"]


def test_no_mirror(tmp_path):
    assert "no mirror" in run(tmp_path / "none").refused(2)


def test_a_full_disk_behind_standard_output(root):
    command = f"{' '.join(COMMAND)} events --data-dir {root} > /dev/full"
    done = subprocess.run(
        ["bash", "-c", command], check=False, capture_output=True, env=plain_environment(root)
    )
    assert done.returncode == 5
    told = done.stderr.decode()
    assert told == (
        "binder-mirror: standard output: No space left on device (what has been written is not "
        "all: run it again)\n"
    )
    assert told.count("\n") == 1
