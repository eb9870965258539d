"""File systems and kernels that lack something, as network mounts, FUSE and others do."""

import errno
import shutil
import subprocess
from datetime import timedelta
from pathlib import Path

import pytest

from tests.command import Shell
from tests.running import running

SOURCE = Path(__file__).with_name("lacking.c")


@pytest.fixture(scope="session")
def library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return what makes calls fail, built."""
    compiler = shutil.which("gcc")
    if compiler is None:
        pytest.skip("there is no gcc")
    built = tmp_path_factory.mktemp("lacking") / "lacking.so"
    subprocess.run(
        [compiler, "-shared", "-fPIC", "-O1", "-w", "-o", built, SOURCE, "-ldl"], check=True
    )
    return built


@pytest.fixture
def lacking(shell: Shell, library: Path) -> Shell:
    """Return a shell whose commands lack what `LACK_…` in their environment says."""
    shell.environ["LD_PRELOAD"] = str(library)
    return shell


def lack(shell: Shell, what: str, code: int) -> None:
    shell.environ[f"LACK_{what}"] = str(code)


def change(shell: Shell) -> None:
    """Have upstream replace a day by another body of the same size and time, and add one."""
    archive, day = shell.archive, shell.days[0]
    at = archive["index.jsonl"].last_modified + timedelta(minutes=1)
    body = shell.body(day)
    archive.put_day(day, body.replace(b"a", b"b"), archive[f"events-{day}.jsonl"].last_modified)
    archive.put_day(shell.days[-1] + timedelta(days=1), 20, at)
    archive.write_index(at)
    assert len(shell.body(day)) == len(body)


DONE_WITHOUT = [
    ("FLOCK", errno.ENOLCK),
    ("FLOCK", errno.EOPNOTSUPP),
    ("FLOCK", errno.ENOSYS),
    ("FLOCK", errno.EINVAL),
    ("FSYNC_DIR", errno.EINVAL),
    ("FSYNC_DIR", errno.EOPNOTSUPP),
    ("FSYNC_DIR", errno.EBADF),
    ("FSYNC_DIR", errno.ENOSYS),
    ("FSYNC", errno.EINVAL),
    ("UTIME", errno.EPERM),
    ("UTIME", errno.EOPNOTSUPP),
    ("STATVFS", errno.ENOSYS),
]


@pytest.mark.parametrize(("what", "code"), DONE_WITHOUT)
async def test_what_can_be_done_without_costs_one_warning(
    lacking: Shell, what: str, code: int
) -> None:
    lack(lacking, what, code)

    first = await lacking.run("sync")
    change(lacking)
    second = await lacking.run("sync", "--recheck", "9")

    assert (first.code, second.code) == (0, 0), (first, second)
    lacking.assert_complete()
    for done in (first, second):
        warnings = [one for one in done.logs if one["event"] == "storage.lacking"]
        assert len(warnings) == 1
        assert warnings[0]["path"].startswith(str(lacking.data.root))
        assert warnings[0]["lacks"]
        assert done.said == []


@pytest.mark.parametrize("code", [errno.EPERM, errno.EOPNOTSUPP, errno.EMLINK, errno.ENOSYS])
async def test_without_hard_links_what_is_replaced_is_kept_all_the_same(
    lacking: Shell, code: int
) -> None:
    await lacking.synced()
    day = lacking.days[0]
    foreign = lacking.body(day)[:-1] + b" \n"
    lacking.path(day).write_bytes(foreign)
    lack(lacking, "LINK", code)

    done = await lacking.run("sync")

    assert done.code == 0, done
    lacking.assert_complete()
    assert foreign in [path.read_bytes() for path in lacking.data.quarantine.iterdir()]


@pytest.mark.parametrize("code", [errno.EEXIST, errno.EACCES, errno.EINVAL, errno.ENOSYS])
async def test_where_files_are_not_replaced_it_is_exit_5_that_says_so(
    lacking: Shell, code: int
) -> None:
    await lacking.synced()
    change(lacking)
    lack(lacking, "RENAME", code)

    line = (await lacking.run("sync", "--recheck", "9")).refused(5)

    assert str(lacking.data.root) in line
    assert "(" in line
    assert lacking.path(lacking.days[0]).exists()


async def test_without_truncation_all_is_as_ever(lacking: Shell) -> None:
    lack(lacking, "FTRUNCATE", errno.EINVAL)

    assert (await lacking.run("sync")).code == 0
    lacking.assert_complete()


async def test_a_claim_is_not_taken_for_what_it_replaces_where_times_are_coarse(
    lacking: Shell,
) -> None:
    lack(lacking, "COARSE", 1)
    assert (await lacking.run("sync")).code == 0
    held = lacking.body(lacking.days[0])
    change(lacking)
    # no file takes another's place: the record is there, and the body never came
    lack(lacking, "RENAME", errno.EEXIST)
    (await lacking.run("sync", "--recheck", "9")).refused(5)
    del lacking.environ["LACK_RENAME"]

    verified = await lacking.run("verify", "--json")

    assert lacking.path(lacking.days[0]).read_bytes() == held
    damaged = [one["kind"] for one in verified.json["damage"] if one["name"].startswith("events")]
    assert damaged == []
    assert (await lacking.run("sync", "--recheck", "9")).code == 0
    lacking.assert_complete()


@pytest.mark.parametrize(
    ("what", "code"),
    [
        ("SENDFILE", errno.EINVAL),
        ("SENDFILE", errno.ENOSYS),
        ("TCP_OPTIONS", errno.ENOPROTOOPT),
    ],
)
async def test_what_a_kernel_lacks_keeps_no_file_from_being_served(
    lacking: Shell, what: str, code: int
) -> None:
    await lacking.synced()
    lack(lacking, what, code)
    lacking.set(server__listen="127.0.0.1:0")
    async with running(lacking, "serve") as daemon:
        day = lacking.days[0]
        page = await daemon.get(f"events-{day}.jsonl")
        index = await daemon.get("index.jsonl")

        assert (page.status, page.text.encode()) == (200, lacking.body(day))
        assert index.status == 200
        assert [one for one in daemon.logs if one["level"] != "info"] == []
        assert (await daemon.end())[0] == 0
