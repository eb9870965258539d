"""Odd files in our own folders cost what they stand for, are named, and heal; none is followed."""

import asyncio
import json
import os
import socket
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

import pytest

from mirror.status.standing import read_status
from mirror.store.aside import list_versions
from tests.command import Done, Shell
from tests.running import poll_every_second, running
from tests.slices import a_few


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


def make_dangling(path: Path) -> None:
    path.symlink_to("/nowhere/at/all")


def make_folder(path: Path) -> None:
    path.mkdir()
    (path / "inside").touch()


def make_socket(path: Path) -> None:
    here = Path.cwd()
    # a socket's address is short
    os.chdir(path.parent)
    try:
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "symlink": make_link,
    "dangling": make_dangling,
    "FIFO": os.mkfifo,
    "directory": make_folder,
    "socket": make_socket,
}
"""What stands in a file's place and is none."""

DEEP = b'{"a":' * 100_000
NAIVE = {
    "upstream.json": {"url": "http://127.0.0.1/", "state_since": "2024-01-01T00:00:00"},
    "polls.jsonl": {
        "exit_code": 0,
        "index_state": "fresh",
        "listed": 1,
        "held": 1,
        "events": 1,
        "archive_bytes": 1,
        "outcomes": {},
        "started_at": "2024-01-01T00:00:00",
    },
    "history/log.jsonl": {
        "date": "2024-01-01",
        "sha256": "0" * 64,
        "size": 1,
        "lines": 1,
        "was_final": True,
        "kept_at": "2024-01-01T00:00:00",
        "fetched_at": "2024-01-01T00:00:00",
    },
    "quarantine/2024-01-01.0000000000000000.jsonl.reason.json": {
        "date": "2024-01-01",
        "sha256": "0" * 64,
        "size": 1,
        "reason": "odd",
        "at": "2024-01-01T00:00:00",
        "file": "2024-01-01.0000000000000000.jsonl",
    },
    "dataset.json": {"format": 1, "months": {"../../etc": {}}},
    "manifest.jsonl": {"format": "binder-mirror manifest", "version": 1},
    "manifest.journal.jsonl": {"date": "9999-12-31", "name": "events-9999-12-31.jsonl"},
    "upstream-index.jsonl": {},
}
FILES = list(NAIVE)
ABSURD = [
    ("2024-01-01T00:00:00", "0001-01-01T00:00:00+23:59"),
    ("2024-01-01T00:00:00", "9999-12-31T23:59:59-23:59"),
    ("2024-01-01", "9999-12-31"),
    (": 1", ": 1e400"),
    (": 1", ": -" + "9" * 400),
    (": 1", ': {"a": []}'),
]


def texts(name: str) -> list[bytes]:
    """Return what may stand in a file: cut, deep, naive, absurd, huge, of other types."""
    naive = json.dumps(NAIVE[name])
    absurd = [naive.replace(*one) for one in ABSURD]
    every = [naive, naive[: len(naive) // 2], "[]", "null", "\ud800", '"' + "x" * 3_000_000 + '"']
    return [b"", DEEP, *(one.encode(errors="surrogatepass") for one in (*every, *absurd))]


def assert_told(done: Done, codes: set[int]) -> None:
    text = done.out + done.err
    assert "Traceback" not in text, text
    assert "this is a bug" not in text, text
    assert done.code in codes, done


async def look(shell: Shell) -> str:
    """Let each command look at it; return all that they said."""
    said = ""
    for command in (["status"], ["verify"], ["history"], ["query", "SELECT 1 AS a"]):
        done = await shell.run(*command)
        assert_told(done, {0, 2, 3, 4, 5})
        said += done.out + done.err
    async with running(poll_every_second(shell), "serve") as daemon:
        page = await daemon.get("status")
        assert page.status == 200, page.text
    return said


@pytest.mark.parametrize("kind", a_few(KINDS, "directory", "FIFO"))
@pytest.mark.parametrize("name", FILES)
async def test_what_is_no_file_is_named_set_aside_and_made_anew(
    shell: Shell, name: str, kind: str
) -> None:
    await shell.synced()
    path = shell.data.root / name
    path.unlink(missing_ok=True)
    KINDS[kind](path)

    status = await shell.run("status")
    done = await shell.run("sync")
    again = await shell.run("sync")

    assert_told(status, {0})
    assert_told(done, {0})
    assert_told(again, {0})
    if not name.startswith("quarantine/"):
        assert path.name in status.out + done.err
        assert not path.is_symlink()
        assert path.is_file() or not path.exists()
    shell.assert_complete()
    after = await shell.run("status")
    assert "is no file" not in after.out


@pytest.mark.parametrize("name", a_few(FILES, "manifest.jsonl", "upstream.json", "polls.jsonl"))
async def test_what_cannot_be_read_is_lost_alone_and_heals(shell: Shell, name: str) -> None:
    await shell.synced()
    path = shell.data.root / name
    if name.startswith("quarantine/"):
        path.with_name(path.name.removesuffix(".reason.json")).write_bytes(b"{}\n")
    for text in texts(name):
        path.write_bytes(text)
        list_versions(shell.data)
        await asyncio.to_thread(read_status, shell.data, now=datetime.now(UTC))
        await shell.synced()
    for text in (texts(name)[2], DEEP):
        path.write_bytes(text)
        await look(shell)
        assert_told(await shell.run("sync"), {0})
    shell.assert_complete()


async def test_a_day_at_the_end_of_time_is_a_stranger(shell: Shell) -> None:
    await shell.synced()
    for day in ("9999-12-31", "0001-01-01"):
        (shell.data.archive / f"events-{day}.jsonl").write_bytes(b"{}\n")
    await look(shell)
    assert_told(await shell.run("sync"), {0})
    found = await shell.run("verify", "--json")
    assert {one["kind"] for one in found.json["damage"]} == {"stranger"}


@pytest.mark.parametrize(
    "name",
    ["polls.jsonl", "manifest.jsonl", "upstream.json", "history/log.jsonl", "lock", "dataset.lock"],
)
async def test_what_has_another_name_is_not_written_through(
    shell: Shell, name: str, tmp_path: Path
) -> None:
    await shell.synced()
    other, path = tmp_path / "other", shell.data.root / name
    if name == "history/log.jsonl":
        path.touch()
    path.unlink(missing_ok=True)
    other.write_bytes(before := b"of another\n")
    path.hardlink_to(other)

    at = shell.archive["index.jsonl"].last_modified
    shell.archive.put_day(shell.days[2], 21, at)
    shell.archive.write_index(at)
    await shell.run("dataset", "build")
    assert_told(await shell.run("sync"), {0})

    assert other.read_bytes() == before
    shell.assert_complete()


@pytest.mark.parametrize("name", ["lock", "archive/SHA256SUMS", "archive/index.jsonl"])
@pytest.mark.parametrize("kind", a_few(KINDS, "symlink"))
async def test_a_lock_or_listing_that_is_no_file_is_one_clear_line(
    shell: Shell, name: str, kind: str
) -> None:
    await shell.synced()
    path = shell.data.root / name
    path.unlink()
    KINDS[kind](path)
    said = await look(shell)
    done = await shell.run("sync")
    assert_told(done, {0, 3, 5})
    assert path.name in said + done.out + done.err
