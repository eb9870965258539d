"""The sample configuration for nginx, behind which everything is as it is without."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import aiohttp
import pytest

from tests.command import ROOT, Shell
from tests.running import free_port, poll_every_second, running

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")
SAMPLE = ROOT / "config" / "nginx" / "binder-mirror.conf"


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)


@asynccontextmanager
async def proxied(behind: str, folder: Path) -> AsyncIterator[str]:
    """Run nginx by the sample, its addresses changed for the test's; yield its base URL."""
    port = free_port()
    folder.mkdir()
    sample = SAMPLE.read_text()
    assert "127.0.0.1:8080" in sample
    sample = sample.replace("127.0.0.1:8080", behind)
    sample, listens = re.subn(r"listen 80;\n    listen \[::\]:80;", f"listen {port};", sample)
    assert listens == 1
    paths = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}{sample}}}\n"
    )
    assert NGINX is not None
    nginx = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(config), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not await _answers(port):
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}/"
    finally:
        nginx.terminate()
        await nginx.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True


async def test_bodies_come_through_as_they_are(shell: Shell, tmp_path: Path) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        direct = await daemon.url()
        behind = direct.removeprefix("http://").removesuffix("/")
        async with proxied(behind, tmp_path / "nginx") as url, aiohttp.ClientSession() as session:
            for path, headers in (
                (f"events-{shell.days[0]}.jsonl", {}),
                (f"events-{shell.days[0]}.jsonl", {"Range": "bytes=10-99"}),
                ("index.jsonl", {"Accept-Encoding": "gzip"}),
                ("", {}),
                ("nothing", {}),
            ):
                answers = []
                for base in (direct, url):
                    async with session.get(base + path, headers=headers) as answer:
                        kept = {
                            name: answer.headers.get(name)
                            for name in ("ETag", "Repr-Digest", "Content-Encoding", "Vary")
                        }
                        answers.append((answer.status, await answer.read(), kept))
                assert answers[0] == answers[1], path


async def test_a_second_mirror_follows_through_it(shell: Shell, tmp_path: Path) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        behind = (await daemon.url()).removeprefix("http://").removesuffix("/")
        async with proxied(behind, tmp_path / "nginx") as url:
            copy = tmp_path / "copy"
            done = await shell.run("sync", "--upstream", url, "--data-dir", copy)

    assert done.code == 0, done.err
    for path in shell.data.archive.glob("*.jsonl"):
        assert (copy / "archive" / path.name).read_bytes() == path.read_bytes()
