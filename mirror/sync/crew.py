"""Transfers made by worker processes, one a core: for many bytes, which one core cannot take in.

A worker has a loop and a session of its own, writes where it is told, and knows nothing of plans,
verdicts or journals; nobody else needs its loop, so it digests and writes there, without threads.
All that is decided is decided here, by whoever asked for the transfer. Both sides talk over a pair
of sockets, in pickled messages with their length before them: a transfer with its number one way;
the other way, with the number, what was asked of upstream since the last message, how much more was
kept, and in the end what it came to. A message costs as much as taking in a block, so that there is
not one for each.

A worker ends with this process, however it ends (`mirror.processes`). One that dies costs its
transfers a try each, and another takes its place.
"""

import asyncio
import os
import pickle
import socket
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import count
from typing import Any, NamedTuple

from msgspec.structs import replace

from mirror.archive.ports import Destination, Stage, Traffic
from mirror.config.settings import Config, HttpConfig
from mirror.errors import StorageError, UpstreamError
from mirror.logs import get_logger
from mirror.processes import end_process, portable, start_process
from mirror.sync.source import HttpSource, open_source
from mirror.sync.transfer import Arrival, Carry, Progress, Transfer, carry

_BLOCK_BYTES = 128 * 1024
"""What a worker takes in at a time: it stays in the processor's cache, and no thread is paid."""
_TELL_EVERY_S = 0.1
_LENGTH_BYTES = 4


@asynccontextmanager
async def open_crew(
    source: HttpSource, destination: Destination, config: Config, workers: int
) -> AsyncIterator[Carry]:
    """Have transfers made by so many workers, started when the first is wanted."""
    crew = _Crew(source, destination, config, workers)
    try:
        yield crew.carry
    finally:
        await crew.close()


class _Job(NamedTuple):
    """A transfer that a worker makes."""

    arrived: asyncio.Future[Arrival]
    progress: Progress


class _Worker(NamedTuple):
    """A worker, as it is seen from here."""

    process: subprocess.Popen[bytes]
    reader: asyncio.StreamReader
    writer: asyncio.StreamWriter
    jobs: dict[int, _Job]  # by number; those under way


@dataclass
class _Crew:
    """The workers together, from this side."""

    source: HttpSource
    destination: Destination
    config: Config
    wanted: int  # workers; fewer once the system had no process to give
    workers: list[_Worker] = field(default_factory=list)
    listeners: set[asyncio.Task[None]] = field(default_factory=set)
    numbers: Iterator[int] = field(default_factory=count)
    filling: asyncio.Lock = field(default_factory=asyncio.Lock)

    @asynccontextmanager
    async def carry(self, transfer: Transfer, progress: Progress) -> AsyncIterator[Arrival]:
        """Have a transfer made by the worker that has least to do; see `Carry`."""
        await self.source.wait_turn()
        await self._fill()
        async with self.destination.stage(transfer.name, _pass) as staged:
            if not self.workers or staged.elsewhere is None:
                async with carry(self.source, self.destination.stage, transfer, progress) as one:
                    yield one
                return
            # one that dies from here on ends its jobs, and nothing is awaited until it has this one
            worker = min(self.workers, key=lambda one: len(one.jobs))
            number, arrived = next(self.numbers), asyncio.get_running_loop().create_future()
            worker.jobs[number] = _Job(arrived, progress)
            _send(worker.writer, (number, transfer, staged.elsewhere))
            try:
                arrival = await arrived
            except UpstreamError as error:
                self.source.heed(transfer.name, error.retry_after_s or 0)
                raise
            self.source.heed(transfer.name, None)
            yield replace(arrival, staged=staged if arrival.evidence else None)

    async def close(self) -> None:
        """End the workers, whatever they are at."""
        for worker in self.workers:
            worker.process.kill()
        if self.listeners:
            await asyncio.wait(self.listeners)

    async def _fill(self) -> None:
        """Start what workers are missing; where that cannot be, there are fewer."""
        async with self.filling:
            missing = range(self.wanted - len(self.workers))
            for problem in await asyncio.gather(*(self._start() for _ in missing)):
                if problem is not None:
                    self.wanted -= 1
                    get_logger().warning("sync.no_worker", problem=problem.line())

    async def _start(self) -> StorageError | None:
        try:
            # here, not on a thread: what is cancelled has then either begun or not
            process, link = start_process()
        except StorageError as error:
            return error
        ahead = self.source.now() - datetime.now(UTC)
        upstream, http = self.config.upstream.url, self.config.http
        with ExitStack() as undo:
            undo.callback(end_process, process)
            undo.callback(link.close)
            reader, writer = await asyncio.open_connection(sock=link)
            undo.callback(writer.close)
            writer.write(pickle.dumps((_work, (upstream, http, ahead))))
            is_ready = await _receive(reader) is not None
            undo.pop_all()
        worker = _Worker(process, reader, writer, {})
        self.workers.append(worker)
        listener = asyncio.create_task(self._listen(worker))
        self.listeners.add(listener)
        listener.add_done_callback(self.listeners.discard)
        return None if is_ready else StorageError("a worker process ended as it began")

    async def _listen(self, worker: _Worker) -> None:
        """Hand on what a worker says, up to its end."""
        while (message := await _receive(worker.reader)) is not None:
            number, traffic, gain, came = message
            self.source.traffic.add(traffic)
            arrived, progress = worker.jobs[number]
            if gain:
                progress(gain)
            if came is None:
                continue
            del worker.jobs[number]
            if arrived.done():
                continue  # cancelled: nobody waits for it
            if isinstance(came, Exception):
                arrived.set_exception(came)
            else:
                arrived.set_result(came)
        self.workers.remove(worker)
        ended = await asyncio.to_thread(end_process, worker.process)
        worker.writer.close()
        for job in worker.jobs.values():
            if not job.arrived.done():
                text = f"the worker process that fetched it ended ({ended})"
                job.arrived.set_exception(UpstreamError(text))


def _pass(chunk: bytes) -> Iterator[bytes]:
    yield chunk


def _work(url: str, http: HttpConfig, ahead: timedelta) -> None:
    """Make transfers, in a worker, until there is nobody who wants any."""
    asyncio.run(_make_transfers(url, http, ahead))


async def _make_transfers(url: str, http: HttpConfig, ahead: timedelta) -> None:
    link = socket.socket(fileno=os.dup(0))
    reader, writer = await asyncio.open_connection(sock=link)
    opening = open_source(
        url, http, now=lambda: datetime.now(UTC) + ahead, block_bytes=_BLOCK_BYTES
    )
    async with opening as source, asyncio.TaskGroup() as group:
        _send(writer, "ready")
        while (wanted := await _receive(reader)) is not None:
            group.create_task(_make(source, writer, *wanted))


async def _make(
    source: HttpSource, writer: asyncio.StreamWriter, number: int, transfer: Transfer, stage: Stage
) -> None:
    clock = asyncio.get_running_loop().time
    gain, told_at = 0, clock()

    def tell(came: Arrival | Exception | None = None) -> None:
        nonlocal gain, told_at
        _send(writer, (number, source.traffic, gain, came))
        source.traffic, gain, told_at = Traffic(), 0, clock()

    def progress(more: int) -> None:
        nonlocal gain
        gain += more
        if clock() - told_at >= _TELL_EVERY_S:
            tell()

    try:
        async with carry(source, stage, transfer, progress) as arrival:
            came = replace(arrival, staged=None)
    except Exception as error:  # noqa: BLE001 - whatever it is, the parent is to hear of it
        tell(portable(error))
    else:
        tell(came)


def _send(writer: asyncio.StreamWriter, message: object) -> None:
    body = pickle.dumps(message)
    writer.write(len(body).to_bytes(_LENGTH_BYTES, "big") + body)


async def _receive(reader: asyncio.StreamReader) -> Any:
    """Return the next message; None where there will be none."""
    with suppress(asyncio.IncompleteReadError, ConnectionError):
        length = int.from_bytes(await reader.readexactly(_LENGTH_BYTES), "big")
        return pickle.loads(await reader.readexactly(length))  # noqa: S301 - from a process of ours
    return None
