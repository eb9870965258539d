"""The demo: a small archive lives through a few days and incidents, and the mirror follows it.

Everything is real but the calendar: a real server on a loopback port, the real poll, a real disk.
"""

import os
import random
import shutil
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from mirror.config.settings import Config, HttpConfig, StorageConfig, UpstreamConfig
from mirror.demo.upstream import Upstream
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


async def run_tour(root: Path, *, days: int, show: Print) -> None:
    """Show the mirror at work, a line for each thing that happens.

    Args:
        root: where the copy is kept; replaced.
        days: days of the archive at the beginning.
        show: prints a line.

    Raises:
        ConfigError: `root` holds something that is not an earlier demo.
    """
    data = check_data_dir(root)
    _make_room(data.root)
    started = time.monotonic()
    upstream = Upstream(_NOON, days)
    async with upstream.serve() as url:
        config = Config(
            upstream=UpstreamConfig(url=url),
            storage=StorageConfig(data_dir=str(data.root)),
            http=HttpConfig(backoff=0.05),
        )
        show(f"An archive of {plural(days, 'day')} is served at {url}\n")
        clock, rng = (lambda: upstream.now), random.Random(0)
        async with open_mirror(config, data, now=clock, rng=rng) as mirror:
            await _play(mirror, upstream, show)
    report = verify(data, today=upstream.now.date())
    show(
        f"7. Verified: {plural(report.checked, 'file')} read again, "
        f"{human_bytes(report.checked_bytes)}, {len(report.damage) or 'none'} damaged\n"
    )
    _show_the_end(data, time.monotonic() - started, show)


async def _play(mirror: Mirror, upstream: Upstream, show: Print) -> None:
    """Play the scenes, in order."""

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
    for warning in report.warnings:
        show(f"   warning: {warning.text}")
    show(f"   our own index still lists {plural(report.held, 'day')}\n")


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


def _show_the_end(data: DataDir, seconds: float, show: Print) -> None:
    root, program = data.root, _program()
    show(
        f"Done in {seconds:.1f} s. What is where:\n"
        f"  {data.archive}  the copy, as upstream serves it, with SHA256SUMS\n"
        f"  {data.manifest}  what is known of each day\n"
        "Try next:\n"
        f"  {program} status --data-dir {root}\n"
        f"  {program} verify --data-dir {root}\n"
        f"  (cd {data.archive} && sha256sum --quiet -c SHA256SUMS && echo all good)\n"
        f"  {program} sync --dry-run    # the real archive: what would be fetched"
    )


def _program() -> str:
    """Return what to type to run us again: the name where it is found, else the path."""
    if shutil.which("binder-mirror"):
        return "binder-mirror"
    program = Path(sys.argv[0])
    if program.name == "binder-mirror":
        return os.path.relpath(program)
    return f"{os.path.relpath(sys.executable)} -m mirror"
