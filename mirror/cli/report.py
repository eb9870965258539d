"""`binder-mirror report`: gaps and anomalies, and how launches developed.

Made from the manifest in less than a second; only ranking repositories reads the daily files.
"""

import re
import shutil
import sys
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import click
from msgspec.structs import replace

from mirror.cli import common
from mirror.cli.streams import answer, say
from mirror.errors import ExitCode
from mirror.model import DayRange
from mirror.progress import takes_colours
from mirror.report.anomaly import Severity
from mirror.report.facts import rank_repositories, read_report, to_json
from mirror.report.render import ASCII, BLOCKS, TerminalStyle, render_page, render_report
from mirror.store.disk import replacing

_TOP_ON_A_PAGE = 20
_QUARTER = re.compile(r"([0-9]{4})-?Q([1-4])", re.IGNORECASE)


@common.option_type
def parse_quarter(text: str) -> DayRange:
    """Return the days of a quarter."""
    match = _QUARTER.fullmatch(text)
    if match is None or match[1] in ("0000", "9999"):
        raise ValueError("is not a quarter like 2026Q3")
    year, number = int(match[1]), int(match[2])
    after = date(year + number // 4, number % 4 * 3 + 1, 1)
    return DayRange(date(year, number * 3 - 2, 1), after - timedelta(days=1))


@click.command()
@common.on_mirror
@common.days_options
@click.option("--quarter", type=parse_quarter, metavar="QUARTER", help="A quarter, as 2026Q3.")
@click.option(
    "--top",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="List the N repositories launched most; reads the daily files (default: 20 with --html, "
    "else 0).",
)
@click.option(
    "--fail-on",
    type=click.Choice([Severity.SERIOUS.value, Severity.WARNING.value]),
    help="Exit with 3 where something of this severity, or a worse one, is found.",
)
@click.option("--html", metavar="FILE", help="Write one self-contained page; - for stdout.")
@common.json_option
def report(
    place: common.Place,
    days: DayRange,
    quarter: DayRange | None,
    *,
    top: int | None,
    fail_on: str | None,
    html: str | None,
    as_json: bool,
) -> ExitCode:
    """Show what is odd about the days held, and how launches developed.

    Missing days, days with far fewer events than their neighbours, origins that fell silent,
    duplicate, shrunk and mixed days, odd content, times at which upstream's index stood still.
    The exit code is 0 when there is a report, whatever it finds, unless --fail-on says otherwise;
    `found` in the JSON counts it.
    """
    if quarter is not None and days != DayRange():
        raise click.UsageError("--quarter names the days already: leave out --since and --until")
    if html is not None and as_json:
        raise click.UsageError("--html and --json exclude each other: ask for one of them")
    if html is not None and html != "-":
        common.check_output(Path(html), place.data)
    window = quarter or days
    found = read_report(place.data, place.config, now=datetime.now(UTC), window=window)
    if number := top if top is not None else _TOP_ON_A_PAGE * (html is not None):
        archive = common.open_archive(place.data)
        events = archive.events(window.since, window.until, unknown="skip", open_days=True)
        found = replace(found, repositories=rank_repositories(events, number))
    if html is None:
        answer(to_json(found), [render_report(found, _style())], as_json=as_json)
    elif html == "-":
        say(render_page(found).rstrip("\n"))
    else:
        with replacing(Path(html)) as unfinished:
            unfinished.write_bytes(render_page(found).encode())
    # the most severe first
    failing = list(Severity)[: list(Severity).index(Severity(fail_on)) + 1] if fail_on else ()
    return ExitCode.INCOMPLETE if any(map(found.found.get, failing)) else ExitCode.COMPLETE


def _style() -> TerminalStyle:
    is_terminal = sys.stdout.isatty()
    return TerminalStyle(
        width=min(120, shutil.get_terminal_size().columns) if is_terminal else 100,
        colour=takes_colours(sys.stdout),
        ramp=BLOCKS if sys.stdout.encoding.lower().startswith("utf") else ASCII,
    )
