"""Drops idle and slow clients, so that thousands of them do no harm.

aiohttp bounds neither the connections, nor the time before a request is complete, nor the time that
a client takes for an answer. So there are three limits here:

- A request beyond `max_connections` is refused with 503 (`admit`), and if that many connections
  are open those that have been idle for longest are closed.
- Every second all connections are looked at (`watch`). One that has been idle for `idle_timeout`,
  without a complete request and with nothing left to take, is closed.
- So is one that took less than `min_speed` of its data on average over such a time. What counts is
  what its side has acknowledged: the kernel takes in megabytes for a client that reads nothing at
  all. How much it may take in is bounded for all clients together.
"""

import asyncio
import fcntl
import resource
import socket
import sys
import termios
import time
from contextlib import suppress
from dataclasses import dataclass

from aiohttp import web
from aiohttp.typedefs import Handler
from aiohttp.web_protocol import RequestHandler

from mirror.config.settings import ServerConfig
from mirror.logs import get_logger
from mirror.web.site import SITE

_LOOK_S = 1.0
_LOOKS_AT_ONCE = 100
"""Connections looked at before other tasks have their turn."""
_BYTES_ACKED = slice(120, 128)
"""Where struct tcp_info of linux/tcp.h has tcpi_bytes_acked."""
_RESERVED_DESCRIPTORS = 200
"""For the daemon's own files and its connections with upstream."""
_DESCRIPTORS_A_CLIENT = 2
_UNSENT_BYTES = 64 * 1024**2
"""What may wait in the kernel, unsent, for all clients together."""
_LEAST_UNSENT_BYTES = 64 * 1024


@dataclass(slots=True)
class Client:
    """What is known of one connection.

    Attributes:
        idle_since: when it had neither a request nor data to take, on the monotonic clock.
        began_at: when the running measurement of its speed began.
        taken: bytes that it had acknowledged by then.
        request: ends the request that is being answered.
    """

    idle_since: float
    began_at: float
    taken: int = 0
    request: asyncio.Timeout | None = None

    def is_too_slow(
        self, now: float, *, taken: int, waiting: int, patience_s: float, min_speed: int
    ) -> bool:
        """Return whether data waited for so long, and the client acknowledged too little of it.

        Args:
            now: seconds of the monotonic clock.
            taken: bytes acknowledged by now.
            waiting: bytes sent or about to be sent, and not acknowledged.
            patience_s: how long is measured.
            min_speed: bytes a second that it must take, one byte at least.
        """
        spent_s = now - self.began_at
        if waiting and spent_s < patience_s:
            return False
        is_slow = waiting > 0 and taken - self.taken < max(1, min_speed * spent_s)
        self.began_at, self.taken = now, taken
        return is_slow


class Guard:
    """Watches the connections of a server; `admit` and `watch` are its two halves.

    Attributes:
        allowed: clients at a time, as far as open files go.
    """

    def __init__(self) -> None:
        self.allowed = _raise_descriptor_limit()
        self._clients: dict[RequestHandler, Client] = {}
        self._busy = 0

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request unless there are too many; `watch` may end it."""
        if self._busy >= min(request.app[SITE].config.server.max_connections, self.allowed):
            headers = {"Retry-After": "10", "Connection": "close"}
            return web.Response(status=503, headers=headers, text="503: too many clients\n")
        client = self._client(request.protocol)
        limit = client.request = asyncio.timeout(None)
        self._busy += 1
        _bound_unsent(request.transport, self._busy)
        try:
            async with limit:
                return await handler(request)
        except TimeoutError:
            if limit.expired() and request.transport is not None:
                request.transport.abort()
                # goes nowhere: there is no connection any more
                return web.Response(status=503)
            raise
        finally:
            client.request, client.idle_since = None, time.monotonic()
            self._busy -= 1

    async def watch(self, server: web.Server, app: web.Application) -> None:
        """Look at all connections every second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            config = app[SITE].config.server
            connections = server.connections
            self._clients = {one: self._client(one) for one in connections}
            await self._drop_slow(config)
            self._drop_idle(config)

    def _client(self, connection: RequestHandler) -> Client:
        now = time.monotonic()
        return self._clients.setdefault(connection, Client(now, now))

    async def _drop_slow(self, config: ServerConfig) -> None:
        for number, (one, client) in enumerate(list(self._clients.items())):
            if number % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if one.transport is None or one.transport.is_closing():
                continue
            taken, waiting = _read_progress(one.transport)
            now = time.monotonic()
            if waiting:
                client.idle_since = now
            if client.is_too_slow(
                now,
                taken=taken,
                waiting=waiting,
                patience_s=config.idle_timeout,
                min_speed=config.min_speed,
            ):
                get_logger().info("connection.dropped", reason="too slow")
                self._drop(one)

    def _drop_idle(self, config: ServerConfig) -> None:
        idle = sorted(
            (one for one, client in self._clients.items() if client.request is None),
            key=lambda one: self._clients[one].idle_since,
        )
        excess = max(0, len(self._clients) - min(config.max_connections, self.allowed))
        latest = time.monotonic() - config.idle_timeout
        closed = [
            one
            for number, one in enumerate(idle)
            if number < excess or self._clients[one].idle_since <= latest
        ]
        for one in closed:
            self._drop(one)
        if excess:
            get_logger().warning("connections.closed", count=len(closed), excess=excess)

    def _drop(self, one: RequestHandler) -> None:
        client = self._clients.pop(one)
        if client.request is not None:
            # a file may be on its way: whoever sends it has to let go first
            client.request.reschedule(asyncio.get_running_loop().time())
        elif one.transport is not None:
            one.transport.abort()


def _read_progress(transport: asyncio.Transport) -> tuple[int, int]:
    """Return the bytes that the other side has acknowledged so far, and those that wait for it."""
    connection = transport.get_extra_info("socket")
    try:
        info = connection.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, _BYTES_ACKED.stop)
        # SIOCOUTQ of tcp(7), by its other name
        queued = fcntl.ioctl(connection.fileno(), termios.TIOCOUTQ, bytes(4))
    except OSError:
        return 0, 0
    taken = int.from_bytes(info[_BYTES_ACKED], sys.byteorder)
    waiting = int.from_bytes(queued, sys.byteorder) + transport.get_write_buffer_size()
    return taken, waiting


def _bound_unsent(transport: asyncio.Transport | None, clients: int) -> None:
    """Give a client its share of what the kernel may keep for all of them."""
    connection = transport.get_extra_info("socket") if transport is not None else None
    if connection is not None:
        share = max(_LEAST_UNSENT_BYTES, _UNSENT_BYTES // clients)
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, share)


def _raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as it goes; return how many clients it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(10, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_A_CLIENT)
