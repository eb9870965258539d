"""The demo: a small archive lives through a few days and incidents, and the mirror follows it.

Everything is real but the calendar: a real server on a loopback port, the real poll, a real disk.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror.config.settings import Config, HttpConfig, StorageConfig, UpstreamConfig
from mirror.demo.upstream import Publisher, Upstream, day_name
from mirror.errors import ConfigError
from mirror.model import PollReport
from mirror.store.disk import storage_errors
from mirror.store.layout import DataDir, check_data_dir
from mirror.store.verification import verify
from mirror.sync.wiring import Mirror, open_mirror
from mirror.text import human_bytes, plural

_MARKER = ".binder-mirror-demo"
_NOON = datetime(2026, 3, 5, 12, tzinfo=UTC)
"""A day of the archive's version 6; the demo's clock begins here."""

Print = Callable[[str], object]


class _Clock:
    """The demo's calendar, set by hand."""

    def __init__(self, now: datetime) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now


async def run_tour(root: Path, *, days: int, show: Print) -> None:
    """Show the mirror at work, a line for each thing that happens.

    Args:
        root: where the copy is kept; replaced.
        days: days of the archive at the beginning.
        show: prints a line.

    Raises:
        ConfigError: `root` holds something that is not an earlier demo.
    """
    data = _make_room(root)
    started = time.monotonic()
    clock = _Clock(_NOON)
    publisher = Publisher((_NOON - timedelta(days=days)).date(), (_NOON - timedelta(days=1)).date())
    async with Upstream(publisher) as upstream:
        config = Config(
            upstream=UpstreamConfig(url=upstream.url),
            storage=StorageConfig(data_dir=str(root)),
            http=HttpConfig(backoff=0.05),
        )
        show(f"An archive of {plural(days, 'day')} is served at {upstream.url}\n")
        async with open_mirror(config, data, now=clock, rng=random.Random(0)) as mirror:
            await _Tour(mirror, publisher, upstream, clock, show).run()
    (root / _MARKER).touch()
    report = verify(data, today=clock().date())
    show(
        f"7. Verified: {plural(report.checked, 'file')} read again, "
        f"{human_bytes(report.checked_bytes)}, {len(report.damage) or 'none'} damaged\n"
    )
    _show_the_end(data, time.monotonic() - started, show)


class _Tour:
    """The scenes, in order."""

    def __init__(
        self,
        mirror: Mirror,
        publisher: Publisher,
        upstream: Upstream,
        clock: _Clock,
        show: Print,
    ) -> None:
        self._mirror = mirror
        self._publisher = publisher
        self._upstream = upstream
        self._clock = clock
        self._show = show

    async def run(self) -> None:
        """Play all scenes."""
        await self._scene("1. First sync", "")
        await self._scene("2. A quiet poll", "")
        self._clock.now += timedelta(hours=2)
        self._publisher.publish(self._clock.now)
        await self._scene("3. A new day appears", "today's file, still growing")
        self._clock.now += timedelta(hours=4)
        self._publisher.publish(self._clock.now)
        await self._scene("4. It has grown", "rebuilt upstream, fetched again")
        self._clock.now += timedelta(hours=2)
        self._publisher.publish(self._clock.now)
        self._upstream.cut.add(day_name(self._clock.now.date()))
        await self._scene(
            "5. A body is cut short", "nothing of it was published; the next try was whole"
        )
        self._clock.now += timedelta(hours=20)
        self._publisher.index_shrunk = True
        self._publisher.publish(self._clock.now)
        report = await self._scene("6. Upstream's index shrinks to one line", "nothing is lost")
        for warning in report.warnings:
            self._show(f"   warning: {warning.text}")
        self._show(f"   our own index still lists {plural(report.held, 'day')}\n")

    async def _scene(self, title: str, remark: str) -> PollReport:
        before = len(self._upstream.statuses)
        report = await self._mirror.poll()
        statuses = self._upstream.statuses[before:]
        published = report.outcomes.get("published", 0)
        self._show(
            f"{title}: {plural(len(statuses), 'request')} ({statuses.count(200)} with a body, "
            f"{statuses.count(304)} answered 304), {published} published, "
            f"{plural(report.held, 'day')} held, {report.duration_s:.2f} s"
            + (f" - {remark}" if remark else "")
        )
        return report


def _make_room(root: Path) -> DataDir:
    """Return the folder of the demo, empty; one that is not the demo's is left alone."""
    data = check_data_dir(root)
    with storage_errors(root):
        _empty(root)
    return data


def _empty(root: Path) -> None:
    if root.exists() and any(root.iterdir()):
        if not (root / _MARKER).exists():
            raise ConfigError(
                f"{root} is not empty and not from an earlier demo",
                hint="name another folder with --data-dir",
            )
        shutil.rmtree(root)
    root.mkdir(parents=True, exist_ok=True)
    (root / _MARKER).touch()


def _show_the_end(data: DataDir, seconds: float, show: Print) -> None:
    root, program = data.root, _program()
    show(f"Done in {seconds:.1f} s. What is where:")
    show(f"  {data.archive}  the copy, as upstream serves it, with SHA256SUMS")
    show(f"  {data.manifest}  what is known of each day")
    show("Try next:")
    show(f"  {program} status --data-dir {root}")
    show(f"  {program} verify --data-dir {root}")
    show(f"  (cd {data.archive} && sha256sum --quiet -c SHA256SUMS && echo all good)")
    show(f"  {program} sync --dry-run    # the real archive: what would be fetched")


def _program() -> str:
    """Return what to type to run us again: the name where it is found, else the path."""
    if shutil.which("binder-mirror"):
        return "binder-mirror"
    program = Path(sys.argv[0])
    return os.path.relpath(program) if program.name == "binder-mirror" else "python -m mirror"
