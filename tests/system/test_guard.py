"""Clients that are silent, slow or too many do no harm."""

import asyncio
import resource
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from tests.command import Shell, long_final_days, open_shell
from tests.running import Daemon, running


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data", long_final_days(2, events_per_day=40_000)) as shell:
        shell.set(server__listen="127.0.0.1:0", schedule__interval="1h")
        await shell.synced()
        yield shell


async def connect(url: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    return await asyncio.open_connection(host, int(port), limit=1024)


async def gone(reader: asyncio.StreamReader) -> bool:
    """Wait for the other side to close; bytes before that are read and dropped."""
    try:
        while await asyncio.wait_for(reader.read(65536), 15):
            pass
    except ConnectionError:
        pass
    return True


@pytest.mark.parametrize("said", [b"", b"GET / HTTP/1.1\r\nHost: x\r\nX-Half:"])
async def test_a_connection_that_never_finishes_a_request_is_closed(
    shell: Shell, said: bytes
) -> None:
    shell.set(server__idle_timeout="0.5s")
    async with running(shell, "serve") as daemon:
        reader, writer = await connect(await daemon.url())
        writer.write(said)

        assert await gone(reader)
        writer.close()
        assert (await daemon.get("healthz")).status == 200


async def ask(url: str, path: str, *, buffer_bytes: int) -> socket.socket:
    """Ask for a path through a socket that takes in no more than about so much by itself."""
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, buffer_bytes)
    client.settimeout(0)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(client, (host, int(port)))
    await loop.sock_sendall(client, f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client


async def take(client: socket.socket, *, pause_s: float = 0, seconds: float = 1e9) -> int:
    """Read until the other side closes or the time is over; return the bytes."""
    loop = asyncio.get_running_loop()
    end = loop.time() + seconds
    received = 0
    with suppress(ConnectionError):
        while loop.time() < end:
            chunk = await asyncio.wait_for(loop.sock_recv(client, 65536), 15)
            if not chunk:
                break
            received += len(chunk)
            await asyncio.sleep(pause_s)
    return received


async def test_a_client_that_stops_reading_is_dropped_long_before_its_file_would_end(
    shell: Shell,
) -> None:
    shell.set(server__idle_timeout="1s", server__min_speed="1")
    async with running(shell, "serve") as daemon:
        path = f"/events-{shell.days[0]}.jsonl"
        with await ask(await daemon.url(), path, buffer_bytes=16384) as client:
            await daemon.logged("connection.dropped", reason="too slow")
            assert await take(client) < len(shell.body(shell.days[0]))
        assert (await daemon.get("healthz")).status == 200
        assert (await daemon.end())[0] == 0
        assert daemon.said == []


async def test_a_client_that_drips_is_dropped(shell: Shell) -> None:
    shell.set(server__idle_timeout="1s", server__min_speed="1GiB")
    async with running(shell, "serve") as daemon:
        path = f"/events-{shell.days[0]}.jsonl"
        with await ask(await daemon.url(), path, buffer_bytes=16384) as client:
            assert await take(client, pause_s=0.05) < len(shell.body(shell.days[0]))
        await daemon.logged("connection.dropped", reason="too slow")


async def test_a_client_that_is_slow_but_steady_is_served(shell: Shell) -> None:
    shell.set(server__idle_timeout="2s", server__min_speed="1KiB")
    async with running(shell, "serve") as daemon:
        path = f"/events-{shell.days[0]}.jsonl"
        with await ask(await daemon.url(), path, buffer_bytes=16384) as client:
            received = await take(client, pause_s=0.1, seconds=6)
            received += await take(client, seconds=3)
        assert received > len(shell.body(shell.days[0]))


async def test_what_the_system_holds_for_a_slow_client_is_not_cut_off(shell: Shell) -> None:
    # the index is handed over whole at once, long before such a client has it
    shell.set(server__idle_timeout="2s", server__min_speed="1KiB")
    listing = shell.data.index
    listing.write_bytes(listing.read_bytes() + b" " * 2**20)
    async with running(shell, "serve") as daemon:
        with await ask(await daemon.url(), "/index.jsonl", buffer_bytes=16384) as client:
            received = await take(client, pause_s=0.1, seconds=6)
            received += await take(client, seconds=3)
        assert received > 2**20


async def test_beyond_the_limit_the_longest_silent_make_room(shell: Shell) -> None:
    shell.set(server__max_connections="5")
    async with running(shell, "serve") as daemon:
        url = await daemon.url()
        clients = [await connect(url) for _ in range(12)]
        await daemon.logged("connections.closed")

        assert (await daemon.get("healthz")).status == 200
        for _, writer in clients:
            writer.close()


@pytest.fixture
def many_descriptors() -> Iterator[None]:
    """Allow this process as many open files as a thousand clients take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard < 4000:
        pytest.skip("fewer than 4,000 open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, 4000), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def resident_mb(daemon: Daemon) -> float:
    """Return the memory of a daemon, by proc(5)."""
    pages = Path(f"/proc/{daemon.process.pid}/statm").read_text().split()[1]
    return int(pages) * resource.getpagesize() / 1e6


def unsent_mb(url: str) -> float:
    """Return what the kernel keeps for the clients of a server, by proc_net_tcp of Linux."""
    port = int(url.removesuffix("/").rpartition(":")[2])
    rows = [row.split() for row in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    queues = [row[4] for row in rows if row[1].endswith(f":{port:04X}")]
    return sum(int(queue.partition(":")[0], 16) for queue in queues) / 1e6


@pytest.mark.usefixtures("many_descriptors")
@pytest.mark.parametrize("polls", [2, pytest.param(30, marks=pytest.mark.slow)])
async def test_a_thousand_slow_readers_hold_up_nobody(shell: Shell, polls: int) -> None:
    shell.set(schedule__interval="1s", schedule__jitter="0")
    async with running(shell) as daemon:
        url = await daemon.url()
        await daemon.logged("poll.finished", exit_code=0)
        before = resident_mb(daemon)
        path = f"/events-{shell.days[0]}.jsonl"
        clients = [await ask(url, path, buffer_bytes=4096) for _ in range(1000)]
        loop = asyncio.get_running_loop()
        heads = [await asyncio.wait_for(loop.sock_recv(one, 15), 15) for one in clients]
        for _ in range(polls):
            after = len(daemon.logs)
            await daemon.logged("poll.finished", after=after, exit_code=0)
            assert (await daemon.get("status")).status == 200
            assert (await daemon.get(path[1:])).text.encode() == shell.body(shell.days[0])
        grown, unsent = resident_mb(daemon) - before, unsent_mb(url)
        code, took = await daemon.end()
        for one in clients:
            one.close()

    assert set(heads) == {b"HTTP/1.1 200 OK"}
    assert grown < 100
    # the kernel has some GB for the sockets of all programs, and drops packets beyond
    assert unsent < 500
    assert code == 0
    assert took < 10
