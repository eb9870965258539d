"""Makes the status page from its templates, ahead of requests.

That takes tens of milliseconds: a request gets a page that was right less than `LAG_S` ago, and
waits only where there is none. The running poll is put in afterwards, between two parts, so that
the rest keeps its version. All text from upstream is escaped and bounded by the templates. Imported
only where a page is made, for Jinja takes time to start.
"""

import asyncio
import hashlib
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import date, datetime
from functools import partial

from markupsafe import Markup
from msgspec import Struct

from mirror.errors import MirrorError
from mirror.report.charts import render_spark
from mirror.status.snapshot import Snapshot
from mirror.status.standing import Status, judge_health
from mirror.status.wording import ADVICE, join_alike
from mirror.store.layout import is_being_written
from mirror.templating import load_templates
from mirror.text import ago, counts_text
from mirror.web.figures import Day, DayKind, make_calendar, make_shares, make_trend
from mirror.web.site import Site

LAG_S = 5.0  # how far a page may lag behind the copy while the next one is made
_LOOK_S = 1.0  # how often the snapshot is looked at
_MAKE_SHARE = 20  # it takes at most 1/20 of the time, while a first sync publishes file after file
_MAX_POLLS = 20
# what is filled in later; nothing from upstream can look like it, for "<" is escaped
_VERSION = Markup("<version>")
_LIVE = Markup("<live>")


class Page(Struct, frozen=True):
    """A page without the running poll, which is put between the two parts."""

    before: bytes
    after: bytes
    version: str  # a digest of both parts


class PageSource:
    """Keeps the page of a site, and makes another when the snapshot or the minute has changed.

    `assets` says where the page's own files are, by name, and `clock` the seconds that pass,
    whatever the time of day.
    """

    def __init__(
        self, site: Site, assets: Mapping[str, str], clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.site = site
        self._assets = assets
        self._clock = clock
        self._lock = asyncio.Lock()
        self._page = Page(b"", b"", "")
        self._snapshot: Snapshot | None = None
        self._minute: datetime | None = None
        self._right_at = -LAG_S  # when the page was last found to be that of now
        self._pause_s = _LOOK_S

    async def page(self) -> Page:
        """Return the page of now, but for the running poll; or that of at most `LAG_S` ago."""
        await self.site.snapshots.snapshot()
        if self._clock() - self._right_at >= LAG_S:
            await self._make_right()
        return self._page

    async def body(self) -> bytes:
        """Return the page with the running poll in it."""
        page = await self.page()
        return page.before + self.running().encode() + page.after

    async def keep_right(self) -> None:
        """Make the page again whenever it is due, until cancelled."""
        while True:
            with suppress(MirrorError):  # raised again to whoever asks for the page
                await self._make_right()
            await asyncio.sleep(self._pause_s)

    def running(self) -> str:
        """Return how the running poll stands, as a piece of the page; nothing where none runs."""
        progress = self.site.live.progress
        # another process may be at work, of which no more is known
        if progress is None and not is_being_written(self.site.data):
            return ""
        return load_templates().get_template("live.html").render(progress=progress)

    async def _make_right(self) -> None:
        async with self._lock:
            asked_at = self._clock()
            snapshot = await self.site.snapshots.snapshot()
            minute = self.site.now().replace(second=0, microsecond=0)
            if snapshot is not self._snapshot or minute != self._minute:
                # goes through all days: off the loop
                self._page, took_s = await asyncio.to_thread(self._make, snapshot)
                self._snapshot, self._minute = snapshot, minute
                self._pause_s = max(_LOOK_S, _MAKE_SHARE * took_s)
            self._right_at = asked_at

    def _make(self, snapshot: Snapshot) -> tuple[Page, float]:
        """Return the page, and the processor's seconds that it took."""
        started = time.thread_time()
        return render_page(self.site, snapshot, self._assets), time.thread_time() - started


def render_page(site: Site, snapshot: Snapshot, assets: Mapping[str, str]) -> Page:
    """Return the page of a snapshot; for the rest see `PageSource`."""
    status, now = site.status(snapshot), site.now()
    health, sentence = judge_health(status, interval=site.interval, now=now)
    page = load_templates().get_template("status.html")
    html = page.render(
        status=status,
        health=health,
        sentence=sentence,
        assets=assets,
        marks=counts_text(status.flagged),
        problems=list(join_alike(status.problems)),
        advice=ADVICE,
        found=site.report(snapshot).found,
        calendar=make_calendar(_days(status, snapshot)),
        trend=make_trend(snapshot.months),
        shares=make_shares(snapshot.months),
        spark=render_spark,
        polls=snapshot.polls[: -_MAX_POLLS - 1 : -1],
        now=now,
        ago=partial(ago, now=now),
        version=_VERSION,
        live=_LIVE,
    )
    version = hashlib.sha256(html.encode()).hexdigest()[:16]
    before, _, after = html.replace(_VERSION, version, 1).partition(_LIVE)
    return Page(before.encode(), after.encode(), version)


def _days(status: Status, snapshot: Snapshot) -> dict[date, Day]:
    opened, gone = set(status.open_days), set(status.vanished_days)
    records = snapshot.inventory.records
    days = {day: Day(DayKind.MISSING) for day in status.missing_days}
    for day, record in records.items():
        kind = DayKind.OPEN if day in opened else DayKind.VANISHED if day in gone else DayKind.HELD
        days[day] = Day(kind, record.lines, record.name)
    for one in status.quarantined:
        held = records.get(one.date)
        # a body that was taken or confirmed since then has settled the matter
        if held is None:
            days[one.date] = Day(DayKind.QUARANTINED)
        elif held.checked_at < one.at:
            days[one.date] = Day(DayKind.QUARANTINED, held.lines, held.name)
    return days
