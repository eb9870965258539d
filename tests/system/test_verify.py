"""`verify` finds what is damaged, and `--repair` puts right what can be put right."""

import gzip
import os
import random
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.command import Shell


def keeping_times(path: Path, content: bytes) -> None:
    """Write a file so that its times tell nothing."""
    stats = path.stat()
    path.write_bytes(content)
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))


def flip(path: Path) -> None:
    """Flip a bit as a failing disk does: size and time stay."""
    body = bytearray(path.read_bytes())
    body[len(body) // 2] ^= 1
    keeping_times(path, bytes(body))


def grow(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b"{}\n")


def truncate(path: Path) -> None:
    os.truncate(path, path.stat().st_size // 2)


def make_fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def make_symlink(path: Path) -> None:
    path.rename(path.parent.parent / "elsewhere")
    path.symlink_to(path.parent.parent / "elsewhere")


DAMAGES: dict[str, Callable[[Path], object]] = {
    "altered": flip,
    "missing": Path.unlink,
    "truncated": truncate,
    "overlong": grow,
}


@pytest.mark.parametrize("kind", DAMAGES)
async def test_damage_is_found_named_and_repaired_from_upstream(shell: Shell, kind: str) -> None:
    await shell.synced()
    day = shell.days[2]
    DAMAGES[kind](shell.path(day))

    found = await shell.run("verify", "--json")
    repaired = await shell.run("verify", "--repair")
    after = await shell.run("verify", "--json")

    assert found.code == 3
    assert [(one["kind"], one["day"]) for one in found.json["damage"]] == [(kind, str(day))]
    assert repaired.code == 0, repaired.out
    assert repaired.out.splitlines()[-1].startswith("repaired: 1")
    assert (after.code, after.json["damage"]) == (0, [])
    shell.assert_complete()
    rotten = [path for path in shell.data.quarantine.iterdir() if path.suffix == ".jsonl"]
    assert len(rotten) == (0 if kind == "missing" else 1)
    assert list(shell.data.history.glob("*.gz")) == []


async def test_a_repair_tells_programs_what_was_put_right(shell: Shell) -> None:
    await shell.synced()
    flip(shell.path(shell.days[1]))
    shell.path(shell.days[2]).unlink()
    (shell.data.archive / "stranger").touch()

    found = await shell.run("verify", "--repair", "--json")
    again = await shell.run("verify", "--repair", "--json")
    looked = await shell.run("verify", "--json")

    assert found.code == 3
    repaired = {one["day"]: (one["kind"], one["source"]) for one in found.json["repaired"]}
    assert repaired == {
        str(shell.days[1]): ("altered", "upstream"),
        str(shell.days[2]): ("missing", "upstream"),
    }
    assert [one["name"] for one in found.json["damage"]] == ["stranger"]
    assert found.json["no_longer_held"] == []
    assert again.json["repaired"] == []
    assert "repaired" not in looked.json


@pytest.mark.parametrize("make", [make_fifo, make_symlink])
async def test_what_is_no_file_is_found_and_never_followed(
    shell: Shell, make: Callable[[Path], object]
) -> None:
    await shell.synced()
    day = shell.days[2]
    make(shell.path(day))

    found = await shell.run("verify", "--repair", "--json")

    assert found.code == 3
    kinds = {one["name"]: one["kind"] for one in found.json["damage"]}
    assert kinds == {f"events-{day}.jsonl": "wrong-kind"}
    assert not shell.path(day).is_file() or shell.path(day).is_symlink()


@pytest.mark.parametrize("name", ["SHA256SUMS", "index.jsonl"])
@pytest.mark.parametrize("damage", [truncate, grow, Path.unlink])
async def test_a_wrong_listing_is_found_and_rebuilt(
    shell: Shell, name: str, damage: Callable[[Path], object]
) -> None:
    await shell.synced()
    damage(shell.data.archive / name)

    found = await shell.run("verify", "--repair")

    assert f"wrong-listing  {name}: " in found.out
    assert found.code == 0
    shell.assert_complete()


async def test_a_stranger_among_the_files_is_named(shell: Shell) -> None:
    await shell.synced()
    (shell.data.archive / "core.1234\x1b[31m").touch()

    found = await shell.run("verify")

    assert found.code == 3
    assert r"core.1234\x1b[31m: does not belong to the archive" in found.out


async def test_a_sample_reads_a_part_but_compares_all(shell: Shell) -> None:
    await shell.synced()
    shell.path(shell.days[1]).unlink()

    found = await shell.run("verify", "--sample", "5%", "--json")

    assert found.json["checked"] == 1
    assert [one["kind"] for one in found.json["damage"]] == ["missing"]


async def test_a_time_that_was_only_touched_is_no_damage(shell: Shell) -> None:
    await shell.synced()
    shell.path(shell.days[1]).touch()

    assert (await shell.run("verify")).code == 0
    shell.asked()
    await shell.synced()
    assert shell.asked() == ["index.jsonl"]


async def test_rot_that_nobody_noticed_never_becomes_history(shell: Shell) -> None:
    await shell.synced()
    day = shell.days[2]
    rotten = shell.path(day)
    flip(rotten)
    body = rotten.read_bytes()
    at = shell.archive["index.jsonl"].last_modified
    shell.archive.put_day(day, 55, at)
    shell.archive.write_index(at)

    await shell.synced()

    shell.assert_complete()
    assert list(shell.data.history.glob("*.gz")) == []
    assert [path.read_bytes() for path in shell.data.quarantine.glob("*.jsonl")] == [body]


async def test_without_upstream_a_body_comes_back_from_history(shell: Shell) -> None:
    await shell.synced()
    day = shell.days[2]
    old = shell.body(day)
    at = shell.archive["index.jsonl"].last_modified
    shell.archive.put_day(day, 55, at)
    shell.archive.write_index(at)
    await shell.synced()
    digest = next(shell.data.history.glob("*.gz")).name.split(".")[1]
    assert (await shell.run("restore", str(day), digest)).code == 0
    flip(shell.path(day))
    await shell.server.close()

    done = await shell.run("verify", "--repair", "--json")

    assert done.code == 0, done.out + done.err
    assert [one["source"] for one in done.json["repaired"]] == ["history"]
    assert shell.path(day).read_bytes() == old
    assert gzip.decompress(next(shell.data.history.glob(f"*{digest}*")).read_bytes()) == old


async def test_without_any_source_the_day_leaves_the_listings_and_then_the_archive(
    shell: Shell,
) -> None:
    await shell.synced()
    day = shell.days[2]
    flip(shell.path(day))
    await shell.server.close()

    done = await shell.run("verify", "--repair", "--json")

    assert done.code == 3
    assert done.json["no_longer_held"] == [str(day)]
    assert (done.json["damage"], done.json["repaired"]) == ([], [])
    assert not shell.path(day).exists()
    assert str(day) not in shell.data.index.read_text()
    assert str(day) not in shell.data.sums.read_text()
    assert len(list(shell.data.quarantine.glob("*.jsonl"))) == 1
    status = await shell.run("status", "--json")
    assert status.json["missing_days"] == [str(day)]
    assert [one["date"] for one in status.json["quarantined"]] == [str(day)]
    async with shell.server:
        await shell.synced()
    shell.assert_complete()


async def test_much_damage_at_once_is_all_repaired(shell: Shell) -> None:
    await shell.synced()
    rng = random.Random(4)
    for day, damage in zip(shell.days, [*DAMAGES.values(), flip, truncate], strict=True):
        damage(shell.path(day))
    shell.data.sums.write_bytes(rng.randbytes(100))

    found = await shell.run("verify", "--json")
    done = await shell.run("verify", "--repair", "--json")

    assert len(found.json["damage"]) >= 7
    assert (done.code, done.json["damage"]) == (0, [])
    shell.assert_complete()


async def test_a_copy_without_its_times_is_verified_by_content_and_keeps_its_records(
    shell: Shell,
) -> None:
    """As a backup restored without times is: every file is there, none has its recorded time."""
    await shell.synced()
    for path in shell.data.archive.glob("events-*"):
        os.utime(path)
    held = len(shell.days)
    assert f"{held} files of {held} read" in (await shell.run("verify")).out

    shell.path(shell.days[2]).unlink()
    await shell.server.close()
    done = await shell.run("verify", "--repair")

    assert done.code == 3
    assert f"no longer held: {shell.days[2]}" in done.out
    assert shell.data.index.read_bytes().count(b"\n") == held - 1
    assert shell.data.sums.read_bytes().count(b"\n") == held - 1
    assert shell.data.manifest.read_bytes().count(b"\n") == held  # with its header


async def test_a_repair_asks_the_upstream_that_the_copy_was_made_from(shell: Shell) -> None:
    await shell.synced()
    flip(shell.path(shell.days[2]))
    del shell.environ["BINDER_MIRROR_UPSTREAM__URL"]

    done = await shell.run("verify", "--repair")

    assert done.code == 0, done
    shell.assert_complete()


async def test_what_cannot_be_repaired_is_told_with_what_to_do(shell: Shell) -> None:
    await shell.synced()
    make_fifo(shell.path(shell.days[2]))
    done = await shell.run("verify", "--repair")
    assert done.code == 3
    after = done.out.rpartition("files of")[2]
    assert "move it away" in after
    assert "verify --repair` puts right" not in after
    assert "no longer held" not in after


def tear_a_line(shell: Shell) -> None:
    lines = shell.data.manifest.read_bytes().splitlines(keepends=True)
    lines[3] = b'{"torn\n'
    shell.data.manifest.write_bytes(b"".join(lines))


def lose_the_books(shell: Shell) -> None:
    for path in shell.data.root.iterdir():
        if path.is_file():
            path.unlink()


@pytest.mark.parametrize("upstream", ["up", "down"])
@pytest.mark.parametrize("lose", [tear_a_line, lose_the_books])
async def test_what_is_merely_off_the_record_is_taken_up_and_not_away(
    shell: Shell, lose: Callable[[Shell], None], upstream: str
) -> None:
    await shell.synced()
    shell.asked()
    lose(shell)
    if upstream == "down":
        await shell.server.close()

    found = await shell.run("verify")
    done = await shell.run("verify", "--repair")

    assert found.code == 3
    assert "`binder-mirror sync` asks upstream about what is not on record" in found.out
    assert done.code == 0, done
    assert not list(shell.data.quarantine.glob("*"))
    assert {shell.path(day).read_bytes() == shell.body(day) for day in shell.days} == {True}
    assert (await shell.run("verify", "--json")).json["damage"] == []
    assert shell.data.sums.read_bytes().count(b"\n") == len(shell.days)


async def test_what_nobody_can_prove_stays_and_is_told(shell: Shell) -> None:
    await shell.synced()
    lose_the_books(shell)
    shell.data.sums.unlink()
    await shell.server.close()

    done = await shell.run("verify", "--repair")

    assert done.code == 3
    assert done.out.rpartition("files of")[2].count("no record of it") == len(shell.days)
    assert {shell.path(day).read_bytes() == shell.body(day) for day in shell.days} == {True}
    async with shell.server:
        await shell.synced()
    shell.assert_complete()
    assert not list(shell.data.quarantine.glob("*"))


async def test_a_copy_whose_times_cannot_be_given_back_has_them_recorded_by_a_repair(
    shell: Shell,
) -> None:
    await shell.synced()
    for path in shell.data.archive.glob("events-*"):
        (shell.data.root.parent / path.name).hardlink_to(path)
        os.utime(path)
    await shell.server.close()

    found = await shell.run("verify")
    done = await shell.run("verify", "--repair")

    assert found.code == done.code == 0
    assert f"{len(shell.days)} files with another time than is recorded" in found.out
    assert "`binder-mirror verify --repair` puts right" in found.out
    assert "another time" not in done.out.rpartition("files of")[2]
    events = await shell.run("events")
    assert events.out.encode() == b"".join(map(shell.body, shell.days))
