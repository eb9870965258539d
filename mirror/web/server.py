"""Opens the listening socket and runs the web application on it."""

import asyncio
import os
import socket

from aiohttp import web

from mirror.errors import ConfigError
from mirror.web.app import make_app
from mirror.web.guard import Guard
from mirror.web.site import Site

_LINGER_S = 2
"""For the rest of a request's body that nobody reads."""
_DRAIN_S = 3
"""How long answers that are under way may go on when the server closes."""


class WebServer:
    """Serves a site; owner of its socket.

    Args:
        site: what is served.
        listen: "HOST:PORT"; port 0 takes a free one.
    """

    def __init__(self, site: Site, listen: str) -> None:
        self._listen = listen
        self._guard = Guard()
        self._watching: asyncio.Task[None] | None = None
        self._runner = web.AppRunner(
            make_app(site, self._guard),
            access_log=None,
            handle_signals=False,
            shutdown_timeout=_DRAIN_S,
            lingering_time=_LINGER_S,
        )

    @property
    def url(self) -> str:
        """The address that was taken."""
        host, port, *_ = self._runner.addresses[0]
        return f"http://[{host}]:{port}/" if ":" in host else f"http://{host}:{port}/"

    async def open(self) -> None:
        """Listen.

        Raises:
            ConfigError: the address cannot be had.
        """
        await self._runner.setup()
        host, _, port = self._listen.rpartition(":")
        try:
            site = web.TCPSite(self._runner, host.strip("[]"), int(port))
            await site.start()
        except (OSError, OverflowError, socket.gaierror) as error:
            await self._runner.cleanup()
            raise ConfigError(
                f"cannot listen on {self._listen}: {_problem(error)}",
                hint="set server.listen to an address of this machine and a free port",
            ) from error
        if self._runner.server is not None:
            watch = self._guard.watch(self._runner.server, self._runner.app)
            self._watching = asyncio.get_running_loop().create_task(watch)

    async def close(self) -> None:
        """Stop listening, give answers under way their time, and drop every connection."""
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await self._runner.cleanup()


def _problem(error: OSError | OverflowError) -> str:
    # asyncio puts words of its own before the system's; a name that is not known has no errno
    if isinstance(error, OSError) and error.errno and error.errno > 0:
        return os.strerror(error.errno)
    return str(getattr(error, "strerror", None) or error)
