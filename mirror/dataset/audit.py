"""Verifies the data set against the daily files: digests, rows a day, schema; by choice every row.

Reads only, and takes no lock. What a poll has just replaced is out of step, not damaged.
"""

import hashlib
from collections.abc import Callable, Iterator
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct

from mirror.dataset.build import build_into
from mirror.dataset.columns import DATASET_COLUMNS
from mirror.dataset.provenance import (
    PROVENANCE_KEY,
    Month,
    MonthBooks,
    Provenance,
    doubted_days,
    list_months,
    load_dataset_books,
    matches,
    month_of,
    months_of,
)
from mirror.errors import DatasetError
from mirror.model import Record
from mirror.reading.duck import one_line, open_duckdb, path_literal, require_duckdb
from mirror.store.disk import storage_errors
from mirror.store.inventory import load_steady_inventory
from mirror.store.layout import DataDir

if TYPE_CHECKING:
    from duckdb import DuckDBPyConnection

VERIFY_MEMORY_BYTES = 1024**3

Progress = Callable[[int, int], None]
"""Told of months and bytes looked at since the last call."""


class FaultKind(StrEnum):
    """What is wrong with a month."""

    MISSING = "missing"
    BEHIND = "behind"
    """Made from other bodies than those held now: `dataset build` mends it."""
    SURPLUS = "surplus"
    """Of this month nothing is held."""
    ALTERED = "altered"
    UNREADABLE = "unreadable"
    WRONG_SCHEMA = "wrong-schema"
    WRONG_ROWS = "wrong-rows"
    DAILY_FILE = "daily-file"
    """A daily file is not the one on record."""


class Fault(Struct, frozen=True):
    """One month that is not what it should be."""

    month: str
    kind: FaultKind
    detail: str


class DatasetVerifyReport(Struct, frozen=True):
    """What a verification found."""

    months: int
    days: int
    rows: int
    odd: int
    """Lines that are told as no launches; with the rows they are the mirror's lines."""
    rederived: bool
    """Whether all rows were made anew and compared."""
    faults: tuple[Fault, ...]


def verify_dataset(
    data: DataDir,
    *,
    rederive: bool = False,
    progress: Progress = lambda _months, _bytes: None,
) -> DatasetVerifyReport:
    """Compare the data set with the mirror.

    Args:
        data: the data directory.
        rederive: whether to make each month anew, aside, and compare all rows.
        progress: told as it goes.

    Raises:
        ConfigError: DuckDB is not installed.
        StorageError: something cannot be read.
    """
    require_duckdb()
    held = load_steady_inventory(data)
    wanted = {month.name: (month, days) for month, days in months_of(held.records.values()).items()}
    doubted = {month_of(day).name: day for day in sorted(doubted_days(held), reverse=True)}
    inventory, there = load_dataset_books(data), list_months(data)
    faults: list[Fault] = []
    provenances: list[Provenance] = []
    for name in sorted(wanted.keys() | there.keys()):
        if name in doubted:
            detail = f"{doubted[name]} is not as on record (see `binder-mirror verify`)"
            faults.append(Fault(name, FaultKind.DAILY_FILE, detail))
        elif name not in there:
            faults.append(Fault(name, FaultKind.MISSING, "there is no file of this month"))
        elif name not in wanted:
            faults.append(Fault(name, FaultKind.SURPLUS, "nothing is held of this month"))
        else:
            month, days = wanted[name]
            check = _Check(data, name, there[name], inventory.get(name))
            found = list(check.run(days))
            if not found and rederive:
                found = list(check.rederive(month, days))
            faults += found
            if check.provenance is not None:
                provenances.append(check.provenance)
            progress(1, sum(day.size for day in days))
    days_made = [day for provenance in provenances for day in provenance.days]
    return DatasetVerifyReport(
        months=len(there),
        days=len(days_made),
        rows=sum(day.rows for day in days_made),
        odd=sum(day.odd for day in days_made),
        rederived=rederive,
        faults=tuple(faults),
    )


class _Check:
    """Looks at one month's file."""

    def __init__(self, data: DataDir, name: str, path: Path, inventory: MonthBooks | None) -> None:
        self.provenance: Provenance | None = None
        self._data = data
        self._name = name
        self._path = path
        self._books = inventory

    def run(self, days: tuple[Record, ...]) -> Iterator[Fault]:
        """Yield what is wrong with the file itself, seen against the days held."""
        import duckdb  # noqa: PLC0415 - heavy, and an extra

        with storage_errors(self._path), self._path.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        if self._books is not None and sha256 != self._books.sha256:
            yield self._fault(FaultKind.ALTERED, "has not the SHA-256 that it was written with")
        try:
            with open_duckdb(memory_bytes=VERIFY_MEMORY_BYTES) as connection:
                yield from self._read(connection, days)
        except (duckdb.Error, msgspec.DecodeError) as error:
            yield self._fault(FaultKind.UNREADABLE, one_line(error))

    def rederive(self, month: Month, days: tuple[Record, ...]) -> Iterator[Fault]:
        """Yield whether the month, made anew from the daily files, has other rows."""
        try:
            yield from self._compare(month, days)
        except DatasetError as error:
            yield self._fault(FaultKind.DAILY_FILE, error.line())

    def _compare(self, month: Month, days: tuple[Record, ...]) -> Iterator[Fault]:
        with (
            TemporaryDirectory(prefix="binder-mirror-") as folder,
            open_duckdb(memory_bytes=VERIFY_MEMORY_BYTES, scratch=Path(folder)) as connection,
        ):
            build_into(Path(folder), self._data, {month: days}, lambda _files, _bytes: None)
            here = path_literal(self._path)
            anew = path_literal(month.path(Path(folder)))
            differing = connection.execute(
                f"SELECT count(*) FROM {_rows(here)} AS here POSITIONAL JOIN {_rows(anew)} AS anew "
                "WHERE here.all_columns IS DISTINCT FROM anew.all_columns"
            ).fetchone()
        if differing is not None and differing[0]:
            yield self._fault(
                FaultKind.WRONG_ROWS, f"{differing[0]:,} rows are not what the daily files say"
            )

    def _read(self, connection: "DuckDBPyConnection", days: tuple[Record, ...]) -> Iterator[Fault]:
        path = path_literal(self._path)
        stored = connection.execute(
            f"SELECT decode(value) FROM parquet_kv_metadata({path}) "
            f"WHERE decode(key) = '{PROVENANCE_KEY}'"
        ).fetchone()
        if stored is None:
            yield self._fault(FaultKind.UNREADABLE, "does not say what it was made from")
            return
        self.provenance = msgspec.json.decode(stored[0], type=Provenance)
        if not matches(self.provenance, days):
            yield self._fault(FaultKind.BEHIND, _difference(self.provenance, days))
            return
        described = connection.execute(
            f"DESCRIBE SELECT * FROM read_parquet({path}, hive_partitioning = false)"
        ).fetchall()
        if [(row[0], row[1]) for row in described] != [
            (one.name, one.sql_type) for one in DATASET_COLUMNS
        ]:
            yield self._fault(FaultKind.WRONG_SCHEMA, "has other columns than it should")
            return
        yield from self._count(connection, path, days)

    def _count(
        self, connection: "DuckDBPyConnection", path: str, days: tuple[Record, ...]
    ) -> Iterator[Fault]:
        """Compare rows a day, reading every column of every row on the way."""
        columns = ", ".join(f'"{one.name}"' for one in DATASET_COLUMNS)
        counted = connection.execute(
            f"SELECT file, count(*), bit_xor(hash({columns})) "
            f"FROM read_parquet({path}, hive_partitioning = false) GROUP BY file"
        ).fetchall()
        rows = {name: count for name, count, _ in counted}
        lines = {record.name: record.lines for record in days}
        for day in self.provenance.days if self.provenance is not None else ():
            found = rows.pop(day.name, 0)
            if found != day.rows or found + day.odd != lines[day.name]:
                detail = (
                    f"{day.name}: {found:,} rows and {day.odd:,} odd lines, but the file has "
                    f"{lines[day.name]:,} lines"
                )
                yield self._fault(FaultKind.WRONG_ROWS, detail)
        for name in rows:
            yield self._fault(FaultKind.WRONG_ROWS, f"{name}: no file of this month")

    def _fault(self, kind: FaultKind, detail: str) -> Fault:
        return Fault(self._name, kind, detail)


def _rows(path: str) -> str:
    """Return the SQL of a month's rows, each as one value."""
    columns = ", ".join(f'"{one.name}"' for one in DATASET_COLUMNS)
    return (
        f"(SELECT row({columns}) AS all_columns "
        f"FROM read_parquet({path}, hive_partitioning = false))"
    )


def _difference(provenance: Provenance, days: tuple[Record, ...]) -> str:
    made = {day.name: day.sha256 for day in provenance.days}
    held = {day.name: day.sha256 for day in days}
    changed = sorted(name for name in made.keys() | held.keys() if made.get(name) != held.get(name))
    if not changed:
        return "was made by another version of the schema"
    return f"was made before these changed: {', '.join(changed[:3])}" + (
        f" and {len(changed) - 3:,} more" if len(changed) > 3 else ""
    )
