"""An upstream of six final days, and a daemon that polls it every second."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command import Shell, open_shell


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    async with open_shell(tmp_path / "data") as shell:
        shell.set(schedule__interval="1s", schedule__jitter="0", server__listen="127.0.0.1:0")
        yield shell
