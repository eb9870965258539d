"""`binder-mirror report`: gaps and anomalies, and how launches developed.

Made from the manifest in less than a second; only ranking repositories reads the daily files.
"""

import re
import shutil
import sys
from datetime import date, timedelta
from pathlib import Path

import click
import msgspec

from mirror.cli.common import (
    DAY,
    check_output,
    check_range,
    data_dir_option,
    json_option,
    load,
    print_json,
    say,
)
from mirror.clock import utc_now
from mirror.progress import takes_escapes
from mirror.report.facts import Ranking, Report, Window, read_report, to_json
from mirror.report.report_text import ASCII, BLOCKS, TerminalStyle, render_report
from mirror.store.disk import replacing
from mirror.store.layout import DataDir, require_mirror

_TOP_ON_A_PAGE = 20
_QUARTER = re.compile(r"([0-9]{4})-?Q([1-4])", re.IGNORECASE)


class QuarterType(click.ParamType[Window]):
    """A quarter on the command line."""

    name = "quarter"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> Window:
        """Return the days of the quarter that `value` names."""
        if isinstance(value, Window):
            return value
        match = _QUARTER.fullmatch(str(value))
        if match is None or match[1] in ("0000", "9999"):
            self.fail(f"{str(value)!r} is no quarter like 2026Q3", param, ctx)
        year, number = int(match[1]), int(match[2])
        after = date(year + number // 4, number % 4 * 3 + 1, 1)
        return Window(date(year, number * 3 - 2, 1), after - timedelta(days=1))


@click.command()
@data_dir_option
@click.option("--since", type=DAY, metavar="DATE", help="The first day to report on.")
@click.option("--until", type=DAY, metavar="DATE", help="The last day to report on.")
@click.option("--quarter", type=QuarterType(), metavar="QUARTER", help="A quarter, as 2026Q3.")
@click.option(
    "--top",
    type=click.IntRange(0, 1000),
    metavar="N",
    help="List the N repositories launched most; reads the daily files (default: 20 with --html, "
    "else 0).",
)
@click.option("--html", metavar="FILE", help="Write one self-contained page; - for stdout.")
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    data_dir: str | None,
    since: date | None,
    until: date | None,
    quarter: Window | None,
    *,
    top: int | None,
    html: str | None,
    as_json: bool,
) -> int:
    """Show what is odd about the days held, and how launches developed.

    Missing days, days with far fewer events than their neighbours, origins that fell silent,
    duplicate, shrunk and mixed days, odd content, times at which upstream's index stood still.
    The exit code is 0 when there is a report, whatever it finds; `found` in the JSON counts it.
    """
    window = _choose_window(since, until, quarter)
    if html is not None and as_json:
        raise click.UsageError("--html and --json exclude each other: ask for one of them")
    config, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    if html is not None and html != "-":
        check_output(Path(html), data)
    found = read_report(
        data,
        window,
        stale_after=config.schedule.stale_span,
        counts=config.storage.findings,
        now=utc_now(),
    )
    if number := top if top is not None else _TOP_ON_A_PAGE * (html is not None):
        ranking = _rank(data, window, number)
        found = msgspec.structs.replace(found, repositories=ranking)
    if html is not None:
        _write_page(found, html)
    elif as_json:
        print_json(to_json(found))
    else:
        say(render_report(found, _style()))
    return 0


def _rank(data: DataDir, window: Window, number: int) -> Ranking:
    from mirror.reading.reader import Archive  # noqa: PLC0415 - only where files are read
    from mirror.report.repositories import rank_repositories  # noqa: PLC0415 - the same

    days = data.days
    archive = Archive(data.root, name_template=days.name_template, final_after=days.final_after)
    events = archive.events(window.since, window.until, unknown="skip", open_days=True)
    return rank_repositories(events, number)


def _write_page(found: Report, html: str) -> None:
    from mirror.report.report_html import render_page  # noqa: PLC0415 - only where a page is made

    page = render_page(found)
    if html == "-":
        say(page.rstrip("\n"))
    else:
        with replacing(Path(html)) as unfinished:
            unfinished.write_bytes(page.encode())


def _choose_window(since: date | None, until: date | None, quarter: Window | None) -> Window:
    if quarter is not None:
        if since is not None or until is not None:
            raise click.UsageError(
                "--quarter names the days already: leave out --since and --until"
            )
        return quarter
    check_range(since, until)
    return Window(since, until)


def _style() -> TerminalStyle:
    """Return what standard output can show."""
    is_terminal = sys.stdout.isatty()
    return TerminalStyle(
        width=min(120, shutil.get_terminal_size().columns) if is_terminal else 100,
        colour=takes_escapes(sys.stdout),
        ramp=BLOCKS if _can_show(BLOCKS) else ASCII,
    )


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
