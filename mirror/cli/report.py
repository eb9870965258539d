"""`binder-mirror report`: gaps and anomalies, and how launches went.

Made from the manifest, so that it costs no time; only `--top` reads daily files.
"""

import os
import re
import shutil
import sys
from datetime import date, timedelta

import click

from mirror.cli.common import (
    DAY,
    data_dir_option,
    has_motion,
    json_option,
    load,
    print_json,
    say,
    utc_now,
)
from mirror.core.sparks import ASCII, BLOCKS
from mirror.data.report import Window, read_report, to_json
from mirror.data.report_text import Look, render_report
from mirror.edges.folder import require_mirror

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
@click.option("--since", type=DAY, metavar="DATE", help="The first day it is about.")
@click.option("--until", type=DAY, metavar="DATE", help="The last day it is about.")
@click.option("--quarter", type=QuarterType(), metavar="QUARTER", help="A quarter, as 2026Q3.")
@json_option
@click.pass_context
def report(
    ctx: click.Context,
    data_dir: str | None,
    since: date | None,
    until: date | None,
    quarter: Window | None,
    *,
    as_json: bool,
) -> int:
    """Tell what is odd about the days held, and how launches went.

    Missing days, days with far fewer events than their neighbours, origins that fell silent,
    duplicate, shrunk and mixed days, odd content, times at which upstream's index stood still.
    The exit code is 0 when there is a report, whatever it tells; `found` in the JSON counts it.
    """
    window = _window(since, until, quarter)
    config, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    found = read_report(
        data,
        config.upstream.name_template,
        window,
        final_after=timedelta(seconds=config.schedule.final_after),
        stale_after=timedelta(seconds=config.schedule.stale_after),
        now=utc_now(),
    )
    if as_json:
        print_json(to_json(found))
    else:
        say(render_report(found, _look()))
    return 0


def _window(since: date | None, until: date | None, quarter: Window | None) -> Window:
    if quarter is not None:
        if since is not None or until is not None:
            raise click.UsageError(
                "--quarter names the days already: leave --since and --until out"
            )
        return quarter
    if since is not None and until is not None and since > until:
        raise click.UsageError(f"--since {since} is after --until {until}")
    return Window(since, until)


def _look() -> Look:
    """Return what standard output can show."""
    is_terminal = sys.stdout.isatty()
    return Look(
        width=min(120, shutil.get_terminal_size().columns) if is_terminal else 100,
        colour=is_terminal and not os.environ.get("NO_COLOR") and has_motion(os.environ),
        ramp=BLOCKS if _can_show(BLOCKS) else ASCII,
    )


def _can_show(text: str) -> bool:
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except (UnicodeEncodeError, LookupError):
        return False
    return True
