"""Serves the state of the copy: for people at `/status`, for programs at `/status.json`."""

import asyncio
import hashlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import suppress
from datetime import datetime
from importlib import resources

import msgspec
from aiohttp import web

from mirror.errors import MirrorError
from mirror.status.problems import ADVICE
from mirror.status.readiness import judge_readiness
from mirror.status.snapshot import Snapshot
from mirror.status.standing import Status, make_status, status_facts
from mirror.store.layout import is_being_written
from mirror.web.site import SITE, Site
from mirror.web.status_page import Assets, Page, render_page, render_progress
from mirror.web.stream import add_stream

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
LAG_S = 5.0
"""How far a page may lag behind the copy while the next one is made."""
_LOOK_S = 1.0
"""How often we look whether the page is still right."""
_MAKE_SHARE = 20
"""Making it takes at most this part of the time, while a first sync publishes file after file."""
_ON_THREAD_BYTES = 4096
"""Answers of more than this are compressed off the loop."""
_STATIC = {"status.css": "text/css; charset=utf-8", "status.js": "text/javascript; charset=utf-8"}


class Pages:
    """Keeps the page of a site, and makes it anew when the snapshot or the minute is another.

    Making it goes through all days, so nobody waits for that as long as the page from before was
    right a moment ago.

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
        """Make the page anew whenever it is due, for ever: that is then nobody's wait."""
        while True:
            with suppress(MirrorError):  # told to whoever asks for the page
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
        return made_of is not None and made_of[0] is snapshot and made_of[1] == _minute(self.site)

    def _make(self, snapshot: Snapshot) -> tuple[Page, tuple[Snapshot, datetime], float]:
        """Return the page, what it is made of, and the processor's seconds that it took."""
        started = time.thread_time()
        site, minute, now = self.site, _minute(self.site), self.site.now()
        status = _status(site, snapshot, now)
        page = render_page(status, snapshot, self._assets, interval=site.interval, now=now)
        return page, (snapshot, minute), time.thread_time() - started


PAGES = web.AppKey("pages", Pages)


def add_status(app: web.Application) -> None:
    """Add `/status`, `/status/events`, `/status.json` and the page's own files."""
    folder = resources.files("mirror.web").joinpath("static")
    assets = {}
    for name, content_type in _STATIC.items():
        body = folder.joinpath(name).read_bytes()
        app.router.add_get(f"/static/{name}", _file(body, content_type))
        # another version's file is another address: it may be kept for long
        assets[name] = f"/static/{name}?{hashlib.sha256(body).hexdigest()[:12]}"
    app[PAGES] = Pages(app[SITE], Assets(assets["status.css"], assets["status.js"]))
    app.router.add_get("/status", _page)
    app.router.add_get("/status.json", _json)
    add_stream(app, app[PAGES], app[SITE].live)
    app.cleanup_ctx.append(_kept_right)


async def _kept_right(app: web.Application) -> AsyncIterator[None]:
    keeper = asyncio.get_running_loop().create_task(app[PAGES].keep_right())
    yield
    keeper.cancel()
    await asyncio.wait({keeper})


def _file(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    headers = {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return answer


async def _page(request: web.Request) -> web.Response:
    pages = request.app[PAGES]
    page, running = await pages.page(), pages.running().encode()
    mark = hashlib.sha256(running).hexdigest()[:8]
    headers = {
        "Content-Type": "text/html; charset=utf-8",
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "ETag": f'W/"{page.version}-{mark}"',
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    known = request.if_none_match or ()
    if any(f'W/"{tag.value}"' == headers["ETag"] for tag in known):
        del headers["Content-Type"]
        return web.Response(status=304, headers=headers)
    body = page.before + running + page.after
    response = web.Response(body=body, headers=headers, zlib_executor_size=_ON_THREAD_BYTES)
    if _takes_gzip(request):
        response.enable_compression(web.ContentCoding.gzip)
    return response


def _takes_gzip(request: web.Request) -> bool:
    asked = request.headers.get("Accept-Encoding", "").lower().replace(" ", "").split(",")
    return any(one == "gzip" or (one[:7] == "gzip;q=" and one[7:].strip("0.")) for one in asked)


async def _json(request: web.Request) -> web.Response:
    site = request.app[SITE]
    # on the loop: a few milliseconds, and a thread would wait as long for its turn beside a poll
    body = _render_json(site, await site.snapshots.snapshot())
    headers = {"Content-Type": "application/json", "Cache-Control": "no-store"}
    return web.Response(body=body, headers=headers)


def _render_json(site: Site, snapshot: Snapshot) -> bytes:
    now = site.now()
    status = _status(site, snapshot, now)
    facts = status_facts(status)
    # where it lies on this machine is nobody else's business
    del facts["data_dir"]
    facts["advice"] = [ADVICE[problem.kind] for problem in status.problems]
    readiness = judge_readiness(snapshot.last_complete, interval=site.interval, now=now)
    facts["is_ready"] = readiness.is_ready
    facts["progress"] = site.live.progress
    return msgspec.json.encode(facts)


def _minute(site: Site) -> datetime:
    return site.now().replace(second=0, microsecond=0)


def _status(site: Site, snapshot: Snapshot, now: datetime) -> Status:
    return make_status(snapshot, site.data, now=now, counts=site.config.storage.findings)
