"""Renders a report as one page that needs nothing else: for a screen, or printed each quarter.

The page runs no script, loads nothing, and has the numbers of each chart in a table. Imports Jinja,
which takes time: to be imported only where a page is made.
"""

import base64
import hashlib
from datetime import UTC
from functools import partial

from mirror import __version__
from mirror.report import outline
from mirror.report.anomaly import Anomaly
from mirror.report.charts import Frame, render_spark, render_stack, render_swatch
from mirror.report.facts import Report
from mirror.report.outline import Breakdown
from mirror.templating import load_templates

_PLOTTED_DAYS = 120
_AROUND_DAYS = 14


def render_page(report: Report) -> str:
    """Return the page."""
    templates = load_templates("mirror.report")
    style = templates.get_template("report.css").render()
    page = templates.get_template("report.html").render(
        report=report,
        outline=outline,
        breakdowns=outline.make_breakdowns(report) or [outline.make_whole(report)],
        chart=partial(_chart, report),
        swatch=render_swatch,
        plot=partial(_plot, report),
        made_at=f"{report.made_at.astimezone(UTC):%Y-%m-%d %H:%M} UTC",
        version=__version__,
        style=style,
        digest=base64.b64encode(hashlib.sha256(style.encode()).digest()).decode(),
    )
    return page + "\n"


def _chart(report: Report, breakdown: Breakdown) -> str:
    bands = {
        name: [round(mean or 0) for mean in breakdown.means(name, report.starts)]
        for name in breakdown.totals
    }
    caption = outline.describe_means(report)
    frame = Frame(960, 280, f"Launches {breakdown.heading.lower()}", caption)
    return render_stack(report.starts, bands, frame)


def _plot(report: Report, odd: Anomaly) -> str:
    """Return the days around an anomaly, small."""
    days = outline.days_around(report, odd, _AROUND_DAYS) if odd.days <= _PLOTTED_DAYS else []
    return render_spark([report.daily.get(day, 0) for day in days], 0) if days else ""
