"""What the disk or the machine refuses, said in a line: what, where, and what to do."""

import errno
import os
from pathlib import Path

import pytest

from mirror.errors import StorageError
from mirror.store.disk import machine_error, storage_error, storage_errors

ONE_DISK = "archive/, history/, quarantine/ and staging/ must be on one file system"
ANOTHER = "the file system cannot do what is needed; keep the data directory on another"


@pytest.mark.parametrize(
    ("number", "line"),
    [
        (errno.EIO, "/a/b: Input/output error (the disk fails: see dmesg)"),
        (errno.ENOENT, "/a/b: No such file or directory"),
        (errno.EXDEV, f"/a/b: Invalid cross-device link ({ONE_DISK})"),
        (errno.EOPNOTSUPP, f"/a/b: Operation not supported ({ANOTHER})"),
    ],
)
def test_it_is_told_with_the_path_and_what_to_do(number: int, line: str) -> None:
    with pytest.raises(StorageError) as caught, storage_errors(Path("/a/b")):
        raise OSError(number, os.strerror(number))

    assert caught.value.line() == line


def test_one_without_a_number_is_told_in_its_own_words() -> None:
    assert storage_error(OSError("gone away"), Path("/a")).line() == "/a: gone away"


def test_a_path_is_shown_as_text_and_bounded() -> None:
    line = storage_error(OSError(errno.EIO, "x"), Path("/\x1b[31m" + "a" * 999)).line()

    assert "\x1b" not in line
    assert 300 < len(line) < 400


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (MemoryError(), "no memory is left (give it more, or raise its limit (ulimit -v))"),
        (
            RuntimeError("can't start new thread"),
            "no thread can be started (raise the limit (ulimit -u))",
        ),
        (OSError(errno.EIO, "bad", "/a/b"), "/a/b: bad (the disk fails: see dmesg)"),
        (OSError(errno.EIO, "bad", b"/a/b"), "/a/b: bad (the disk fails: see dmesg)"),
        (OSError(errno.EIO, "bad"), "the system: bad (the disk fails: see dmesg)"),
    ],
)
def test_what_the_machine_refuses_is_no_bug(error: Exception, line: str) -> None:
    found = machine_error(error)

    assert found is not None
    assert found.line() == line


@pytest.mark.parametrize(
    "error",
    [
        ValueError("x"),
        RuntimeError("start it"),
        OSError("without a number"),
        ConnectionResetError(errno.ECONNRESET, "reset"),
    ],
)
def test_what_is_a_bug_or_anothers_is_not_the_machines(error: Exception) -> None:
    assert machine_error(error) is None
