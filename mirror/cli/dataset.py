"""`binder-mirror dataset`: the Parquet data set made, proved and exported."""

from collections.abc import Iterator
from pathlib import Path

import click

from mirror.cli import common
from mirror.cli.options import given
from mirror.cli.streams import notice, say
from mirror.dataset.audit import DatasetVerifyReport, FaultKind, verify_dataset
from mirror.dataset.build import DatasetReport, keep_in_step
from mirror.dataset.months import MAX_REPORTED_LINES, export_launches
from mirror.errors import ExitCode
from mirror.progress import show_reading
from mirror.store.proof import load_proved
from mirror.text import human_bytes, plural, shown

_SHOWN_LINES = 20
_IN_STEP = {FaultKind.MISSING, FaultKind.BEHIND, FaultKind.SURPLUS}


@click.group()
def dataset() -> None:
    """Keep the events as Parquet: DATA/dataset/year=YYYY/month=MM/launches.parquet.

    Needs DuckDB: `pip install duckdb`.
    """


@dataset.command()
@common.on_mirror
@click.option("--rebuild", is_flag=True, help="Make all months, those in step too.")
@click.option("--anew", is_flag=True, hidden=True)  # what --rebuild was called first
@common.json_option
def build(place: common.Place, *, rebuild: bool, anew: bool, as_json: bool) -> int:
    """Make the months whose days have changed, and only these.

    Lines that are no launches of a known version are not in it: they are counted, and listed with
    file and line. Polls may go on meanwhile.
    """
    total_bytes = sum(one.size for one in load_proved(place.data).records.values())
    with show_reading(total_bytes, is_quiet=given().is_quiet) as progress:
        report = keep_in_step(place.data, rebuild=rebuild or anew, progress=progress)
    code = ExitCode.INCOMPLETE if report.unread or report.failed else ExitCode.COMPLETE
    return common.conclude(code, report, _render_build(report), as_json=as_json)


@dataset.command()
@common.on_mirror
@click.option(
    "--rederive", is_flag=True, help="Make each month again, aside, and compare all rows."
)
@common.json_option
def verify(place: common.Place, *, rederive: bool, as_json: bool) -> int:
    """Prove that the data set was made from the very files that are held.

    Compares the digests of the daily files, the rows of each day, the schema and each file's own
    digest. Exit 3 where something is wrong or out of step.
    """
    report = verify_dataset(place.data, rederive=rederive)
    code = ExitCode.INCOMPLETE if report.faults else ExitCode.COMPLETE
    return common.conclude(code, report, _render_verify(report), as_json=as_json)


@dataset.command()
@common.on_mirror
@click.argument("target", type=common.OUTPUT, metavar="FILE")
def export(place: common.Place, target: Path | None) -> int:
    """Write all launches into one Parquet FILE: origin, provider, spec, timestamp.

    These are the columns and types of the JupyterHub project's weekly launches.parquet.
    """
    if target is None:
        raise click.UsageError("Parquet cannot be written to standard output: name a file")
    common.check_output(target, place.data)
    left_out: list[str] = []
    count = export_launches(place.data, target, notice=notice, warn=left_out.append)
    for line in left_out:
        notice(line)
    launches, size = plural(count, "launch"), human_bytes(target.stat().st_size)
    say(f"{shown(str(target), 300)}: {launches}, {size}")
    return ExitCode.INCOMPLETE if left_out else ExitCode.COMPLETE


def _render_build(report: DatasetReport) -> Iterator[str]:
    launches, size = plural(report.rows, "launch"), human_bytes(report.size)
    state = "incomplete" if report.unread or report.failed else "in step"
    yield f"Data set {state}: {plural(report.months, 'month')}, {launches}, {size}"
    yield f"  months made: {len(report.built):,}, taken away: {len(report.removed):,}"
    if report.unread:
        days = plural(report.unread, "day")
        yield f"  not read: {days} whose files are not those on record (see `binder-mirror verify`)"
    yield from (f"  failed: {line}" for line in report.failed)
    if report.odd:
        yield f"  not in it: {plural(report.odd, 'line')} of no launch we know"
    yield from (f"    {line}" for line in report.odd_lines[:_SHOWN_LINES])
    if report.odd_lines and (more := report.odd - _SHOWN_LINES) > 0:
        yield f"    and {more:,} more (--json lists up to {MAX_REPORTED_LINES:,} a day)"


def _render_verify(report: DatasetVerifyReport) -> Iterator[str]:
    what = "all rows made again" if report.rederived else "digests and rows a day"
    faults, odd = len(report.faults), plural(report.odd, "odd line")
    months, days = plural(report.months, "month"), plural(report.days, "day")
    yield f"{months}, {days}, {plural(report.rows, 'launch')} and {odd}"
    yield f"  {what}: {plural(faults, 'fault') if faults else 'as the mirror has them'}"
    yield from (f"  {one.kind:<14} {one.month}: {one.detail}" for one in report.faults)
    kinds = {one.kind for one in report.faults}
    if kinds & _IN_STEP:
        yield "  `binder-mirror dataset build` brings these months in step"
    if kinds - {*_IN_STEP, FaultKind.DAILY_FILE}:
        yield "  `binder-mirror dataset build --rebuild` makes all months again"
