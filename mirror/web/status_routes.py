"""Serves the state of the copy: to people at `/status`, to programs and monitors beside it."""

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine
from importlib import resources

import msgspec
from aiohttp import web

from mirror.status.problems import ADVICE
from mirror.status.standing import status_facts
from mirror.web.negotiation import choose_coding
from mirror.web.page_source import PageSource
from mirror.web.site import SITE
from mirror.web.status_page import Assets
from mirror.web.stream import add_stream

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
    app[_PAGES] = PageSource(site, _add_assets(app))
    add_stream(app, app[_PAGES], site.live)
    for path, handler in (
        ("/status", _page),
        ("/status.json", _json),
        ("/healthz", _healthz),
        ("/readyz", _readyz),
        ("/metrics", _metrics),
    ):
        app.router.add_get(path, handler)
    app.cleanup_ctx.append(_background(site.snapshots.keep_fresh))
    app.cleanup_ctx.append(_background(app[_PAGES].keep_right))


def _add_assets(app: web.Application) -> Assets:
    folder = resources.files("mirror.web").joinpath("static")
    paths = {}
    for name, content_type in _STATIC.items():
        body = folder.joinpath(name).read_bytes()
        app.router.add_get(f"/static/{name}", _file(body, content_type))
        # another version's file is another address: it may be kept for long
        paths[name] = f"/static/{name}?{hashlib.sha256(body).hexdigest()[:12]}"
    return Assets(paths["status.css"], paths["status.js"])


def _file(body: bytes, content_type: str) -> Callable[[web.Request], Awaitable[web.Response]]:
    headers = {"Content-Type": content_type, "Cache-Control": "public, max-age=3600"}

    async def answer(_request: web.Request) -> web.Response:
        return web.Response(body=body, headers=headers)

    return answer


def _background(
    work: Callable[[], Coroutine[None, None, None]],
) -> Callable[[web.Application], AsyncIterator[None]]:
    """Return what runs `work` as long as the application does."""

    async def run(_app: web.Application) -> AsyncIterator[None]:
        task = asyncio.get_running_loop().create_task(work())
        yield
        task.cancel()
        await asyncio.wait({task})

    return run


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
    if choose_coding(request.headers.get("Accept-Encoding"), ("gzip",)):
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
    headers = {"Content-Type": "application/json", **_NOT_KEPT}
    return web.Response(body=msgspec.json.encode(facts), headers=headers)


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
