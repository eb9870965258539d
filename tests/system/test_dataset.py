"""`dataset` as people run it: made, proved, exported; what is missing is told in one line."""

import json
import os
from pathlib import Path

import pytest

from mirror.store.layout import dataset_lock, make_folders
from tests.command import Shell

pytest.importorskip("duckdb")


async def test_built_proved_and_exported(shell: Shell, tmp_path: Path):
    await shell.synced()
    events = sum(shell.body(day).count(b"\n") for day in shell.days)
    done = await shell.run("dataset", "build")
    assert done.code == 0, done.err
    assert f"{events:,} launches" in done.out
    again = await shell.run("dataset", "build", "--json")
    assert (again.json["built"], again.json["rows"], again.json["odd"]) == ([], events, 0)
    proved = await shell.run("dataset", "verify", "--rederive")
    assert proved.code == 0
    assert "as the mirror has them" in proved.out
    exported = await shell.run("dataset", "export", str(tmp_path / "launches.parquet"))
    assert (exported.code, f"{events:,} launches" in exported.out) == (0, True)


async def test_odd_lines_are_told_escaped_with_file_and_line(shell: Shell):
    day = shell.days[-1]
    body = shell.body(day)
    odd = body + json.dumps({"schema": "\x1b]0;evil\x07", "version": 1}).encode() + b"\n"
    shell.archive.put_day(day, odd, shell.archive["index.jsonl"].last_modified)
    shell.archive.write_index(shell.archive["index.jsonl"].last_modified)
    await shell.synced()
    done = await shell.run("dataset", "build")
    number = odd.count(b"\n")
    assert f"events-{day}.jsonl:{number}: unknown-schema: schema " in done.out
    assert "\x1b" not in done.out
    assert "1 line of no launch we know" in done.out


async def test_odd_lines_beyond_those_told_are_counted(shell: Shell):
    day = shell.days[-1]
    body = shell.body(day) + b"no JSON\n" * 1500
    shell.archive.put_day(day, body, shell.archive["index.jsonl"].last_modified)
    shell.archive.write_index(shell.archive["index.jsonl"].last_modified)
    await shell.synced()
    done = await shell.run("dataset", "build")
    assert "    and 1,480 more (--json lists up to 1,000 a day)\n" in done.out


async def test_days_whose_files_are_not_those_on_record_are_left_out_and_told(shell: Shell):
    await shell.synced()
    os.truncate(shell.path(shell.days[2]), 100)
    done = await shell.run("dataset", "build")
    assert done.code == 3
    assert done.out.startswith("Data set incomplete: ")
    assert "not read: 1 day whose files are not those on record (see `binder-mirror verify`)" in (
        done.out
    )
    assert (await shell.run("verify", "--repair")).code == 0
    assert (await shell.run("dataset", "build")).code == 0
    assert (await shell.run("dataset", "verify")).code == 0


async def test_rot_in_a_daily_file_is_told_and_never_proved(shell: Shell):
    await shell.synced()
    path = shell.path(shell.days[2])
    stats = path.stat()
    path.write_bytes(path.read_bytes().replace(b"a", b"b", 1))
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    done = await shell.run("dataset", "build")
    assert done.code == 3
    assert f"{path.name} has not its recorded SHA-256 (`binder-mirror verify --repair`" in done.out
    assert (await shell.run("verify", "--repair")).code == 0
    assert (await shell.run("dataset", "build")).code == 0
    assert (await shell.run("dataset", "verify", "--rederive")).code == 0


async def test_rot_in_a_months_file_is_told_with_what_mends_it(shell: Shell):
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    path = next(shell.data.dataset.glob("*/*/launches.parquet"))
    stats, body = path.stat(), bytearray(path.read_bytes())
    body[len(body) // 2] ^= 4
    path.write_bytes(body)
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
    found = await shell.run("dataset", "verify")
    assert found.code == 3
    assert "`binder-mirror dataset build --rebuild` makes all months again" in found.out
    assert (await shell.run("dataset", "build", "--rebuild")).code == 0
    assert (await shell.run("dataset", "verify")).code == 0


async def test_what_is_exported_or_asked_of_a_data_set_that_is_behind_is_told(
    shell: Shell, tmp_path: Path
):
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    os.truncate(shell.path(shell.days[2]), 100)
    for command in (
        ("dataset", "export", tmp_path / "x.parquet"),
        ("query", "SELECT 1 AS a"),
    ):
        done = await shell.run(*command)
        assert done.code == 3
        assert f"1 day not read, not being as on record: {shell.days[2]}" in done.err


async def test_out_of_step_is_incomplete(shell: Shell):
    await shell.synced()
    done = await shell.run("dataset", "verify")
    assert done.code == 3
    assert "missing" in done.out


async def test_refusals(shell: Shell, tmp_path: Path):
    assert "there is no mirror" in (await shell.run("dataset", "build")).refused(2)
    await shell.synced()
    target = str(tmp_path / "x.parquet")
    assert "no data set yet" in (await shell.run("dataset", "export", target)).refused(3)
    make_folders(shell.data)
    with dataset_lock(shell.data):
        assert "by another" in (await shell.run("dataset", "build")).refused(6)


async def test_without_duckdb_one_line_says_what_to_install(shell: Shell, tmp_path: Path):
    await shell.synced()
    blocked = tmp_path / "blocked"
    blocked.mkdir()
    (blocked / "duckdb.py").write_text("raise ImportError('no duckdb')\n")
    shell.environ["PYTHONPATH"] = f"{blocked}:{shell.environ['PYTHONPATH']}"
    for command in (["build"], ["verify"], ["export", str(blocked / "x.parquet")]):
        done = await shell.run("dataset", *command)
        assert "pip install duckdb" in done.refused(2)


async def test_a_sync_keeps_it_in_step_and_its_failure_is_a_warning_alone(shell: Shell):
    shell.set(dataset__enabled="true")
    assert (await shell.run("sync")).code == 0
    assert (await shell.run("dataset", "verify")).code == 0
    with dataset_lock(shell.data):
        shell.archive.put_day(shell.days[0], 7, shell.archive["index.jsonl"].last_modified)
        shell.archive.write_index(shell.archive["index.jsonl"].last_modified)
        done = await shell.run("sync")
    assert done.code == 0
    assert "warning: the data set is not in step: " in done.out
    assert (await shell.run("dataset", "verify")).code == 3
    assert (await shell.run("sync")).code == 0
    assert (await shell.run("dataset", "verify")).code == 0
