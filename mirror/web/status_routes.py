"""Serves the state of the copy: to people at `/status`, to programs and monitors beside it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from functools import partial
from importlib import resources

import msgspec
from aiohttp import web

from mirror.status.standing import ADVICE, status_facts
from mirror.web.encodings import choose_coding
from mirror.web.site import SITE
from mirror.web.status_page import PageSource
from mirror.web.stream import EventStreams

POLICY = (
    "default-src 'none'; style-src 'self'; script-src 'self'; connect-src 'self'; "
    "img-src 'self' data:; base-uri 'none'; form-action 'none'; frame-ancestors 'none'"
)
_ON_THREAD_BYTES = 4096
"""Answers of more than this are compressed off the loop."""
_STATIC = {"status.css": "text/css; charset=utf-8", "status.js": "text/javascript; charset=utf-8"}
_NOT_KEPT = {"Cache-Control": "no-store"}
_PAGES = web.AppKey("pages", PageSource)


def add_status(app: web.Application) -> None:
    """Add the page with its live events and files, `/status.json`, the probes and `/metrics`."""
    site = app[SITE]
    pages = app[_PAGES] = PageSource(site, _add_static(app))
    streams = EventStreams(pages, site.live)
    app.add_routes(
        [
            web.get("/status", _page),
            web.get("/status/events", streams.answer),
            web.get("/status.json", _json),
            web.get("/healthz", _healthz),
            web.get("/readyz", _readyz),
            web.get("/metrics", _metrics),
        ]
    )
    app.on_shutdown.append(streams.close)
    app.cleanup_ctx.append(_keep_right)


def _add_static(app: web.Application) -> dict[str, str]:
    """Serve the page's own files; return the address of each by its name."""
    folder = resources.files("mirror.web").joinpath("static")
    addresses = {}
    for name, content_type in _STATIC.items():
        body = folder.joinpath(name).read_bytes()
        headers = {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}
        app.router.add_get(f"/static/{name}", partial(_file, body, headers))
        # another version's file is another address: it may be kept for long
        addresses[name] = f"/static/{name}?{hashlib.sha256(body).hexdigest()[:12]}"
    return addresses


async def _file(body: bytes, headers: dict[str, str], _request: web.Request) -> web.Response:
    return web.Response(body=body, headers=headers)


async def _keep_right(app: web.Application) -> AsyncIterator[None]:
    """Keep snapshot and page up to date as long as the application runs."""
    tasks = [
        asyncio.create_task(work())
        for work in (app[SITE].snapshots.keep_fresh, app[_PAGES].keep_right)
    ]
    yield
    for task in tasks:
        task.cancel()
    await asyncio.wait(tasks)


async def _page(request: web.Request) -> web.Response:
    pages = request.app[_PAGES]
    page, running = await pages.page(), pages.running().encode()
    tag = f"{page.version}-{hashlib.sha256(running).hexdigest()[:8]}"
    headers = {
        "Content-Security-Policy": POLICY,
        "Cache-Control": "no-cache",
        "ETag": f'W/"{tag}"',
        "Referrer-Policy": "no-referrer",
        "Vary": "Accept-Encoding",
    }
    if any(one.is_weak and one.value == tag for one in request.if_none_match or ()):
        return web.Response(status=304, headers=headers)
    response = web.Response(
        body=page.before + running + page.after,
        headers={**headers, "Content-Type": "text/html; charset=utf-8"},
        zlib_executor_size=_ON_THREAD_BYTES,
    )
    if choose_coding(request.headers.get("Accept-Encoding", ""), ("gzip",)):
        response.enable_compression(web.ContentCoding.gzip)
    return response


# What follows takes a few milliseconds, on the loop: a thread would wait as long for its turn.


async def _json(request: web.Request) -> web.Response:
    site = request.app[SITE]
    snapshot = await site.snapshots.snapshot()
    status = site.status(snapshot)
    facts = status_facts(status)
    # paths of this machine stay private
    del facts["data_dir"]
    facts["advice"] = [ADVICE[problem.kind] for problem in status.problems]
    facts["is_ready"] = site.readiness(snapshot).is_ready
    facts["progress"] = site.live.progress
    body = msgspec.json.encode(facts)
    return web.Response(body=body, content_type="application/json", headers=_NOT_KEPT)


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n", headers=_NOT_KEPT)


async def _readyz(request: web.Request) -> web.Response:
    site = request.app[SITE]
    ready = site.readiness(await site.snapshots.snapshot())
    status = 200 if ready.is_ready else 503
    return web.Response(status=status, text=f"{ready.reason}\n", headers=_NOT_KEPT)


async def _metrics(request: web.Request) -> web.Response:
    site = request.app[SITE]
    body, content_type = site.metrics.render(
        site.status(await site.snapshots.snapshot()),
        interval=site.interval,
        free_bytes=site.snapshots.free_bytes,
        now=site.now(),
        accept=request.headers.get("Accept", ""),
    )
    return web.Response(body=body, headers={"Content-Type": content_type, **_NOT_KEPT})
