"""What keeps thousands of idle or slow clients from doing harm.

aiohttp has no limit on connections, and none on the time that a connection may be silent before its
first request or drip a header. So all connections are looked at every few seconds.
"""

import asyncio
import resource
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from mirror.config import ServerConfig
from mirror.logs import get_logger
from mirror.web.site import SITE

_LOOK_S = 1.0
_RESERVED_DESCRIPTORS = 200
"""For the daemon's own files and its connections with upstream."""
_DESCRIPTORS_A_CLIENT = 2


class Guard:
    """Watches the connections of a server; `admit` and `watch` are its two halves.

    Attributes:
        allowed: clients at a time, as far as open files go.
    """

    def __init__(self) -> None:
        self.allowed = _raise_descriptor_limit()
        self._busy: set[RequestHandler] = set()
        self._quiet_since: dict[RequestHandler, float] = {}

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark a connection as busy while its request is answered."""
        config = request.app[SITE].config.server
        if len(self._busy) >= min(config.max_connections, self.allowed):
            headers = {"Retry-After": "10", "Connection": "close"}
            return web.Response(status=503, headers=headers, text="503: too many clients\n")
        self._busy.add(request.protocol)
        try:
            return await handler(request)
        finally:
            self._busy.discard(request.protocol)
            self._quiet_since[request.protocol] = time.monotonic()

    async def watch(self, server: web.Server, app: web.Application) -> None:
        """Close what is silent for too long, and the longest silent where there are too many."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._look(server.connections, app[SITE].config.server)

    def _look(self, connections: list[RequestHandler], config: ServerConfig) -> None:
        now = time.monotonic()
        self._quiet_since = {
            one: self._quiet_since.get(one, now) for one in connections if one not in self._busy
        }
        oldest = sorted(self._quiet_since, key=self._quiet_since.__getitem__)
        excess = max(0, len(connections) - min(config.max_connections, self.allowed))
        closed = [
            one
            for number, one in enumerate(oldest)
            if number < excess or now - self._quiet_since[one] >= config.idle_timeout
        ]
        for one in closed:
            del self._quiet_since[one]
            if one.transport is not None:
                one.transport.abort()
        if excess:
            get_logger().warning("connections.closed", count=len(closed), excess=excess)


def _raise_descriptor_limit() -> int:
    """Take as many descriptors as we may have, and return how many clients they are enough for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(10, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_A_CLIENT)
