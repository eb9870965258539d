"""What power cuts leave of a poll, an adoption, a repair, a restore: the next poll puts it right.

A run is recorded call by call. After each of its calls the power is cut: only what was flushed is
left, or all, or a seeded choice of what was not (see `disk_model`). The promises must hold of what
is left, and after the next poll, with upstream as it was or moved on: a final day grown, shrunk, or
written anew, its index frozen meanwhile or not.

`make crash-states` tries 6,000 states.
"""

import asyncio
import os
import random
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror.archive.plan import DayRules
from mirror.config.loading import load_config
from mirror.errors import MirrorError
from mirror.store.layout import DataDir
from mirror.sync.wiring import open_mirror
from tests.reliability import shim
from tests.reliability.disk_model import Disk, Luck, points, write_out
from tests.reliability.failpoints import Scenario, copied, prepared
from tests.reliability.figures import Figures, arguments, conclude
from tests.reliability.forking import Forks
from tests.reliability.truth import Truth, not_converged
from tests.upstream.archive import UpstreamArchive

RECORDED = ("poll", "replacing poll", "adoption", "repair", "restore")
_CONVERGING = ("poll", "replacing poll", "adoption")
"""After these the copy must be upstream's; after the others it may differ from it on purpose."""


@dataclass(frozen=True, slots=True)
class Cut:
    """A power cut, and what is there of upstream at the next poll."""

    after: int
    luck: Luck
    seed: int
    upstream: str

    def __str__(self) -> str:
        return (
            f"cut after call {self.after}, {self.luck} kept, upstream {self.upstream} ({self.seed})"
        )


def move_on(archive: UpstreamArchive, how: str) -> UpstreamArchive:
    """Return an upstream that went on."""
    moved = UpstreamArchive(objects=dict(archive.objects))
    at = archive["index.jsonl"].last_modified + timedelta(minutes=10)
    days = list(moved.days())
    if how.startswith("shrunk"):
        for day in days[:3]:
            moved.put_day(day, 3, at)
    elif how == "grown":
        for day in days[:3]:
            moved.put_day(day, 90, at)
    elif how == "rewritten":
        for day in days[:3]:
            body = moved[f"events-{day}.jsonl"].body
            moved.put_day(day, body.replace(b'"success"', b'"failure"'), at)
    if how != "as it was" and not how.endswith("index frozen"):
        moved.write_index(at)
    return moved


UPSTREAMS = ("as it was", "shrunk", "grown", "rewritten", "shrunk, index frozen")


async def record(scenario: Scenario, forks: Forks, folder: Path) -> tuple[Disk, list[shim.Call]]:
    """Return the disk before the scenario's command, and the calls that the command made."""
    async with copied(scenario.template, folder, "record") as root:
        disk, log = Disk.of(root), root.parent / "log"
        environ = scenario.environ(root)
        ran = await forks.run(scenario.arguments, environ, root=root, log=log, mode=shim.RECORD)
        assert ran.code == 0, ran
        calls = list(shim.read_calls(log, root))
        _require_true(disk, calls, root)
    return disk, calls


def _require_true(disk: Disk, calls: list[shim.Call], root: Path) -> None:
    """The model, after all calls, has what the real disk has."""
    after = deepcopy(disk)
    for call in calls:
        after.do(call)
    for name, file in after.left(random.Random(0), "all").items():
        if file is not None and name != "lock":
            assert (root / name).read_bytes() == file[0], name
    real = {str(path.relative_to(root)) for path in root.rglob("*")}
    assert real == after.names.keys(), real ^ after.names.keys()


def cuts(calls: list[shim.Call], count: int, rng: random.Random) -> Iterator[Cut]:
    """Yield so many cuts: every point with all and with nothing kept, then points by chance."""
    places = points(calls)
    plain = [(place, luck) for place in places for luck in ("none", "all")]
    rng.shuffle(plain)
    for number in range(count):
        upstream = UPSTREAMS[number % len(UPSTREAMS)]
        luck: Luck
        if number % 3 == 0 and plain:
            place, luck = plain.pop()  # type: ignore[assignment]
        else:
            place, luck = rng.choice(places), "some"
        yield Cut(place, luck, rng.getrandbits(32), upstream)


async def try_cut(scenario: Scenario, disks: Mapping[int, Disk], cut: Cut, root: Path) -> list[str]:
    """Return what does not hold after a power cut, and after the next poll."""
    write_out(disks[cut.after].left(random.Random(cut.seed), cut.luck), root)
    try:
        truth = deepcopy(scenario.truth)
        problems = [f"at once: {one}" for one in truth.broken(root)]
        if scenario.name != "repair":
            truth.keep(root)
        return problems + await _poll_after(scenario, cut, root, truth)
    finally:
        await asyncio.to_thread(shutil.rmtree, root)


async def _poll_after(scenario: Scenario, cut: Cut, root: Path, truth: Truth) -> list[str]:
    shell, config = scenario.shell, load_config(None, scenario.environ(root))
    before = shell.archive
    shell.server.archive = moved = move_on(before, cut.upstream)
    truth.serve(moved)
    data = DataDir(root, DayRules.of(config))
    try:
        async with open_mirror(
            config, data, now=lambda: datetime.now(UTC), rng=random.Random(cut.seed)
        ) as mirror:
            report = await mirror.poll()
    except (MirrorError, Exception) as error:  # noqa: BLE001 - whatever it is, it is a find
        return [f"the next poll ends with {type(error).__name__}: {error}"]
    finally:
        shell.server.archive = before
        shell.server.requests.clear()
    problems = [f"after the next poll: {one}" for one in truth.broken(root)]
    is_honest = not cut.upstream.endswith("index frozen")
    if is_honest and scenario.name in _CONVERGING:
        if report.exit_code:
            problems.append(f"the next poll ends with {report.exit_code}: {report.problems}")
        # a day written anew with its old count is not due, and so not seen yet
        if cut.upstream != "rewritten":
            problems += [f"after the next poll {one}" for one in not_converged(root, moved)]
    return problems


async def run(states: int, seed: int) -> Figures:
    """Try so many states, divided among the recorded runs."""
    figures = Figures("crash-states", seed)
    rng = random.Random(seed)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="crash-states-") as scratch:
        for name in RECORDED:
            folder = Path(scratch) / name.replace(" ", "-")
            async with prepared(name, folder) as scenario:
                async with Forks(folder, count=1) as forks:
                    disk, calls = await record(scenario, forks, folder)
                chosen = list(cuts(calls, states // len(RECORDED), rng))
                disks = _disks_at(disk, calls, {cut.after for cut in chosen})
                for cut in chosen:
                    problems = await try_cut(scenario, disks, cut, folder / "data")
                    where = calls[cut.after - 1] if cut.after else None
                    at = f"{where.name} {where.path} {where.to}" if where else "start"
                    figures.violate(f"{name}: {cut} [{at}]", problems)
                figures.tried[f"states of a {name}"] += len(chosen)
    return figures


def _disks_at(disk: Disk, calls: list[shim.Call], places: set[int]) -> dict[int, Disk]:
    """Return the disk as it is after so many calls, for each of these places."""
    found = {0: deepcopy(disk)}
    for number, call in enumerate(calls, 1):
        disk.do(call)
        if number in places:
            found[number] = deepcopy(disk)
    return found


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("crash-states", states=6000)
    figures = asyncio.run(run(asked.states, asked.seed))
    conclude(figures, started, write=asked.write)


if __name__ == "__main__":
    main()
