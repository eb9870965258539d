"""Limits connections, so that thousands of idle or slow clients do no harm.

aiohttp has no limit on connections, none on the time that a connection may be silent before its
first request or drip a header, and none on how long a client may take for an answer. So all
connections are looked at every second.
"""

import asyncio
import fcntl
import resource
import socket
import sys
import termios
import time
from contextlib import suppress

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from mirror.config.settings import ServerConfig
from mirror.logs import get_logger
from mirror.web.pace import Pace
from mirror.web.site import SITE

_LOOK_S = 1.0
_LOOKS_AT_ONCE = 100
"""Connections looked at before others have their turn."""
_BYTES_ACKED = slice(120, 128)
"""Where struct tcp_info has tcpi_bytes_acked."""
_RESERVED_DESCRIPTORS = 200
"""For the daemon's own files and its connections with upstream."""
_DESCRIPTORS_A_CLIENT = 2
_UNSENT_BYTES = 64 * 1024**2
"""What may wait in the kernel, unsent, for all clients together: left alone it keeps megabytes for
each, and a thousand slow ones take the memory of every socket of the machine."""
_LEAST_UNSENT_BYTES = 64 * 1024


class Guard:
    """Watches the connections of a server; `admit` and `watch` are its two halves.

    Attributes:
        allowed: clients at a time, as far as open files go.
    """

    def __init__(self) -> None:
        self.allowed = _raise_descriptor_limit()
        self._busy: dict[RequestHandler, asyncio.Timeout] = {}
        self._quiet_since: dict[RequestHandler, float] = {}
        self._paces: dict[RequestHandler, Pace] = {}

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Mark a connection as busy while its request is answered; end it where it is too slow."""
        config = request.app[SITE].config.server
        if len(self._busy) >= min(config.max_connections, self.allowed):
            headers = {"Retry-After": "10", "Connection": "close"}
            return web.Response(status=503, headers=headers, text="503: too many clients\n")
        patience = asyncio.timeout(None)
        self._busy[request.protocol] = patience
        _bound_unsent(request.transport, len(self._busy))
        try:
            async with patience:
                return await handler(request)
        except TimeoutError:
            if patience.expired() and request.transport is not None:
                request.transport.abort()
                # goes nowhere: there is no connection any more
                return web.Response(status=503)
            raise
        finally:
            self._busy.pop(request.protocol, None)
            self._quiet_since[request.protocol] = time.monotonic()

    async def watch(self, server: web.Server, app: web.Application) -> None:
        """Close what is silent or stuck for too long, and the longest silent of too many."""
        while True:
            await asyncio.sleep(_LOOK_S)
            config = app[SITE].config.server
            await self._look_at_paces(server.connections, config)
            self._look_at_quiet(server.connections, config)

    async def _look_at_paces(self, connections: list[RequestHandler], config: ServerConfig) -> None:
        self._paces = {one: self._paces[one] for one in connections if one in self._paces}
        for number, one in enumerate(connections):
            if number % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if self._is_too_slow(one, config):
                get_logger().info("connection.dropped", reason="too slow")
                self._drop(one)

    def _is_too_slow(self, one: RequestHandler, config: ServerConfig) -> bool:
        if one.transport is None or one.transport.is_closing():
            return False
        taken, waiting = _read_progress(one.transport)
        now = time.monotonic()
        if waiting:
            # not silent, but on its way
            self._quiet_since.pop(one, None)
        pace = self._paces.setdefault(one, Pace(now, taken))
        return pace.is_too_slow(
            now,
            taken=taken,
            waiting=waiting,
            patience_s=config.idle_timeout,
            min_speed=config.min_speed,
        )

    def _look_at_quiet(self, connections: list[RequestHandler], config: ServerConfig) -> None:
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
            self._drop(one)
        if excess:
            get_logger().warning("connections.closed", count=len(closed), excess=excess)

    def _drop(self, one: RequestHandler) -> None:
        self._quiet_since.pop(one, None)
        if (patience := self._busy.get(one)) is not None:
            # a file may be on its way: whoever sends it has to let go first
            patience.reschedule(asyncio.get_running_loop().time())
        elif one.transport is not None:
            one.transport.abort()


def _read_progress(transport: asyncio.Transport) -> tuple[int, int]:
    """Return the bytes that the other side has acknowledged so far, and those that wait for it.

    Layouts: struct tcp_info of linux/tcp.h; tcp(7) for SIOCOUTQ, which is TIOCOUTQ.
    """
    connection = transport.get_extra_info("socket")
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
        queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0, 0
    taken = int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
    waiting = int.from_bytes(queued, sys.byteorder) + transport.get_write_buffer_size()
    return taken, waiting


def _bound_unsent(transport: asyncio.Transport | None, clients: int) -> None:
    """Give a client its share of what the kernel may keep for those who are slower than we are."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None:
        share = max(_LEAST_UNSENT_BYTES, _UNSENT_BYTES // clients)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, share)


def _raise_descriptor_limit() -> int:
    """Take as many descriptors as we may have, and return how many clients they are enough for."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(10, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_A_CLIENT)
