"""A mirror of six final days, served on a free port."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime
from pathlib import Path

import aiohttp
import pytest
from playwright.async_api import Browser

from mirror.config.loading import load_config
from mirror.web.server import WebServer
from tests.command import Shell, open_shell
from tests.upstream.server import ArchiveServer
from tests.web.browsers import open_browser
from tests.web.serving import make_site


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data") as shell:
        await shell.synced()
        yield shell


@pytest.fixture
async def url(shell: Shell) -> AsyncIterator[str]:
    config = load_config(None, shell.environ)
    site = make_site(shell.data, now=lambda: datetime.now(UTC), config=config)
    server = WebServer(site, "127.0.0.1:0")
    await server.open()
    # until then answers do not say which mirror it is
    await site.snapshots.snapshot()
    yield server.url
    await server.close()


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    """A client that takes bodies as they are; one that wants them encoded says so itself."""
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(auto_decompress=False, headers=headers) as session:
        yield session


@pytest.fixture
async def server_elsewhere(shell: Shell) -> AsyncIterator[ArchiveServer]:
    """A server of another origin, for pages that read from ours."""
    async with ArchiveServer(shell.archive) as server:
        yield server


@pytest.fixture
async def browser() -> AsyncIterator[Browser]:
    async with open_browser() as browser:
        yield browser
