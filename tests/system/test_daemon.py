"""The daemon by its outside: what it logs, serves and leaves behind, and how it ends."""

import asyncio
import shutil
import signal
import socket
from datetime import timedelta
from pathlib import Path

import aiohttp
import pytest

from mirror.store.layout import writer_lock
from tests.command import PATIENCE_S, Shell
from tests.running import poll_every_second, running
from tests.upstream.faults import Drip, Stall, Status

SIGNALS = [signal.SIGTERM, signal.SIGINT]


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)


async def test_it_polls_at_once_and_then_by_its_interval(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0, published=6)
        await daemon.logged("poll.finished", exit_code=0, index_state="unchanged")
        shell.assert_complete()


async def test_what_upstream_adds_is_taken_at_the_next_poll(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("inspect.finished")
        after = len(daemon.logs)
        at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
        day = shell.days[-1] + timedelta(days=1)
        shell.archive.put_day(day, 30, at)
        shell.archive.write_index(at)
        await daemon.logged("file.published", file=f"events-{day}.jsonl")
        await daemon.logged("poll.finished", held=7)
        # writes the manifest once more
        await daemon.logged("inspect.finished", after=after)
        shell.assert_complete()


@pytest.mark.parametrize("number", SIGNALS)
async def test_it_ends_with_0_on_a_signal(shell: Shell, number: signal.Signals) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished")

        code, took = await daemon.end(number)

        assert (code, daemon.said) == (0, [])
        assert took < 10
        assert daemon.logs[-1] | {"timestamp": ""} == {
            "event": "daemon.stopped",
            "in_time": True,
            "level": "info",
            "timestamp": "",
        }


@pytest.mark.parametrize("number", SIGNALS)
async def test_it_drains_in_the_middle_of_slow_downloads(
    shell: Shell, number: signal.Signals
) -> None:
    shell.server.fail("events-*", Drip(size=20, interval=0.2), times=None)
    async with running(shell) as daemon:
        async with asyncio.timeout(PATIENCE_S):
            await shell.server.wait_active(6)

        code, took = await daemon.end(number)

        assert (code, daemon.said) == (0, [])
        assert took < 10
    shell.assert_whole()
    shell.server.calm()
    await shell.synced()
    shell.assert_complete()


async def test_it_outlives_an_upstream_that_is_down(shell: Shell) -> None:
    shell.set(http__retries="0")
    shell.server.fail("*", Status(503), times=None)
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=4)
        assert (await daemon.get("healthz")).status == 200
        assert (await daemon.get("readyz")).status == 503
        shell.server.calm()
        await daemon.logged("poll.finished", exit_code=0)
        await asyncio.sleep(1)  # a snapshot may be a second old
        ready = await daemon.get("readyz")

    assert ready.status == 200
    assert ready.text.startswith("the last complete poll ended at ")


async def test_a_full_or_missing_disk_ends_no_daemon(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("inspect.finished", waiting=0)
        shutil.rmtree(shell.data.root)
        shell.data.root.write_text("something else")
        failed = await daemon.logged("job.failed", job="poll")
        assert str(shell.data.root) in failed["problem"]
        shell.data.root.unlink()
        await daemon.logged("poll.finished", after=len(daemon.logs), exit_code=0)
        shell.assert_complete()

        assert (await daemon.end())[0] == 0


async def test_another_writer_only_postpones_a_poll(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        with writer_lock(shell.data):
            postponed = await daemon.logged("job.postponed", job="poll")
        after = len(daemon.logs)
        await daemon.logged("poll.finished", after=after, exit_code=0)

    assert "is being written by another binder-mirror" in postponed["problem"]


async def test_between_polls_a_sync_by_hand_has_its_way(shell: Shell) -> None:
    shell.set(schedule__interval="1h")
    async with running(shell) as daemon:
        await daemon.logged("inspect.finished", waiting=0)

        assert (await shell.run("sync")).code == 0
        assert (await shell.run("prune", "--history", "--all")).code == 0


async def test_there_is_one_daemon_for_a_data_directory(shell: Shell) -> None:
    async with running(shell) as daemon:
        await daemon.logged("daemon.ready")

        problem = (await shell.run("run")).refused(6)

    assert problem.startswith(f"{shell.data.root} is kept by another binder-mirror (process ")


async def test_an_address_that_is_taken_is_refused_with_one_line(shell: Shell) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        problem = (await shell.run("run", "--listen", address)).refused(2)

    assert problem == (
        f"cannot listen on {address}: Address already in use "
        "(set server.listen to an address of this machine and a free port)"
    )


@pytest.mark.parametrize(
    ("listen", "words"),
    [
        ("nowhere.invalid:8080", "cannot listen on nowhere.invalid:8080: "),
        ("8080", '--listen: server.listen must be "HOST:PORT"'),
        ("127.0.0.1:99999", "cannot listen on 127.0.0.1:99999: "),
    ],
)
async def test_an_address_that_is_none_is_refused_with_one_line(
    shell: Shell, listen: str, words: str
) -> None:
    assert (await shell.run("run", "--listen", listen)).refused(2).startswith(words)


async def test_it_need_not_serve(shell: Shell) -> None:
    shell.set(server__listen="")
    async with running(shell) as daemon:
        assert (await daemon.logged("daemon.ready"))["url"] is None
        await daemon.logged("poll.finished", exit_code=0)

        assert (await daemon.end())[0] == 0


LISTEN = 'server.listen = "127.0.0.1:0"\n'
EVERY_SECOND = f'schedule.interval = "1s"\n{LISTEN}'


@pytest.fixture
def settings(shell: Shell, tmp_path: Path) -> Path:
    """A file of settings, over which the environment has no word on schedule and address."""
    del shell.environ["BINDER_MIRROR_SCHEDULE__INTERVAL"]
    del shell.environ["BINDER_MIRROR_SERVER__LISTEN"]
    return tmp_path / "mirror.toml"


async def test_hangup_reads_the_settings_again(shell: Shell, settings: Path) -> None:
    settings.write_text(f'schedule.interval = "1h"\n{LISTEN}')
    async with running(shell, "--config", settings, "run") as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        settings.write_text(EVERY_SECOND)
        after = len(daemon.logs)

        daemon.process.send_signal(signal.SIGHUP)

        await daemon.logged("settings.reloaded")
        await daemon.logged("poll.finished", after=after)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("schedule.interval = 0", "schedule.interval must be a duration of at least 1s, not 0"),
        ("schedule.intervall = 5", 'did you mean "interval"?'),
        ("not toml", "not TOML"),
        ('storage.data_dir = "/elsewhere"', "storage.data_dir has changed (restart for that)"),
        ('server.listen = "127.0.0.1:99999"', "cannot listen on 127.0.0.1:99999"),
    ],
)
async def test_bad_settings_are_refused_and_the_old_stay(
    shell: Shell, settings: Path, text: str, problem: str
) -> None:
    settings.write_text(f'storage.data_dir = "{shell.data.root}"\n{EVERY_SECOND}')
    del shell.environ["BINDER_MIRROR_STORAGE__DATA_DIR"]
    async with running(shell, "--config", settings, "run") as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        kept = settings.read_text().splitlines()
        key = text.partition(" ")[0]
        rest = [line for line in kept if not line.startswith(f"{key} ")]
        settings.write_text("\n".join((*rest, text)) + "\n")

        daemon.process.send_signal(signal.SIGHUP)

        refused = await daemon.logged("settings.refused")
        assert problem in refused["problem"]
        after = len(daemon.logs)
        await daemon.logged("poll.finished", after=after)
        assert (await daemon.get("healthz")).status == 200
        assert (await daemon.end())[0] == 0


async def test_a_new_address_takes_over_from_the_old(shell: Shell, settings: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        address = f"127.0.0.1:{free.getsockname()[1]}"
    settings.write_text(EVERY_SECOND)
    async with running(shell, "--config", settings, "run") as daemon:
        assert (await daemon.get("healthz")).status == 200
        settings.write_text(f'server.listen = "{address}"\n')
        daemon.process.send_signal(signal.SIGHUP)
        await daemon.logged("settings.reloaded", url=f"http://{address}/")

        async with aiohttp.ClientSession() as session:
            async with session.get(f"http://{address}/healthz") as answer:
                assert answer.status == 200
            with pytest.raises(aiohttp.ClientConnectorError):
                await session.get(f"{await daemon.url()}healthz")


async def test_systemd_hears_when_it_serves_what_it_does_and_that_it_ends(
    shell: Shell, tmp_path: Path
) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(str(tmp_path / "notify"))
        manager.settimeout(PATIENCE_S)
        shell.environ |= {"NOTIFY_SOCKET": manager.getsockname(), "WATCHDOG_USEC": "400000"}
        async with running(shell) as daemon:
            heard = [await asyncio.to_thread(manager.recv, 4096)]
            assert (await daemon.get("healthz")).status == 200
            while not heard[-1].startswith(b"STATUS=In step with upstream, 6 days held"):
                heard.append(await asyncio.to_thread(manager.recv, 4096))
            await daemon.end()
        manager.settimeout(0)
        while heard[-1] != b"STOPPING=1":
            heard.append(manager.recv(4096))

    assert heard[0] == b"READY=1"
    assert heard.count(b"WATCHDOG=1") >= 1


async def test_serving_alone_asks_nothing_and_sees_what_a_sync_brings(shell: Shell) -> None:
    await shell.synced()
    shell.asked()
    async with running(shell, "serve") as daemon:
        assert (await daemon.get("readyz")).status == 200
        assert shell.asked() == []
        assert (await shell.run("sync")).code == 0

        assert (await daemon.end())[0] == 0


async def test_serving_alone_wants_a_mirror_and_an_address(shell: Shell) -> None:
    assert (await shell.run("serve")).refused(2).startswith("there is no mirror in ")
    await shell.synced()
    shell.set(server__listen="")
    assert (await shell.run("serve")).refused(2).startswith("server.listen is empty")


async def test_health_tells_by_its_exit_code(shell: Shell) -> None:
    assert (await shell.run("health")).refused(2).startswith("there is no mirror in ")
    shell.server.fail("index.jsonl", Stall(at=0), times=None)
    shell.set(http__read_timeout="0.1", http__retries="0")
    assert (await shell.run("sync")).code == 4
    missing = await shell.run("health")
    assert (missing.code, missing.out) == (3, "not ready: no poll has been complete yet\n")
    shell.server.calm()
    await shell.synced()

    ready = await shell.run("health")

    assert ready.code == 0
    assert ready.out.startswith("ready: the last complete poll ended at ")
