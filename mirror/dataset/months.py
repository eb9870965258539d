"""The months' files for whoever reads them: with SQL, or as one file.

The one file has the columns and types of the JupyterHub project's weekly `launches.parquet`
(https://github.com/jupyterhub/binder-data), and its order: by time.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from mirror.dataset.provenance import (
    describe_doubt,
    describe_lag,
    list_months,
    months_of,
    path_of,
)
from mirror.errors import DatasetError
from mirror.reading.duck import duckdb_errors, literal, open_duckdb, path_literal, require_duckdb
from mirror.store.disk import replacing
from mirror.store.inventory import load_steady_inventory
from mirror.store.layout import DataDir
from mirror.text import plural

_EXPORT_MEMORY_BYTES = 1024**3
_EXPORT_COLUMNS = "origin, provider, spec, timestamp"


@contextmanager
def open_months(
    data: DataDir,
    *,
    notice: Callable[[str], None] = lambda _text: None,
    call: Callable[..., None] = lambda function, *args: function(*args),
) -> Iterator[Sequence[Path]]:
    """Have the months' files: the data set's or, where there is none, some made for the moment.

    Args:
        data: the data directory.
        notice: called with what a user should know of the data.
        call: calls the function that makes the files, here or in another process.

    Raises:
        ConfigError: DuckDB is not installed.
        StorageError, DatasetError: the data set or the daily files cannot be read.
    """
    inventory = load_steady_inventory(data)
    if months := list_months(data):
        for line in describe_lag(data, inventory):
            notice(line)
        yield list(months.values())
        return
    # here alone, for all that DuckDB does is done in another process: it takes long to import
    require_duckdb()
    records = inventory.records.values()
    for line in describe_doubt(inventory):
        notice(line)
    size = sum(record.size for record in records)
    notice(
        f"there is no data set: reading {plural(len(records), 'daily file')}, {size / 1e6:,.0f} MB "
        "(`binder-mirror dataset build` makes one, for all queries to come)"
    )
    # only where it is used: a small query takes as long as what it imports
    from mirror.dataset.build import build_into  # noqa: PLC0415

    with TemporaryDirectory(prefix="binder-mirror-") as folder:
        wanted = months_of(records)
        call(build_into, Path(folder), data, wanted)
        yield [path_of(Path(folder), month) for month in wanted]


def export_launches(
    data: DataDir,
    target: Path,
    *,
    notice: Callable[[str], None] = lambda _text: None,
) -> int:
    """Write all launches of the data set into one Parquet file; return how many there are.

    Args:
        data: the data directory, with a data set.
        target: the file; replaced whole.
        notice: called with what a user should know of the data.

    Raises:
        ConfigError: DuckDB is not installed.
        DatasetError: there is no data set, or it cannot be read.
        StorageError: the disk refused.
    """
    require_duckdb()
    months = list_months(data)
    if not months:
        raise DatasetError(
            "there is no data set yet", hint="make it with `binder-mirror dataset build`"
        )
    for line in describe_lag(data, load_steady_inventory(data)):
        notice(line)
    files = ", ".join(path_literal(path) for path in months.values())
    with (
        replacing(target) as unfinished,
        duckdb_errors(f"cannot write {target}"),
        open_duckdb(memory_bytes=_EXPORT_MEMORY_BYTES, scratch=target.parent) as connection,
    ):
        written = connection.execute(
            f"COPY (SELECT {_EXPORT_COLUMNS} FROM read_parquet([{files}]) "
            f"ORDER BY timestamp, file, line) TO {literal(str(unfinished))} "
            "(FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        ).fetchone()
    return int(written[0]) if written is not None else 0
