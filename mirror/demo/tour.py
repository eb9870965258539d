"""The demo: a small archive lives through a few days and incidents, and the mirror follows it.

Everything is real but the calendar: a real server on a loopback port, the real poll, a real disk.
"""

import asyncio
import os
import random
import shlex
import shutil
import sys
import time
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime, timedelta
from importlib.util import find_spec
from pathlib import Path

from mirror.config.settings import Config, HttpConfig, StorageConfig, UpstreamConfig
from mirror.demo.upstream import Upstream
from mirror.errors import ConfigError
from mirror.model import PollReport
from mirror.store.aside import list_versions
from mirror.store.disk import storage_errors
from mirror.store.layout import DataDir, check_data_dir
from mirror.store.verification import verify
from mirror.sync.wiring import Mirror, open_mirror
from mirror.templating import load_templates
from mirror.text import human_bytes, plural

_MARKER = ".binder-mirror-demo"
_NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)  # of the archive's version 6; the clock begins here
_GUTTED = _NOON.date() - timedelta(days=2)  # the final day that loses most of its launches

Print = Callable[[str], object]


async def run_tour(root: Path, *, days: int, port: int | None, show: Print) -> None:
    """Show the mirror at work, a line for each thing that happens.

    The copy is kept at `root`, which is replaced; the archive has so many days at the beginning.
    At the end it is still served on `port`, until this is cancelled; with None it is served for the
    tour alone, on any free port. A ConfigError says that `root` holds something that is not an
    earlier demo, or that the port is taken.
    """
    data = check_data_dir(root)
    upstream = Upstream(_NOON, days)
    async with AsyncExitStack() as served:
        try:
            url = await served.enter_async_context(upstream.serve(port or 0))
        except OSError as error:
            raise ConfigError(
                f"cannot serve the demo's archive on port {port}: {os.strerror(error.errno or 0)}",
                hint="name another port with --port",
            ) from error
        _make_room(data.root)
        started = time.monotonic()
        show(f"An archive of {plural(days, 'day')} is served at {url}\n")
        config = Config(
            upstream=UpstreamConfig(url=url),
            storage=StorageConfig(data_dir=str(data.root)),
            http=HttpConfig(backoff=0.05),
        )
        clock, rng = (lambda: upstream.now), random.Random(0)
        async with open_mirror(config, data, now=clock, rng=rng) as mirror:
            await _play(mirror, upstream, show)
        report = verify(data, today=upstream.now.date())
        show(
            f"\n8. Verified: {plural(report.checked, 'file')} read again, "
            f"{human_bytes(report.checked_bytes)}, {len(report.damage) or 'none'} damaged\n"
        )
        show(f"Done in {time.monotonic() - started:.1f} s. What is where:")
        show(_hints(data, url if port is not None else None))
        if port is not None:
            # from here on time is real, and an index of the demo's last day would be a stale one
            upstream.write_listings(datetime.now(UTC))
            show(f"\nThe archive is served at {url} until Ctrl-C; try these in another terminal.")
            # it has been told to end, and has: that is no failure
            with suppress(asyncio.CancelledError):
                await asyncio.Event().wait()


async def _play(mirror: Mirror, upstream: Upstream, show: Print) -> None:
    async def scene(title: str, remark: str = "") -> PollReport:
        before = len(upstream.statuses)
        report = await mirror.poll()
        statuses = upstream.statuses[before:]
        published = report.outcomes.get("published", 0)
        show(
            f"{title}: {plural(len(statuses), 'request')} ({statuses.count(200)} with a body, "
            f"{statuses.count(304)} answered 304), {published} published, "
            f"{plural(report.held, 'day')} held, {report.duration_s:.2f} s"
            + (f" - {remark}" if remark else "")
        )
        for warning in report.warnings:
            show(f"   warning: {warning.text}")
        return report

    await scene("1. First sync")
    await scene("2. A quiet poll")
    upstream.wait(hours=2)
    await scene("3. A new day appears", "today's file, still growing")
    upstream.wait(hours=4)
    await scene("4. It has grown", "rebuilt upstream, fetched again")
    upstream.wait(hours=2)
    upstream.cut.add(f"events-{upstream.now.date()}.jsonl")
    remark = "nothing of it was published; the next try was whole"
    await scene("5. A body is cut short", remark)
    upstream.index_shrunk = True
    upstream.wait(hours=20)
    report = await scene("6. Upstream's index shrinks to one line", "nothing is lost")
    show(f"   our own index still lists {plural(report.held, 'day')}")
    upstream.index_shrunk = False
    upstream.gut(_GUTTED)
    upstream.wait(hours=2)
    await scene("7. It is back, and a final day has lost its launches", "what was held is kept")


def _make_room(root: Path) -> None:
    """Empty the folder of the demo; one that is not the demo's is left alone."""
    with storage_errors(root):
        if root.exists() and any(root.iterdir()):
            if not (root / _MARKER).exists():
                raise ConfigError(
                    f"{root} is not empty and not from an earlier demo",
                    hint="name another folder with --data-dir",
                )
            shutil.rmtree(root)
        root.mkdir(parents=True, exist_ok=True)
        (root / _MARKER).touch()


def _hints(data: DataDir, url: str | None) -> str:
    """Return what is where, and commands that can be pasted; `url` is where the archive stays."""
    hints = load_templates().get_template("hints.txt")
    return hints.render(
        data=data,
        archive=shlex.quote(str(data.archive)),
        at=f"--data-dir {shlex.quote(str(data.root))}",
        program=_program(),
        day=_GUTTED,
        kept=list_versions(data, _GUTTED)[0],
        has_sql=find_spec("duckdb") is not None,
        url=url,
    )


def _program() -> str:
    """Return what to type to run us again: the name where it is found, else the path."""
    if shutil.which("binder-mirror"):
        return "binder-mirror"
    program = Path(sys.argv[0])
    if program.name == "binder-mirror":
        return os.path.relpath(program)
    return f"{os.path.relpath(sys.executable)} -m mirror"
