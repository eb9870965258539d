"""Single files on a disk that refuses, lacks something, or has something else in their place."""

import errno
import hashlib
import os
import resource
import secrets
import socket
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import structlog
from structlog.testing import capture_logs

from mirror.errors import StorageError, WrongKindError
from mirror.store.disk import (
    append_line,
    digest_of,
    flush,
    kind_of,
    link_or_copy,
    open_file,
    optional,
    publish_durably,
    read_file,
    read_if_file,
    replacing,
    set_other_mtime,
    sync_folder,
    taking_place_of,
    write_durably,
)

ELSEWHERE = Path("/proc/version")
"""A file of another file system than the tests'."""


def make_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as one:
        one.bind(str(path))


def make_link(path: Path) -> None:
    path.symlink_to(ELSEWHERE)


NO_FILES: dict[str, Callable[[Path], object]] = {
    "directory": Path.mkdir,
    "symlink": make_link,
    "FIFO": os.mkfifo,
    "socket": make_socket,
}


@pytest.fixture
def place(tmp_path: Path) -> Path:
    return tmp_path / "place"


@pytest.fixture
def staging(tmp_path: Path) -> Path:
    folder = tmp_path / "staging"
    folder.mkdir()
    return folder


def descriptors() -> int:
    """Return how many descriptors are open."""
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


class TestKinds:
    @pytest.mark.parametrize("kind", NO_FILES)
    def test_what_is_no_file_is_named_and_never_followed(
        self, place: Path, staging: Path, kind: str
    ) -> None:
        NO_FILES[kind](place)
        told = rf"{place} is a {kind}, not a file \(move it away; it is not followed\)"

        assert kind_of(place) == kind
        assert read_if_file(place) is None
        for touch in (
            lambda: open_file(place),
            lambda: read_file(place),
            lambda: write_durably(place, b"x", staging=staging),
            lambda: append_line(place, b"x\n", staging=staging),
        ):
            with pytest.raises(WrongKindError) as caught:
                touch()
            assert caught.value.line() == told.replace("\\", "")
        assert list(staging.iterdir()) == []

    def test_a_device_is_one(self) -> None:
        assert kind_of(Path("/dev/null")) == "device"
        with pytest.raises(WrongKindError, match="is a device"):
            open_file(Path("/dev/null"))

    def test_there_is_nothing_below_a_file_nor_where_there_is_nothing(self, place: Path) -> None:
        assert kind_of(place) is None
        place.touch()
        assert kind_of(place) == "file"
        assert kind_of(place / "below") is None

    def test_where_it_cannot_be_known_is_told(self, tmp_path: Path) -> None:
        long = tmp_path / ("a" * 300)
        with pytest.raises(StorageError, match="File name too long"):
            kind_of(long)

    def test_a_file_that_is_not_there_is_none_where_it_may_be(self, place: Path) -> None:
        assert read_file(place) is None
        assert read_if_file(place) is None
        with pytest.raises(FileNotFoundError):
            open_file(place)
        with pytest.raises(StorageError, match=f"{place}: No such file"):
            digest_of(place)
        place.write_bytes(b"abc")
        assert read_file(place) == read_if_file(place) == b"abc"
        assert digest_of(place) == hashlib.sha256(b"abc").hexdigest()

    def test_a_descriptor_of_what_was_refused_is_not_left_open(self, place: Path) -> None:
        place.mkdir()
        before = descriptors()
        for _ in range(3):
            with pytest.raises(WrongKindError):
                open_file(place)

        assert descriptors() == before


class TestFlushing:
    @pytest.fixture(autouse=True)
    def fresh_logs(self) -> Iterator[None]:
        """Let loggers that were used before be captured too."""
        yield
        structlog.reset_defaults()

    def test_what_cannot_be_flushed_is_done_without(self) -> None:
        reading, writing = os.pipe()
        try:
            flush(writing, Path("/a/pipe"))
        finally:
            os.close(reading)
            os.close(writing)

    def test_what_a_disk_lacks_is_warned_of_once(self) -> None:
        # of its own: what was warned of in this process is not warned of again
        what = f"clocks {secrets.token_hex(8)}"
        with capture_logs() as logs:
            for number in (errno.EINVAL, errno.ENOSYS, errno.EPERM):
                with optional(what, Path("/a/b"), errno.EPERM):
                    raise OSError(number, os.strerror(number))

        assert logs == [
            {
                "event": "storage.lacking",
                "log_level": "warning",
                "path": "/a/b",
                "lacks": what,
                "problem": "[Errno 22] Invalid argument",
            }
        ]
        with pytest.raises(PermissionError), optional(what, Path("/a/b")):
            raise PermissionError(errno.EPERM, os.strerror(errno.EPERM))

    def test_a_folder_that_is_gone_or_none_is_told(self, place: Path) -> None:
        with pytest.raises(StorageError, match=f"{place}: No such file"):
            sync_folder(place)
        place.touch()
        with pytest.raises(StorageError, match=f"{place}: Not a directory"):
            sync_folder(place)

    def test_a_folder_is_flushed_and_its_descriptor_closed(self, tmp_path: Path) -> None:
        before = descriptors()
        sync_folder(tmp_path)

        assert descriptors() == before


class TestLinks:
    def test_a_file_has_a_second_name(self, tmp_path: Path, place: Path) -> None:
        place.write_bytes(b"x")
        link_or_copy(place, tmp_path / "other")

        assert (tmp_path / "other").samefile(place)

    def test_one_of_another_file_system_is_copied(self, place: Path) -> None:
        link_or_copy(ELSEWHERE, place)

        assert place.read_bytes() == ELSEWHERE.read_bytes()

    def test_one_that_is_gone_is_told_as_such(self, tmp_path: Path, place: Path) -> None:
        with pytest.raises(FileNotFoundError):
            link_or_copy(place, tmp_path / "other")

    def test_nothing_is_written_over(self, tmp_path: Path, place: Path) -> None:
        other = tmp_path / "other"
        place.write_bytes(b"x")
        other.write_bytes(b"y")
        with pytest.raises(FileExistsError):
            link_or_copy(place, other)

        assert other.read_bytes() == b"y"


class TestTimes:
    def given(self, tmp_path: Path, body: bytes, target: Path) -> int:
        """Give a new file a time beside what is at `target`; return it."""
        new = tmp_path / "new"
        new.write_bytes(body)
        with new.open("rb") as file:
            when = set_other_mtime(file.fileno(), 5 * 10**9, target)
        assert new.stat().st_mtime_ns == when
        return when

    def test_it_is_the_one_wanted_where_nothing_is_in_its_way(
        self, tmp_path: Path, place: Path
    ) -> None:
        assert self.given(tmp_path, b"x", place) == 5 * 10**9
        place.write_bytes(b"another size")
        os.utime(place, ns=(5 * 10**9, 5 * 10**9))
        assert self.given(tmp_path, b"x", place) == 5 * 10**9
        place.write_bytes(b"y")
        os.utime(place, ns=(1, 1))
        assert self.given(tmp_path, b"x", place) == 5 * 10**9

    def test_a_body_of_the_same_size_has_another(self, tmp_path: Path, place: Path) -> None:
        place.write_bytes(b"y")
        os.utime(place, ns=(5 * 10**9, 5 * 10**9))

        assert self.given(tmp_path, b"x", place) == 5 * 10**9 + 1

    def test_where_it_can_have_no_other_the_body_is_refused(self, place: Path) -> None:
        place.write_bytes(b"y")
        # the very same file has always the same time as itself
        with place.open("rb") as file, pytest.raises(OSError, match="another time") as caught:
            set_other_mtime(file.fileno(), 5 * 10**9, place)

        assert caught.value.errno == errno.EPERM


class TestReplacing:
    def test_the_new_body_is_there_whole_and_nothing_else(self, place: Path, staging: Path) -> None:
        place.write_bytes(b"old")
        write_durably(place, b"new", staging=staging)

        assert place.read_bytes() == b"new"
        assert list(staging.iterdir()) == []

    def test_what_fails_leaves_the_old_one_and_nothing_unfinished(
        self, place: Path, staging: Path
    ) -> None:
        place.write_bytes(b"old")

        def fail() -> None:
            with taking_place_of(place, staging) as file:
                file.write(b"half")
                assert [path.name.partition(".")[0] for path in staging.iterdir()] == ["place"]
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            fail()

        assert place.read_bytes() == b"old"
        assert list(staging.iterdir()) == []

    def test_a_disk_that_refuses_is_told_by_the_file_that_was_to_be(
        self, tmp_path: Path, place: Path
    ) -> None:
        with pytest.raises(StorageError, match=f"^{place}: No such file"):
            write_durably(place, b"x", staging=tmp_path / "gone")

    def test_a_finished_file_takes_its_place_and_leaves_its_own(
        self, tmp_path: Path, place: Path
    ) -> None:
        finished = tmp_path / "finished"
        finished.write_bytes(b"new")
        place.write_bytes(b"old")

        publish_durably(finished, place)

        assert (place.read_bytes(), finished.exists()) == (b"new", False)
        with pytest.raises(StorageError, match=f"^{place}: No such file"):
            publish_durably(finished, place)
        place.unlink()
        place.mkdir()
        finished.write_bytes(b"new")
        with pytest.raises(WrongKindError):
            publish_durably(finished, place)
        assert finished.read_bytes() == b"new"

    def test_a_users_file_is_replaced_when_all_went_well(self, place: Path) -> None:
        place.write_bytes(b"old")
        with replacing(place) as unfinished:
            assert unfinished.read_bytes() == b""
            assert unfinished.name.startswith(".place.")
            unfinished.write_bytes(b"new")
            assert place.read_bytes() == b"old"

        assert place.read_bytes() == b"new"
        assert list(place.parent.iterdir()) == [place]

    def test_a_users_file_stays_when_something_went_wrong(self, place: Path) -> None:
        place.write_bytes(b"old")

        def fail() -> None:
            with replacing(place) as unfinished:
                unfinished.write_bytes(b"half")
                raise ValueError("no")

        with pytest.raises(ValueError, match="no"):
            fail()

        assert place.read_bytes() == b"old"
        assert list(place.parent.iterdir()) == [place]

    def test_a_users_link_is_followed(self, tmp_path: Path, place: Path) -> None:
        (tmp_path / "folder").mkdir()
        place.symlink_to(tmp_path / "folder" / "real")
        with replacing(place) as unfinished:
            unfinished.write_bytes(b"new")

        assert place.is_symlink()
        assert (tmp_path / "folder" / "real").read_bytes() == b"new"

    @pytest.mark.parametrize("kind", ["FIFO", "device"])
    def test_a_users_stream_is_written_to_itself(self, place: Path, kind: str) -> None:
        if kind == "FIFO":
            os.mkfifo(place)
        else:
            place = Path("/dev/null")
        with replacing(place) as unfinished:
            assert unfinished == place
        assert kind_of(place) == kind

    def test_a_users_folder_is_not(self, place: Path) -> None:
        place.mkdir()
        with pytest.raises(WrongKindError), replacing(place):
            pass
        with pytest.raises(StorageError, match="No such file"), replacing(place / "a" / "b"):
            pass


class TestAppending:
    def test_each_line_is_one_of_its_own(self, place: Path, staging: Path) -> None:
        assert append_line(place, b"one\n", staging=staging) == 4
        assert append_line(place, b"two\n", staging=staging) == 8
        assert place.read_bytes() == b"one\ntwo\n"
        assert place.stat().st_mode & 0o777 == 0o644

        place.write_bytes(b"one\nto")
        assert append_line(place, b"three\n", staging=staging) == 13
        assert place.read_bytes() == b"one\nto\nthree\n"

    def test_a_file_of_two_names_is_copied_first(
        self, tmp_path: Path, place: Path, staging: Path
    ) -> None:
        place.write_bytes(b"one\n")
        (tmp_path / "backup").hardlink_to(place)

        assert append_line(place, b"two\n", staging=staging) == 8

        assert (tmp_path / "backup").read_bytes() == b"one\n"
        assert place.read_bytes() == b"one\ntwo\n"
        before = descriptors()
        append_line(place, b"three\n", staging=staging)
        assert descriptors() == before

    def test_where_there_is_room_for_a_part_nothing_of_it_is_left(
        self, place: Path, staging: Path
    ) -> None:
        place.write_bytes(b"one\n")
        _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, (10, most))
        try:
            with pytest.raises(StorageError) as caught:
                append_line(place, b"x" * 20, staging=staging)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most, most))

        assert str(caught.value) == f"{place}: No space left on device"
        assert place.read_bytes() == b"one\n"
