"""Runs each query in a process of its own, which is held to its limits and ended by a signal.

DuckDB counts the memory of its operators alone and looks for an interruption between its steps: a
function that makes one enormous value is neither counted nor interrupted, nor is one that is worked
out while the query is planned.
"""

import signal
from collections.abc import Callable, Sequence
from pathlib import Path

from mirror.dataset.isolated import ChildDiedError, limit_memory, run_apart
from mirror.dataset.query import Bounds, Session, open_session, too_large
from mirror.errors import QueryError

_UNCOUNTED_BYTES = 128 * 1024**2
"""For what DuckDB does not count: columns as they are unpacked, and rows on their way out."""
_UNCOUNTED_BYTES_A_THREAD = 32 * 1024**2
_UNCOUNTED_SHARE = 4
"""For the gaps of its allocator, one part in so many: a window over 1 GiB took 1.24."""
_OUT_OF_MEMORY = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}
"""How native code ends that was refused memory and had not thought of it."""


def answer_apart(
    files: Sequence[Path],
    bounds: Bounds,
    answer: Callable[[Session], None],
    *,
    output: Path | None = None,
) -> None:
    """Open a session over the files and let a query be answered there, within its bounds.

    Args:
        files: what the view is made of.
        bounds: what the query may take; its memory, and what DuckDB needs beside it.
        answer: runs the query and writes the answer.
        output: the one file that `Session.write_parquet` may write.

    Raises:
        QueryError: it is wrong, not allowed, or over its bounds.
        MirrorError, OSError: what `answer` raised.
    """

    def work() -> None:
        with open_session(files, bounds, output=output) as session:
            limit_memory(_most_bytes(bounds))
            answer(session)

    try:
        run_apart(work, bounds.timeout_s)
    except TimeoutError as error:
        raise QueryError(
            f"the query took longer than {bounds.timeout_s:g} s and was cancelled",
            hint="ask for less, or allow more with --timeout",
        ) from error
    except ChildDiedError as error:
        raise _death(error) from error


def _most_bytes(bounds: Bounds) -> int:
    """Return what the process may take, so that DuckDB's own bound is met before it by most."""
    counted = bounds.memory_bytes + bounds.memory_bytes // _UNCOUNTED_SHARE
    return counted + _UNCOUNTED_BYTES + bounds.threads * _UNCOUNTED_BYTES_A_THREAD


def _death(error: ChildDiedError) -> QueryError:
    if error.number in _OUT_OF_MEMORY:
        return too_large()
    return QueryError(
        f"the query's process was ended from outside ({error})",
        hint="the system does so when it runs out of memory; --memory bounds what a query may take",
    )
