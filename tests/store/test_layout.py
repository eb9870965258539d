"""Which place may be a data directory, its one writer, and when its files say they were made."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.errors import ConfigError, DataDirGoneError, LockedError
from mirror.model import Flag
from mirror.store.inventory import require_known_formats, time_for
from mirror.store.layout import (
    DataDir,
    check_data_dir,
    daemon_lock,
    dataset_lock,
    is_being_written,
    make_folders,
    require_mirror,
    writer_lock,
)
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


@pytest.mark.parametrize("lock", [writer_lock, daemon_lock, dataset_lock])
def test_each_lock_has_one_holder_at_a_time(
    data: DataDir, lock: Callable[[DataDir], AbstractContextManager[Callable[[], None]]]
) -> None:
    with lock(data) as require_held:
        require_held()
        with pytest.raises(LockedError, match=r"another binder-mirror \(process \d+\)"), lock(data):
            pass
        assert is_being_written(data) is (lock is writer_lock)
    with lock(data):
        pass
    assert not is_being_written(data)


def test_a_data_directory_that_is_replaced_is_no_longer_held(data: DataDir) -> None:
    with writer_lock(data) as require_held:
        data.root.rename(data.root.with_name("old"))
        with pytest.raises(DataDirGoneError):
            require_held()
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


def test_folders_are_neither_files_nor_symlinks(data: DataDir, tmp_path: Path) -> None:
    data.staging.rmdir()
    data.staging.touch()
    with pytest.raises(ConfigError, match="something else is in its place"):
        make_folders(data)
    data.staging.unlink()
    data.staging.symlink_to(tmp_path)
    with pytest.raises(ConfigError, match="is a symlink"):
        make_folders(data)


def test_a_reader_needs_a_mirror(data: DataDir) -> None:
    require_mirror(data)
    data.archive.rmdir()
    with pytest.raises(ConfigError, match="there is no mirror"):
        require_mirror(data)


def test_what_a_later_version_wrote_is_refused(data: DataDir) -> None:
    require_known_formats(data)
    data.manifest.write_bytes(b'{"format":"binder-mirror manifest","version":99}\n{"a":1}\n')
    with pytest.raises(ConfigError, match="format 99"):
        require_known_formats(data)


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
