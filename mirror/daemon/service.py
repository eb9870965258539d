"""The daemon process: starts, serves, feeds the watchdog, reloads and drains.

Signals: SIGTERM and SIGINT drain and end with 0; SIGHUP reads the settings again. The watchdog is
fed while the event loop turns *and* the work gets on, so that a hung loop and a stuck job both end.
"""

import asyncio
import ctypes
import gc
import os
import re
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack, suppress
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from mirror.config.cron import longest_interval
from mirror.config.settings import Config
from mirror.daemon.jobs import Jobs, OpenWriter
from mirror.daemon.schedule import Schedule
from mirror.errors import ConfigError, MirrorError
from mirror.logs import configure_logs, get_logger
from mirror.store.layout import DataDir
from mirror.web.server import WebServer
from mirror.web.site import Site

_BEAT_S = 1.0
_LEAST_BEAT_S = 0.05
_DRAIN_S = 6  # for the work to come to where the next run goes on; then the web side has 3 s
_MAX_STATUS = 200
_M_ARENA_MAX = -8
_ARENAS = 2


def tune_process() -> None:
    """Tune this process to serve beside its work for years; before it makes any thread."""
    # The threads of a poll come and go, each new one may take another arena of glibc's, eight a
    # processor, and an arena keeps what it once needed: the daemon grew by 12 to 28 kB a poll over
    # hundreds of polls. With two it stays level. Another library is left alone. See mallopt(3).
    with suppress(OSError, AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, _ARENAS)
    # A busy thread gives the interpreter away after 1 ms rather than 5. The event loop gives it
    # away at every wait, several times in one answer, and each time waits as long to have it back
    # from threads that write, decode or look at the copy: beside a poll the slowest in a hundred
    # answers took half as long again. The poll takes no longer for it.
    sys.setswitchinterval(0.001)


class Notifier:
    """Notifies the service manager (sd_notify(3)) that the environment names; else is silent."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        # an abstract socket begins with NUL
        self._address = re.sub("^@", "\0", environ.get("NOTIFY_SOCKET", ""))
        self._status = ""
        period, pid = environ.get("WATCHDOG_USEC", ""), environ.get("WATCHDOG_PID", "")
        is_ours = pid in ("", str(os.getpid())) and re.fullmatch("[0-9]{1,18}", period)
        # how often it wants to hear that we live; None where it does not
        self.watchdog_s = int(period) / 1e6 or None if is_ours else None

    def send(self, message: str) -> None:
        """Send lines of `KEY=value`."""
        if not self._address.startswith(("/", "\0")):
            return
        # a service manager that cannot be reached is no reason to fail
        with suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as channel:
            channel.settimeout(0)
            channel.sendto(message.encode(), self._address)

    def status(self, text: str) -> None:
        """Show what we do; sent where it differs from the last."""
        line = " ".join(text.split())[:_MAX_STATUS]
        if line != self._status:
            self._status = line
            self.send(f"STATUS={line}")


async def run_service(
    config: Config,
    data: DataDir,
    *,
    load: Callable[[], Config],
    open_writer: OpenWriter | None,
    environ: Mapping[str, str],
    announce: Callable[[str], None],
    now: Callable[[], datetime],
) -> bool:
    """Serve and work until SIGTERM or SIGINT; return whether all came to its end in time.

    `load` reads the settings again. Without `open_writer`, which holds the data directory for
    writing, the web side runs alone. In `environ` a service manager leaves its address; `announce`
    shows ours to a person at a terminal, once it is served. A ConfigError says that the address
    cannot be had; what else is raised is a bug, of which the work died.
    """
    site = Site(config, data, longest_interval(config.schedule, now=now()), now)
    jobs = Jobs(site, Schedule(config.schedule), open_writer) if open_writer is not None else None
    # Modules and what is made at the start are never garbage, and going through them for it held
    # up the loop for 40 ms.
    gc.collect()
    gc.freeze()
    return await _Service(site, jobs, Notifier(environ), load).run(announce)


@dataclass
class _Service:
    """What serves, works and listens to signals; without jobs the web side alone."""

    _site: Site
    _jobs: Jobs | None
    _notifier: Notifier
    _load: Callable[[], Config]
    _server: WebServer | None = None
    _stop: asyncio.Future[None] = field(default_factory=asyncio.Future)
    _reloads: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, announce: Callable[[str], None]) -> bool:
        """See `run_service`."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._end, number.name)
        loop.add_signal_handler(signal.SIGHUP, self._begin_reload)
        async with AsyncExitStack() as stack:
            await self._listen(self._site.config.server.listen)
            stack.push_async_callback(self._listen, "")
            if url := self._server and self._server.url:
                announce(url)
            worker = loop.create_task(self._work())
            self._notifier.send("READY=1")
            get_logger().info("daemon.ready", url=url)
            beat = loop.create_task(self._beat())
            stack.push_async_callback(_cancel, beat)
            await asyncio.wait({self._stop, worker, beat}, return_when=asyncio.FIRST_COMPLETED)
            self._notifier.send("STOPPING=1")
            for task in (worker, beat):
                if task.done():
                    task.result()
            # what has arrived counts, the rest is for the next run
            in_time = await _cancel(worker, timeout_s=_DRAIN_S)
        get_logger().info("daemon.stopped", in_time=in_time)
        return in_time

    def _end(self, name: str) -> None:
        get_logger().info("daemon.stopping", signal=name)
        if not self._stop.done():
            self._stop.set_result(None)

    async def _work(self) -> None:
        if self._jobs is None:
            await asyncio.wait({self._stop})
        else:
            async with self._jobs.schedule:
                await self._jobs.run_all()

    async def _beat(self) -> None:
        """Tell that we live, and what we do, as long as both are so."""
        period = _BEAT_S
        if self._notifier.watchdog_s is not None:
            period = min(period, max(_LEAST_BEAT_S, self._notifier.watchdog_s / 4))
        while True:
            before = time.monotonic()
            await asyncio.sleep(period)
            self._site.metrics.loop_lagged(time.monotonic() - before - period)
            if self._jobs is None or self._jobs.is_getting_on():
                self._notifier.send("WATCHDOG=1")
            if self._jobs is not None:
                self._notifier.status(self._jobs.describe())
                schedule = self._jobs.schedule
                if jump_s := schedule.check_clock_jump():
                    get_logger().warning("clock.jumped", seconds=round(jump_s))
                self._site.metrics.poll_scheduled(schedule.next_poll_at())

    def _begin_reload(self) -> None:
        task = asyncio.get_running_loop().create_task(self._reload())
        self._reloads.add(task)
        task.add_done_callback(self._reloads.discard)

    async def _reload(self) -> None:
        """Read the settings again; where they are bad, the old ones stay."""
        self._notifier.send(f"RELOADING=1\nMONOTONIC_USEC={time.monotonic_ns() // 1000}")
        try:
            await self._apply(await asyncio.to_thread(self._load))
        except MirrorError as error:
            get_logger().error(
                "settings.refused", problem=error.line(), hint="the settings from before hold"
            )
        else:
            url = self._server and self._server.url
            get_logger().info("settings.reloaded", url=url)
        finally:
            self._notifier.send("READY=1")

    async def _apply(self, config: Config) -> None:
        before = self._site.config
        if config.storage.data_dir != before.storage.data_dir:
            raise ConfigError("storage.data_dir has changed", hint="restart for that")
        if config.server.listen != before.server.listen:
            await self._listen(config.server.listen)
        configure_logs(config.log)
        self._site.config = config
        self._site.data = self._site.data.with_settings(config)
        self._site.interval = longest_interval(config.schedule, now=self._site.now())
        if self._jobs is not None and config != before:
            self._jobs.schedule.apply(config.schedule)

    async def _listen(self, listen: str) -> None:
        """Serve at this address, if any; where it cannot be had, nothing has changed."""
        server = WebServer(self._site, listen) if listen else None
        if server is not None:
            await server.open()
        before, self._server = self._server, server
        if before is not None:
            await before.close()


async def _cancel(task: "asyncio.Task[Any]", *, timeout_s: float | None = None) -> bool:
    """End a task; return False where it did not end in time."""
    task.cancel()
    done, _ = await asyncio.wait({task}, timeout=timeout_s)
    return bool(done)
