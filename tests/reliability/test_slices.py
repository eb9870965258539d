"""A slice of each suite, on fixed seeds; the make targets run them whole."""

from collections.abc import Iterator

import pytest

from mirror.config.settings import LogConfig
from mirror.logs import configure_logs
from tests.reliability import books, crash_states, failpoints, machine, sockets
from tests.reliability.figures import Figures
from tests.reliability.shim import NoCompilerError, build_shim

SEED = 7


@pytest.fixture(autouse=True)
def quiet() -> Iterator[None]:
    """Thousands of polls log nothing, and need the shim."""
    try:
        build_shim()
    except NoCompilerError as error:
        pytest.skip(str(error))
    configure_logs(LogConfig(level="error"))
    yield
    configure_logs(LogConfig())


def assert_holds(figures: Figures) -> None:
    assert sum(figures.tried.values()) > 0
    assert figures.violations == []


async def test_calls_of_the_file_system_that_fail() -> None:
    assert_holds(await failpoints.run(1, SEED))


async def test_power_cuts() -> None:
    assert_holds(await crash_states.run(100, SEED))


async def test_histories_by_chance() -> None:
    assert_holds(await machine.run(320, SEED))


async def test_spoilt_books() -> None:
    assert_holds(await books.run(0.5, SEED))


async def test_faults_of_connections() -> None:
    assert_holds(await sockets.run(6, SEED))
