"""`query` as people run it: from an argument, from standard input, at a prompt, on a terminal."""

import asyncio
import json
import os
import pty
import subprocess
from pathlib import Path

import pytest

from tests.command import Shell

pytest.importorskip("duckdb")
COUNT = "SELECT count(*) AS n FROM launches"


async def events(shell: Shell) -> int:
    await shell.synced()
    return sum(shell.body(day).count(b"\n") for day in shell.days)


async def type_in(shell: Shell, text: str, *arguments: str) -> tuple[int, str, str]:
    process = await shell.start("query", *arguments, stdin=subprocess.PIPE)
    out, err = await asyncio.wait_for(process.communicate(text.encode()), 30)
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def test_answers_with_and_without_a_data_set(shell: Shell):
    count = await events(shell)
    without = await shell.run("query", COUNT)
    assert (without.code, without.out) == (0, f"n\n{count}\n")
    assert "there is no data set" in without.err
    assert (await shell.run("dataset", "build")).code == 0
    done = await shell.run("query", COUNT, "--format", "json")
    assert (done.code, json.loads(done.out), done.said) == (0, [{"n": count}], [])
    assert (
        await shell.run("query", COUNT, "--format", "markdown")
    ).out == f"| n |\n| --- |\n| {count} |\n"
    assert f"{count}" in (await shell.run("query", COUNT, "--format", "table")).out.replace(",", "")


async def test_sql_from_standard_input_and_at_a_prompt(shell: Shell):
    count = await events(shell)
    assert (await type_in(shell, COUNT, "-"))[:2] == (0, f"n\n{count}\n")
    typed = f"SELECT\n  1 AS a;\nSELEKT 2;\n\\d\n{COUNT}\n\n\\q\nSELECT 3;\n"
    code, out, err = await type_in(shell, typed)
    assert code == 0
    assert out.startswith("a\n1\ncolumn_name,column_type\ntimestamp,")
    assert out.endswith(f"n\n{count}\n")
    assert "SELEKT" in err


async def test_a_query_that_is_no_text_is_refused(shell: Shell):
    await events(shell)
    done = await shell.run("query", b"SELECT '\xff'")
    assert done.code == 2
    assert "the query is not UTF-8" in done.said[-1]


async def test_a_file_is_written_whole_or_not_at_all(shell: Shell, tmp_path: Path):
    await events(shell)
    target = tmp_path / "answer.csv"
    assert (await shell.run("query", COUNT, "--output", str(target))).code == 0
    before = target.read_bytes()
    assert (await shell.run("query", "SELECT nosuch", "--output", str(target))).code == 2
    assert target.read_bytes() == before
    parquet = str(tmp_path / "answer.parquet")
    done = await shell.run("query", COUNT, "--format", "parquet", "--output", parquet)
    assert done.code == 0
    assert Path(parquet).read_bytes()[:4] == b"PAR1"
    assert {path.name for path in tmp_path.iterdir()} >= {"answer.csv", "answer.parquet"}
    assert not list(tmp_path.glob(".answer*"))


async def test_refusals(shell: Shell):
    await events(shell)
    assert (await shell.run("dataset", "build")).code == 0
    refused = (await shell.run("query", "SELECT nosuch FROM launches")).refused(2)
    assert "(line 1, column 8: nosuch)" in refused
    assert "--output" in (await shell.run("query", COUNT, "--format", "parquet")).refused(2)
    assert "size" in (await shell.run("query", COUNT, "--memory", "much")).refused(2)


async def test_a_terminal_gets_a_table_with_its_strings_escaped(shell: Shell):
    await events(shell)
    reader, writer = pty.openpty()
    sql = "SELECT chr(27) || '[31mred' AS text, 12345 AS number"
    process = await shell.start("query", sql, stdout=writer)
    os.close(writer)
    await process.wait()
    seen = os.read(reader, 65536).decode()
    os.close(reader)
    assert "\\x1b[31mred" in seen
    assert "12,345" in seen
    assert "\x1b[31m" not in seen
