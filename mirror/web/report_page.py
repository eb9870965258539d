"""Serves the report on all days, made when it is asked for and the copy has changed."""

import asyncio
import gzip
import hashlib

from mirror.report.facts import Report
from mirror.report.render import render_page
from mirror.status.snapshot import Snapshot
from mirror.web.site import Site

REPORT_POLICY = "frame-ancestors 'none'"
"""What the page's own policy, which allows nothing but its style, cannot say."""


class ReportPage:
    """Keeps the page of a site's report."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._lock = asyncio.Lock()
        self._report: Report | None = None
        self._tag = ""
        self._bodies: dict[str | None, bytes] = {}
        """The page of that tag, by coding."""

    async def body(self, coding: str | None) -> tuple[str, bytes]:
        """Return the tag of the page, and its bytes in a coding."""
        async with self._lock:
            snapshot = await self._site.snapshots.snapshot()
            await asyncio.to_thread(self._make, snapshot)
            return self._tag, self._bodies[coding]

    def _make(self, snapshot: Snapshot) -> None:
        report = self._site.report(snapshot)
        if report is not self._report:
            html = render_page(report, is_served=True).encode()
            self._tag = hashlib.sha256(html).hexdigest()[:16]
            self._report, self._bodies = report, {None: html, "gzip": gzip.compress(html)}
