"""A data directory served by the web side alone, at a clock of the test's choice."""

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import datetime, timedelta

from mirror.config.settings import Config
from mirror.status.poll_progress import PollProgress
from mirror.store.layout import DataDir
from mirror.web.server import WebServer
from mirror.web.site import Site


def make_site(
    data: DataDir,
    *,
    now: Callable[[], datetime],
    live: PollProgress | None = None,
    config: Config | None = None,
) -> Site:
    """Return what is to be served of it."""
    return Site(config or Config(), data, timedelta(minutes=30), now, live or PollProgress())


@asynccontextmanager
async def serving(
    data: DataDir,
    *,
    now: datetime,
    live: PollProgress | None = None,
    config: Config | None = None,
) -> AsyncIterator[str]:
    """Serve it on a free port; gives the base URL."""
    server = WebServer(make_site(data, now=lambda: now, live=live, config=config), "127.0.0.1:0")
    await server.open()
    try:
        yield server.url
    finally:
        await server.close()
