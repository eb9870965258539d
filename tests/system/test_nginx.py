"""The sample configuration for nginx, behind which everything is as it is without."""

import re
from pathlib import Path
from urllib.parse import urljoin

import aiohttp
import pytest

from tests.command import Shell
from tests.proxies import NGINX, proxied
from tests.running import poll_every_second, running

pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)


async def test_bodies_come_through_as_they_are(shell: Shell, tmp_path: Path) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        direct = await daemon.url()
        async with proxied(direct, tmp_path / "nginx") as url, aiohttp.ClientSession() as session:
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
        async with proxied(await daemon.url(), tmp_path / "nginx") as url:
            copy = tmp_path / "copy"
            done = await shell.run("sync", "--upstream", url, "--data-dir", copy)

    assert done.code == 0, done.err
    for path in shell.data.archive.glob("*.jsonl"):
        assert (copy / "archive" / path.name).read_bytes() == path.read_bytes()


@pytest.mark.parametrize("page", ["", "index.html", "status", "report"])
async def test_every_link_of_a_page_holds_below_any_prefix(
    shell: Shell, tmp_path: Path, page: str
) -> None:
    async with running(shell) as daemon:
        await daemon.logged("poll.finished", exit_code=0)
        url = await daemon.url()
        async with (
            proxied(url, tmp_path / "nginx", prefix="/data/mirror/") as base,
            aiohttp.ClientSession() as session,
        ):
            async with session.get(base + page) as answer:
                assert answer.status == 200
                text = await answer.text()
            links = re.findall(r'(?:href|src)="([^"#]+)"', text)
            ours = [link for link in links if not link.startswith(("data:", "https:"))]
            assert len(ours) >= 2
            for link in ours:
                async with session.get(urljoin(base + page, link)) as answer:
                    assert answer.status == 200, link
