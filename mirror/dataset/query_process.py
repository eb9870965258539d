"""Answers each query in a process of its own, which is held to its bounds and ended by a signal.

DuckDB counts the memory of its operators alone and looks for an interruption between its steps: a
function that makes one enormous value is neither counted nor interrupted, nor is one that is worked
out while the query is planned. So the process limits itself, in data that can be written
(RLIMIT_DATA, https://man7.org/linux/man-pages/man2/getrlimit.2.html): address space that is merely
reserved, as allocators do, does not count.
"""

import json
import os
import resource
import shutil
import signal
import sys
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, nullcontext
from io import BufferedReader, TextIOWrapper
from pathlib import Path
from typing import cast

from mirror.dataset.query import COPY_FORMATS, Bounds, open_session, too_large
from mirror.errors import QueryError
from mirror.processes import Worker, WorkerDiedError

_UNCOUNTED_BYTES = 128 * 1024**2
"""For what DuckDB does not count: columns as they are unpacked, and rows on their way out."""
_UNCOUNTED_BYTES_A_THREAD = 32 * 1024**2
_UNCOUNTED_SHARE = 4
"""For the gaps of its allocator, one part in so many: a window over 1 GiB took 1.24."""
_OUT_OF_MEMORY = {signal.SIGABRT, signal.SIGSEGV, signal.SIGBUS}
"""How native code ends that was refused memory and had not thought of it."""


def answer_apart(
    files: Sequence[Path], bounds: Bounds, sql: str, form: str, output: Path | None
) -> None:
    """Answer a query over the months' files in a process of its own, within its bounds.

    The form is table, csv, json, markdown or, into a file, parquet; without an `output` the answer
    goes to standard output. DuckDB may take some memory beside what is bounded. A QueryError says
    that it is wrong, not allowed, or over its bounds, an OSError that the output cannot be written.
    """
    call_apart(_answer, files, bounds, sql, form, output, prints=True, timeout_s=bounds.timeout_s)


def bind_apart(bounds: Bounds, sql: str) -> None:
    """Say what is wrong with a query, before anything is read for it; raises QueryError."""
    call_apart(_bind, bounds, sql)


def _bind(bounds: Bounds, sql: str) -> None:
    with open_session([], bounds) as session:
        session.bind(sql)


def call_apart(
    function: Callable[..., None], *args: object, prints: bool = False, timeout_s: float = 0
) -> None:
    """Run a function of a module in a process of its own, which a signal to this one ends.

    Raises what the function raised, or a QueryError: it took too long, or the process was killed.
    """
    try:
        with Worker(prints=prints, timeout_s=timeout_s) as worker:
            worker.call(function, *args)
    except TimeoutError as error:
        raise QueryError(
            f"the query took longer than {timeout_s:g} s and was cancelled",
            hint="ask for less, or allow more with --timeout",
        ) from error
    except WorkerDiedError as error:
        if error.number in _OUT_OF_MEMORY:
            raise too_large() from error
        raise QueryError(
            f"the query's process was ended from outside ({error})",
            hint="the system does so when it runs out of memory; --memory bounds what a query may "
            "take",
        ) from error


@contextmanager
def memory_limit(more_bytes: int) -> Iterator[None]:
    """Let this process have so much more memory than it has; what asks for more is refused."""
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
    with _open_text(output) as out:
        with open_session(files, bounds) as session, memory_limit(_most_bytes(bounds)):
            answer = session.bind(sql)
            if form not in COPY_FORMATS:
                # rich is worth its start-up time only where it is seen
                from mirror.dataset.table import print_table, write_markdown  # noqa: PLC0415

                with session.run(answer) as rows:
                    (print_table if form == "table" else write_markdown)(answer.columns, rows, out)
                return
        with (
            # DuckDB would open our output again: a file from its beginning, a socket not at all
            nullcontext(output) if form == "parquet" else _open_pipe(out) as target,
            open_session(files, bounds, output=target) as session,
            memory_limit(_most_bytes(bounds)),
        ):
            session.copy(answer, form)


@contextmanager
def _open_text(output: Path | None) -> Iterator[TextIOWrapper]:
    """Open what the answer is written to, at the end of which all of it is."""
    if output is None:
        out = cast("TextIOWrapper", sys.stdout)
        out.reconfigure(errors="backslashreplace")
        yield out
        out.flush()
    else:
        with output.open("w", encoding="utf-8", errors="backslashreplace", newline="") as out:
            yield out


@contextmanager
def _open_pipe(out: TextIOWrapper) -> Iterator[Path]:
    """Have the path of a pipe, all of which is written to `out`; raise what that refuses with."""
    reading, writing = os.pipe()
    with ThreadPoolExecutor(max_workers=1) as pool:
        copied = pool.submit(_copy, reading, out)
        try:
            yield Path(f"/dev/fd/{writing}")
        finally:
            os.close(writing)
            # why it could not be written: DuckDB saw no more than a closed pipe
            copied.result()


def _copy(reading: int, out: TextIOWrapper) -> None:
    with open(reading, "rb", buffering=0) as pipe:
        if out.isatty():
            out.writelines(map(_escape, TextIOWrapper(BufferedReader(pipe), "utf-8", newline="\n")))
        else:
            shutil.copyfileobj(pipe, out.buffer)


def _escape(line: str) -> str:
    """Return a line of CSV or JSON without what a terminal would obey, escaped as JSON does."""
    return "".join(
        one if one.isprintable() or one in "\n\t" else json.dumps(one)[1:-1] for one in line
    )


def _most_bytes(bounds: Bounds) -> int:
    """Return what the process may take, so that DuckDB's own bound is met before it by most."""
    counted = bounds.memory_bytes + bounds.memory_bytes // _UNCOUNTED_SHARE
    return counted + _UNCOUNTED_BYTES + bounds.threads * _UNCOUNTED_BYTES_A_THREAD
