"""Each file-system call of a poll, a repair, an adoption, a restore and a verification fails once.

A shim under the installed command makes the n-th call on the data directory fail with each errno
that the call may give, come back short, fail from then on, or be the last before or after which the
process is killed. Then the promises must hold as the files lie there, the exit code must be one of
those of DESIGN (never 1), and an honest run must converge without fetching anew what was published.

`make failpoints` tries all; `python -m tests.reliability.failpoints --share 10` a tenth of them.
"""

import asyncio
import errno
import os
import random
import shutil
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.command import Shell, long_final_days, open_shell
from tests.reliability import shim
from tests.reliability.figures import Figures, arguments, conclude
from tests.reliability.forking import Forks, Ran
from tests.reliability.shim import Fault
from tests.reliability.truth import Truth, digest, listed_sums, not_converged, published
from tests.upstream.faults import Status

ALLOWED = {0, 3, 5}
_LASTING = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_AT_ONCE = 3


@dataclass(slots=True)
class Scenario:
    """A data directory, and a command that is to fail on it.

    Attributes:
        name: what it is called.
        shell: upstream, and the environment.
        template: the data directory before the command.
        truth: what upstream served and what must not be lost.
        arguments: the command's.
        again: the command that is to put all right after it.
        wanted: digests that are published in the end, by name; None for all of upstream's.
    """

    name: str
    shell: Shell
    template: Path
    truth: Truth
    arguments: Sequence[str] = ("sync",)
    again: Sequence[str] = ("sync",)
    wanted: Mapping[str, str] | None = None
    fetched: dict[str, list[str]] = field(default_factory=dict)

    def environ(self, root: Path) -> dict[str, str]:
        """Return the environment of a run on a copy; its requests are told by the user agent."""
        return {
            **self.shell.environ,
            "BINDER_MIRROR_STORAGE__DATA_DIR": str(root),
            "BINDER_MIRROR_HTTP__USER_AGENT": root.parent.name,
            "BINDER_MIRROR_LOG__LEVEL": "error",
        }

    def bodies_sent(self, root: Path) -> set[str]:
        """Return the daily files that were fetched whole for a copy, and forget its requests."""
        mine = [
            one
            for one in self.shell.server.requests
            if one.headers.get("user-agent") == root.parent.name
        ]
        self.shell.server.requests[:] = [
            one for one in self.shell.server.requests if one not in mine
        ]
        return {
            one.name
            for one in mine
            if one.method == "GET" and one.status == 200 and one.name.startswith("events-")
        }


Prepare = Callable[[Shell, Truth], Awaitable[dict[str, object]]]


async def first_poll(shell: Shell, truth: Truth) -> dict[str, object]:
    """Nothing is there yet."""
    truth.serve(shell.archive)
    return {}


async def replacing_poll(shell: Shell, truth: Truth) -> dict[str, object]:
    """Of final days one grew, one shrank, one was rewritten with its count; one is new."""
    truth.serve(shell.archive)
    await shell.synced()
    truth.keep(shell.data.root)
    _move_on(shell)
    truth.serve(shell.archive)
    return {}


def _move_on(shell: Shell) -> None:
    archive, days = shell.archive, shell.days
    at = archive["index.jsonl"].last_modified + timedelta(minutes=1)
    archive.put_day(days[0], 60, at)
    archive.put_day(days[1], 7, at)
    archive.put_day(days[-1] + timedelta(days=1), 20, at)
    archive.write_index(at)


async def adoption(shell: Shell, truth: Truth) -> dict[str, object]:
    """Manifest and times are lost, and one file is torn."""
    truth.serve(shell.archive)
    await shell.synced()
    for path in (shell.data.manifest, shell.data.journal):
        path.unlink(missing_ok=True)
    for path in shell.data.archive.glob("events-*"):
        os.utime(path, ns=(0, 10**9))
    torn = shell.path(shell.days[0])
    os.truncate(torn, torn.stat().st_size // 2)
    truth.spoilt.add(torn.name)
    truth.keep(shell.data.root)
    return {}


async def _with_history(shell: Shell, truth: Truth) -> tuple[str, str]:
    """Sync a day twice; return its older and its newer digest."""
    day = shell.days[2]
    old = digest(shell.body(day))
    truth.serve(shell.archive)
    await shell.synced()
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=1)
    shell.archive.put_day(day, 30, at)
    shell.archive.write_index(at)
    truth.serve(shell.archive)
    await shell.synced()
    return old, digest(shell.body(day))


async def restore(shell: Shell, truth: Truth) -> dict[str, object]:
    """A predecessor is to be published again."""
    old, _ = await _with_history(shell, truth)
    truth.keep(shell.data.root)
    day = shell.days[2]
    truth.kept[shell.path(day).name].add(old)
    command = ("restore", str(day), old)
    wanted = published(shell.data.root) | {shell.path(day).name: old}
    return {"arguments": command, "again": command, "wanted": wanted}


async def repair(shell: Shell, truth: Truth) -> dict[str, object]:
    """One day is rotten, one gone; of one that is rotten only history has the body."""
    old, _ = await _with_history(shell, truth)
    rotten, gone, from_history = shell.days[:3]
    done = await shell.run("restore", str(from_history), old)
    assert done.code == 0, done.err
    truth.keep(shell.data.root)
    wanted = published(shell.data.root)
    for day in (rotten, from_history):
        path = shell.path(day)
        stats = path.stat()
        path.write_bytes(bytes(stats.st_size))
        os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))
        truth.spoilt.add(path.name)
    shell.path(gone).unlink()
    for day in (rotten, gone):
        # what is rotten or gone is not lost by us
        del truth.kept[shell.path(day).name]
    truth.spoilt.add(shell.path(gone).name)
    shell.server.fail(shell.path(from_history).name, Status(404), times=None)
    command = ("verify", "--repair", "--upstream", shell.server.url)
    return {"arguments": command, "again": command, "wanted": wanted}


async def verification(shell: Shell, truth: Truth) -> dict[str, object]:
    """All is well, and is only read."""
    truth.serve(shell.archive)
    await shell.synced()
    truth.keep(shell.data.root)
    return {"arguments": ("verify",), "again": ("verify",)}


SCENARIOS: Mapping[str, Prepare] = {
    "poll": first_poll,
    "replacing poll": replacing_poll,
    "adoption": adoption,
    "repair": repair,
    "restore": restore,
    "verification": verification,
}


@asynccontextmanager
async def prepared(name: str, folder: Path) -> AsyncIterator[Scenario]:
    """Serve what a scenario needs, and make its data directory."""
    template = folder / "template"
    async with open_shell(template, long_final_days(4, events_per_day=20)) as shell:
        truth = Truth()
        more = await SCENARIOS[name](shell, truth)
        shell.server.requests.clear()
        template.mkdir(parents=True, exist_ok=True)
        yield Scenario(name, shell, template, truth, **more)


@asynccontextmanager
async def copied(template: Path, folder: Path, name: str) -> AsyncIterator[Path]:
    """Have a copy of a data directory, times and all, for one run."""
    place = folder / name
    root = place / "data"
    await asyncio.to_thread(shutil.copytree, template, root, symlinks=True)
    try:
        yield root
    finally:
        await asyncio.to_thread(shutil.rmtree, place)


async def list_calls(scenario: Scenario, forks: Forks, folder: Path) -> list[shim.Call]:
    """Return the calls of a run that nothing happens to."""
    async with copied(scenario.template, folder, f"{scenario.name}-calls") as root:
        log = root.parent / "log"
        ran = await forks.run(scenario.arguments, scenario.environ(root), root=root, log=log)
        assert ran.code == 0, ran
        problems = scenario.truth.broken(root)
        assert not problems, problems
        return list(shim.read_calls(log, root))


def faults_of(calls: Sequence[shim.Call]) -> list[Fault]:
    """Return all that may happen to these calls."""
    faults: list[Fault] = []
    seen: Counter[str] = Counter()
    for call in calls:
        seen[call.name] += 1
        number, kind = seen[call.name], call.name
        faults += [Fault(number, action, kind=kind) for action in call.faults]
        lasting = [one for one in call.faults if one in _LASTING]
        faults += [Fault(number, action, lasting=True, kind=kind) for action in lasting]
    return faults


async def try_fault(
    scenario: Scenario, forks: Forks, fault: Fault, folder: Path, name: str
) -> list[str]:
    """Return what does not hold after a fault, and after an honest run on what it left."""
    async with copied(scenario.template, folder, name) as root:
        environ = scenario.environ(root)
        ran = await forks.run(scenario.arguments, environ, root=root, fault=fault)
        problems = _judge_end(ran, fault) + scenario.truth.broken(root)
        if ran.code == 0 and scenario.name != "verification":
            found = not_in_step(scenario, root)
            # what a disk that refuses leaves in staging, the next run sweeps
            problems += [f"exit 0, but {one}" for one in found if "staging" not in one]
        upstreams = scenario.shell.archive.objects
        there = {
            one
            for one, sha in published(root).items()
            if one in upstreams and sha == digest(upstreams[one].body)
        }
        scenario.bodies_sent(root)
        again = await forks.run(scenario.again, environ)
        sent = scenario.bodies_sent(root)
        if again.code != 0:
            problems.append(f"the next run ends with {again.code}: {again.err[-300:]}")
        problems += [f"the next run: {one}" for one in scenario.truth.broken(root)]
        problems += [f"after the next run {one}" for one in not_in_step(scenario, root)]
        if fetched := there & sent:
            problems.append(f"fetched again though published: {sorted(fetched)}")
        return problems


def _judge_end(ran: Ran, fault: Fault) -> list[str]:
    if fault.action in (shim.KILL_BEFORE, shim.KILL_AFTER):
        return []
    if ran.is_buggy:
        return [f"ends with {ran.code}: {ran.err[-400:]}"]
    if ran.code not in ALLOWED:
        return [f"ends with {ran.code}: {ran.err[-200:]}"]
    if ran.code == 5 and len(said := [x for x in ran.err.splitlines() if x[:1] != "{"]) != 1:
        return [f"exit 5 is told in {len(said)} lines: {said}"]
    return []


def not_in_step(scenario: Scenario, root: Path) -> list[str]:
    """Return in what a copy is not as the scenario ends when nothing happens."""
    if scenario.wanted is None:
        return not_converged(root, scenario.shell.archive)
    found = published(root)
    problems = [
        f"{name} is not as it should be"
        for name in sorted(scenario.wanted)
        if found.get(name) != scenario.wanted[name]
    ]
    if listed_sums(root) != found:
        problems.append("SHA256SUMS does not say what is held")
    return problems


async def run(share: float, seed: int, *, only: str = "") -> Figures:
    """Try a share, in percent, of all faults of all scenarios."""
    figures = Figures("failpoints", seed)
    rng = random.Random(seed)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="failpoints-") as scratch:
        folder = Path(scratch)
        async with Forks(folder) as forks:
            for name in SCENARIOS:
                if only not in name:
                    continue
                place = folder / name.replace(" ", "-")
                async with prepared(name, place) as scenario:
                    await _try_all(scenario, forks, place, figures, rng, share)
    return figures


async def _try_all(
    scenario: Scenario,
    forks: Forks,
    folder: Path,
    figures: Figures,
    rng: random.Random,
    share: float,
) -> None:
    calls = await list_calls(scenario, forks, folder)
    faults = faults_of(calls)
    chosen = [one for one in faults if rng.random() * 100 < share]
    figures.tried[f"faults of a {scenario.name} ({len(calls)} calls)"] += len(chosen)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def one(fault: Fault) -> None:
        async with slots:
            name = f"run-{fault.kind}-{fault.number}-{fault.action}-{int(fault.lasting)}"
            problems = await try_fault(scenario, forks, fault, folder, name)
        same = [call for call in calls if call.name == fault.kind]
        # threads may have ordered the calls otherwise: where it was when nothing happened
        call = same[fault.number - 1]
        figures.violate(f"{scenario.name}: {fault} ({call.path} {call.to})", problems)

    async with asyncio.TaskGroup() as group:
        for fault in chosen:
            group.create_task(one(fault))


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("failpoints", share=100)
    figures = asyncio.run(run(asked.share, asked.seed))
    conclude(figures, started, write=asked.write)


if __name__ == "__main__":
    main()
