"""The Parquet data set: what is in it, when it is made, and that it proves its origin."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import duckdb
import pytest

from mirror.dataset.audit import FaultKind, verify_dataset
from mirror.dataset.build import keep_in_step
from mirror.dataset.columns import DATASET_COLUMNS
from mirror.dataset.months import export_launches, load_intact_months, load_months, open_months
from mirror.dataset.rows import describe_spec
from mirror.errors import DatasetError, LockedError, StorageError, WrongKindError
from mirror.store.layout import DataDir, dataset_lock
from tests.mirrors import ERAS, drop, hold, make_mirror, of_all_eras
from tests.upstream.launches import make_day

DAY = date(2024, 1, 5)
GOOD = {
    "timestamp": "2024-01-05T10:00:00+00:00",
    "schema": "binderhub.jupyter.org/launch",
    "version": 5,
    "provider": "GitHub",
    "spec": "Some/Repo.git/main",
    "ref": "0893546b871b28f0f6b63aac23b3a36b73bb1bf1",
    "status": "success",
    "build_token": False,
    "origin": "gke.mybinder.org",
}


def line(**fields: object) -> bytes:
    return json.dumps(GOOD | fields).encode()


def rows(data: DataDir, sql: str = "SELECT * FROM launches ORDER BY file, line") -> list[tuple]:
    with duckdb.connect() as connection:
        connection.execute("SET TimeZone = 'UTC'")
        connection.execute(
            "CREATE VIEW launches AS FROM "
            f"read_parquet('{data.dataset}/*/*/launches.parquet', hive_partitioning = false)"
        )
        return connection.execute(sql).fetchall()


def faults(data: DataDir, **options: bool) -> list[FaultKind]:
    return [fault.kind for fault in verify_dataset(data, **options).faults]


def copy_changed(path: Path, selection: str) -> None:
    """Write a month's file again, with other rows and the same provenance."""
    with duckdb.connect() as connection:
        (told,) = connection.execute(
            f"SELECT decode(value) FROM parquet_kv_metadata('{path}')"
        ).fetchone() or ("",)
        connection.execute(
            f"CREATE TABLE launches AS FROM read_parquet('{path}', hive_partitioning = false)"
        )
        connection.execute(
            f"COPY (SELECT {selection}) TO '{path}' "
            f"(FORMAT parquet, KV_METADATA {{binder_mirror: '{told}'}})"
        )


def stamps(data: DataDir) -> dict[str, int]:
    return {str(p): p.stat().st_ino for p in data.dataset.glob("*/*/launches.parquet")}


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    return make_mirror(tmp_path / "data", of_all_eras())


def test_every_line_of_every_version_is_a_row_with_its_fields(data: DataDir):
    report = keep_in_step(data)
    assert (report.odd, report.odd_lines) == (0, ())
    assert report.months == len({(day.year, day.month) for day in ERAS})
    expected = []
    for path in sorted(data.archive.glob("events-*")):
        for number, text in enumerate(path.read_bytes().splitlines(), start=1):
            event = json.loads(text)
            moment = datetime.fromisoformat(event["timestamp"])
            key, ref, shown = describe_spec(event["provider"], event["spec"])
            raw = [event.get(c.name) for c in DATASET_COLUMNS[:10]]
            raw[0], raw[4] = moment, shown or event["spec"]
            expected.append((*raw, moment.date(), key, ref, path.name, number))
    assert rows(data) == expected
    assert report.rows == len(expected)
    assert faults(data, rederive=True) == []


def test_what_stands_in_a_file_is_sorted_by_time_and_then_as_the_lines_were(data: DataDir):
    late = [line(timestamp=f"2024-01-05T{hour:02}:00:00+00:00") for hour in (9, 8, 10, 8, 7)]
    hold(data, {DAY: b"\n".join(late) + b"\n"})
    keep_in_step(data)
    sql = "SELECT hour(timestamp), line FROM launches WHERE file = 'events-2024-01-05.jsonl'"
    assert rows(data, sql) == [(7, 5), (8, 2), (8, 4), (9, 1), (10, 3)]


ODD = {
    "not-an-object": [
        b"not json",
        b'{"a": ' * 5000,
        b"\xff\xfe" + line(),
        line(spec="a/b/\ud800"),
        line().replace(b": 5,", b": 1e999,"),
        b"[" + line() + b"]",
        line() + line(),
        line(spec="x" * 2_000_000),
        b"\x00",
        line()[:-1],
    ],
    "unknown-version": [line(version=7), line(version="5"), line(version=True), line(version=0)],
    "unknown-schema": [line(schema="other"), b"{}", line(schema=5)],
    "bad-fields": [
        *(line(**{name: 5}) for name in ("provider", "spec")),
        *(line(**{name: None}) for name in ("provider", "spec", "timestamp")),
        line(spec=["a/b/c"]),
        line(timestamp="yesterday"),
        line(timestamp="2024-01-05T24:00:00+00:00"),
        line(timestamp="2024-02-30T10:00:00+00:00"),
        line(timestamp=1704448800),
    ],
}
ODD_LINES = [(kind, text) for kind, texts in ODD.items() for text in texts]


@pytest.mark.parametrize(("kind", "odd"), ODD_LINES, ids=range(len(ODD_LINES)))
def test_an_odd_line_is_told_and_costs_none_of_its_neighbours(
    tmp_path: Path, kind: str, odd: bytes
):
    data = make_mirror(tmp_path / "data", {DAY: b"\n".join([line(), odd, b"", line()])})
    report = keep_in_step(data)
    assert (report.rows, report.odd) == (2, 1)
    assert [told.split(": ")[:2] for told in report.odd_lines] == [[f"events-{DAY}.jsonl:2", kind]]
    assert rows(data, "SELECT line, spec FROM launches") == [(1, GOOD["spec"]), (4, GOOD["spec"])]
    assert faults(data, rederive=True) == []


@pytest.mark.parametrize(
    ("text", "column", "value"),
    [
        # the later of two equal keys holds, as with every reader of JSON; DuckDB takes the first
        (line()[:-1] + b', "spec": "a/later/main"}', "spec", "a/later/main"),
        # a launch deviates, and is a row, where a field that is not needed is not of its type
        (line(status=None), "status", None),
        (line(origin={"a": 1}), "origin", None),
        (line(ref=5), "ref", None),
        (line(build_token="true"), "build_token", None),
        (line(spec="nul\x00/b/main"), "spec", "nul\x00/b/main"),
        (line(spec="caf\u00e9/b/main"), "spec", "caf\u00e9/b/main"),
        (
            json.dumps(GOOD | {"spec": "caf\u00e9/b/m"}, ensure_ascii=False).encode(),
            "spec",
            "café/b/m",
        ),
        (json.dumps(GOOD, separators=(",", ":")).encode(), "version", 5),
        (line().replace(b": 5,", b": 5.0,"), "version", 5),
        (line(python_logger=None), "version", 5),
        (line(something={"new": [1, 2]}), "version", 5),
        (line(version=4, build_token=None), "build_token", None),
        (line(version=4, build_token=True), "build_token", True),
        (line(timestamp="2024-01-05T10:00:00+02:00"), "hour(timestamp)", 8),
        (line(timestamp="2024-01-04T23:59:00+00:00"), "date", date(2024, 1, 4)),
        (line() + b"\r", "version", 5),
    ],
    ids=range(17),
)
def test_unusual_launches_are_rows_all_the_same(
    tmp_path: Path, text: bytes, column: str, value: object
):
    data = make_mirror(tmp_path / "data", {DAY: line() + b"\n" + text + b"\n" + line()})
    assert keep_in_step(data).odd == 0
    assert rows(data, f"SELECT line, {column} FROM launches WHERE line = 2") == [(2, value)]
    assert rows(data, "SELECT count(*) FROM launches") == [(3,)]


def test_all_odd_lines_of_a_day_are_counted_and_some_told(tmp_path: Path):
    body = b"\n".join([b"x"] * 1500 + [line()] + [b"y"] * 3)
    data = make_mirror(tmp_path / "data", {DAY: body})
    report = keep_in_step(data)
    assert (report.rows, report.odd, len(report.odd_lines)) == (1, 1503, 1000)
    # on disk the lines have the name that they had at first
    assert b'"told":[{"line":1,' in data.dataset_provenance.read_bytes()
    assert faults(data) == []


@pytest.mark.parametrize("body", [b"", b"\n\n", b"x\n\ny"])
def test_a_month_without_a_launch_has_a_file_without_a_row(tmp_path: Path, body: bytes):
    data = make_mirror(tmp_path / "data", {DAY: body})
    assert keep_in_step(data).rows == 0
    assert rows(data) == []
    assert faults(data, rederive=True) == []


def test_a_password_in_an_address_is_nowhere_in_it(tmp_path: Path):
    secret = "https%3A%2F%2Fme%3Ahunter2%40example.org%2Fcourse.git/HEAD"
    unparsed = "nonsense%3A%2F%2Fme:hunter2@example.org"
    body = b"\n".join([line(provider="Git", spec=secret), line(provider="Git", spec=unparsed)])
    data = make_mirror(tmp_path / "data", {DAY: body})
    keep_in_step(data)
    found = rows(data, "SELECT spec, repository, requested_ref FROM launches")
    assert found[0] == (
        "https%3A%2F%2F%2A%2A%2A%40example.org%2Fcourse.git/HEAD",
        "example.org/course",
        "HEAD",
    )
    assert found[1][0].endswith("***@example.org")
    assert found[1][1:] == (None, None)
    assert "hunter2" not in str(found)
    assert faults(data, rederive=True) == []


def test_one_repository_has_one_key_however_it_is_written(tmp_path: Path):
    specs = ("QISKit/Qiskit-Tutorial/master", "qiskit/qiskit-tutorial.git/main")
    data = make_mirror(tmp_path / "data", {DAY: b"\n".join(line(spec=spec) for spec in specs)})
    keep_in_step(data)
    assert rows(data, "SELECT DISTINCT repository FROM launches") == [
        ("github.com/qiskit/qiskit-tutorial",)
    ]


def test_only_months_with_a_changed_day_are_made_again(data: DataDir):
    keep_in_step(data)
    before = stamps(data)
    assert keep_in_step(data).built == ()
    assert stamps(data) == before
    hold(data, {date(2020, 6, 18): make_day(date(2020, 6, 18), 10)})
    assert faults(data) == [FaultKind.BEHIND]
    assert keep_in_step(data).built == ("year=2020/month=06",)
    after = stamps(data)
    changed = {path for path in after if after[path] != before[path]}
    assert changed == {str(data.dataset / "year=2020/month=06/launches.parquet")}
    assert faults(data) == []


def test_a_month_of_which_nothing_is_held_goes(data: DataDir):
    keep_in_step(data)
    drop(data, date(2020, 6, 18))
    assert faults(data) == [FaultKind.SURPLUS]
    assert keep_in_step(data).removed == ("year=2020/month=06",)
    assert not (data.dataset / "year=2020").exists()
    assert faults(data) == []


def test_a_month_whose_file_is_no_month_of_ours_goes(data: DataDir):
    keep_in_step(data)
    stray = data.dataset / "year=2017" / "month=01" / "launches.parquet"
    stray.parent.mkdir(parents=True)
    stray.write_bytes((data.dataset / "year=2020/month=06/launches.parquet").read_bytes())
    assert faults(data) == [FaultKind.SURPLUS]
    assert keep_in_step(data).removed == ("year=2017/month=01",)
    assert faults(data) == []


@pytest.mark.parametrize("rebuild", [False, True])
@pytest.mark.parametrize("harm", [Path.unlink, lambda path: path.write_bytes(b"")])
def test_a_month_with_a_day_off_the_record_stays_as_it_was(
    data: DataDir, harm: Callable[[Path], object], *, rebuild: bool
):
    first = keep_in_step(data)
    before = stamps(data)
    harm(data.archive / "events-2020-06-18.jsonl")
    report = keep_in_step(data, rebuild=rebuild)
    assert (report.unread, report.removed, report.rows) == (1, (), first.rows)
    path = str(data.dataset / "year=2020/month=06/launches.parquet")
    assert stamps(data)[path] == before[path]
    assert faults(data) == [FaultKind.DAILY_FILE]
    told: list[str] = []
    with open_months(data, warn=told.append):
        pass
    assert told == [
        "1 day not read, not being as on record: 2020-06-18 (see `binder-mirror verify`)"
    ]


def test_rot_that_keeps_size_and_time_is_found_as_it_is_read(data: DataDir):
    path = data.archive / "events-2020-06-18.jsonl"
    stats, body = path.stat(), path.read_bytes()
    path.write_bytes(body.replace(b"a", b"b", 1))
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    report = keep_in_step(data)
    assert len(report.built) == len({(day.year, day.month) for day in ERAS}) - 1
    assert [line.partition(" (")[0] for line in report.failed] == [
        "year=2020/month=06: events-2020-06-18.jsonl has not its recorded SHA-256"
    ]
    path.write_bytes(body)
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    assert keep_in_step(data).built == ("year=2020/month=06",)
    path.write_bytes(body.replace(b"a", b"b", 1))
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    assert faults(data) == []
    assert faults(data, rederive=True) == [FaultKind.DAILY_FILE]


def test_lost_records_cost_a_rebuild_and_nothing_else(data: DataDir):
    first = keep_in_step(data)
    data.dataset_provenance.write_bytes(b"{torn")
    assert load_months(data) == {}
    again = keep_in_step(data)
    assert again.rows == first.rows
    assert faults(data) == []


def test_a_file_gone_or_altered_is_made_again_and_one_touched_is_not(data: DataDir):
    keep_in_step(data)
    gone, altered, touched = sorted(data.dataset.glob("*/*/launches.parquet"))[:3]
    gone.unlink()
    altered.write_bytes(altered.read_bytes()[:-1] + b"!")
    os.utime(touched, ns=(0, 0))
    assert len(keep_in_step(data).built) == 2
    assert touched.stat().st_mtime_ns > 0
    assert faults(data) == []


def test_a_month_with_a_day_off_the_record_is_read_anew_where_it_lacks_another(data: DataDir):
    keep_in_step(data)
    other = date(2020, 6, 19)
    hold(data, {other: make_day(other, 50)})
    (data.archive / "events-2020-06-18.jsonl").unlink()
    with open_months(data) as files, duckdb.connect() as connection:
        paths = [str(path) for path in files]
        sql = "SELECT DISTINCT file FROM read_parquet(?, hive_partitioning = false)"
        names = {name for (name,) in connection.execute(sql, [paths]).fetchall()}
    assert f"events-{other}.jsonl" in names
    assert len(paths) == len({(day.year, day.month) for day in ERAS})


def test_verify_finds_a_flipped_bit_and_rows_that_are_not_the_mirrors(data: DataDir):
    keep_in_step(data)
    path = data.dataset / "year=2020/month=06/launches.parquet"
    whole = path.read_bytes()
    stats = path.stat()
    for position in (10, len(whole) // 2):
        rotten = bytearray(whole)
        rotten[position] ^= 4
        path.write_bytes(rotten)
        os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
        assert FaultKind.ALTERED in faults(data)
    path.write_bytes(b"PAR1")
    assert FaultKind.UNREADABLE in faults(data)
    path.unlink()
    assert faults(data) == [FaultKind.MISSING]


def test_rederiving_finds_a_value_that_was_changed_behind_our_back(data: DataDir):
    keep_in_step(data)
    path = data.dataset / "year=2020/month=06/launches.parquet"
    copy_changed(path, "* REPLACE (if(line = 3, 'x/y/z', spec) AS spec) FROM launches")
    data.dataset_provenance.unlink()
    assert faults(data) == []
    assert faults(data, rederive=True) == [FaultKind.WRONG_ROWS]


@pytest.mark.parametrize(
    ("rows_kept", "kinds"),
    [
        ("line <> 3", [FaultKind.WRONG_ROWS]),
        ("false", [FaultKind.WRONG_ROWS]),
        ("true", []),
    ],
)
def test_rows_that_are_missing_are_found_by_their_number(
    data: DataDir, rows_kept: str, kinds: list[FaultKind]
):
    keep_in_step(data)
    path = data.dataset / "year=2020/month=06/launches.parquet"
    copy_changed(path, f"* FROM launches WHERE {rows_kept}")
    data.dataset_provenance.unlink()
    assert faults(data) == kinds


def test_rows_of_another_file_are_found(data: DataDir):
    keep_in_step(data)
    path = data.dataset / "year=2020/month=06/launches.parquet"
    copy_changed(path, "* REPLACE (if(line = 3, 'x.jsonl', file) AS file) FROM launches")
    data.dataset_provenance.unlink()
    assert faults(data) == [FaultKind.WRONG_ROWS, FaultKind.WRONG_ROWS]


def test_two_builders_do_not_meet(data: DataDir):
    with dataset_lock(data), pytest.raises(LockedError):
        keep_in_step(data)
    assert keep_in_step(data).rows


def test_a_stopped_build_leaves_whole_months_and_goes_on(data: DataDir):
    stop = threading.Event()
    keep_in_step(data, stop=stop, progress=lambda _files, _bytes: stop.set())
    assert len(load_intact_months(data)) < len(ERAS)
    assert not (data.dataset / ".unfinished").exists()
    keep_in_step(data)
    assert faults(data) == []


def test_a_month_whose_process_is_killed_costs_no_other(data: DataDir):
    def kill_one() -> None:
        while not (found := list_children()):
            time.sleep(0.001)
        os.kill(found[0], signal.SIGKILL)

    def list_children() -> list[int]:
        lists = Path("/proc/self/task").glob("*/children")
        return [int(number) for path in lists for number in path.read_text().split()]

    assert list_children() == []
    killer = threading.Thread(target=kill_one)
    killer.start()
    report = keep_in_step(data)
    killer.join()
    (failed,) = report.failed
    assert "ended from outside (SIGKILL)" in failed
    assert len(report.built) == report.months == len({(day.year, day.month) for day in ERAS}) - 1
    assert len(keep_in_step(data).built) == 1
    assert faults(data) == []
    assert list_children() == []


def test_a_day_replaced_while_it_is_read_is_left_to_the_next_build(data: DataDir):
    path = data.archive / "events-2026-03-05.jsonl"
    path.write_bytes(path.read_bytes() + line() + b"\n")
    report = keep_in_step(data)
    assert "year=2026/month=03" not in report.built


def test_something_else_in_a_months_place_is_told(data: DataDir):
    (data.dataset / "year=2020/month=06/launches.parquet").mkdir(parents=True)
    with pytest.raises(WrongKindError, match="is a directory"):
        keep_in_step(data)


def test_a_folder_with_signs_of_a_pattern_in_its_name(tmp_path: Path):
    data = make_mirror(tmp_path / "a[b]*?'\"c", {DAY: line()})
    assert keep_in_step(data).rows == 1
    assert faults(data, rederive=True) == []


def test_numpy_and_its_friends_are_not_needed(data: DataDir, tmp_path: Path):
    absent = tmp_path / "absent"
    absent.mkdir()
    for name in ("numpy", "pyarrow", "pandas", "polars"):
        (absent / f"{name}.py").write_text("raise ImportError")
    script = (
        "import sys; sys.path.insert(0, sys.argv[2])\n"
        "from pathlib import Path\n"
        "from mirror.dataset.build import keep_in_step\n"
        "from mirror.store.layout import DataDir\n"
        "print(keep_in_step(DataDir(Path(sys.argv[1]))).rows)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script, str(data.root), str(absent)],
        capture_output=True,
        text=True,
        check=True,
    )
    lines = sum(p.read_bytes().count(b"\n") for p in data.archive.glob("events-*"))
    assert done.stdout == f"{lines}\n"


def test_the_export_has_the_columns_and_types_of_the_weekly_data_set(data: DataDir):
    pandas = pytest.importorskip("pandas")
    keep_in_step(data)
    target = data.root / "launches.parquet"
    count = export_launches(data, target)
    frame = pandas.read_parquet(target)
    assert list(frame.columns) == ["origin", "provider", "spec", "timestamp"]
    assert (
        len(frame)
        == count
        == sum(p.read_bytes().count(b"\n") for p in data.archive.glob("events-*"))
    )
    assert str(frame["timestamp"].dtype) == "datetime64[us, UTC]"
    assert frame["timestamp"].is_monotonic_increasing
    assert frame["timestamp"].iloc[0] == datetime(2018, 11, 3, tzinfo=UTC).replace(
        minute=frame["timestamp"].iloc[0].minute
    )
    assert set(map(type, frame["spec"])) == {str}


def test_an_export_says_what_is_in_its_way(data: DataDir):
    with pytest.raises(DatasetError, match="no data set yet"):
        export_launches(data, data.root / "x.parquet")
    keep_in_step(data)
    with pytest.raises(StorageError):
        export_launches(data, data.root / "nowhere" / "x.parquet")
    with pytest.raises(WrongKindError):
        export_launches(data, data.archive)
    assert not list(data.root.glob(".*.parquet*"))
