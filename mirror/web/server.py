"""The web server: its socket, the routes together, and what every response has."""

import asyncio
import os
from functools import partial

from aiohttp import web
from aiohttp.typedefs import Handler

from mirror.errors import ConfigError, MirrorError
from mirror.logs import get_logger
from mirror.store.disk import machine_error
from mirror.web.archive_files import add_archive
from mirror.web.connection import EVERYWHERE, listen
from mirror.web.guard import Guard
from mirror.web.site import Site
from mirror.web.status_routes import add_status

_METHODS = "GET, HEAD, OPTIONS"
_PREFLIGHT = {
    "Allow": _METHODS,
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}
_DRAIN_S = 3  # how long responses under way may go on when the server closes


class WebServer:
    """Serves a site at "HOST:PORT", where port 0 takes a free one; owner of its socket."""

    def __init__(self, site: Site, listen: str) -> None:
        self._site = site
        self._listen = listen
        self._guard = Guard(site)
        app = web.Application(middlewares=[self._guard.admit, self._guard.portion, _answer])
        app.on_response_prepare.append(partial(_sign, site))
        self._pages = add_status(app, site)
        add_archive(app, site)
        self._runner = web.AppRunner(app, handle_signals=False, shutdown_timeout=_DRAIN_S)
        self._listening: asyncio.Server | None = None
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def url(self) -> str:
        """The address that was taken."""
        assert self._listening is not None
        host, port, *_ = self._listening.sockets[0].getsockname()
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    async def open(self) -> None:
        """Listen; a ConfigError says that the address cannot be had."""
        await self._runner.setup()
        assert self._runner.server is not None
        works = (
            self._guard.watch(self._runner.server),
            self._site.snapshots.keep_fresh(),
            self._pages.keep_right(),
        )
        self._tasks = [asyncio.create_task(work) for work in works]
        host, _, port = self._listen.rpartition(":")
        try:
            self._listening = await listen(self._runner.server, host.strip("[]"), int(port))
        except (OSError, OverflowError) as error:
            await self.close()
            raise ConfigError(
                f"cannot listen on {self._listen}: {_problem(error)}",
                hint="set server.listen to an address of this machine and a free port",
            ) from error

    async def close(self) -> None:
        """Stop listening, give answers under way their time, and drop every connection."""
        for task in self._tasks:
            task.cancel()
        if self._listening is not None:
            self._listening.close()
        await self._runner.cleanup()
        await asyncio.wait(self._tasks)


async def _sign(site: Site, _request: web.Request, response: web.StreamResponse) -> None:
    site.metrics.served(response.status)
    response.headers.update(EVERYWHERE)
    if latest := site.snapshots.latest:
        response.headers["X-Binder-Mirror"] = ", ".join(latest.mirrors)
    response.headers.popall("Server", None)


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse other methods than reading; turn every error into a line of plain text."""
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=_PREFLIGHT)
    if request.method not in ("GET", "HEAD"):
        text = "405: this archive can only be read\n"
        return web.Response(status=405, headers={"Allow": _METHODS}, text=text)
    try:
        return await handler(request)
    except web.HTTPException as error:
        headers = {name: error.headers[name] for name in error.headers.keys() & {"Retry-After"}}
        text = f"{error.status}: {error.reason}\n"
        return web.Response(status=error.status, headers=headers, text=text)
    except ConnectionError:
        raise  # the client has left
    except Exception as error:  # noqa: BLE001 - the last line of defence
        refused = error if isinstance(error, MirrorError) else machine_error(error)
        if refused is not None:
            # the disk is in trouble; what it is belongs into the log alone
            get_logger().error("request.refused", path=request.path, problem=refused.line())
            return web.Response(status=503, text="503: the copy cannot be read just now\n")
        get_logger().exception("request.failed", path=request.raw_path)
        return web.Response(status=500, text="500: a bug, see the log\n")


def _problem(error: OSError | OverflowError) -> str:
    # asyncio puts words of its own before the system's; a name that is not known has no errno
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error)
