"""Takes in what one client sends, a request at a time, and bounds what all of it may occupy.

aiohttp parses 32 requests ahead, allows each a head of a megabyte, unpacks the bodies that they
come with and puts the client's own words into its refusals. Here bytes go to its parser only while
no request waits for its answer, and up to the end of one head; the rest stays in the kernel, which
has little room for it, so that the client has to wait. No request here needs a long head or a body.
"""

import asyncio
import socket
from collections.abc import Awaitable, Callable
from email.utils import formatdate
from functools import partial
from http import HTTPStatus
from typing import Any, NoReturn

from aiohttp import StreamReader, web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler

from mirror.logs import get_logger

EVERYWHERE = {
    "Access-Control-Allow-Origin": "*",
    "Access-Control-Expose-Headers": "*",
    "X-Content-Type-Options": "nosniff",
}
"""The headers that every answer has."""
_RECEIVE_BYTES = 16 * 1024
"""What the kernel takes in for a client, about, before it is read; to be set before listening."""
_MAX_BYTES = 16 * 1024  # a request's line and headers together, and whatever body follows
_MAX_LINES = 100
_LINGER_S = 2  # for the rest of a request's body, which is not read
_END_OF_HEAD = b"\r\n\r\n"
_Handle = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]


class Connection(RequestHandler):
    """Serves one client; refuses by itself what never becomes a request."""

    def __init__(self, server: web.Server) -> None:
        super().__init__(
            server,
            loop=asyncio.get_running_loop(),
            access_log=None,  # type: ignore[arg-type]
            lingering_time=_LINGER_S,
            max_headers=_MAX_LINES,
            read_bufsize=_MAX_BYTES,
            auto_decompress=False,
        )
        self._held = b""
        self._parsed = 0  # bytes since the last whole head
        self._is_answering = False
        self._has_ended = False
        self._body: StreamReader | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Begin; what a client does not take is not piled up here."""
        assert isinstance(transport, asyncio.Transport)
        transport.set_write_buffer_limits(high=0)
        # asyncio would make room for 256 KiB each time, however little comes
        transport.max_size = _MAX_BYTES  # type: ignore[attr-defined]
        super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        """Take bytes; they wait while a request is being answered."""
        if not data:  # aiohttp's own call to go on with what its parser has kept
            super().data_received(data)
            return
        self._held += data
        self._feed()

    def eof_received(self) -> bool:  # type: ignore[override]
        """Note that the client says no more; return whether it is still to be answered."""
        self._has_ended = True
        return self._is_answering

    def _feed(self) -> None:
        """Parse what is held, up to the end of the next head."""
        while self._held and not self._is_answering and self.transport is not None:
            head, end, self._held = self._held.partition(_END_OF_HEAD)
            heads, self._parsed = self._request_count, self._parsed + len(head + end)
            super().data_received(head + end)
            if self._request_count > heads:
                self._is_answering, self._parsed = True, 0
            elif self._parsed > _MAX_BYTES:
                self._refuse(HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE)
        if self.transport is not None:
            # a client that has more to say than it takes has to wait; else its end is noticed
            if self._held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        """Send an answer to its end, and only then take up the next request."""
        done = await super().finish_response(request, resp, start_time)
        await request.writer.drain()
        self._body, self._is_answering = request.content, False
        self._feed()
        if self._has_ended and not self._is_answering:
            self.close()
        return done

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,  # noqa: ARG002
    ) -> NoReturn:
        """Refuse what went wrong outside of the routes; a client's own faults are not logged."""
        if isinstance(exc, ConnectionError):
            raise exc
        if status >= HTTPStatus.INTERNAL_SERVER_ERROR:
            get_logger().error("request.failed", exc_info=exc)
        if isinstance(exc, LineTooLong):
            status = HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE
        if not request.writer.output_size:
            self._refuse(HTTPStatus(status))
        # nothing is left to answer: aiohttp's own text would repeat what the client said
        raise ConnectionAbortedError

    def log_exception(self, *args: Any, **kw: Any) -> None:
        """Log what went wrong; that a client has left in the middle of its request is no news."""
        if self.transport is not None:
            super().log_exception(*args, **kw)

    def _refuse(self, status: HTTPStatus) -> None:
        """End the connection; say why, unless it is in the middle of a body that nobody reads."""
        if self.transport is None:
            return
        if self._body is None or self._body.is_eof():
            text = f"{status.value}: {status.phrase}\n"
            headers = EVERYWHERE | {
                "Date": formatdate(usegmt=True),
                "Content-Type": "text/plain; charset=utf-8",
                "Content-Length": str(len(text)),
                "Connection": "close",
            }
            lines = [f"HTTP/1.1 {status.value} {status.phrase}"]
            lines += [f"{name}: {value}" for name, value in headers.items()]
            self.transport.write("\r\n".join([*lines, "", text]).encode())
        self._held = b""
        if self.transport.get_write_buffer_size():
            # it does not take what was sent before, and might not for ever: nobody waits for that
            self.transport.abort()
        self.force_close()


async def _expect(handle: _Handle, request: web.BaseRequest) -> web.StreamResponse:
    """Refuse what aiohttp would refuse with the client's own words, or fail at."""
    expected = request.headers.get("Expect", "100-continue")
    if expected.strip().lower() not in ("", "100-continue"):
        return request.protocol.handle_error(request, HTTPStatus.EXPECTATION_FAILED)
    return await handle(request)


async def listen(server: web.Server, host: str, port: int) -> asyncio.Server:
    """Take connections at an address; raises OSError where it cannot be had."""
    loop = asyncio.get_running_loop()
    server.request_handler = partial(_expect, server.request_handler)
    listening = await loop.create_server(
        lambda: Connection(server), host, port, start_serving=False
    )
    for one in listening.sockets:
        # those of the clients inherit it
        one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
    await listening.start_serving()
    return listening
