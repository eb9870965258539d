"""Verifies the data set against the daily files: digests, rows a day, schema; by choice every row.

Reads only, and takes no lock. What a poll has just replaced is out of step, not damaged.
"""

from collections import Counter
from collections.abc import Iterator
from enum import StrEnum
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TypeAlias

import msgspec
from msgspec import Struct

from mirror.dataset import months
from mirror.dataset.build import build_into
from mirror.dataset.columns import DATASET_COLUMNS
from mirror.errors import DatasetError
from mirror.model import Record
from mirror.reading.duck import Connection, one_line, open_duckdb, path_literal, require_duckdb
from mirror.store.disk import digest_of
from mirror.store.layout import DataDir
from mirror.store.proof import load_proved
from mirror.text import plural

_MEMORY_BYTES = 1024**3
_COLUMNS = ", ".join(f'"{one.name}"' for one in DATASET_COLUMNS)


class FaultKind(StrEnum):
    """What is wrong with a month."""

    MISSING = "missing"
    BEHIND = "behind"  # made from other bodies than those held now: `dataset build` mends it
    SURPLUS = "surplus"  # of this month nothing is held
    ALTERED = "altered"
    UNREADABLE = "unreadable"
    WRONG_SCHEMA = "wrong-schema"
    WRONG_ROWS = "wrong-rows"
    DAILY_FILE = "daily-file"  # a daily file is not the one on record


class Fault(Struct, frozen=True):
    """One month that is not what it should be."""

    month: str
    kind: FaultKind
    detail: str


_Found: TypeAlias = tuple[FaultKind, str]


class DatasetVerifyReport(Struct, frozen=True):
    """What a verification found."""

    months: int
    days: int
    rows: int
    odd: int  # lines that are no launches; with the rows they are the mirror's lines
    rederived: bool  # whether all rows were made again and compared
    faults: tuple[Fault, ...]


def verify_dataset(data: DataDir, *, rederive: bool = False) -> DatasetVerifyReport:
    """Compare the data set with the mirror.

    With `rederive` each month is made again, aside, and all rows are compared.
    """
    require_duckdb()
    held = load_proved(data)
    wanted = months.months_of(held.records.values())
    doubted = {months.month_of(day): day for day in sorted(months.doubted_days(held), reverse=True)}
    recorded, there = months.load_months(data), months.list_months(data)
    faults: list[Fault] = []
    made: list[months.Provenance] = []
    for month in sorted(wanted.keys() | there.keys()):
        found: list[_Found]
        if month in doubted:
            detail = f"{doubted[month]} is not as on record (see `binder-mirror verify`)"
            found = [(FaultKind.DAILY_FILE, detail)]
        elif month not in there:
            found = [(FaultKind.MISSING, "there is no file of this month")]
        elif month not in wanted:
            found = [(FaultKind.SURPLUS, "nothing is held of this month")]
        else:
            sha256 = recorded[month].sha256 if month in recorded else None
            found = list(_check_file(there[month], sha256, wanted[month], made))
            if not found and rederive:
                found = list(_rederive(there[month], data, month, wanted[month]))
        faults += [Fault(month, kind, detail) for kind, detail in found]
    days = [day for provenance in made for day in provenance.days]
    return DatasetVerifyReport(
        months=len(there),
        days=len(days),
        rows=sum(day.rows for day in days),
        odd=sum(day.odd for day in days),
        rederived=rederive,
        faults=tuple(faults),
    )


def _check_file(
    path: Path, recorded_sha256: str | None, days: tuple[Record, ...], made: list[months.Provenance]
) -> Iterator[_Found]:
    """Yield what is wrong with a month's file; what it says it was made from is added to `made`."""
    import duckdb  # noqa: PLC0415 - heavy, and an extra

    if recorded_sha256 not in (None, digest_of(path)):
        yield FaultKind.ALTERED, "has not the SHA-256 that it was written with"
    try:
        with open_duckdb(memory_bytes=_MEMORY_BYTES) as connection:
            stored = connection.execute(
                f"SELECT decode(value) FROM parquet_kv_metadata({path_literal(path)}) "
                f"WHERE decode(key) = '{months.PROVENANCE_KEY}'"
            ).fetchone()
            if stored is None:
                yield FaultKind.UNREADABLE, "does not say what it was made from"
                return
            provenance = msgspec.json.decode(stored[0], type=months.Provenance)
            made.append(provenance)
            if months.matches(provenance, days):
                yield from _check_rows(connection, path, provenance, days)
            else:
                yield FaultKind.BEHIND, _difference(provenance, days)
    except (duckdb.Error, msgspec.DecodeError) as error:
        yield FaultKind.UNREADABLE, one_line(error)


def _check_rows(
    connection: Connection, path: Path, provenance: months.Provenance, days: tuple[Record, ...]
) -> Iterator[_Found]:
    described = connection.execute(f"DESCRIBE FROM {_source(path)}").fetchall()
    if [row[:2] for row in described] != [(one.name, one.sql_type) for one in DATASET_COLUMNS]:
        yield FaultKind.WRONG_SCHEMA, "has other columns than it should"
        return
    # with a hash of them every column of every row is read
    counted = connection.execute(
        f"SELECT file, count(*), bit_xor(hash({_COLUMNS})) FROM {_source(path)} GROUP BY file"
    ).fetchall()
    found = Counter({name: count for name, count, _ in counted})
    pairs = zip(provenance.days, days, strict=True)
    expected = Counter({day.name: record.lines - day.odd for day, record in pairs})
    for name in sorted(found.keys() | expected.keys()):
        if found[name] != expected[name]:
            rows, launches = plural(found[name], "row"), plural(expected[name], "launch")
            detail = f"{name}: {rows}, but {launches} in the file"
            yield FaultKind.WRONG_ROWS, detail


def _rederive(path: Path, data: DataDir, month: str, days: tuple[Record, ...]) -> Iterator[_Found]:
    """Yield whether the month, made again from the daily files, has other rows."""
    with (
        TemporaryDirectory(prefix="binder-mirror-") as name,
        open_duckdb(memory_bytes=_MEMORY_BYTES, scratch=Path(name)) as connection,
    ):
        try:
            build_into(Path(name), data, {month: days})
        except DatasetError as error:
            yield FaultKind.DAILY_FILE, error.line()
            return
        rows = f"(SELECT row({_COLUMNS}) AS row FROM"
        ((differing,),) = connection.execute(
            f"SELECT count(*) FROM {rows} {_source(path)}) AS here POSITIONAL JOIN "
            f"{rows} {_source(months.path_of(Path(name), month))}) AS again "
            "WHERE here.row IS DISTINCT FROM again.row"
        ).fetchall()
    if differing:
        yield FaultKind.WRONG_ROWS, f"{plural(differing, 'row')} not as the daily files say"


def _source(path: Path) -> str:
    return f"read_parquet({path_literal(path)}, hive_partitioning = false)"


def _difference(provenance: months.Provenance, days: tuple[Record, ...]) -> str:
    made = {day.name: day.sha256 for day in provenance.days}
    held = {day.name: day.sha256 for day in days}
    changed = sorted(name for name in made.keys() | held.keys() if made.get(name) != held.get(name))
    if not changed:
        return "was made by another version of the schema"
    return f"was made before these changed: {', '.join(changed[:3])}" + (
        f" and {len(changed) - 3:,} more" if len(changed) > 3 else ""
    )
