"""The data set as one file, with the columns of the JupyterHub project's weekly data set.

The weekly file is `launches.parquet` of https://github.com/jupyterhub/binder-data: `origin`,
`provider`, `spec` as strings and `timestamp` with a time zone, sorted by time, as pandas makes it.
"""

import os
import secrets
from pathlib import Path

from mirror.data.dataset import list_months
from mirror.data.dataset_schema import EXPORT_COLUMNS
from mirror.data.duck import (
    duckdb_errors,
    literal,
    open_duckdb,
    path_literal,
    require_duckdb,
)
from mirror.edges.disk import publish_durably, require_file_or_nothing, storage_errors
from mirror.edges.folder import DataDir
from mirror.errors import DatasetError

EXPORT_MEMORY_BYTES = 1024**3


def export_launches(data: DataDir, target: Path) -> int:
    """Write all launches of the data set into one Parquet file; return how many there are.

    Args:
        data: the data directory, with a data set.
        target: the file; replaced whole.

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
    require_file_or_nothing(target)
    unfinished = target.with_name(f".{target.name}.{secrets.token_hex(4)}")
    with storage_errors(target):
        # found out before the work, and with the operating system's own word
        os.close(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o644))
    files = ", ".join(path_literal(path) for path in months.values())
    columns = ", ".join(EXPORT_COLUMNS)
    try:
        with (
            duckdb_errors(f"cannot write {target}"),
            open_duckdb(memory_bytes=EXPORT_MEMORY_BYTES, scratch=target.parent) as connection,
        ):
            written = connection.execute(
                f"COPY (SELECT {columns} FROM read_parquet([{files}]) "
                "ORDER BY timestamp, file, line) "
                f"TO {literal(str(unfinished))} (FORMAT parquet, COMPRESSION zstd)"
            ).fetchone()
        publish_durably(unfinished, target)
    finally:
        unfinished.unlink(missing_ok=True)
    return int(written[0]) if written is not None else 0
