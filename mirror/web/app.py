"""Makes the web application: its routes, and the headers, methods and errors of every answer."""

from collections.abc import Awaitable, Callable

from aiohttp import web

from mirror.errors import MirrorError
from mirror.logs import get_logger
from mirror.web.archive_files import add_archive
from mirror.web.guard import Guard
from mirror.web.probes import add_probes
from mirror.web.site import SITE, Site
from mirror.web.status_routes import add_status

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]

_METHODS = "GET, HEAD, OPTIONS"
_EVERYWHERE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "X-Content-Type-Options": "nosniff",
}
_PREFLIGHT = {
    "Allow": _METHODS,
    "Access-Control-Allow-Methods": _METHODS,
    "Access-Control-Allow-Headers": "*",
    "Access-Control-Max-Age": "86400",
}


def make_app(site: Site, guard: Guard) -> web.Application:
    """Return the web side of a mirror."""
    app = web.Application(middlewares=[guard.admit, _answer])
    app[SITE] = site
    app.on_response_prepare.append(_sign)
    add_probes(app)
    add_status(app)
    add_archive(app)
    return app


async def _sign(request: web.Request, response: web.StreamResponse) -> None:
    request.app[SITE].metrics.served(response.status)
    response.headers.update(_EVERYWHERE)
    response.headers.popall("Server", None)


@web.middleware
async def _answer(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Refuse what is not reading, and let no error out but as a line of plain text."""
    if request.method == "OPTIONS":
        return web.Response(status=204, headers=_PREFLIGHT)
    if request.method not in ("GET", "HEAD"):
        text = "405: this archive can only be read\n"
        return web.Response(status=405, headers={"Allow": _METHODS}, text=text)
    try:
        return await handler(request)
    except web.HTTPException as error:
        return web.Response(status=error.status, text=f"{error.status}: {error.reason}\n")
    except MirrorError as error:
        # the inventory cannot be read: the disk's trouble, and what is wrong with it is in the log
        get_logger().error("request.refused", path=request.path, problem=error.line())
        return web.Response(status=503, text="503: the copy cannot be read just now\n")
    except ConnectionError:
        raise  # a client that leaves is its own business
    except Exception:  # noqa: BLE001 - the last line of defence: a bug, told in the log
        get_logger().exception("request.failed", path=request.raw_path)
        return web.Response(status=500, text="500: a bug, see the log\n")
