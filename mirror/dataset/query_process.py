"""Answers each query in a process of its own, which is held to its bounds and ended by a signal.

DuckDB counts the memory of its operators alone and looks for an interruption between its steps: a
function that makes one enormous value is neither counted nor interrupted, nor is one that is worked
out while the query is planned. So the process limits itself, in data that can be written
(RLIMIT_DATA, https://man7.org/linux/man-pages/man2/getrlimit.2.html): address space that is merely
reserved, as allocators do, does not count.
"""

import resource
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from io import TextIOWrapper
from pathlib import Path
from typing import TextIO, TypeVar, TypeVarTuple

from mirror.dataset.query import Bounds, Session, open_session, too_large
from mirror.dataset.query_format import as_is, write_csv, write_json, write_markdown
from mirror.errors import QueryError
from mirror.processes import Worker, WorkerDiedError
from mirror.text import shown

_UNCOUNTED_BYTES = 128 * 1024**2
"""For what DuckDB does not count: columns as they are unpacked, and rows on their way out."""
_UNCOUNTED_BYTES_A_THREAD = 32 * 1024**2
_UNCOUNTED_SHARE = 4
"""For the gaps of its allocator, one part in so many: a window over 1 GiB took 1.24."""
_OUT_OF_MEMORY = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}
"""How native code ends that was refused memory and had not thought of it."""
_WRITERS = {"csv": write_csv, "json": write_json, "markdown": write_markdown}

T = TypeVar("T")
Ts = TypeVarTuple("Ts")


def call_apart(function: Callable[[*Ts], T], *args: *Ts) -> T:
    """Run a function of a module in a process of its own, which a signal to this one ends.

    Raises:
        MirrorError, OSError: what the function raised.
        QueryError: the process was killed.
    """
    try:
        with Worker() as worker:
            return worker.call(function, *args)
    except WorkerDiedError as error:
        raise _death(error) from error


def answer_apart(
    files: Sequence[Path], bounds: Bounds, sql: str, form: str, output: Path | None
) -> None:
    """Answer a query in a process of its own, within its bounds.

    Args:
        files: what the view is made of.
        bounds: what the query may take; its memory, and what DuckDB needs beside it.
        sql: the query.
        form: how to answer: table, csv, json, markdown or, into a file, parquet.
        output: the file to write; None for standard output.

    Raises:
        QueryError: it is wrong, not allowed, or over its bounds.
        MirrorError: the data cannot be read.
        OSError: the output cannot be written.
    """
    try:
        with Worker(prints=True, timeout_s=bounds.timeout_s) as worker:
            worker.call(_answer, files, bounds, sql, form, output)
    except TimeoutError as error:
        raise QueryError(
            f"the query took longer than {bounds.timeout_s:g} s and was cancelled",
            hint="ask for less, or allow more with --timeout",
        ) from error
    except WorkerDiedError as error:
        raise _death(error) from error


@contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Let this process have so much more memory than it has; what asks for more is refused.

    Args:
        more_bytes: private memory that can be written, touched or not.
    """
    pages = int(Path("/proc/self/statm").read_text("ascii").split()[5])
    limits = resource.getrlimit(resource.RLIMIT_DATA)
    wanted = pages * resource.getpagesize() + more_bytes
    lowest = min(wanted, sys.maxsize, *(one for one in limits if one != resource.RLIM_INFINITY))
    resource.setrlimit(resource.RLIMIT_DATA, (lowest, limits[1]))
    try:
        yield
    finally:
        # what was refused memory needs some to be reported
        resource.setrlimit(resource.RLIMIT_DATA, limits)


def _answer(
    files: Sequence[Path], bounds: Bounds, sql: str, form: str, output: Path | None
) -> None:
    with (
        open_session(files, bounds, output=output) as session,
        memory_limit(_most_bytes(bounds)),
    ):
        _write(session, sql, form, output)


def _write(session: Session, sql: str, form: str, output: Path | None) -> None:
    if form == "parquet":
        session.write_parquet(sql)
        return
    is_terminal = output is None and sys.stdout.isatty()
    with session.run(sql) as result, _open_text(output) as out:
        if form == "table":
            # rich is worth its start-up time only where it is seen
            from mirror.dataset.table import print_table  # noqa: PLC0415

            print_table(result, out)
        else:
            _WRITERS[form](result, out.write, _show if is_terminal else as_is)


def _show(text: str) -> str:
    """Return a string as a terminal may have it, however long."""
    return shown(text, max(len(text) * 10, 1))


@contextmanager
def _open_text(output: Path | None) -> Iterator[TextIO]:
    """Open what text is written to, at the end of which all of it is."""
    if output is None:
        if isinstance(sys.stdout, TextIOWrapper):
            sys.stdout.reconfigure(errors="backslashreplace")
        yield sys.stdout
        sys.stdout.flush()
    else:
        with output.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            yield out


def _most_bytes(bounds: Bounds) -> int:
    """Return what the process may take, so that DuckDB's own bound is met before it by most."""
    counted = bounds.memory_bytes + bounds.memory_bytes // _UNCOUNTED_SHARE
    return counted + _UNCOUNTED_BYTES + bounds.threads * _UNCOUNTED_BYTES_A_THREAD


def _death(error: WorkerDiedError) -> QueryError:
    if error.number in _OUT_OF_MEMORY:
        return too_large()
    return QueryError(
        f"the query's process was ended from outside ({error})",
        hint="the system does so when it runs out of memory; --memory bounds what a query may take",
    )
