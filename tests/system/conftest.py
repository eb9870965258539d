"""A container engine, where there is root and Debian's packages."""

import os
from pathlib import Path

import pytest

from tests.system.engine import Engine, what_is_missing


@pytest.fixture(scope="session")
def engine() -> Engine:
    if missing := what_is_missing():
        pytest.skip(f"no containers here: {missing}")
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    return Engine(cache / "binder-mirror-tests")
