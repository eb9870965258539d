"""An upstream of six final days, and a daemon that polls it every second."""

import pytest

from tests.command import Shell
from tests.running import poll_every_second


@pytest.fixture
def shell(shell: Shell) -> Shell:
    return poll_every_second(shell)
