"""A copy of the copy: made without times, without the books, or not whole; read on, or told."""

import asyncio
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import PATIENCE_S, Shell, long_final_days, open_shell
from tests.running import Daemon, poll_every_second, running

COUNT = "SELECT count(*) AS n FROM launches"
LISTINGS = ("index.jsonl", "SHA256SUMS", "", "datapackage.json", "croissant.json")


def lose_times(shell: Shell) -> None:
    """Copy the data directory as `cp -r` does."""
    for path in shell.data.root.rglob("*"):
        if path.is_file():
            os.utime(path)


def copy_recursively(shell: Shell) -> None:
    old = shell.data.root.rename(shell.data.root.with_name("old"))
    subprocess.run(["cp", "-r", old, shell.data.root], check=True)


def cut_times(shell: Shell) -> None:
    """As an archive format does that knows two seconds and no less."""
    for path in shell.data.archive.glob("events-*"):
        os.utime(path, (0, int(path.stat().st_mtime) // 2 * 2 + 2))


def copy_the_archive_alone(shell: Shell) -> None:
    lose_times(shell)
    for path in shell.data.root.iterdir():
        if path != shell.data.archive:
            shutil.rmtree(path) if path.is_dir() else path.unlink()


LOSSES: list[Callable[[Shell], None]] = [
    lose_times,
    copy_recursively,
    cut_times,
    copy_the_archive_alone,
]


def total(shell: Shell) -> int:
    return sum(shell.body(day).count(b"\n") for day in shell.days)


def times(shell: Shell) -> dict[str, int]:
    return {path.name: path.stat().st_mtime_ns for path in shell.data.archive.glob("events-*")}


async def get(daemon: Daemon, name: str) -> tuple[int, str]:
    page = await daemon.get(name)
    return page.status, page.text


async def when_known(daemon: Daemon, name: str) -> tuple[int, str]:
    """Ask as often as the answer is to ask again."""
    async with asyncio.timeout(PATIENCE_S):
        while (page := await daemon.get(name)).status == 503:
            assert int(page.headers["Retry-After"]) > 0
            assert "compared" in page.text
            await asyncio.sleep(0.1)
    return page.status, page.text


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_copy_that_lost_its_times_is_read_on(
    shell: Shell, lose: Callable[[Shell], None]
) -> None:
    await shell.synced()
    lose(shell)

    asked = await shell.run("query", COUNT)
    events = await shell.run("events")
    status = await shell.run("status", "--json")

    assert (asked.code, asked.out) == (0, f"n\n{total(shell)}\n"), asked.err
    assert (events.code, events.out.encode()) == (0, b"".join(map(shell.body, shell.days)))
    assert status.json["held"] == len(shell.days)


@pytest.mark.parametrize("lose", LOSSES)
async def test_a_copy_that_lost_its_times_is_served(
    shell: Shell, lose: Callable[[Shell], None]
) -> None:
    await shell.synced()
    index = shell.data.index.read_text()
    lose(shell)

    async with running(poll_every_second(shell), "serve") as daemon:
        bodies = [await get(daemon, f"events-{day}.jsonl") for day in shell.days]
        listed = await get(daemon, "index.jsonl")

    assert bodies == [(200, shell.body(day).decode()) for day in shell.days]
    assert listed == (200, index)


async def test_recorded_times_come_back_and_nothing_is_read_a_second_time(shell: Shell) -> None:
    await shell.synced()
    before = times(shell)
    lose_times(shell)

    assert (await shell.run("verify")).code == 0
    assert times(shell) == before
    shell.asked()
    await shell.synced()
    assert shell.asked() == ["index.jsonl"]


async def test_a_file_of_two_names_keeps_its_time_and_is_read_all_the_same(shell: Shell) -> None:
    await shell.synced()
    path = shell.path(shell.days[1])
    (shell.data.root.parent / "elsewhere").hardlink_to(path)
    os.utime(path, (0, 12345))

    asked = await shell.run("query", COUNT)
    found = await shell.run("verify", "--json")

    assert (asked.code, asked.out) == (0, f"n\n{total(shell)}\n")
    assert path.stat().st_mtime == 12345
    assert (found.code, found.json["damage"], found.json["undated"]) == (0, [], 1)
    assert (await shell.run("verify", "--repair")).code == 0
    assert (await shell.run("verify", "--json")).json["undated"] == 0


@pytest.mark.parametrize("lose", [lose_times, copy_the_archive_alone])
async def test_what_a_copy_lacks_is_named_and_incomplete(
    shell: Shell, lose: Callable[[Shell], None]
) -> None:
    await shell.synced()
    lose(shell)
    gone, rotten = shell.days[1], shell.days[3]
    shell.path(gone).unlink()
    body = shell.path(rotten).read_bytes()
    shell.path(rotten).write_bytes(body.replace(b"GitHub", b"GitLab", 1))

    asked = await shell.run("query", COUNT)
    events = await shell.run("events")
    status = await shell.run("status", "--json")
    found = await shell.run("verify")

    left = total(shell) - sum(shell.body(day).count(b"\n") for day in (gone, rotten))
    assert (asked.code, asked.out) == (3, f"n\n{left}\n")
    assert str(gone) in asked.err
    assert str(rotten) in asked.err
    assert events.code == 3
    assert status.json["held"] == len(shell.days) - 2
    assert found.code == 3


@pytest.mark.parametrize("lose", [lose_times, copy_the_archive_alone])
async def test_nothing_is_listed_that_is_not_served(
    shell: Shell, lose: Callable[[Shell], None]
) -> None:
    await shell.synced()
    lose(shell)
    lost = [shell.days[1], shell.days[3]]
    shell.path(lost[0]).unlink()
    shell.path(lost[1]).write_bytes(shell.body(lost[1]).replace(b"GitHub", b"GitLab", 1))

    async with running(poll_every_second(shell), "serve") as daemon:
        # from its first answer on; what is not known yet is not said
        listings = {name: await when_known(daemon, name) for name in LISTINGS}
        statuses = {day: (await get(daemon, f"events-{day}.jsonl"))[0] for day in shell.days}

    assert statuses == {day: 404 if day in lost else 200 for day in shell.days}
    for name, (status, text) in listings.items():
        assert status == 200
        listed = {day for day in shell.days if f"events-{day}.jsonl" in text}
        assert listed == set(shell.days) - set(lost), name


async def test_a_file_touched_or_altered_under_a_server_is_read_again(shell: Shell) -> None:
    await shell.synced()
    touched, altered = shell.days[:2]
    async with running(poll_every_second(shell), "serve") as daemon:
        assert (await get(daemon, f"events-{touched}.jsonl"))[0] == 200
        shell.path(touched).touch()
        shell.path(altered).write_bytes(b"{}\n")
        again = await get(daemon, f"events-{touched}.jsonl")
        gone = await get(daemon, f"events-{altered}.jsonl")
        index = await get(daemon, "index.jsonl")
    assert again == (200, shell.body(touched).decode())
    assert gone[0] == 404
    assert f"events-{altered}.jsonl" not in index[1]
    assert len(index[1].splitlines()) == len(shell.days) - 1


async def grow(shell: Shell) -> None:
    """Let upstream have another body of a day, and the copy too."""
    at = shell.archive["index.jsonl"].last_modified
    shell.archive.put_day(shell.days[2], 77, at)
    shell.archive.write_index(at)
    await shell.synced()


async def test_what_the_data_set_lacks_is_read_from_the_daily_files(tmp_path: Path) -> None:
    # folders above the months that look like partitions are none
    root = tmp_path / "kind=copy" / "data"
    async with open_shell(root, long_final_days(35, events_per_day=5)) as shell:
        await shell.synced()
        assert (await shell.run("dataset", "build")).code == 0
        await grow(shell)
        target = tmp_path / "x.parquet"

        asked = await shell.run("query", COUNT)
        by_month = await shell.run("query", "SELECT DISTINCT year, month FROM launches")
        exported = await shell.run("dataset", "export", target)

        assert (asked.code, asked.out) == (0, f"n\n{total(shell)}\n"), asked.err
        assert "the data set is behind in 1 month" in asked.err
        months = {f"{day.year},{day.month}" for day in shell.days}
        assert set(by_month.out.splitlines()[1:]) == months
        assert exported.code == 0
        assert f": {total(shell)} launches" in exported.out


async def test_a_data_set_that_lost_its_times_is_not_made_again(shell: Shell) -> None:
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    lose_times(shell)
    asked = await shell.run("query", COUNT)
    built = await shell.run("dataset", "build", "--json")
    assert (asked.code, asked.out, asked.said) == (0, f"n\n{total(shell)}\n", [])
    assert (built.code, built.json["built"]) == (0, [])


async def test_what_neither_data_set_nor_copy_has_is_incomplete(
    shell: Shell, tmp_path: Path
) -> None:
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    lost = shell.days[2]
    shell.path(lost).unlink()
    for command in (("query", COUNT), ("dataset", "export", tmp_path / "x.parquet")):
        done = await shell.run(*command)
        assert done.code == 3
        assert str(lost) in done.err
