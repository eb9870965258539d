"""A disk that refuses: full, read-only, forbidden, or with something else where a file belongs.

One clear line, the right exit code, nothing torn; and all is well once the cause is gone.
"""

import asyncio
import os
import re
import resource
import shutil
import socket
import subprocess
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.command import Shell, long_final_days, open_shell
from tests.upstream.archive import UpstreamArchive

MIB = 1024**2
WITHOUT_PRIVILEGE = (
    "setpriv",
    "--bounding-set=-dac_override,-dac_read_search,-fowner",
    "--inh-caps=-dac_override,-dac_read_search,-fowner",
)


@contextmanager
def mounted(folder: Path, *options: str) -> Iterator[None]:
    """Mount something at a folder, where we may."""
    folder.mkdir(parents=True, exist_ok=True)
    done = subprocess.run(
        ["mount", *options, str(folder)], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"mounting is not possible here: {done.stderr.strip()}")
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def remount(folder: Path, options: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{options}", str(folder)], check=True)


@pytest.fixture
async def small(tmp_path: Path) -> AsyncIterator[Shell]:
    """A disk of 1 MiB, and six days of some 80 kB each."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    archive = long_final_days(6, events_per_day=300)
    with mounted(tmp_path / "disk", "-t", "tmpfs", "-o", "size=1M", "none"):
        async with open_shell(tmp_path / "disk" / "data", archive) as shell:
            yield shell


@pytest.fixture
def forbidden(shell: Shell) -> Callable[[Path, int], None]:
    """Return a chmod that binds the command too, root or not."""
    if os.geteuid() == 0:
        setpriv = shutil.which("setpriv")
        works = setpriv and not subprocess.run([*WITHOUT_PRIVILEGE, "true"], check=False).returncode
        if not works:
            pytest.skip("setpriv cannot take root's privileges away here")
        shell.prefix = WITHOUT_PRIVILEGE
    return lambda path, mode: path.chmod(mode)


def fill(disk: Path, *, leave: int = 0) -> Path:
    """Fill a disk but for `leave` bytes."""
    ballast = disk / "ballast"
    with ballast.open("ab", buffering=0) as file:
        while True:
            try:
                file.write(bytes(4096))
            except OSError:
                break
        file.truncate(max(0, file.tell() - leave))
    return ballast


def assert_listed_is_held(shell: Shell) -> None:
    if shell.data.index.exists():
        for line in shell.data.index.read_text().splitlines():
            assert (shell.data.archive / line.split('"')[3]).exists()


async def test_a_disk_that_fills_up_in_mid_download_is_exit_5_and_heals(small: Shell) -> None:
    # the index promises little, so that the check before starting lets it pass
    ballast = fill(small.data.root.parent, leave=200_000)
    lied = UpstreamArchive(objects=dict(small.archive.objects), claims=dict.fromkeys(small.days, 1))
    lied.write_index(small.archive["index.jsonl"].last_modified)
    small.server.archive = lied

    done = await small.run("sync")

    line = done.refused(5)
    assert "No space left on device (free some room; what is there is whole" in line
    small.assert_whole()
    assert_listed_is_held(small)
    assert (await small.run("status")).code == 0

    ballast.unlink()
    small.server.archive = small.archive
    await small.synced()
    small.assert_complete()


async def test_room_is_looked_for_before_starting(small: Shell) -> None:
    ballast = fill(small.data.root.parent, leave=150_000)

    line = (await small.run("sync")).refused(5)

    assert line.startswith(f"not enough room in {small.data.root}: the poll needs about ")
    assert "(free some room, or lower storage.min_free or the range of days)" in line
    assert [name for name in small.asked() if name.startswith("events-")] == []
    ballast.unlink()
    await small.synced()


async def test_room_that_is_to_stay_free_is_left(small: Shell) -> None:
    small.set(storage__min_free="900KiB")

    line = (await small.run("sync")).refused(5)

    assert "922 kB are to stay free" in line


async def test_on_a_full_disk_readers_work_and_nothing_held_is_harmed(small: Shell) -> None:
    await small.synced()
    held = {path: path.read_bytes() for path in small.data.archive.rglob("*") if path.is_file()}
    at = small.archive["index.jsonl"].last_modified
    small.archive.put_day(small.days[0], 500, at)
    small.archive.write_index(at)
    ballast = fill(small.data.root.parent)

    sync = await small.run("sync")
    readers = await asyncio.gather(*map(small.run, ("status", "verify", "history")))

    assert "No space left on device" in sync.refused(5) or "not enough room" in sync.said[0]
    assert [done.code for done in readers] == [0, 0, 0]
    assert {
        path: path.read_bytes() for path in small.data.archive.rglob("*") if path.is_file()
    } == held
    ballast.unlink()
    await small.synced()
    small.assert_complete()
    assert (await small.run("verify")).code == 0


async def test_a_read_only_disk_is_exit_5_for_writers_and_fine_for_readers(small: Shell) -> None:
    await small.synced()
    disk = small.data.root.parent
    remount(disk, "ro")
    try:
        sync = await small.run("sync")
        prune = await small.run("prune", "--history", "--all")
        commands = (("status",), ("verify",), ("history",), ("prune", "--history", "--dry-run"))
        readers = [await small.run(*command) for command in (*commands, ("sync", "--dry-run"))]
    finally:
        remount(disk, "rw")

    assert "Read-only file system (mount the file system for writing" in sync.refused(5)
    prune.refused(5)
    assert [(done.code, done.said) for done in readers] == [(0, [])] * 5
    await small.synced()


async def test_a_first_sync_on_a_read_only_disk_is_exit_5(small: Shell) -> None:
    remount(small.data.root.parent, "ro")

    assert "Read-only file system" in (await small.run("sync")).refused(5)


async def test_an_archive_on_another_file_system_is_told_as_such(small: Shell) -> None:
    day = small.days[0]
    await small.run("sync", "--since", str(day), "--until", str(day))
    body = small.path(day).read_bytes()
    # the same size and the same time: only the content tells the new from the old
    changed = body.replace(b"a", b"b")
    at = small.archive[f"events-{day}.jsonl"].last_modified
    small.archive.put_day(day, changed, at)
    with mounted(small.data.archive, "--bind", str(small.data.archive)):
        line = (await small.run("sync", "--recheck", "9")).refused(5)

    assert "must be on one file system" in line
    # what was said to be there, and did not come, is not believed
    assert small.path(day).read_bytes() == body
    verified = await small.run("verify", "--json")
    assert [d for d in verified.json["damage"] if d["day"] == str(day)] == []
    assert (await small.run("sync", "--recheck", "9")).code == 0
    small.assert_complete()


@pytest.mark.parametrize("folder", ["archive", "staging", "."])
async def test_without_permission_to_write_it_is_exit_5(
    shell: Shell, forbidden: Callable[[Path, int], None], folder: str
) -> None:
    await shell.synced()
    at = shell.archive["index.jsonl"].last_modified
    shell.archive.put_day(shell.days[0], 55, at)
    shell.archive.write_index(at)
    forbidden(shell.data.root / folder, 0o555)
    if folder == ".":
        shell.data.lock.unlink()

    line = (await shell.run("sync")).refused(5)

    assert "Permission denied (give the user that runs binder-mirror the right" in line
    assert (await shell.run("status")).code == 0
    forbidden(shell.data.root / folder, 0o755)
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize("command", ["sync", "status", "verify"])
async def test_without_permission_to_look_it_is_exit_5(
    shell: Shell, forbidden: Callable[[Path, int], None], command: str
) -> None:
    await shell.synced()
    forbidden(shell.data.root.parent, 0o000)
    try:
        line = (await shell.run(command)).refused(5)
    finally:
        forbidden(shell.data.root.parent, 0o755)

    assert "Permission denied" in line


async def test_a_file_without_permission_to_read_costs_that_file_in_verify(
    shell: Shell, forbidden: Callable[[Path, int], None]
) -> None:
    await shell.synced()
    forbidden(shell.path(shell.days[1]), 0o000)

    done = await shell.run("verify", "--json")

    assert done.code == 3
    assert [one["kind"] for one in done.json["damage"]] == ["unreadable"]


async def test_too_few_open_files_is_told_with_what_to_do(shell: Shell) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_NOFILE, (11, 11))

    line = (await shell.run("sync", preexec_fn=limit)).refused(5)

    assert "Too many open files (raise the limit of open files (ulimit -n)" in line
    shell.assert_whole()
    await shell.synced()
    shell.assert_complete()


async def test_a_limit_on_file_size_is_a_refusal_of_the_disk(shell: Shell) -> None:
    def limit() -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (8192, 8192))

    line = (await shell.run("sync", preexec_fn=limit)).refused(5)

    assert "File too large" in line
    shell.assert_whole()
    await shell.synced()
    shell.assert_complete()


def put_directory(path: Path) -> None:
    path.mkdir()
    (path / "precious").touch()


def put_symlink(path: Path) -> None:
    victim = path.parent.parent.parent / "victim"
    victim.write_bytes(b"precious")
    path.symlink_to(victim)


def put_socket(path: Path) -> None:
    here = Path.cwd()
    os.chdir(path.parent)  # a socket's path is short
    try:
        with socket.socket(socket.AF_UNIX) as end:
            end.bind(path.name)
    finally:
        os.chdir(here)


KINDS: dict[str, Callable[[Path], object]] = {
    "directory": put_directory,
    "symlink": put_symlink,
    "dangling symlink": lambda path: path.symlink_to("/no/such/place"),
    "FIFO": os.mkfifo,
    "socket": put_socket,
}


def instead(shell: Shell, path: Path, kind: str) -> None:
    """Put something else where a file is or would be."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.unlink(missing_ok=True)
    KINDS[kind](path)


def assert_not_followed(shell: Shell, path: Path) -> None:
    victim = shell.data.root.parent / "victim"
    assert not victim.exists() or victim.read_bytes() == b"precious"
    assert not path.is_dir() or (path / "precious").exists()


async def test_something_else_at_a_days_path_costs_that_day_alone(shell: Shell) -> None:
    blocked = dict(zip(shell.days, KINDS, strict=False))
    for day, kind in blocked.items():
        instead(shell, shell.path(day), kind)

    done = await shell.run("sync")

    assert done.code == 3
    assert done.said == []
    for day, kind in blocked.items():
        word = kind.removeprefix("dangling ")
        said = f"problem: .*{day}.*: a {word} stands where its file belongs\n"
        assert re.search(said, done.out)
        assert str(day) not in shell.data.index.read_text()
        assert_not_followed(shell, shell.path(day))
        shell.path(day).rename(shell.data.root.parent / f"moved {day}")
    free = shell.days[-1]
    assert shell.path(free).read_bytes() == shell.body(free)
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize("kind", ["directory", "symlink", "FIFO"])
async def test_something_else_at_the_listings_paths_costs_just_these(
    shell: Shell, kind: str
) -> None:
    await shell.synced()
    instead(shell, shell.data.sums, kind)
    day = shell.days[2]
    shell.path(day).unlink()

    done = await shell.run("sync")
    verified = await shell.run("verify", "--json")

    assert done.code == 3
    assert f"problem: {shell.data.sums} is a " in done.out
    assert shell.path(day).read_bytes() == shell.body(day)
    assert shell.data.index.read_bytes() == shell.archive["index.jsonl"].body
    assert [(one["name"], one["kind"]) for one in verified.json["damage"]] == [
        ("SHA256SUMS", "wrong-kind")
    ]
    assert_not_followed(shell, shell.data.sums)
    shell.data.sums.rename(shell.data.root.parent / "moved")
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize(
    ("name", "kind"),
    [
        ("lock", "FIFO"),
        ("lock", "symlink"),
    ],
)
async def test_something_else_where_the_lock_belongs_is_one_line(
    shell: Shell, name: str, kind: str
) -> None:
    await shell.synced()
    path = shell.data.root / name
    kept = path.read_bytes() if path.exists() else b""
    instead(shell, path, kind)

    done = await shell.run("sync")
    await shell.run("status")

    assert f"{path} is a {kind}, not a file (move it away; it is not followed)" in done.refused(3)
    assert_not_followed(shell, path)
    path.rename(shell.data.root.parent / "moved")
    path.write_bytes(kept)
    await shell.synced()
    shell.assert_complete()


@pytest.mark.parametrize(
    ("folder", "kind"),
    [("archive", "symlink"), ("archive", "FIFO"), ("staging", "dangling symlink")],
)
async def test_something_else_where_a_folder_belongs_is_exit_2(
    shell: Shell, folder: str, kind: str
) -> None:
    path = shell.data.root / folder
    instead(shell, path, kind)

    line = (await shell.run("sync")).refused(2)

    assert str(path) in line
    assert_not_followed(shell, path)
