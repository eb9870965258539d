"""A file that a user asks for, of each command that writes one: whole or not at all, where told."""

from pathlib import Path

import pytest

from tests.command import Shell

pytest.importorskip("duckdb")

ALL = "SELECT * FROM launches"
WRITERS = {
    "events": ("events", "--format", "csv", "--output"),
    "events-parquet": ("events", "--format", "parquet", "--output"),
    "query": ("query", ALL, "--output"),
    "query-parquet": ("query", ALL, "--format", "parquet", "--output"),
    "export": ("dataset", "export"),
    "report": ("report", "--html"),
}


@pytest.fixture(params=WRITERS)
async def writer(shell: Shell, request: pytest.FixtureRequest) -> tuple[str, ...]:
    """A command, but for the file, over a mirror with a data set."""
    await shell.synced()
    assert (await shell.run("dataset", "build")).code == 0
    return WRITERS[request.param]


def names(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.iterdir() if one.name != "data")


async def test_a_link_is_followed_and_stays(shell: Shell, writer: tuple[str, ...], tmp_path: Path):
    (tmp_path / "link").symlink_to("there")
    assert (await shell.run(*writer, tmp_path / "link")).code == 0
    assert (tmp_path / "link").is_symlink()
    assert (tmp_path / "there").stat().st_size > 0
    assert names(tmp_path) == ["link", "there"]


async def test_a_device_is_written_to(shell: Shell, writer: tuple[str, ...]):
    assert (await shell.run(*writer, "/dev/null")).code == 0
    assert Path("/dev/null").is_char_device()


async def test_a_disk_that_refuses_leaves_the_old_file(
    shell: Shell, writer: tuple[str, ...], tmp_path: Path
):
    target = tmp_path / "file"
    target.write_text("old")
    shell.prefix = ("prlimit", "--fsize=512")
    told = (await shell.run(*writer, target)).refused(5)
    # Parquet of events is made in the folder for temporary files
    named = "/binder-mirror-" if writer == WRITERS["events-parquet"] else f"{target}: "
    assert named in told
    assert told.endswith(": File too large")
    assert target.read_text() == "old"
    assert names(tmp_path) == ["file"]


async def test_what_is_no_file_is_refused(shell: Shell, writer: tuple[str, ...], tmp_path: Path):
    (tmp_path / "circle").symlink_to("circle")
    assert f"{tmp_path}/circle: " in (await shell.run(*writer, tmp_path / "circle")).refused(5)
    assert "irectory" in (await shell.run(*writer, tmp_path / "none" / "file")).refused(5)
    folder = await shell.run(*writer, tmp_path)
    assert "is a directory" in folder.refused(folder.code)
    assert folder.code in (2, 3)


async def test_nothing_is_written_among_the_mirrors_own(shell: Shell, writer: tuple[str, ...]):
    (shell.data.root.parent / "link").symlink_to(shell.data.archive / "x")
    for target in (shell.data.archive / "x", shell.data.root.parent / "link"):
        told = (await shell.run(*writer, target)).refused(2)
        assert told.startswith(f"{target} is within the data directory (")
    assert not (shell.data.archive / "x").exists()
