"""The Parquet data set on disk: a file a month, and what each was made from.

    dataset/year=YYYY/month=MM/launches.parquet
    dataset.json    size, time and digest of each, with its provenance

A month is known by the name of its folder, and is that of the daily files, not of the events in
them. Its provenance stands in the Parquet file's own metadata too, under `PROVENANCE_KEY`, so that
each file says by itself which bodies it was made from. In the folder is nothing else, for some
readers take all that is in it for Parquet. Nothing here needs DuckDB.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from itertools import groupby
from operator import attrgetter
from pathlib import Path

import msgspec
from msgspec import Struct, field

from mirror.archive.manifest import Inventory
from mirror.dataset.columns import SCHEMA_VERSION
from mirror.events.decoder import Oddity
from mirror.model import Record
from mirror.store.disk import kind_of, read_file, storage_errors, write_durably
from mirror.store.layout import DataDir
from mirror.text import plural

PROVENANCE_KEY = "binder_mirror"
FILE_NAME = "launches.parquet"
MAX_REPORTED_LINES = 1000
"""Odd lines of a day that are reported one by one; all are counted."""
_FORMAT = 1


class OddReport(Struct, frozen=True):
    """A line that is not in the data set, and why."""

    line: int
    kind: Oddity
    reason: str


class DayProvenance(Struct, frozen=True, omit_defaults=True):
    """One daily file that a month was made from."""

    date: date
    name: str
    sha256: str
    """Of the daily file, as the manifest has it."""
    rows: int
    odd: int = 0
    """Lines that are no row; rows and odd lines together are the file's lines."""
    reported_lines: tuple[OddReport, ...] = field(default=(), name="told")
    """The first of the odd lines."""


class Provenance(Struct, frozen=True):
    """What a month's file was made from, and by what."""

    schema_version: int
    made_by: str
    days: tuple[DayProvenance, ...]


class MonthRecord(Struct, frozen=True):
    """A month's file as it was when it was written."""

    size: int
    mtime_ns: int
    sha256: str
    provenance: Provenance


class _Records(Struct, frozen=True):
    format: int
    months: dict[str, MonthRecord]


class DatasetPlan(Struct, frozen=True):
    """What has to be done for the data set to be in step."""

    build: Mapping[str, tuple[Record, ...]]
    """Months to be made, with all of their days, ascending."""
    remove: tuple[str, ...]
    """Months of which nothing is held any more."""


def month_of(day: date) -> str:
    """Return the month of a daily file: its folder, as the common readers of partitions know it."""
    return f"year={day.year:04}/month={day.month:02}"


def path_of(root: Path, month: str) -> Path:
    """Return where a month's file is under `root`."""
    return root / month / FILE_NAME


def months_of(records: Iterable[Record]) -> dict[str, tuple[Record, ...]]:
    """Return the held days by month, ascending."""
    days = sorted(records, key=attrgetter("date"))
    return {month: tuple(found) for month, found in groupby(days, lambda one: month_of(one.date))}


def matches(provenance: Provenance, days: Collection[Record]) -> bool:
    """Return whether a month was made from just these bodies, by this schema."""
    made_from = [(day.name, day.sha256) for day in provenance.days]
    return provenance.schema_version == SCHEMA_VERSION and made_from == [
        (day.name, day.sha256) for day in days
    ]


def plan_dataset(
    data: DataDir,
    inventory: Inventory,
    recorded: Mapping[str, MonthRecord],
    *,
    rebuild: bool = False,
) -> DatasetPlan:
    """Return which months are to be made, and which to go.

    A month with a doubted day is left as it is: it was made when the file was right.

    Args:
        data: the data directory.
        inventory: the days held.
        recorded: the months there are, whose files are as they were written.
        rebuild: whether to make all months.
    """
    wanted = months_of(inventory.records.values())
    kept = set(map(month_of, doubted_days(inventory)))
    build = {
        month: days
        for month, days in wanted.items()
        if month not in recorded
        or (month not in kept and (rebuild or not matches(recorded[month].provenance, days)))
    }
    known = {*recorded, *list_months(data)}
    return DatasetPlan(build, tuple(sorted(known - wanted.keys() - kept)))


def doubted_days(inventory: Inventory) -> set[date]:
    """Return the days whose file is not the one on record, or is gone."""
    return {*inventory.unverified, *inventory.missing, *inventory.wrong_kind}


def describe_lag(data: DataDir, inventory: Inventory) -> list[str]:
    """Return what whoever reads the data set should know of it, in a line each.

    Raises:
        StorageError: what is on record of it cannot be read.
    """
    plan = plan_dataset(data, inventory, load_intact_months(data))
    behind = len(plan.build) + len(plan.remove)
    lag = (
        f"the data set is behind in {plural(behind, 'month')}: `binder-mirror dataset build` "
        "brings it in step"
    )
    return ([lag] if behind else []) + describe_doubt(inventory)


def describe_doubt(inventory: Inventory) -> list[str]:
    """Return a line about days that are not read; none where there are none."""
    count = len(doubted_days(inventory))
    line = f"{plural(count, 'day')} not read, not being as on record: see `binder-mirror verify`"
    return [line] if count else []


def load_intact_months(data: DataDir) -> dict[str, MonthRecord]:
    """Return the months whose file is the one on record, by size and time.

    Raises:
        StorageError: the records cannot be read.
    """
    return {
        month: record
        for month, record in load_months(data).items()
        if _is_there(path_of(data.dataset, month), record)
    }


def load_months(data: DataDir) -> dict[str, MonthRecord]:
    """Return all months on record; none where the records are lost or of another format.

    Raises:
        StorageError: they cannot be read.
    """
    try:
        records = msgspec.json.decode(read_file(data.dataset_provenance) or b"", type=_Records)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return records.months if records.format == _FORMAT else {}


def save_months(data: DataDir, months: Mapping[str, MonthRecord]) -> None:
    """Replace the records.

    Raises:
        StorageError: the disk refused.
    """
    records = _Records(_FORMAT, dict(sorted(months.items())))
    write_durably(data.dataset_provenance, msgspec.json.encode(records), staging=scratch_of(data))


def scratch_of(data: DataDir) -> Path:
    """Return the folder for what is unfinished; emptied by each writer."""
    return data.dataset / ".unfinished"


def list_months(data: DataDir) -> dict[str, Path]:
    """Return every month's file that there is, by month, ascending."""
    with storage_errors(data.dataset):
        paths = sorted(data.dataset.glob(f"year=*/month=*/{FILE_NAME}"))
    return {
        str(path.parent.relative_to(data.dataset)): path
        for path in paths
        if kind_of(path) == "file"
    }


def _is_there(path: Path, record: MonthRecord) -> bool:
    try:
        stats = path.lstat()
    except OSError:
        return False
    return (stats.st_size, stats.st_mtime_ns) == (record.size, record.mtime_ns)
