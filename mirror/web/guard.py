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
from mirror.web.site import Site

_LOOK_S = 1.0
_LOOKS_AT_ONCE = 100  # connections looked at before other tasks have their turn
_BYTES_ACKED = slice(120, 128)  # where struct tcp_info of linux/tcp.h has tcpi_bytes_acked
_RESERVED_DESCRIPTORS = 200  # for the daemon's own files and its connections with upstream
_DESCRIPTORS_A_CLIENT = 2
_UNSENT_BYTES = 64 * 1024**2  # what may wait in the kernel, unsent, for all clients together
_LEAST_UNSENT_BYTES = 64 * 1024
_PIECE_BYTES = 16 * 1024  # what is copied at once of an answer that was made in memory
_MADE_BYTES = 32 * 1024**2  # what all such answers on their way may take together
_LATER = {"Retry-After": "10", "Connection": "close"}


@dataclass(slots=True)
class Client:
    """What is known of one connection."""

    idle_since: float  # when it had neither a request nor data to take, on the monotonic clock
    began_at: float  # when the running measurement of its speed began
    taken: int = 0  # bytes that it had acknowledged by then
    answering: asyncio.Task[None] | None = None  # what answers its request

    def is_too_slow(self, now: float, *, taken: int, waiting: int, config: ServerConfig) -> bool:
        """Return whether data waited for `idle_timeout`, and too little of it was acknowledged.

        By `now`, in seconds of the monotonic clock, `taken` bytes were acknowledged; `waiting` ones
        are sent or about to be sent, and not acknowledged. One byte must be taken at least.
        """
        spent_s = now - self.began_at
        if waiting and spent_s < config.idle_timeout:
            return False
        is_slow = waiting > 0 and taken - self.taken < max(1, config.min_speed * spent_s)
        self.began_at, self.taken = now, taken
        return is_slow


class Guard:
    """Watches the connections of a server; `admit` and `watch` are its two halves."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._allowed = _raise_descriptor_limit()
        self._clients: dict[RequestHandler, Client] = {}
        self._busy = 0
        self._made: list[bytes] = []  # on their way; one that several clients get is there as often

    @web.middleware
    async def admit(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Answer a request unless there are too many; `watch` may end it."""
        if self._busy >= self._limit:
            return web.Response(status=503, headers=_LATER, text="503: too many clients\n")
        client = self._client(request.protocol)
        client.answering = request.task
        self._busy += 1
        if request.transport is not None:
            _bound_unsent(request.transport, self._busy)
        try:
            return await handler(request)
        finally:
            client.answering, client.idle_since = None, time.monotonic()
            self._busy -= 1

    @web.middleware
    async def portion(self, request: web.Request, handler: Handler) -> web.StreamResponse:
        """Send what was made in memory piece by piece, as the client takes it."""
        made = await handler(request)
        body = made.body if isinstance(made, web.Response) else None
        if not isinstance(body, bytes) or len(body) <= _PIECE_BYTES or request.method == "HEAD":
            return made
        others = {id(one): len(one) for one in self._made if one is not body}
        if sum(others.values()) + len(body) > _MADE_BYTES:
            return web.Response(status=503, headers=_LATER, text="503: too many clients\n")
        response = web.StreamResponse(status=made.status, headers=made.headers)
        response.content_length = len(body)
        self._made.append(body)
        try:
            await response.prepare(request)
            for start in range(0, len(body), _PIECE_BYTES):
                await response.write(body[start : start + _PIECE_BYTES])
                await request.writer.drain()
        finally:
            self._made.remove(body)
        return response

    async def watch(self, server: web.Server) -> None:
        """Look at all connections every second, until cancelled."""
        while True:
            await asyncio.sleep(_LOOK_S)
            self._clients = {one: self._client(one) for one in server.connections}
            await self._drop_slow()
            self._drop_idle()

    @property
    def _limit(self) -> int:
        return min(self._site.config.server.max_connections, self._allowed)

    def _client(self, connection: RequestHandler) -> Client:
        now = time.monotonic()
        return self._clients.setdefault(connection, Client(now, now))

    async def _drop_slow(self) -> None:
        config = self._site.config.server
        for number, (one, client) in enumerate(list(self._clients.items())):
            if number % _LOOKS_AT_ONCE == 0:
                await asyncio.sleep(0)
            if one.transport is None or one.transport.is_closing():
                continue
            taken, waiting = _read_progress(one.transport)
            now = time.monotonic()
            if waiting:
                client.idle_since = now
            if client.is_too_slow(now, taken=taken, waiting=waiting, config=config):
                get_logger().info("connection.dropped", reason="too slow")
                self._drop(one)

    def _drop_idle(self) -> None:
        excess = len(self._clients) - self._limit
        latest = time.monotonic() - self._site.config.server.idle_timeout
        since = {
            one: client.idle_since
            for one, client in self._clients.items()
            if client.answering is None
        }
        expired = sum(at <= latest for at in since.values())
        # those that have been idle for longest come first
        closed = sorted(since, key=since.__getitem__)[: max(excess, expired)]
        for one in closed:
            self._drop(one)
        if excess > 0:
            get_logger().warning("connections.closed", count=len(closed), excess=excess)

    def _drop(self, one: RequestHandler) -> None:
        client = self._clients.pop(one)
        if client.answering is not None:
            # a file may be on its way: whoever sends it lets go of the socket before it is closed
            client.answering.cancel()
        if one.transport is not None:
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


def _bound_unsent(transport: asyncio.Transport, clients: int) -> None:
    """Give a client its share of what the kernel may keep for all of them."""
    share = max(_LEAST_UNSENT_BYTES, _UNSENT_BYTES // clients)
    connection = transport.get_extra_info("socket")
    with suppress(OSError):  # a kernel without it bounds each client alone
        connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NOTSENT_LOWAT, share)


def _raise_descriptor_limit() -> int:
    """Raise the limit of open files as far as it goes; return how many clients it allows."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return max(10, (soft - _RESERVED_DESCRIPTORS) // _DESCRIPTORS_A_CLIENT)
