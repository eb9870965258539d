"""The data set as one file, with the columns of the JupyterHub project's weekly data set.

The weekly file is `launches.parquet` of https://github.com/jupyterhub/binder-data: `origin`,
`provider`, `spec` as strings and `timestamp` with a time zone, sorted by time, as pandas makes it.
"""

from collections.abc import Callable
from pathlib import Path

from mirror.dataset.columns import EXPORT_COLUMNS
from mirror.dataset.provenance import describe_lag, list_months
from mirror.errors import DatasetError
from mirror.reading.duck import (
    duckdb_errors,
    literal,
    open_duckdb,
    path_literal,
    require_duckdb,
)
from mirror.store.disk import replacing
from mirror.store.inventory import load_steady_inventory
from mirror.store.layout import DataDir

EXPORT_MEMORY_BYTES = 1024**3


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
        notice: told what a user should know of the data.

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
    columns = ", ".join(EXPORT_COLUMNS)
    with (
        replacing(target) as unfinished,
        duckdb_errors(f"cannot write {target}"),
        open_duckdb(memory_bytes=EXPORT_MEMORY_BYTES, scratch=target.parent) as connection,
    ):
        written = connection.execute(
            f"COPY (SELECT {columns} FROM read_parquet([{files}]) ORDER BY timestamp, file, line) "
            f"TO {literal(str(unfinished))} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        ).fetchone()
    return int(written[0]) if written is not None else 0
