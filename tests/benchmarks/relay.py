"""A long, narrow link: a TCP relay that adds a round trip and shares a rate among connections.

The kernels of the project's machines have no netem. What the relay does:

- Each direction is one link: chunks of all connections leave one after the other at its rate,
  and arrive half a round trip later. A connection reads on only when its last chunk is about to
  leave, so that connections take turns and the queue stays short, as in a router.
- A client's first bytes wait for a round trip more, the one that a handshake takes.

What it leaves out: losses, slow start (a fresh connection has the whole link at once), the
40 bytes of headers per packet: the rate is that of HTTP's bytes.
"""

import argparse
import asyncio
import contextlib
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.benchmarks.nginx import find_free_port

_CHUNK_BYTES = 64 * 1024
# A direction of a connection holds at most so many chunks in flight.
_CHUNKS_IN_FLIGHT = 256
# How long before its last chunk has left a connection may queue its next one.
_AHEAD_S = 0.005
# Timers of asyncio fire in whole milliseconds, rounded up.
_TIMER_LATE_S = 0.001


class Link:
    """One direction: a rate that all connections share."""

    def __init__(self, bytes_per_s: float) -> None:
        self._bytes_per_s = bytes_per_s
        self._free_at = 0.0

    def send(self, size: int, now: float) -> float:
        """Queue a chunk; return the time at which its last byte has left."""
        self._free_at = max(now, self._free_at) + size / self._bytes_per_s
        return self._free_at


class Way:
    """One direction of one connection."""

    def __init__(
        self,
        source: socket.socket,
        sink: socket.socket,
        link: Link,
        delay_s: float,
        opens_at: float,
    ) -> None:
        self._source, self._sink = source, sink
        self._link, self._delay_s, self._opens_at = link, delay_s, opens_at
        self._in_flight: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_CHUNKS_IN_FLIGHT)

    async def take(self) -> None:
        """Read until the end, no faster than the link."""
        loop = asyncio.get_running_loop()
        data = b"-"
        while data:
            data = await loop.sock_recv(self._source, _CHUNK_BYTES)
            left_at = self._link.send(len(data), loop.time())
            due_at = max(left_at, self._opens_at) + self._delay_s
            await self._in_flight.put((due_at, data))
            await _sleep_until(left_at - _AHEAD_S)

    async def deliver(self) -> None:
        """Hand over what has arrived, until the end."""
        loop = asyncio.get_running_loop()
        while True:
            due_at, data = await self._in_flight.get()
            await _sleep_until(due_at)
            if not data:
                self._sink.shutdown(socket.SHUT_WR)
                return
            await loop.sock_sendall(self._sink, data)


async def _sleep_until(moment: float) -> None:
    remaining = moment - asyncio.get_running_loop().time() - _TIMER_LATE_S
    if remaining > 0:
        await asyncio.sleep(remaining)


class Serving:
    """The relay itself, inside its process."""

    def __init__(self, target_port: int, rtt_s: float, bytes_per_s: float) -> None:
        self._target = ("127.0.0.1", target_port)
        self._rtt_s = rtt_s
        self._up, self._down = Link(bytes_per_s), Link(bytes_per_s)
        self._connections: set[asyncio.Task[None]] = set()

    async def serve(self, port: int) -> None:
        """Accept connections for ever."""
        loop = asyncio.get_running_loop()
        with socket.create_server(("127.0.0.1", port), backlog=512) as server:
            server.settimeout(0)
            while True:
                client, _ = await loop.sock_accept(server)
                task = asyncio.create_task(self._connect(client))
                self._connections.add(task)
                task.add_done_callback(self._connections.discard)

    async def _connect(self, client: socket.socket) -> None:
        loop = asyncio.get_running_loop()
        handshake_done_at = loop.time() + self._rtt_s
        with client, socket.socket() as server, contextlib.suppress(OSError):
            for end in (client, server):
                end.settimeout(0)
                end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            await loop.sock_connect(server, self._target)
            await self._pass_on(client, server, handshake_done_at)

    async def _pass_on(
        self, client: socket.socket, server: socket.socket, handshake_done_at: float
    ) -> None:
        up = Way(client, server, self._up, self._rtt_s / 2, handshake_done_at)
        down = Way(server, client, self._down, self._rtt_s / 2, 0)
        with contextlib.suppress(ExceptionGroup):
            async with asyncio.TaskGroup() as group:
                for way in (up, down):
                    group.create_task(way.take())
                    group.create_task(way.deliver())


class Relay:
    """Owner of the relay's process: `with Relay(port, rtt_s, mbit_per_s) as relay`."""

    def __init__(self, target_port: int, rtt_s: float, mbit_per_s: float) -> None:
        self.port = find_free_port()
        self.url = f"http://127.0.0.1:{self.port}/"
        self.rtt_s = rtt_s
        self.bytes_per_s = mbit_per_s * 1e6 / 8
        arguments = (self.port, target_port, rtt_s, self.bytes_per_s)
        self._command = [sys.executable, "-m", "tests.benchmarks.relay", *map(str, arguments)]

    def __enter__(self) -> Self:
        self._process = subprocess.Popen(self._command, stdout=subprocess.PIPE)
        if self._process.stdout is None or not self._process.stdout.readline():
            raise RuntimeError("the relay does not start")
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.terminate()
        self._process.communicate()

    def cpu_s(self) -> float:
        """Return the processor time that the relay has used so far."""
        fields = Path(f"/proc/{self._process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def _main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("port", type=int)
    parser.add_argument("target_port", type=int)
    parser.add_argument("rtt_s", type=float)
    parser.add_argument("bytes_per_s", type=float)
    options = parser.parse_args()
    relay = Serving(options.target_port, options.rtt_s, options.bytes_per_s)
    serving = asyncio.create_task(relay.serve(options.port))
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, serving.cancel)
    await asyncio.sleep(0)
    print("ready", flush=True)
    with contextlib.suppress(asyncio.CancelledError):
        await serving


if __name__ == "__main__":
    asyncio.run(_main())
