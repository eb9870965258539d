"""A shell to run the command in."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tests.command import Shell, open_shell


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Six final days upstream, and nothing here yet."""
    async with open_shell(tmp_path / "data") as shell:
        yield shell
