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


@pytest.mark.parametrize("form", ["csv", "json", "markdown", "table"])
async def test_a_repository_is_found_by_any_of_its_names_in_every_format(shell: Shell, form: str):
    await shell.synced()
    asked = "SELECT count(*) > 0 AS found FROM launches WHERE repository = "
    found = await shell.run("query", asked + "repo('Qiskit/qiskit-tutorial')", "--format", form)
    assert (found.code, "true" in found.out.lower()) == (0, True)
    missed = await shell.run("query", asked + "'Qiskit/qiskit-tutorial'", "--format", form)
    assert (missed.code, "false" in missed.out.lower()) == (0, True)
    assert "write repo('Qiskit/qiskit-tutorial')" in missed.err


async def test_what_is_wrong_with_a_query_is_told_before_anything_is_read(shell: Shell):
    await shell.synced()
    for path in shell.data.archive.glob("events-*"):
        path.chmod(0)  # who reads would say so, but for root
    done = await shell.run("query", "SELECT * FORM launches")
    assert done.code == 2
    assert "Parser Error" in done.err
    assert "reading" not in done.err


async def test_sql_from_standard_input_and_at_a_prompt(shell: Shell):
    count = await events(shell)
    assert (await type_in(shell, COUNT, "-"))[:2] == (0, f"n\n{count}\n")
    typed = f"SELECT\n  1 AS a;\nSELEKT 2;\n\\d\n{COUNT}\n\n\\q\nSELECT 3;\n"
    code, out, err = await type_in(shell, typed)
    # what follows a failure is answered, and the failure is not forgotten
    assert code == 2
    assert out.startswith("a\n1\ncolumn_name,column_type\ntimestamp,")
    assert out.endswith(f"n\n{count}\n")
    assert "SELEKT" in err


@pytest.mark.parametrize("end", [";", " ; -- é;\n", "\n/* ; */ ;;", " -- c\n;\n-- d\n"])
async def test_a_query_ends_with_semicolons_and_comments(shell: Shell, end: str):
    await events(shell)
    assert (await type_in(shell, f"SELECT 'é;--' AS a{end}", "-"))[:2] == (0, "a\né;--\n")


@pytest.mark.parametrize(
    ("name", "begins"),
    [
        ("x.csv", b"n,b\n"),
        ("x", b"n,b\n"),
        ("x.JSON", b"[\n\t{"),
        ("x.md", b"| n | b |"),
        ("x.parquet", b"PAR1"),
        ("x.txt", b"n "),
    ],
)
async def test_the_name_of_the_file_tells_the_format(
    shell: Shell, tmp_path: Path, name: str, begins: bytes
):
    await events(shell)
    done = await shell.run("query", "SELECT 1 AS n, 'x' AS b", "--output", tmp_path / name)
    assert done.code == 0
    assert (tmp_path / name).read_bytes().startswith(begins)
    told = (await shell.run("query", "SELECT 1", "--output", tmp_path / "x.csv.gz")).refused(2)
    assert "x.csv.gz does not say which format: use --format" in told


async def test_rows_that_are_too_wide_stand_one_below_the_other(shell: Shell):
    await events(shell)
    shell.environ["COLUMNS"] = "60"
    done = await shell.run("query", "--format", "table", "SELECT * FROM launches LIMIT 60")
    lines = [line.split() for line in done.out.splitlines()]
    assert lines.count(["status", "success"]) == 50
    assert lines[-1][:4] == ["...", "60", "rows", "in"]
    assert lines[0] == ["row", "1"]
    narrow = await shell.run("query", "--format", "table", "SELECT 2026 AS year, 'x' AS b")
    assert [line.split() for line in narrow.out.splitlines()][::2] == [["year", "b"], ["2026", "x"]]


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


@pytest.mark.parametrize(
    ("options", "escaped"),
    [
        ((), "\\x1b[31mred\\u202e"),
        (("--format", "markdown"), "\\x1b[31mred\\u202e"),
        (("--format", "csv"), "\\u001b[31mred\\u202e"),
        (("--format", "json"), '{"text":"\\u001b[31mred\\u202e","number":12345}'),
    ],
)
async def test_a_terminal_gets_strings_escaped(
    shell: Shell, options: tuple[str, ...], escaped: str
):
    await events(shell)
    reader, writer = pty.openpty()
    sql = "SELECT chr(27) || '[31mred' || chr(8238) AS text, 12345 AS number"
    process = await shell.start("query", sql, *options, stdout=writer)
    os.close(writer)
    await process.wait()
    seen = os.read(reader, 65536).decode()
    os.close(reader)
    assert escaped in seen.replace("001B", "001b")
    assert "12345" in seen
    assert "\x1b" not in seen.replace("\x1b[1m", "").replace("\x1b[0m", "")
    assert "\u202e" not in seen
