"""Where events go to when they leave: JSON lines, CSV, Parquet; plain, gzipped or as zstd.

A file is written under another name and put in its place when it is whole. In CSV a cell that a
spreadsheet would run as a formula is led by an apostrophe.
"""

import gzip
import re
import shutil
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from datetime import datetime
from functools import partial
from itertools import chain
from operator import attrgetter
from pathlib import Path
from typing import Any, BinaryIO, Literal, TypeAlias, cast

import msgspec

from mirror.archive.intake import import_zstd
from mirror.events.decoder import OddLine
from mirror.events.launch import COLUMNS, Launch
from mirror.reading.reader import Events
from mirror.store.disk import replacing, storage_errors
from mirror.text import disarm, shown

Format: TypeAlias = Literal["json", "csv", "parquet"]
Compression: TypeAlias = Literal["none", "gzip", "zstd"]

COMPRESSION_BY_SUFFIX: dict[str, Compression] = {".gz": "gzip", ".zst": "zstd"}

_GZIP_LEVEL = 6
_ZSTD_LEVEL = 3
_QUOTED = re.compile('[",\r\n]')
_NAMES = [column.name for column in COLUMNS]
_get_rest: Callable[[Launch], tuple[Any, ...]] = attrgetter(*_NAMES[1:])
_PARQUET_MEMORY_BYTES = 512 * 1024 * 1024

AnyEvents: TypeAlias = Events[Launch] | Events[Launch | OddLine]


@contextmanager
def open_sink(path: Path | None, compression: Compression = "none") -> Iterator[BinaryIO]:
    """Open what events are written to: a file, replaced when all is written, or standard output."""
    with ExitStack() as stack:
        if path is None:
            sink: BinaryIO = sys.stdout.buffer
        else:
            sink = stack.enter_context(stack.enter_context(replacing(path)).open("wb"))
        if compression == "gzip":
            # mtime=0: the same events give the same file
            packed = gzip.GzipFile("", "wb", _GZIP_LEVEL, fileobj=sink, mtime=0)
            sink = cast("BinaryIO", stack.enter_context(packed))
        elif compression == "zstd":
            sink = stack.enter_context(import_zstd().ZstdFile(sink, mode="w", level=_ZSTD_LEVEL))
        yield sink


def write_json(events: AnyEvents, sink: BinaryIO) -> None:
    """Write events as upstream's own lines, byte for byte; escaped where a terminal reads them."""
    sink.writelines(map(_show_lines, events.lines()) if sink.isatty() else events.lines())


def _show_lines(lines: bytes) -> bytes:
    return b"".join(shown(line, sys.maxsize).encode() + b"\n" for line in lines.split(b"\n")[:-1])


def write_csv(events: AnyEvents, sink: BinaryIO) -> None:
    """Write launches as CSV in UTF-8: a header, ISO 8601, true and false, nothing for null.

    An empty text is `""`, so that it is not taken for null. What would control a terminal is
    escaped where it is one that reads.
    """
    make = partial(make_cell, is_shown=True) if sink.isatty() else make_cell
    # lines end as RFC 4180 has it
    sink.write(",".join(_NAMES).encode() + b"\r\n")
    blocks = events.pairs(
        lambda moment: make(moment).encode(),
        lambda launch: f",{','.join(map(make, _get_rest(launch)))}\r\n".encode(),
    )
    sink.writelines(b"".join(chain.from_iterable(pairs)) for pairs in blocks)


def make_cell(value: object, *, is_shown: bool = False) -> str:
    """Return a value as a cell of CSV, quoted where it must be; none that begins like a formula.

    With `is_shown` what would control a terminal is escaped.
    """
    if isinstance(value, str):
        text = shown(disarm(value), sys.maxsize) if is_shown else disarm(value)
        # a lone carriage return ends a line too, for some who read
        is_quoted = not text or _QUOTED.search(text)
        return '"' + text.replace('"', '""') + '"' if is_quoted else text
    if value is None:
        return ""
    if isinstance(value, bool):
        return "true" if value else "false"
    return value.isoformat() if isinstance(value, datetime) else str(value)


def write_parquet(events: AnyEvents, sink: BinaryIO) -> None:
    """Write launches as one Parquet file with zstd, in the order of the daily files.

    DuckDB makes it, of lines that are put aside for it: that takes room for all of them in the
    folder for temporary files. A DatasetError says that it refused.
    """
    from mirror.reading import duck  # noqa: PLC0415 - for this format alone

    columns = ", ".join(f"'{one.name}': '{duck.SQL_TYPES[one.type]}'" for one in COLUMNS)
    with (
        duck.open_duckdb(memory_bytes=_PARQUET_MEMORY_BYTES) as connection,
        tempfile.TemporaryDirectory(prefix="binder-mirror-") as name,
    ):
        folder = Path(name)
        aside, made = folder / "launches.jsonl", folder / "launches.parquet"
        with storage_errors(folder), aside.open("wb") as lines:
            encoder = msgspec.json.Encoder()
            for block in events.launch_blocks():
                lines.write(encoder.encode_lines(block))
        with storage_errors(folder), duck.duckdb_errors("Parquet"):
            source = f"read_ndjson({duck.path_literal(aside)}, columns = {{{columns}}})"
            connection.execute(
                f"COPY (FROM {source}) TO {duck.literal(str(made))} "
                "(FORMAT parquet, COMPRESSION zstd)"
            )
        with made.open("rb") as file:
            shutil.copyfileobj(file, sink)


WRITERS: dict[Format, Callable[[AnyEvents, BinaryIO], None]] = {
    "json": write_json,
    "csv": write_csv,
    "parquet": write_parquet,
}
