"""HTTP/1.1 as far as an archive needs it, with a hand on every byte.

An `Exchange` is one request and the way its answer takes back. Faults lie about
lengths, stop in the middle and reset connections, so nothing here corrects what
it is told to send. Which answer is due is the business of `replies` and `faults`.
"""

import asyncio
import socket
import struct
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from email.utils import formatdate
from http import HTTPStatus
from urllib.parse import unquote, urlsplit

from tests.upstream.archive import StoredObject

_PHRASES = {int(status): status.phrase for status in HTTPStatus}
_MAX_REQUEST_BODY = 1024 * 1024
# Large enough to be fast, small enough that a client that left is noticed soon.
_SLICE = 256 * 1024


@dataclass(frozen=True, slots=True)
class Request:
    """A request as it came in.

    Attributes:
        method: The method, upper case as sent.
        target: The request target exactly as sent, query included.
        headers: Header values by lower-case name; of a repeated one the last.
    """

    method: str
    target: str
    headers: Mapping[str, str]

    @property
    def path(self) -> str:
        """The decoded path, without the query (which upstream drops)."""
        path = self.target.partition("?")[0]
        # RFC 9112, 3.2.2: a proxy is asked in the absolute form.
        return unquote(path if path.startswith("/") else urlsplit(path).path or "/")

    @property
    def name(self) -> str:
        """The object asked for: any path that ends in a slash means the page."""
        return "index.html" if self.path.endswith("/") else self.path.removeprefix("/")


@dataclass(frozen=True, slots=True)
class Reply:
    """An answer: status, headers by lower-case name (without the length), body."""

    status: int
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""

    def having(self, *, body: bytes | None = None, **headers: str) -> "Reply":
        """Return this reply with another body and more headers.

        Args:
            body: The new body; None keeps the old one.
            headers: More headers, `_` standing for `-`.
        """
        more = {name.replace("_", "-"): value for name, value in headers.items()}
        kept = self.body if body is None else body
        return replace(self, headers={**self.headers, **more}, body=kept)


@dataclass(slots=True)
class RequestRecord:
    """What the server remembers of one request.

    Attributes:
        method: The method as sent.
        path: The decoded path without its query.
        target: The request target as sent.
        headers: The request's headers, names in lower case.
        at: When it came, in seconds of the loop's clock.
        connection: Number of the connection it came on, from 1.
        fault: The fault that answered it, None for an honest answer.
        status: The status sent, 0 while (or if) none was.
        bytes_sent: Bytes sent after the head (chunk framing included).
        done: Whether the answer is over, well or badly.
    """

    method: str
    path: str
    target: str
    headers: Mapping[str, str]
    at: float
    connection: int
    fault: object | None = None
    status: int = 0
    bytes_sent: int = 0
    done: bool = False

    @property
    def name(self) -> str:
        """The path without its leading slash."""
        return self.path.removeprefix("/")


@dataclass(slots=True)
class Exchange:
    """One request and the way back to the client that sent it.

    Attributes:
        request: The request.
        reply: The answer an honest server would give.
        render: Makes the honest answer for another stored object.
        record: Where status and bytes are counted.
        reader: The client's side of the connection.
        writer: Our side of it.
        keep_alive: Whether the connection outlives this answer. A fault that
            breaks the framing clears it.
    """

    request: Request
    reply: Reply
    render: Callable[[StoredObject], Reply]
    record: RequestRecord
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    keep_alive: bool

    @property
    def takes_body(self) -> bool:
        """Whether the answer whose head was sent may have a body at all."""
        return self.request.method != "HEAD" and self.record.status != HTTPStatus.NOT_MODIFIED

    async def send(self, reply: Reply) -> None:
        """Send a whole answer with the length it has."""
        await self.send_head(reply, length=len(reply.body))
        await self.send_body(reply.body)

    async def send_head(self, reply: Reply, *, length: int | None) -> None:
        """Send the status line and headers.

        Args:
            reply: Its status and headers are sent, its body is not.
            length: The Content-Length to claim, true or not; None for none.
        """
        headers = {"date": formatdate(usegmt=True), **reply.headers}
        # RFC 9110, 8.6: a 304 may carry a length, but it would be that of the 200.
        if length is not None and reply.status != HTTPStatus.NOT_MODIFIED:
            headers["content-length"] = str(length)
        headers["connection"] = "keep-alive" if self.keep_alive else "close"
        lines = [f"HTTP/1.1 {reply.status} {_PHRASES.get(reply.status, 'Unknown')}"]
        lines += [f"{name.title()}: {value}" for name, value in headers.items()]
        self.record.status = reply.status
        self.writer.write("\r\n".join([*lines, "", ""]).encode("latin-1"))
        await self.writer.drain()

    async def send_body(self, data: bytes) -> None:
        """Send bytes after the head, as far as the client takes them; none to HEAD or in a 304."""
        if not self.takes_body:
            return
        view = memoryview(data)
        for start in range(0, len(view), _SLICE):
            piece = view[start : start + _SLICE]
            self.writer.write(piece)
            await self.writer.drain()
            self.record.bytes_sent += len(piece)

    async def send_chunk(self, data: bytes) -> None:
        """Send one chunk of a chunked body; an empty one ends the body."""
        await self.send_body(b"%x\r\n%b\r\n" % (len(data), data))

    async def client_gone(self) -> None:
        """Wait until the client closes the connection."""
        while await self.reader.read(_SLICE):
            pass

    def reset(self) -> None:
        """Cut the connection with a TCP reset, whatever is still on its way."""
        sock = self.writer.get_extra_info("socket")
        # SO_LINGER with a time of zero turns the close into a RST.
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.writer.transport.abort()
        self.keep_alive = False


async def read_request(reader: asyncio.StreamReader) -> Request | None:
    """Read one request, its body (dropped) included.

    Args:
        reader: A connection between two requests.

    Returns:
        The request; None where the client is done, or sends no request that
        can be read.
    """
    try:
        request = _parse_head(await reader.readuntil(b"\r\n\r\n"))
        # Closing on unread bytes would reset the connection and lose our answer.
        await reader.readexactly(_body_bytes(request))
    except (ValueError, asyncio.IncompleteReadError, asyncio.LimitOverrunError):
        return None
    return request


def _parse_head(head: bytes) -> Request:
    first, *rest = head.decode("latin-1").split("\r\n")[:-2]
    method, target, protocol = first.split(" ")
    if not protocol.startswith("HTTP/1."):
        raise ValueError(f"not HTTP/1: {protocol!r}")
    pairs = (line.partition(":") for line in rest)
    headers = {name.strip().lower(): value.strip() for name, _, value in pairs}
    if protocol == "HTTP/1.0":
        headers.setdefault("connection", "close")
    return Request(method, target, headers)


def _body_bytes(request: Request) -> int:
    size = int(request.headers.get("content-length", "0"))
    if size > _MAX_REQUEST_BODY or "transfer-encoding" in request.headers:
        raise ValueError("a request body of this kind is not read")
    return size
