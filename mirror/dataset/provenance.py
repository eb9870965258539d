"""The Parquet data set on disk: a file a month, and what each was made from.

    dataset/year=YYYY/month=MM/launches.parquet
    dataset.json    size, time and digest of each, with its provenance

The provenance stands in the Parquet file's own metadata too, under `PROVENANCE_KEY`, so that each
file tells by itself which bodies it was made from. In the folder is nothing else, for some readers
take all that is in it for Parquet. Nothing here needs DuckDB.
"""

from collections.abc import Collection, Iterable, Mapping
from datetime import date
from pathlib import Path

import msgspec
from msgspec import Struct

from mirror.archive.manifest import Inventory
from mirror.dataset.columns import SCHEMA_VERSION
from mirror.events.decoder import Oddity
from mirror.model import Record
from mirror.store.disk import kind_of, read_file, storage_errors, write_durably
from mirror.store.layout import DataDir
from mirror.text import plural

PROVENANCE_KEY = "binder_mirror"
FILE_NAME = "launches.parquet"
TOLD_LINES = 1000
"""Odd lines of a day that are told one by one; all are counted."""
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
    told: tuple[OddReport, ...] = ()
    """The first of the odd lines."""


class Provenance(Struct, frozen=True):
    """What a month's file was made from, and by what."""

    schema_version: int
    made_by: str
    days: tuple[DayProvenance, ...]


class MonthBooks(Struct, frozen=True):
    """A month's file as it was when it was written."""

    size: int
    mtime_ns: int
    sha256: str
    provenance: Provenance


class _Books(Struct, frozen=True):
    format: int
    months: dict[str, MonthBooks]


class Month(Struct, frozen=True, order=True):
    """A month of the data set: that of the daily files, not of the events in them."""

    year: int
    month: int

    @property
    def name(self) -> str:
        """The folder of the month, as the common readers of partitions know it."""
        return f"year={self.year:04}/month={self.month:02}"

    def path(self, root: Path) -> Path:
        """Return where the month's file is under `root`."""
        return root / self.name / FILE_NAME


class DatasetPlan(Struct, frozen=True):
    """What has to be done for the data set to be in step."""

    build: Mapping[Month, tuple[Record, ...]]
    """Months to be made, with all of their days, ascending."""
    remove: tuple[str, ...]
    """Names of months of which nothing is held any more."""


def months_of(records: Iterable[Record]) -> dict[Month, tuple[Record, ...]]:
    """Return the held days by month, ascending."""
    months: dict[Month, list[Record]] = {}
    for record in sorted(records, key=lambda one: one.date):
        months.setdefault(month_of(record.date), []).append(record)
    return {month: tuple(days) for month, days in months.items()}


def matches(provenance: Provenance, days: Collection[Record]) -> bool:
    """Return whether a month was made from just these bodies, by this schema."""
    made_from = [(day.name, day.sha256) for day in provenance.days]
    return provenance.schema_version == SCHEMA_VERSION and made_from == [
        (day.name, day.sha256) for day in days
    ]


def plan_dataset(
    records: Iterable[Record],
    inventory: Mapping[str, MonthBooks],
    *,
    there: Iterable[str] = (),
    doubted: Collection[date] = (),
    anew: bool = False,
) -> DatasetPlan:
    """Return which months are to be made, and which to go.

    Args:
        records: the days held.
        inventory: the months there are, whose files are as they were written.
        there: names of all months of which there is a file.
        doubted: days that are not read, for their files are not those on record. A month that has
            one is left as it is: it was made when the file was right.
        anew: whether to make all others.
    """
    wanted = months_of(records)
    kept = {month_of(day).name for day in doubted}
    build = {
        month: days
        for month, days in wanted.items()
        if month.name not in inventory
        or (
            month.name not in kept and (anew or not matches(inventory[month.name].provenance, days))
        )
    }
    known = {month.name for month in wanted} | kept
    return DatasetPlan(build, tuple(sorted((inventory.keys() | set(there)) - known)))


def doubted_days(inventory: Inventory) -> set[date]:
    """Return the days whose file is not the one on record, or is gone."""
    return {*inventory.unverified, *inventory.missing, *inventory.wrong_kind}


def describe_lag(data: DataDir, inventory: Inventory) -> list[str]:
    """Return what whoever reads the data set should know of it, in a line each.

    Raises:
        StorageError: its inventory cannot be read.
    """
    doubted = doubted_days(inventory)
    plan = plan_dataset(
        inventory.records.values(), load_dataset(data), there=list_months(data), doubted=doubted
    )
    told: list[str] = []
    if behind := len(plan.build) + len(plan.remove):
        told.append(
            f"the data set is behind in {plural(behind, 'month')}: `binder-mirror dataset build` "
            "brings it in step"
        )
    return told + describe_doubt(inventory)


def describe_doubt(inventory: Inventory) -> list[str]:
    """Return a line about days that are not read; none where there are none."""
    count = len(doubted_days(inventory))
    if not count:
        return []
    return [f"{plural(count, 'day')} not read, not being as on record: see `binder-mirror verify`"]


def load_dataset(data: DataDir) -> dict[str, MonthBooks]:
    """Return the months whose file is the one on the inventory, by size and time.

    Raises:
        StorageError: the inventory cannot be read.
    """
    kept = load_dataset_books(data)
    return {name: month for name, month in kept.items() if _is_there(data, name, month)}


def load_dataset_books(data: DataDir) -> dict[str, MonthBooks]:
    """Return all that is on the inventory; nothing where they are lost or of another format.

    Raises:
        StorageError: they cannot be read.
    """
    try:
        inventory = msgspec.json.decode(read_file(data.dataset_provenance) or b"", type=_Books)
    except (msgspec.DecodeError, UnicodeDecodeError):
        return {}
    return inventory.months if inventory.format == _FORMAT else {}


def save_dataset_books(data: DataDir, months: Mapping[str, MonthBooks]) -> None:
    """Replace the inventory.

    Raises:
        StorageError: the disk refused.
    """
    inventory = _Books(_FORMAT, dict(sorted(months.items())))
    write_durably(data.dataset_provenance, msgspec.json.encode(inventory), staging=scratch_of(data))


def scratch_of(data: DataDir) -> Path:
    """Return the folder for what is unfinished; emptied by each writer."""
    return data.dataset / ".unfinished"


def list_months(data: DataDir) -> dict[str, Path]:
    """Return every month's file that there is, by the month's name, ascending."""
    with storage_errors(data.dataset):
        paths = sorted(data.dataset.glob(f"year=*/month=*/{FILE_NAME}"))
    return {
        f"{path.parent.parent.name}/{path.parent.name}": path
        for path in paths
        if kind_of(path) == "file"
    }


def month_of(day: date) -> Month:
    """Return the month of a daily file."""
    return Month(day.year, day.month)


def _is_there(data: DataDir, name: str, month: MonthBooks) -> bool:
    try:
        stats = (data.dataset / name / FILE_NAME).lstat()
    except OSError:
        return False
    return (stats.st_size, stats.st_mtime_ns) == (month.size, month.mtime_ns)
