"""The bound on memory that a query's process sets itself."""

import pytest

from mirror.dataset.query_process import memory_limit
from mirror.processes import Worker


def allocate() -> bool:
    with memory_limit(64 * 1024**2), memory_limit(1024**4):
        try:
            bytearray(128 * 1024**2)
        except MemoryError:
            pass
        else:
            return False
    return bool(bytearray(128 * 1024**2))


def test_a_limit_on_memory_holds_does_not_rise_and_is_lifted() -> None:
    with Worker() as worker:
        assert worker.call(allocate)


def exhaust() -> None:
    with memory_limit(64 * 1024**2):
        bytearray(128 * 1024**2)


def test_what_is_refused_memory_can_say_so() -> None:
    with Worker() as worker, pytest.raises(RuntimeError, match="MemoryError: "):
        worker.call(exhaust)
