"""Writes an output file that a user asked for: beside its place first, renamed when it is whole."""

import os
import secrets
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from mirror.store.disk import publish_durably, require_file_or_nothing, storage_errors


@contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Have an empty file that takes the place of `target` when all went well.

    A symlink is followed; of a device or a FIFO its own path is given.

    Raises:
        StorageError: the disk refused; what stood there still stands.
        WrongKindError: a directory or a socket stands there.
    """
    with storage_errors(target):
        if _is_stream(target):
            yield target
            return
        # pathlib's own resolve() has no StorageError for links in a circle
        place = Path(os.path.realpath(target))
        require_file_or_nothing(place)
        unfinished = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
        # made before the work, so that a folder that cannot be written to is told at once
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o666))
        try:
            yield unfinished
            publish_durably(unfinished, place)
        finally:
            unfinished.unlink(missing_ok=True)


def _is_stream(path: Path) -> bool:
    try:
        mode = path.stat().st_mode
    except FileNotFoundError:
        return False
    return stat.S_ISCHR(mode) or stat.S_ISFIFO(mode)
