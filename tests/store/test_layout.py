"""Which place may be a data directory, its one writer, and when its files say they were made."""

import fcntl
import os
import re
import shutil
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.archive.sealed import seal
from mirror.config.settings import Config, ScheduleConfig, StorageConfig, UpstreamConfig
from mirror.errors import (
    ConfigError,
    DataDirGoneError,
    LockedError,
    StorageError,
    WrongKindError,
)
from mirror.model import Flag
from mirror.store.inventory import mask_credentials, require_known_formats, time_for
from mirror.store.layout import (
    DataDir,
    check_data_dir,
    daemon_lock,
    dataset_lock,
    default_data_dir,
    is_being_written,
    make_folders,
    open_data_dir,
    require_mirror,
    writer_lock,
)
from mirror.text import shown
from tests.making import at, day, record

DAY = day("2021-08-03")
NOW = at("2021-08-05 12:00")
MODIFIED = at("2021-08-04 07:00")


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = DataDir(tmp_path / "data")
    make_folders(data)
    return data


def ns(moment: object) -> int:
    return int(moment.timestamp()) * 10**9


@pytest.mark.parametrize(
    ("lock", "told"),
    [
        (writer_lock, "data is being written by another"),
        (daemon_lock, "data is kept by another"),
        (dataset_lock, "data/dataset is being made by another"),
    ],
)
def test_each_lock_has_one_holder_at_a_time(
    data: DataDir, lock: Callable[[DataDir], AbstractContextManager[Callable[[], None]]], told: str
) -> None:
    with lock(data) as require_held:
        require_held()
        with pytest.raises(LockedError) as caught, lock(data):
            pass
        assert caught.value.line() == (
            f"{data.root.parent}/{told} binder-mirror (process {os.getpid()}) "
            "(wait for it, or stop it)"
        )
        assert is_being_written(data) is (lock is writer_lock)
    with lock(data):
        pass
    assert not is_being_written(data)


def test_who_looks_for_a_moment_does_not_keep_a_writer_out(data: DataDir) -> None:
    with data.lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_SH)
        threading.Timer(0.05, lambda: fcntl.flock(file, fcntl.LOCK_UN)).start()
        with writer_lock(data):
            assert is_being_written(data)


def test_a_holder_is_named_where_it_wrote_its_number_and_nowhere_else(data: DataDir) -> None:
    data.lock.write_bytes(b"no number, and a longer one than ours")
    other = data.root / "another"
    other.hardlink_to(data.lock)
    with writer_lock(data):
        # what has another name is not ours to write to
        assert other.read_bytes() == b"no number, and a longer one than ours"
        with pytest.raises(LockedError, match=r"another binder-mirror$"), writer_lock(data):
            pass
    other.unlink()
    with writer_lock(data):
        assert data.lock.read_bytes() == b"%d\n" % os.getpid()
    assert data.lock.stat().st_mode & 0o777 == 0o644


def test_something_else_in_a_locks_place_is_told_and_is_no_writer(data: DataDir) -> None:
    data.lock.mkdir()
    with pytest.raises(WrongKindError, match="is a directory"), writer_lock(data):
        pass
    assert not is_being_written(data)
    data.lock.rmdir()
    assert not is_being_written(data)
    assert not data.lock.exists()
    with (
        pytest.raises(StorageError, match=f"^{data.root}/gone/lock: No such file"),
        writer_lock(DataDir(data.root / "gone")),
    ):
        pass


def test_a_data_directory_that_is_replaced_is_no_longer_held(data: DataDir) -> None:
    with writer_lock(data) as require_held:
        data.root.rename(data.root.with_name("old"))
        with pytest.raises(DataDirGoneError) as caught:
            require_held()
        assert caught.value.line() == (
            f"{data.root} was removed or replaced while it was being written "
            "(see that it is there, or mounted, for good, and start again)"
        )
        make_folders(data)
        data.lock.touch()
        with pytest.raises(DataDirGoneError):
            require_held()


def test_root_home_and_files_are_no_data_directory(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    file = tmp_path / "file"
    file.touch()
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    for wrong in (Path("/"), tmp_path, Path("~"), file, file / "below", circle, Path("a\0b")):
        with pytest.raises(ConfigError, match="cannot be the data directory"):
            check_data_dir(wrong)

    assert check_data_dir(Path("~/data")).root == tmp_path / "data"
    (tmp_path / "link").symlink_to(tmp_path / "data")
    assert check_data_dir(tmp_path / "link").root == tmp_path / "data"


def test_why_it_is_none_is_said_with_what_to_do(tmp_path: Path) -> None:
    file, hint = tmp_path / "file", "(name a directory of the mirror's own, as with --data-dir)"
    file.touch()
    for wrong, why in (
        (Path("/"), "it is a root or home directory"),
        (file, "it is not a directory"),
        (file / "below", "Not a directory"),
        (tmp_path / ("a" * 300), "File name too long"),
    ):
        with pytest.raises(ConfigError) as caught:
            check_data_dir(wrong)
        told = shown(str(wrong), 300)
        assert caught.value.line() == f"{told} cannot be the data directory: {why} {hint}"


def test_without_a_name_it_is_the_services_else_the_users(tmp_path: Path) -> None:
    assert default_data_dir({"STATE_DIRECTORY": "/var/lib/one:/var/lib/two"}) == Path(
        "/var/lib/one"
    )
    own = {"XDG_DATA_HOME": "/xdg", "STATE_DIRECTORY": ""}
    assert default_data_dir(own) == Path("/xdg/binder-mirror")
    assert default_data_dir({}) == Path.home() / ".local/share/binder-mirror"
    config = Config(upstream=UpstreamConfig(name_template="other-{date}.jsonl"))
    place = {"STATE_DIRECTORY": str(tmp_path / "service")}
    found = open_data_dir(config, place)
    assert (found.root, found.days.name_of(DAY)) == (tmp_path / "service", f"other-{DAY}.jsonl")
    config = Config(storage=StorageConfig(data_dir=str(tmp_path / "named")))
    assert open_data_dir(config, place).root == tmp_path / "named"


def test_without_a_home_one_must_be_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    # a user that the system does not know, as in a container
    monkeypatch.setattr(os, "getuid", lambda: 54321)
    with pytest.raises(ConfigError) as caught:
        default_data_dir({})
    assert caught.value.line() == (
        "there is no home directory to keep the mirror in "
        "(name a data directory with --data-dir or storage.data_dir)"
    )


def test_the_room_that_is_free_is_that_of_its_disk_where_it_is_known(data: DataDir) -> None:
    free = shutil.disk_usage(data.root).free
    assert abs(data.free_bytes() - free) < 2**30
    assert DataDir(data.root / "gone").free_bytes() == 0


def test_a_place_is_known_from_any_other(data: DataDir, tmp_path: Path) -> None:
    assert re.fullmatch("[0-9a-f]{12}", data.identity())
    assert DataDir(data.root).identity() == data.identity() != DataDir(tmp_path).identity()
    assert DataDir(tmp_path / "gone").identity() == ""


def test_what_readers_have_proved_stays_known_under_other_settings(data: DataDir) -> None:
    config = Config(schedule=ScheduleConfig(final_after=3600))
    other = data.with_settings(config)
    assert (other.root, other.proofs) == (data.root, data.proofs)
    assert other.proofs is data.proofs
    assert other.days.final_at(DAY) == at("2021-08-04 01:00")


def test_folders_are_neither_files_nor_symlinks(data: DataDir, tmp_path: Path) -> None:
    data.staging.rmdir()
    data.staging.touch()
    with pytest.raises(ConfigError) as caught:
        make_folders(data)
    assert caught.value.line() == (
        f"{data.staging} cannot be made: something else is in its place "
        "(move that away, or name another data directory with --data-dir)"
    )
    data.staging.unlink()
    data.staging.symlink_to(tmp_path)
    with pytest.raises(ConfigError) as caught:
        make_folders(data)
    assert caught.value.line() == (
        f"{data.staging} is a symlink "
        "(renames must stay on one file system: link the data directory instead)"
    )


def test_the_data_directory_itself_may_be_a_symlink_and_lie_deep(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to(tmp_path / "real")
    (tmp_path / "real").mkdir()
    deep = DataDir(tmp_path / "link")
    make_folders(deep)
    make_folders(DataDir(tmp_path / "a" / "b"))
    for folder in ("archive", "history", "quarantine", "staging"):
        assert (tmp_path / "real" / folder).is_dir()
        assert (tmp_path / "a" / "b" / folder).is_dir()


def test_a_disk_that_makes_no_folder_is_told_by_the_folder(tmp_path: Path) -> None:
    root = tmp_path / ("a" * 300)
    with pytest.raises(StorageError) as caught:
        make_folders(DataDir(root))
    assert str(caught.value) == f"{shown(str(root), 300)}: File name too long"


def test_a_reader_needs_a_mirror(data: DataDir) -> None:
    require_mirror(data)
    data.archive.rmdir()
    with pytest.raises(ConfigError) as caught:
        require_mirror(data)
    assert caught.value.line() == (
        f"there is no mirror in {data.root} "
        "(make one with `binder-mirror sync`, or name another with --data-dir)"
    )
    with pytest.raises(StorageError, match="File name too long"):
        require_mirror(DataDir(data.root / ("a" * 300)))


def test_what_a_later_version_wrote_is_refused(data: DataDir) -> None:
    require_known_formats(data)
    data.manifest.write_bytes(b'{"format":"binder-mirror manifest","version":99}\n{"a":1}\n')
    with pytest.raises(ConfigError, match="format 99"):
        require_known_formats(data)
    data.manifest.unlink()
    data.upstream.write_bytes(b'{"url":"https://x.example/","version":99}')
    with pytest.raises(ConfigError, match="format 99"):
        require_known_formats(data)


def test_credentials_that_an_early_version_wrote_are_masked_and_nothing_else(
    data: DataDir,
) -> None:
    data.polls.write_bytes(b'{"problem":"https://me:secret@x.example/ and //a@b"}\n{"a":1}\n')
    data.upstream.write_bytes(b'{"url":"https://me:secret@x.example/a@b/"}')

    mask_credentials(data)

    assert data.polls.read_bytes() == (
        b'{"problem":"https://***@x.example/ and //***@b"}\n{"a":1}\n'
    )
    assert data.upstream.read_bytes() == b'{"url":"https://***@x.example/a@b/"}'
    assert list(data.staging.iterdir()) == []
    sealed = seal(b'{"url":"https://x.example/","reason":"//a@b"}')
    data.upstream.write_bytes(sealed)
    before = data.polls.stat().st_ino
    mask_credentials(data)
    assert data.upstream.read_bytes() == sealed
    assert data.polls.stat().st_ino == before, "what says nothing is not written again"


def test_a_body_has_upstreams_time_but_a_later_one_than_what_it_replaces(tmp_path: Path) -> None:
    target = tmp_path / "events.jsonl"
    given = record(DAY, last_modified=MODIFIED)
    older = record(DAY, last_modified=MODIFIED - timedelta(hours=1))
    ahead = record(DAY, last_modified=NOW + timedelta(hours=1))

    assert time_for(given, None, target, now=NOW) == ns(MODIFIED)
    assert time_for(given, older, target, now=NOW) == ns(MODIFIED)
    assert time_for(given, given, target, now=NOW) == ns(NOW)
    assert time_for(given, ahead, target, now=NOW) == ns(NOW) + 3601 * 10**9
    assert time_for(record(DAY, last_modified=None), None, target, now=NOW) == ns(NOW)
    restored = record(DAY, last_modified=MODIFIED, flags=(Flag.RESTORED,))
    assert time_for(restored, None, target, now=NOW) == ns(NOW)
    target.touch()
    assert (
        time_for(given, None, target, now=NOW) == target.stat().st_mtime_ns // 10**9 * 10**9 + 10**9
    )
