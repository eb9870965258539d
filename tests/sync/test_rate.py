"""`http.rate_limit` holds for all that comes, whatever the sizes of the files."""

import time
from datetime import timedelta

import pytest

from tests.conftest import World

SHORTEST_HEAD = 150
"""Bytes that every head of the server's has at least."""


@pytest.mark.parametrize(("days", "lines", "rate"), [(150, 1, 15_000), (6, 2000, 2_000_000)])
async def test_no_more_comes_than_the_rate_allows(
    world: World, days: int, lines: int, rate: int
) -> None:
    for back in range(days):
        world.archive.put_day(world.day(back + 3), lines, world.clock() - timedelta(hours=1))
    world.archive.write_index(world.clock() - timedelta(hours=1))
    world.configure("http", rate_limit=rate)

    began = time.monotonic()
    report = await world.sync()
    took_s = time.monotonic() - began

    assert report.exit_code == 0
    came = report.downloaded_bytes + len(world.server.requests) * SHORTEST_HEAD
    assert took_s > came / rate
