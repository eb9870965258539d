"""What machines ask: alive, ready, metrics."""

import asyncio
from datetime import timedelta

from aiohttp import web

from mirror.core.readiness import judge_readiness
from mirror.web.site import SITE

_NOT_KEPT = {"Cache-Control": "no-store"}


def add_probes(app: web.Application) -> None:
    """Add `/healthz`, `/readyz` and `/metrics`."""
    app.router.add_get("/healthz", _healthz)
    app.router.add_get("/readyz", _readyz)
    app.router.add_get("/metrics", _metrics)


async def _healthz(_request: web.Request) -> web.Response:
    return web.Response(text="alive\n", headers=_NOT_KEPT)


async def _readyz(request: web.Request) -> web.Response:
    site = request.app[SITE]
    view = await site.viewer.view()
    ready = judge_readiness(view.polls, interval=site.interval, now=site.now())
    status = 200 if ready.is_ready else 503
    return web.Response(status=status, text=f"{ready.reason}\n", headers=_NOT_KEPT)


async def _metrics(request: web.Request) -> web.Response:
    site = request.app[SITE]
    view = await site.viewer.view()
    # goes through all days: off the loop
    body, content_type = await asyncio.to_thread(
        site.metrics.render,
        view,
        site.data,
        final_after=timedelta(seconds=site.config.schedule.final_after),
        accept=request.headers.get("Accept", ""),
        now=site.now(),
    )
    return web.Response(body=body, headers={"Content-Type": content_type, **_NOT_KEPT})
