"""Serves the state of the copy: to people at `/status` and `/report`, to programs beside them."""

import asyncio
import gzip
import hashlib
import time
from collections.abc import Awaitable, Callable
from functools import lru_cache, partial
from importlib import resources

import msgspec
from aiohttp import web

from mirror.report.render import render_page
from mirror.status.snapshot import Snapshot
from mirror.status.wording import ADVICE, report_facts
from mirror.web.answer import names_tag
from mirror.web.encodings import choose_coding
from mirror.web.site import Site
from mirror.web.status_page import PageSource
from mirror.web.stream import EventStreams

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_REPORT_POLICY = "frame-ancestors 'none'"
"""What the report's own policy, which allows nothing but its style, cannot say."""
_STATIC = {"status.css": "text/css; charset=utf-8", "status.js": "text/javascript; charset=utf-8"}
_NOT_KEPT = {"Cache-Control": "no-store"}
_PAUSES = 4  # so many times as long as it took to make, an answer is given to all who ask


class _Lately:
    """Keeps an answer for those who ask together, so that many cannot take the loop for them."""

    def __init__(self) -> None:
        self._key: object = None
        self._made: tuple[bytes, str] = b"", ""
        self._until = 0.0

    def get(self, key: object, make: Callable[[], tuple[bytes, str]]) -> web.Response:
        """Answer with a body and its type, made now if there is none of a moment ago."""
        began = time.monotonic()
        if key != self._key or began >= self._until:
            self._made, self._key = make(), key
            ended = time.monotonic()
            self._until = ended + _PAUSES * (ended - began)
        body, content_type = self._made
        return web.Response(body=body, headers={"Content-Type": content_type, **_NOT_KEPT})


class _PageRoute:
    """Answers with a page, in each coding made once for all who ask."""

    def __init__(self, make: Callable[[], Awaitable[bytes]], policy: str) -> None:
        self._make = make
        self._headers = {
            "Content-Security-Policy": policy,
            "Cache-Control": "no-cache",
            "Referrer-Policy": "no-referrer",
            "Vary": "Accept-Encoding",
        }
        self._lock = asyncio.Lock()
        self._tag = ""
        self._bodies: dict[str | None, bytes] = {}  # the page of that tag, by coding

    async def answer(self, request: web.Request) -> web.Response:
        """Answer with the page, or that the client has it."""
        coding = choose_coding(request.headers.get("Accept-Encoding", ""), ("gzip",))
        async with self._lock:
            plain = await self._make()
            if plain != self._bodies.get(None):
                self._tag, self._bodies = hashlib.sha256(plain).hexdigest()[:16], {None: plain}
            if coding not in self._bodies:
                self._bodies[coding] = await asyncio.to_thread(gzip.compress, plain)
            tag, body = self._tag, self._bodies[coding]
        headers = {**self._headers, "ETag": f'W/"{tag}"'}
        if names_tag(request, "If-None-Match", tag):
            return web.Response(status=304, headers=headers)
        headers["Content-Type"] = "text/html; charset=utf-8"
        if coding:
            headers["Content-Encoding"] = coding
        return web.Response(body=body, headers=headers)


def add_status(app: web.Application, site: Site) -> PageSource:
    """Add all routes that tell of the copy's state; what is returned has to be kept right."""
    pages = PageSource(site, _add_static(app))
    streams = EventStreams(pages, site.live)
    app.add_routes(
        [
            web.get("/status", _PageRoute(pages.body, POLICY).answer),
            web.get("/report", _PageRoute(partial(_report, site), _REPORT_POLICY).answer),
            web.get("/status/events", streams.answer),
            web.get("/status.json", partial(_json, site, _Lately(), asyncio.Lock())),
            web.get("/healthz", _healthz),
            web.get("/readyz", partial(_readyz, site)),
            web.get("/metrics", partial(_metrics, site, _Lately())),
        ]
    )
    app.on_shutdown.append(streams.close)
    return pages


def _add_static(app: web.Application) -> dict[str, str]:
    """Serve the page's own files; return the address of each by its name."""
    folder = resources.files("mirror.web").joinpath("static")
    addresses = {}
    for name, content_type in _STATIC.items():
        body = folder.joinpath(name).read_bytes()
        headers = {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}
        app.router.add_get(f"/static/{name}", partial(_file, body, headers))
        # another version's file is another address: it may be kept for long
        addresses[name] = f"static/{name}?{hashlib.sha256(body).hexdigest()[:12]}"
    return addresses


async def _file(body: bytes, headers: dict[str, str], _request: web.Request) -> web.Response:
    return web.Response(body=body, headers=headers)


async def _report(site: Site) -> bytes:
    snapshot = await site.snapshots.snapshot()
    return await asyncio.to_thread(_render_report, site, snapshot)


@lru_cache(maxsize=1)
def _render_report(site: Site, snapshot: Snapshot) -> bytes:
    return render_page(site.report(snapshot), is_served=True).encode()


# What follows takes a few milliseconds, on the loop: a thread would wait as long for its turn.


async def _json(
    site: Site, lately: _Lately, lock: asyncio.Lock, _request: web.Request
) -> web.Response:
    snapshot = await site.snapshots.snapshot()
    async with lock:
        # but for this, once for a snapshot
        await asyncio.to_thread(site.report, snapshot)
    return lately.get(id(snapshot), partial(_facts, site, snapshot))


def _facts(site: Site, snapshot: Snapshot) -> tuple[bytes, str]:
    status = site.status(snapshot)
    facts = report_facts(status)
    # paths of this machine stay private
    del facts["data_dir"]
    facts["advice"] = [ADVICE[problem.kind] for problem in status.problems]
    facts["found"] = site.report(snapshot).found
    facts["is_ready"] = site.readiness(snapshot).is_ready
    facts["progress"] = site.live.progress
    return msgspec.json.encode(facts), "application/json"


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n", headers=_NOT_KEPT)


async def _readyz(site: Site, _request: web.Request) -> web.Response:
    ready = site.readiness(await site.snapshots.snapshot())
    status = 200 if ready.is_ready else 503
    return web.Response(status=status, text=f"{ready.reason}\n", headers=_NOT_KEPT)


async def _metrics(site: Site, lately: _Lately, request: web.Request) -> web.Response:
    accept = request.headers.get("Accept", "")
    snapshot = await site.snapshots.snapshot()
    # a disk that is stuck must not hold up the loop
    free_bytes = await asyncio.to_thread(site.data.free_bytes)

    def make() -> tuple[bytes, str]:
        return site.metrics.render(
            site.status(snapshot),
            interval=site.interval,
            free_bytes=free_bytes,
            now=site.now(),
            accept=accept,
        )

    return lately.get((id(snapshot), accept), make)
