"""The months of the data set: their files, what each was made from, which are to be made.

    dataset/year=YYYY/month=MM/launches.parquet
    dataset.json    size, time and digest of each, with its provenance

A month is known by the name of its folder, and is that of the daily files, not of the events in
them. Its provenance stands in the Parquet file's own metadata too, under `PROVENANCE_KEY`, so that
each file says by itself which bodies it was made from. In the folder is nothing else, for some
readers take all that is in it for Parquet.

The one file of `export_launches` has the columns and types of the JupyterHub project's weekly
`launches.parquet` (https://github.com/jupyterhub/binder-data), and its order: by time.
"""

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import date
from itertools import groupby
from operator import attrgetter
from pathlib import Path
from tempfile import TemporaryDirectory

import msgspec
from msgspec import Struct, field

from mirror.archive.manifest import Inventory
from mirror.dataset.columns import SCHEMA_VERSION
from mirror.errors import BAD_JSON, ConfigError, DatasetError, WrongKindError
from mirror.events.decoder import Oddity
from mirror.model import Record
from mirror.reading.duck import duckdb_errors, literal, open_duckdb, path_literal, require_duckdb
from mirror.store.disk import kind_of, read_if_file, replacing, storage_errors, write_durably
from mirror.store.layout import DataDir
from mirror.store.proof import load_proved, prove_file
from mirror.text import plural

PROVENANCE_KEY = "binder_mirror"
FILE_NAME = "launches.parquet"
MAX_REPORTED_LINES = 1000  # odd lines of a day that are reported one by one; all are counted
_FORMAT = 1
_EXPORT_MEMORY_BYTES = 1024**3
_EXPORT_COLUMNS = "origin, provider, spec, timestamp"
_MONTH = re.compile(r"year=[0-9]{4}/month=[0-9]{2}")
_NAMED_DAYS = 10


class OddReport(Struct, frozen=True):
    """A line that is not in the data set, and why."""

    line: int
    kind: Oddity
    reason: str


class DayProvenance(Struct, omit_defaults=True):
    """One daily file that a month was made from."""

    date: date
    name: str
    sha256: str  # of the daily file, as the manifest has it
    rows: int
    odd: int = 0  # lines that are no row; rows and odd lines together are the file's lines
    reported_lines: list[OddReport] = field(default_factory=list, name="told")
    """The first of the odd lines."""


class Provenance(Struct, frozen=True):
    """What a month's file was made from, and by what."""

    schema_version: int
    made_by: str
    days: Sequence[DayProvenance]


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
    """How the data set stands to the days held, and what has to be done for it to be in step."""

    made: dict[str, MonthRecord]  # months whose file is as it was written
    build: Mapping[str, tuple[Record, ...]]  # months to be made, with all of their days, ascending
    remove: tuple[str, ...]  # months of which nothing is held any more
    lacking: Mapping[str, tuple[Record, ...]]
    """Months that cannot serve as they are, with all of their days."""
    doubted: tuple[date, ...]  # days that are not read


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
    return _covers(provenance, days) and len(provenance.days) == len(days)


def _covers(provenance: Provenance, days: Collection[Record]) -> bool:
    """Return whether a month was made from these bodies, and maybe others, by this schema."""
    made_from = {(day.name, day.sha256) for day in provenance.days}
    is_current = provenance.schema_version == SCHEMA_VERSION
    return is_current and made_from >= {(day.name, day.sha256) for day in days}


def plan_dataset(data: DataDir, *, rebuild: bool = False) -> DatasetPlan:
    """Return which months are to be made, all of them to `rebuild`, and which to go.

    A month with a doubted day is left as it is, for it was made when the file was right; it serves
    unless it lacks another day.
    """
    inventory, made = load_proved(data), load_intact_months(data)
    held, doubted = months_of(inventory.records.values()), doubted_days(inventory)
    kept = set(map(month_of, doubted))
    lacking = {
        month: days
        for month, days in held.items()
        if month not in made
        or not (_covers if month in kept else matches)(made[month].provenance, days)
    }
    build = {
        month: days
        for month, days in held.items()
        if month not in made or (month not in kept and (rebuild or month in lacking))
    }
    remove = {*made, *list_months(data)} - held.keys() - kept
    return DatasetPlan(made, build, tuple(sorted(remove)), lacking, tuple(sorted(doubted)))


def doubted_days(inventory: Inventory) -> set[date]:
    """Return the days whose file is not the one on record, or is gone."""
    return {*inventory.unverified, *inventory.missing, *inventory.wrong_kind}


def load_intact_months(data: DataDir) -> dict[str, MonthRecord]:
    """Return the months whose file is the one on record: by size and time, else by its digest."""

    def is_ours(path: Path, record: MonthRecord) -> bool:
        with suppress(OSError, WrongKindError):
            return is_intact(path, record) or prove_file(data, path, [record]) is not None
        return False

    months = load_months(data).items()
    return {month: one for month, one in months if is_ours(path_of(data.dataset, month), one)}


def is_intact(path: Path, record: MonthRecord | Record) -> bool:
    """Return whether a file is there with the size and time on record."""
    with suppress(OSError):
        stats = path.lstat()
        return (stats.st_size, stats.st_mtime_ns) == (record.size, record.mtime_ns)
    return False


def load_months(data: DataDir) -> dict[str, MonthRecord]:
    """Return all months on record; none where the records are lost.

    A ConfigError says that a later version of this software wrote them.
    """
    try:
        records = msgspec.json.decode(read_if_file(data.dataset_provenance) or b"", type=_Records)
    except BAD_JSON:
        return {}
    if records.format > _FORMAT:
        raise ConfigError(
            f"dataset.json is of format {records.format}; this version knows format {_FORMAT}",
            hint="upgrade binder-mirror, or move dataset.json away to have the data set made anew",
        )
    return {month: one for month, one in records.months.items() if _MONTH.fullmatch(month)}


def save_months(data: DataDir, months: Mapping[str, MonthRecord]) -> None:
    """Replace the records."""
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


@contextmanager
def open_months(
    data: DataDir,
    *,
    notice: Callable[[str], None] = lambda _text: None,
    warn: Callable[[str], None] = lambda _text: None,
    call: Callable[..., None] = lambda function, *args: function(*args),
) -> Iterator[Sequence[Path]]:
    """Have the months' files: those of the data set, and for what is not in it some made for now.

    `notice` is called with what a user should know of the data, `warn` with what is on record, or
    listed, and not in the files; `call` calls the function that makes files, here or elsewhere. A
    DatasetError says that a daily file is not the one on record.
    """
    plan = plan_dataset(data)
    there = sorted(plan.made.keys() - plan.lacking.keys() - set(plan.remove))
    files = [path_of(data.dataset, month) for month in there]
    if plan.doubted:
        named = ", ".join(map(str, plan.doubted[:_NAMED_DAYS]))
        named += ", …" * (len(plan.doubted) > _NAMED_DAYS)
        count = plural(len(plan.doubted), "day")
        warn(f"{count} not read, not being as on record: {named} (see `binder-mirror verify`)")
    if files and not plan.lacking:
        yield files
        return
    # here alone, for all that DuckDB does is done in another process: it takes long to import
    require_duckdb()
    records = [record for days in plan.lacking.values() for record in days]
    size = sum(record.size for record in records)
    state = f"the data set is behind in {plural(len(plan.lacking), 'month')}"
    notice(
        f"{state if plan.made else 'there is no data set'}: reading "
        f"{plural(len(records), 'daily file')}, {size / 1e6:,.0f} MB "
        "(`binder-mirror dataset build` makes one, for all queries to come)"
    )
    from mirror.dataset.build import build_into  # noqa: PLC0415 - most of a small query's time

    with TemporaryDirectory(prefix="binder-mirror-") as folder:
        call(build_into, Path(folder), data, plan.lacking)
        yield files + [path_of(Path(folder), month) for month in plan.lacking]


def export_launches(
    data: DataDir,
    target: Path,
    *,
    notice: Callable[[str], None] = lambda _text: None,
    warn: Callable[[str], None] = lambda _text: None,
) -> int:
    """Write all launches into one Parquet file, replaced whole; return how many there are.

    `notice` and `warn` are those of `open_months`. A DatasetError says that there is no data set,
    or that it cannot be read.
    """
    require_duckdb()
    if not list_months(data):
        raise DatasetError(
            "there is no data set yet", hint="make it with `binder-mirror dataset build`"
        )
    with (
        open_months(data, notice=notice, warn=warn) as months,
        replacing(target) as unfinished,
        duckdb_errors(f"cannot write {target}"),
        open_duckdb(memory_bytes=_EXPORT_MEMORY_BYTES, scratch=target.parent) as connection,
    ):
        files = ", ".join(map(path_literal, months))
        written = connection.execute(
            f"COPY (SELECT {_EXPORT_COLUMNS} FROM read_parquet([{files}], "
            "hive_partitioning = false) ORDER BY timestamp, file, line) "
            f"TO {literal(str(unfinished))} (FORMAT parquet, COMPRESSION zstd, USE_TMP_FILE false)"
        ).fetchone()
    return int(written[0]) if written is not None else 0
