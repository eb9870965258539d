"""What the relay really does, measured with plain sockets of our own."""

import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass
from http.client import HTTPConnection
from statistics import median
from urllib.parse import urlsplit

from tests.benchmarks.nginx import Nginx
from tests.benchmarks.relay import Relay

_ASKED = 25
_BUFFER_BYTES = 128 * 1024


@dataclass(frozen=True, slots=True)
class Gauge:
    """Round trip and first reply of a fresh connection in seconds; rates in bytes a second."""

    rtt_s: float
    first_reply_s: float
    one_connection: float
    many_connections: float
    cpu_share: float
    unlimited: float

    def __str__(self) -> str:
        return (
            f"round trip {self.rtt_s * 1e3:.1f} ms, first reply {self.first_reply_s * 1e3:.1f} ms; "
            f"plain sockets get {self.one_connection * 8e-6:.0f} Mbit/s through one connection, "
            f"{self.many_connections * 8e-6:.0f} through 8; the relay takes "
            f"{self.cpu_share:.0%} of a core, and without a limit passes "
            f"{self.unlimited / 1e6:.0f} MB/s"
        )


def gauge_relay(nginx: Nginx, relay: Relay, paths: list[str]) -> Gauge:
    """Measure a relay in front of nginx by fetching these paths."""
    with Relay(nginx.port, 0, 1e6) as unlimited:
        _fetch(unlimited.url, paths, 8)
        capacity = _fetch(unlimited.url, paths, 8)
    cpu_before, started_at = relay.cpu_s(), time.perf_counter()
    many = _fetch(relay.url, paths, 8, relay.rtt_s * 2)
    cpu_share = (relay.cpu_s() - cpu_before) / (time.perf_counter() - started_at)
    return Gauge(
        rtt_s=_time_reply(relay.url, paths[0]),
        first_reply_s=median(_time_first_reply(relay.url, paths[0]) for _ in range(_ASKED)),
        one_connection=_fetch(relay.url, paths[: max(1, len(paths) // 2)], 1, relay.rtt_s * 2),
        many_connections=many,
        cpu_share=cpu_share,
        unlimited=capacity,
    )


def _connect(url: str) -> HTTPConnection:
    return HTTPConnection(urlsplit(url).netloc, timeout=60)


def _time_reply(url: str, path: str) -> float:
    times: list[float] = []
    with closing(_connect(url)) as connection:
        for _ in range(_ASKED):
            started_at = time.perf_counter()
            connection.request("HEAD", path)
            connection.getresponse().read()
            times.append(time.perf_counter() - started_at)
    return median(times[1:])


def _time_first_reply(url: str, path: str) -> float:
    started_at = time.perf_counter()
    with closing(_connect(url)) as connection:
        connection.request("HEAD", path)
        connection.getresponse().read()
    return time.perf_counter() - started_at


def _fetch(url: str, paths: list[str], connections: int, idle_s: float = 0) -> float:
    """Return the bytes a second through some connections, each of which takes its turn of paths.

    Args:
        url: the base URL.
        paths: what to fetch.
        connections: how many at a time.
        idle_s: the time in which nothing can arrive yet.
    """
    started_at = time.perf_counter()
    with ThreadPoolExecutor(connections) as pool:
        shares = [paths[number::connections] for number in range(connections)]
        sizes = list(pool.map(_drain, [url] * connections, shares))
    # one more round trip for each further file of a connection, in which others use the link
    if connections == 1:
        idle_s *= (len(paths) + 1) / 2
    return sum(sizes) / (time.perf_counter() - started_at - idle_s)


def _drain(url: str, paths: list[str]) -> int:
    """Fetch paths one after the other through one connection; return their bytes."""
    size = 0
    buffer = bytearray(_BUFFER_BYTES)
    with closing(_connect(url)) as connection:
        for path in paths:
            connection.request("GET", path)
            reply = connection.getresponse()
            while got := reply.readinto(buffer):
                size += got
    return size
