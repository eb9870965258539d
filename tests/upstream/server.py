"""The archive's web server on a real socket, with a layer of faults.

It answers as upstream does (nginx before an object store) and, where told so,
badly: see `faults`. Which bytes there are is the business of `archive`, how they
go over the wire that of `wire`, and which answer is honest that of `replies`.
"""

import asyncio
import random
import ssl
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from fnmatch import fnmatchcase
from types import TracebackType
from typing import Self

from tests.upstream.archive import StoredObject, UpstreamArchive
from tests.upstream.faults import Fault
from tests.upstream.replies import ReplyStyle, make_missing_reply, make_reply
from tests.upstream.wire import Exchange, Reply, Request, RequestRecord, read_request


@dataclass(slots=True)
class _Planned:
    """A fault, for which names and how often it is still due; None for ever."""

    pattern: str
    fault: Fault
    times: int | None


@dataclass(frozen=True, slots=True)
class _Chaos:
    rng: random.Random
    faults: Sequence[Fault]
    rate: float


class ArchiveServer:
    """Serves a `UpstreamArchive`; an owner of its socket, to be used with `async with`.

    Attributes:
        archive: What is served; it may change while the server runs.
        style: How honest answers look.
        delay: Seconds before each answer.
        requests: Every request so far, in order of arrival.
        active: Number of requests being answered.
        peak: The largest number of requests that were answered at once.
    """

    def __init__(
        self,
        archive: UpstreamArchive,
        *,
        host: str = "127.0.0.1",
        port: int = 0,
        style: ReplyStyle | None = None,
        delay: float = 0.0,
        tls: ssl.SSLContext | None = None,
    ) -> None:
        self.archive = archive
        self.style = style or ReplyStyle()
        self.delay = delay
        self.requests: list[RequestRecord] = []
        self.active = 0
        self.peak = 0
        self._changed = asyncio.Event()
        self._host = host
        self._port = port
        self._tls = tls
        self._server: asyncio.Server | None = None
        self._connections: dict[asyncio.Task[None], asyncio.StreamWriter] = {}
        self._connection_count = 0
        self._planned: list[_Planned] = []
        self._chaos: _Chaos | None = None

    @property
    def url(self) -> str:
        """The base URL, with a slash at its end."""
        host = f"[{self._host}]" if ":" in self._host else self._host
        return f"{'http' if self._tls is None else 'https'}://{host}:{self._port}/"

    async def __aenter__(self) -> Self:
        self._server = await asyncio.start_server(
            self._accept, self._host, self._port, ssl=self._tls
        )
        self._port = self._server.sockets[0].getsockname()[1]
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Stop listening and drop every connection at once, stalled ones too.

        The port stays known, so that the server can be entered again on it.
        """
        if self._server is None:
            return
        self._server.close()
        connections = dict(self._connections)
        for task, writer in connections.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*connections, return_exceptions=True)
        await self._server.wait_closed()
        self._server = None

    def fail(self, name: str, fault: Fault, *, times: int | None = 1) -> None:
        """Let a fault answer the next requests for a name.

        Args:
            name: An object's name or path, "/" for the page, or a pattern:
                "events-*", or "*" for all. Where several faults fit, the one
                that was planned first comes first.
            fault: What answers.
            times: How many requests; None for all from now on.
        """
        self._planned.append(_Planned(name.removeprefix("/"), fault, times))

    def chaos(self, rng: random.Random, faults: Sequence[Fault], rate: float) -> None:
        """Let faults answer at random, where none is planned.

        Args:
            rng: The source of chance; seed it.
            faults: The faults to choose from.
            rate: Share of the requests to spoil, 0 to 1.
        """
        self._chaos = _Chaos(rng, faults, rate)

    def calm(self) -> None:
        """Forget all faults."""
        self._planned.clear()
        self._chaos = None

    def count(self, name: str | None = None, *, method: str | None = None) -> int:
        """Count the requests so far, those for one name or of one method only if given."""
        return sum(
            (name is None or record.name == name.removeprefix("/"))
            and (method is None or record.method == method)
            for record in self.requests
        )

    async def wait_active(self, count: int) -> None:
        """Wait until just so many requests are being answered."""
        while self.active != count:
            await self._changed.wait()

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Start to serve a connection.

        The task is our own: asyncio's streams (3.11, 3.12) log one of theirs
        that is cancelled as an error.
        """
        if self._server is None or not self._server.is_serving():
            writer.transport.abort()  # accepted while the server closes
            return
        self._connection_count += 1
        task = asyncio.create_task(self._serve(self._connection_count, reader, writer))
        self._connections[task] = writer
        task.add_done_callback(self._connections.pop)

    async def _serve(
        self, connection: int, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        """Answer the requests of one connection until it ends."""
        if self._tls is None:  # asyncio's TLS (3.11) never resumes at a mark of zero
            # With no high-water mark a drained byte is one that the kernel has taken.
            writer.transport.set_write_buffer_limits(high=0)
        try:
            with suppress(OSError):  # a client that leaves is its own problem
                while request := await read_request(reader):
                    if not await self._answer(request, connection, reader, writer):
                        break
                writer.close()
                await writer.wait_closed()
        finally:
            writer.transport.abort()

    async def _answer(
        self,
        request: Request,
        connection: int,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> bool:
        """Answer one request and tell whether the connection goes on."""
        fault = self._next_fault(request)
        at = asyncio.get_running_loop().time()
        record = RequestRecord(
            request.method, request.path, request.target, request.headers, at, connection, fault
        )
        self.requests.append(record)
        self._note_active(1)
        try:
            if self.delay:
                await asyncio.sleep(self.delay)
            exchange = self._make_exchange(request, record, reader, writer)
            await (exchange.send(exchange.reply) if fault is None else fault(exchange))
        finally:
            record.done = True
            self._note_active(-1)
        return exchange.keep_alive

    def _note_active(self, change: int) -> None:
        self.active += change
        self.peak = max(self.peak, self.active)
        # Whoever waits looks again at each change.
        self._changed.set()
        self._changed = asyncio.Event()

    def _make_exchange(
        self,
        request: Request,
        record: RequestRecord,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
    ) -> Exchange:
        def render(stored: StoredObject) -> Reply:
            return make_reply(request, stored, self.style)

        stored = self.archive.objects.get(request.name)
        reply = make_missing_reply(request) if stored is None else render(stored)
        keep_alive = request.headers.get("connection", "").lower() != "close"
        return Exchange(request, reply, render, record, reader, writer, keep_alive)

    def _next_fault(self, request: Request) -> Fault | None:
        """Take the fault that is due for a request, if any."""
        for planned in self._planned:
            if fnmatchcase(request.path.removeprefix("/"), planned.pattern):
                if planned.times is not None:
                    planned.times -= 1
                if planned.times == 0:
                    self._planned.remove(planned)
                return planned.fault
        chaos = self._chaos
        if chaos is not None and chaos.rng.random() < chaos.rate:
            return chaos.rng.choice(chaos.faults)
        return None
