"""Serves `/healthz`, `/readyz` and `/metrics`."""

import asyncio
from collections.abc import AsyncIterator

from aiohttp import web

from mirror.status.copy_metrics import ScrapeContext
from mirror.status.readiness import judge_readiness
from mirror.web.site import SITE

_NOT_KEPT = {"Cache-Control": "no-store"}


def add_probes(app: web.Application) -> None:
    """Add `/healthz`, `/readyz`, `/metrics`, and what keeps their snapshot fresh."""
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)
    app.cleanup_ctx.append(_kept_fresh)


async def _kept_fresh(app: web.Application) -> AsyncIterator[None]:
    """Look at the data directory every second, so that no request has to wait for a look."""
    keeper = asyncio.get_running_loop().create_task(app[SITE].snapshots.keep_fresh())
    yield
    keeper.cancel()
    await asyncio.wait({keeper})


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n", headers=_NOT_KEPT)


async def _readyz(request: web.Request) -> web.Response:
    site = request.app[SITE]
    snapshot = await site.snapshots.snapshot()
    ready = judge_readiness(snapshot.last_complete, interval=site.interval, now=site.now())
    status = 200 if ready.is_ready else 503
    return web.Response(status=status, text=f"{ready.reason}\n", headers=_NOT_KEPT)


async def _metrics(request: web.Request) -> web.Response:
    site = request.app[SITE]
    snapshot = await site.snapshots.snapshot()
    now = site.now()
    moment = ScrapeContext(
        now=now,
        first_open=site.data.days.first_open(now),
        interval=site.interval,
        free_bytes=site.snapshots.free_bytes,
    )
    # on the loop: a few milliseconds, and a thread would wait as long for its turn beside a poll
    body, content_type = site.metrics.render(
        snapshot, moment, accept=request.headers.get("Accept", "")
    )
    return web.Response(body=body, headers={"Content-Type": content_type, **_NOT_KEPT})
