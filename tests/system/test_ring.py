"""Mirrors that follow themselves or one another in a ring, and those in a row that may."""

import shutil
from pathlib import Path

import aiohttp

from tests.command import Done, Shell
from tests.running import poll_every_second, running


async def sync_from(shell: Shell, url: str, data: Path) -> Done:
    return await shell.run("sync", "--upstream", url, "--data-dir", data)


async def test_a_mirror_that_follows_itself_or_a_ring_says_so(shell: Shell) -> None:
    first = await shell.run("sync")
    assert first.code == 0
    copy = shell.data.root.parent / "copy"
    shutil.copytree(shell.data.root, copy)
    next_ = shell.data.root.parent / "next"
    async with running(poll_every_second(shell), "serve") as serving:
        url = await serving.url()

        itself = await sync_from(shell, url, shell.data.root)

        assert itself.code == 4
        assert "upstream is this mirror itself, or a mirror of it" in itself.out
        assert "set upstream.url to the archive's" in itself.out

        assert (await sync_from(shell, url, next_)).code == 0
        assert (await sync_from(shell, url, copy)).code == 0, "a copy is a mirror of its own"

        async with running(shell, "serve", "--data-dir", next_) as serving_next:
            url = await serving_next.url()
            async with aiohttp.ClientSession() as session:
                chains = [
                    (await session.get(url + path)).headers["X-Binder-Mirror"].split(", ")
                    for path in ("index.jsonl", "no-such-file", "status")
                ]
            assert len(set(map(tuple, chains))) == 1
            assert len(set(chains[0])) == 2
            assert (await sync_from(shell, url, shell.data.root)).code == 4
            assert (await sync_from(shell, url, copy)).code == 0
