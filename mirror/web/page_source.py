"""Keeps the status page up to date, so that no request waits for the making of it."""

import asyncio
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import datetime

from mirror.errors import MirrorError
from mirror.status.snapshot import Snapshot
from mirror.store.layout import is_being_written
from mirror.web.site import Site
from mirror.web.status_page import Assets, Page, render_page, render_progress

LAG_S = 5.0
"""How far a page may lag behind the copy while the next one is made."""
_LOOK_S = 1.0
"""How often the snapshot is looked at."""
_MAKE_SHARE = 20
"""Making it takes at most 1/20 of the time, while a first sync publishes file after file."""


class PageSource:
    """Keeps the page of a site, and makes another when the snapshot or the minute has changed.

    A page takes tens of milliseconds to make: a request gets the one from before if that was right
    a moment ago.

    Args:
        site: what is served.
        assets: where the page's own files are.
        clock: seconds that pass, whatever the time of day.

    Attributes:
        site: as given.
    """

    def __init__(
        self, site: Site, assets: Assets, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self.site = site
        self._assets = assets
        self._clock = clock
        self._lock = asyncio.Lock()
        self._made_of: tuple[Snapshot, datetime] | None = None
        self._page = Page(b"", b"", "")
        self._right_at = -LAG_S
        """When the page was last found to be that of now."""
        self._pause_s = _LOOK_S

    async def page(self) -> Page:
        """Return the page of now, but for the running poll; or that of at most `LAG_S` ago.

        Raises:
            StorageError, ConfigError: the inventory cannot be read.
        """
        snapshot = await self.site.snapshots.snapshot()
        if not self._is_made_of(snapshot) and self._clock() - self._right_at >= LAG_S:
            await self._make_right()
        return self._page

    async def keep_right(self) -> None:
        """Make the page again whenever it is due, until cancelled."""
        while True:
            with suppress(MirrorError):  # raised again to whoever asks for the page
                await self._make_right()
            await asyncio.sleep(self._pause_s)

    def running(self) -> str:
        """Return how the running poll stands, as a piece of the page."""
        progress = self.site.live.progress
        is_writing = progress is not None or is_being_written(self.site.data)
        return render_progress(progress, is_writing=is_writing)

    async def _make_right(self) -> None:
        async with self._lock:
            asked_at = self._clock()
            snapshot = await self.site.snapshots.snapshot()
            if not self._is_made_of(snapshot):
                # goes through all days: off the loop
                self._page, self._made_of, took_s = await asyncio.to_thread(self._make, snapshot)
                self._pause_s = max(_LOOK_S, _MAKE_SHARE * took_s)
            self._right_at = asked_at

    def _is_made_of(self, snapshot: Snapshot) -> bool:
        made_of = self._made_of
        return made_of is not None and made_of[0] is snapshot and made_of[1] == self._minute()

    def _make(self, snapshot: Snapshot) -> tuple[Page, tuple[Snapshot, datetime], float]:
        """Return the page, what it is made of, and the processor's seconds that it took."""
        started = time.thread_time()
        site, minute = self.site, self._minute()
        status = site.status(snapshot)
        page = render_page(status, snapshot, self._assets, interval=site.interval, now=site.now())
        return page, (snapshot, minute), time.thread_time() - started

    def _minute(self) -> datetime:
        return self.site.now().replace(second=0, microsecond=0)
