"""A thousand clients that mean harm: the memory stays bounded, and honest readers are answered.

The slow suite takes each kind of flood by itself and prints its figures; plain runs take some at
once. All are held to the documented bound.
"""

import asyncio
import re
import resource
from collections.abc import AsyncIterator, Iterator, Sequence
from pathlib import Path

import pytest

from mirror.archive.listings import IndexEntry, render_index
from tests.command import Shell, long_final_days, open_shell
from tests.running import Daemon, running
from tests.system.floods import CONNECTIONS, FLOODS, flood
from tests.web.scenes import in_step

BOUND_MB = 200
"""What docs/operations.md says that the daemon needs."""
PATIENCE_S = 30
SOME = ("heads of long lines", "pipelined HEAD", "pipelined of many lines", "bodies packed")
OTHERS = ("CONNECT", "trailers without end", "readers of /status in gzip", "readers of a file")


@pytest.fixture(autouse=True)
def _many_descriptors() -> Iterator[None]:
    """Allow this process as many open files as all clients take."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = 4 * CONNECTIONS
    if hard < wanted:
        pytest.skip(f"fewer than {wanted} open files are allowed")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    archive = long_final_days(2, events_per_day=40_000)
    async with open_shell(tmp_path / "data", archive) as shell:
        shell.set(server__listen="127.0.0.1:0", schedule__interval="2s", schedule__jitter="0")
        yield shell


def peak_mb(daemon: Daemon) -> float:
    """Return the most memory that a daemon ever had, by proc(5)."""
    facts = Path(f"/proc/{daemon.process.pid}/status").read_text()
    found = re.search(r"VmHWM:\s+(\d+) kB", facts)
    assert found is not None
    return int(found[1]) / 1000


async def withstand(daemon: Daemon, names: Sequence[str], path: str, *, seconds: float) -> float:
    """Flood a daemon, all kinds at once; return the seconds that the slowest honest reader took."""
    url = await daemon.url()
    clients = CONNECTIONS // len(names)
    floods = [
        asyncio.create_task(flood(url, FLOODS[name], path, clients=clients, seconds=seconds))
        for name in names
    ]
    loop = asyncio.get_running_loop()
    slowest = 0.0
    await asyncio.sleep(min(1, seconds / 2))
    while not all(one.done() for one in floods):
        began = loop.time()
        async with asyncio.timeout(PATIENCE_S):
            assert (await daemon.get("index.jsonl")).status == 200
            assert (await daemon.get("status")).status == 200
        slowest = max(slowest, loop.time() - began)
        await asyncio.sleep(0.2)
    for one in floods:
        assert await one > 0
    return slowest


@pytest.mark.parametrize(
    "names",
    [pytest.param(SOME, id="sent"), pytest.param(OTHERS, id="not taken", marks=pytest.mark.slow)],
)
async def test_floods_of_several_kinds_are_withstood(shell: Shell, names: Sequence[str]) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        await withstand(daemon, names, f"/events-{shell.days[0]}.jsonl", seconds=5)
        await daemon.logged("poll.finished", after=len(daemon.logs), exit_code=0)
        peak = peak_mb(daemon)
        code, _ = await daemon.end()

    assert peak < BOUND_MB
    assert code == 0
    assert daemon.said == []
    assert [one for one in daemon.logs if one["level"] == "error"] == []


@pytest.mark.slow
@pytest.mark.parametrize("name", FLOODS)
@pytest.mark.parametrize("command", ["run", "serve"])
async def test_each_flood_is_withstood(
    shell: Shell, tmp_path: Path, command: str, name: str
) -> None:
    path = f"/events-{shell.days[0]}.jsonl"
    if command == "serve":
        # eight years of days make the largest pages
        copy = in_step(tmp_path / "years")
        data = copy.write()
        listed = [IndexEntry(day, data.days.name_of(day), n) for day, n in copy.counts.items()]
        data.index.write_bytes(render_index(listed))
        shell.set(storage__data_dir=str(data.root))
        path = f"/events-{max(copy.counts, key=copy.counts.__getitem__)}.jsonl"
    async with running(shell, command) as daemon:
        if command == "run":
            await daemon.logged("poll.finished", exit_code=0)
        slowest = await withstand(daemon, [name], path, seconds=8)
        peak = peak_mb(daemon)
        code, _ = await daemon.end()

    print(f"{command:5} {name:30} {peak:4.0f} MB at most, answers within {slowest:.1f} s")
    assert peak < BOUND_MB
    assert code == 0
    assert daemon.said == []
