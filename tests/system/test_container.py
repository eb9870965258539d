"""The Dockerfile built, and its image run for real: `make test-container`."""

import asyncio
import json
import re
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest

from tests.command import PATIENCE_S, ROOT, Shell, long_final_days, open_shell
from tests.running import free_port
from tests.system.containers import HARDENED, Container, settings
from tests.system.engine import Engine
from tests.upstream.faults import Drip

pytestmark = [pytest.mark.slow, pytest.mark.root]
IMAGE = "localhost/binder-mirror-test"
UID = 10001


@pytest.fixture(scope="module")
def image(engine: Engine) -> str:
    engine.build(ROOT, IMAGE)
    return IMAGE


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data", long_final_days(12)) as shell:
        address = f"127.0.0.1:{free_port()}"
        shell.set(schedule__interval="1s", schedule__jitter="0", server__listen=address)
        yield shell


Start = Callable[..., Container]


@pytest.fixture
def start(engine: Engine, image: str) -> Iterator[Start]:
    """Starts containers as hardened as can be; they are gone after the test."""
    started: list[str] = []

    def start(*arguments: str) -> Container:
        started.append(engine.start(*HARDENED, *arguments))
        return Container(engine, started[-1])

    yield start
    for one in started:
        engine.remove(one)


@pytest.fixture
def volume(engine: Engine) -> Iterator[str]:
    """A named volume, as an operator makes one."""
    name = engine.podman("volume", "create").strip()
    yield name
    engine.podman("volume", "rm", "--force", name)


def test_the_image_is_what_runs_and_nothing_else(engine: Engine, image: str) -> None:
    (told,) = json.loads(engine.podman("image", "inspect", image))
    config = told["Config"]
    (base,) = json.loads(engine.podman("image", "inspect", engine.base()))
    in_it = engine.run(*HARDENED, "--entrypoint=python", image, "-c", INSTALLED)

    assert config["User"] == f"{UID}:{UID}"
    assert list(config["Volumes"]) == ["/data"]
    assert (config["Entrypoint"], config["Cmd"]) == (["binder-mirror"], ["run"])
    assert told["HealthCheck" if "HealthCheck" in told else "Healthcheck"]["Test"] == [
        "CMD",
        "binder-mirror",
        "health",
    ]
    assert list(config["ExposedPorts"]) == ["8080/tcp"]
    assert config["StopSignal"] in ("SIGTERM", "15")
    assert config["Labels"]["org.opencontainers.image.licenses"] == "BSD-3-Clause"
    locked = re.findall(r"^[a-z0-9-]+(?===)", RUNTIME_LOCK.read_text(), re.MULTILINE)
    assert sorted(json.loads(in_it)) == sorted([*locked, "binder-mirror"])
    assert told["Size"] - base["Size"] < 130e6


RUNTIME_LOCK = ROOT / "requirements-runtime.lock"
INSTALLED = (
    "import json, importlib.metadata as m; "
    "print(json.dumps([d.name.lower().replace('_', '-').replace('.', '-')"
    " for d in m.distributions()]))"
)


async def test_it_polls_serves_and_is_healthy(shell: Shell, start: Start, volume: str) -> None:
    container = start(f"--volume={volume}:/data", *settings(shell), IMAGE)

    await container.logged("poll.finished", exit_code=0, published=12)

    address = shell.environ["BINDER_MIRROR_SERVER__LISTEN"]
    async with aiohttp.ClientSession() as session:
        for day in shell.days:
            name = f"events-{day}.jsonl"
            async with session.get(f"http://{address}/{name}") as answer:
                assert await answer.read() == shell.archive[name].body
    assert await container.health() == 0
    code, out = await container.exec("sha256sum", "--quiet", "-c", "/data/archive/SHA256SUMS")
    assert code, "paths in SHA256SUMS are relative to it"
    code, out = await container.exec(
        "sh", "-c", "cd /data/archive && sha256sum --quiet -c SHA256SUMS"
    )
    assert (code, out) == (0, "")


async def test_it_is_process_1_of_its_own_user_and_writes_to_its_volume_alone(
    shell: Shell, start: Start, volume: str
) -> None:
    container = start(f"--volume={volume}:/data", *settings(shell), IMAGE)
    await container.logged("poll.finished", exit_code=0)

    _, command = await container.exec("cat", "/proc/1/cmdline")
    _, status = await container.exec("cat", "/proc/1/status")
    _, owners = await container.exec("sh", "-c", "stat -c %u:%g /data /data/archive/*")
    refused = [await container.exec("touch", f"{place}/x") for place in ("/", "/tmp", "/opt")]

    assert command.split("\0")[1:] == ["/opt/binder-mirror/bin/binder-mirror", "run", ""]
    assert re.search(rf"^Uid:\s+{UID}\s+{UID}\s+{UID}\s+{UID}$", status, re.MULTILINE)
    assert re.search(r"^CapEff:\s+0+$", status, re.MULTILINE)
    assert set(owners.split()) == {f"{UID}:{UID}"}
    assert all(code != 0 and "Read-only file system" in out for code, out in refused)


async def test_stop_drains_it_in_the_middle_of_slow_downloads(
    engine: Engine, shell: Shell, start: Start, volume: str
) -> None:
    shell.server.fail("events-*", Drip(size=20, interval=0.2), times=None)
    container = start(f"--volume={volume}:/data", *settings(shell), IMAGE)
    async with asyncio.timeout(PATIENCE_S):
        await shell.server.wait_active(8)

    started = time.monotonic()
    await engine.ask("stop", "--time=60", container.id)
    took = time.monotonic() - started

    assert took < 10
    assert container.inspect("{{.State.ExitCode}}") == "0"
    last = (await container.logs())[-1]
    assert (last["event"], last["in_time"]) == ("daemon.stopped", True)


async def test_a_kill_costs_nothing_that_was_published(
    engine: Engine, shell: Shell, start: Start, volume: str
) -> None:
    slow = [f"events-{day}.jsonl" for day in shell.days[:2]]
    for name in slow:
        shell.server.fail(name, Drip(size=20, interval=0.2), times=1)
    shell.set(log__level="debug")
    container = start(f"--volume={volume}:/data", *settings(shell), IMAGE)
    published = {
        (await container.logged("file.published", file=f"events-{day}.jsonl"))["file"]
        for day in shell.days[2:]
    }
    await engine.ask("kill", "--signal=KILL", container.id)
    await engine.ask("wait", container.id)
    shell.asked()

    await engine.ask("start", container.id)

    before = len(published)
    finished = await container.logged("poll.finished", exit_code=0, held=12)
    assert (before, finished["published"]) == (10, 2)
    fetched = [name for name in shell.asked() if name.startswith("events-")]
    assert sorted(fetched) == sorted(slow)
    code, out = await container.exec("binder-mirror", "verify")
    assert code == 0, out


async def test_a_full_volume_ends_nothing_and_heals(
    shell: Shell, start: Start, tmp_path: Path
) -> None:
    place = tmp_path / "volume"
    place.mkdir()
    mount("-t", "tmpfs", "-o", f"size=64k,uid={UID},gid={UID},mode=755", "tmpfs", place)
    try:
        container = start(f"--volume={place}:/data", *settings(shell), IMAGE)
        failed = await container.logged("job.failed", job="poll")
        assert failed["problem"].startswith("not enough room in /data: the poll needs about ")
        assert (await container.exec("binder-mirror", "health"))[0] == 3

        after = len(await container.logs())
        mount("-o", "remount,size=64m", place)

        await container.logged("poll.finished", after=after, exit_code=0, held=12)
        assert await container.health() == 0
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)


def mount(*arguments: str | Path) -> None:
    subprocess.run(["mount", *arguments], check=True)


async def test_an_operator_works_beside_it(shell: Shell, start: Start, volume: str) -> None:
    shell.set(schedule__interval="1h")
    container = start(f"--volume={volume}:/data", *settings(shell), IMAGE)
    await container.logged("poll.finished", exit_code=0)

    status = await container.exec("binder-mirror", "status")
    synced = await container.exec("binder-mirror", "sync")
    second = await container.exec("binder-mirror", "run")

    assert status[0] == 0
    assert "12 days" in status[1]
    assert synced[0] == 0, synced[1]
    assert second[0] == 6


async def test_without_upstream_it_serves_on_port_8080_of_every_address(
    shell: Shell, engine: Engine, start: Start
) -> None:
    image_settings = settings(shell, "BINDER_MIRROR_SERVER__LISTEN")
    container = start("--network=none", *image_settings, IMAGE)
    ready = await container.logged("daemon.ready")
    await container.logged("poll.finished", exit_code=4)

    asking = "import urllib.request as u; print(u.urlopen('http://127.0.0.1:8080/healthz').status)"
    alive = await container.exec("python", "-c", asking)

    assert ready["url"] == "http://0.0.0.0:8080/"
    assert alive == (0, "200\n")
    assert await container.health() != 0


def test_the_demo_runs_in_it_without_a_network(engine: Engine, image: str) -> None:
    out = engine.run(*HARDENED, image, "demo", "--days=5")

    assert "sha256sum" in out


def test_a_user_whom_the_image_does_not_know_will_do(
    engine: Engine, image: str, tmp_path: Path
) -> None:
    folder = tmp_path / "mine"
    folder.mkdir()
    subprocess.run(["chown", "4711:4711", folder], check=True)
    mine = ("--user=4711:4711", f"--volume={folder}:/data")

    engine.run(*HARDENED, *mine, image, "demo", "--days=5")

    assert (folder / "demo-data" / "archive" / "index.jsonl").stat().st_uid == 4711
