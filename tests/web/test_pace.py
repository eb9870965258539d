"""Which clients are too slow, by what they acknowledge."""

import pytest

from mirror.config.settings import ServerConfig
from mirror.web.guard import Client


def judge(client: Client, now: float, taken: int, waiting: int = 1, min_speed: int = 100) -> bool:
    config = ServerConfig(idle_timeout=10, min_speed=min_speed)
    return client.is_too_slow(now, taken=taken, waiting=waiting, config=config)


def test_one_that_takes_nothing_is_out_of_time_after_the_patience() -> None:
    client = Client(0, 0, taken=5000)
    assert [judge(client, now, 5000) for now in range(1, 11)] == [False] * 9 + [True]


def test_one_that_stops_is_out_of_time_at_the_end_of_the_next_measurement() -> None:
    client = Client(0, 0)
    assert not any(judge(client, now, now * 1000) for now in range(1, 8))
    assert [judge(client, now, 7000) for now in range(8, 21)] == [False] * 12 + [True]


def test_one_that_is_slow_but_steady_goes_on_for_ever() -> None:
    client = Client(0, 0)
    assert not any(judge(client, now, now * 101) for now in range(1, 1000))


def test_one_that_drips_is_known_by_its_speed() -> None:
    client = Client(0, 0)
    assert [judge(client, now, now * 99) for now in range(1, 11)] == [False] * 9 + [True]


def test_without_a_least_speed_a_drip_will_do() -> None:
    client = Client(0, 0)
    assert not any(judge(client, now, now, min_speed=0) for now in range(1, 1000))
    assert any(judge(client, now, 999, min_speed=0) for now in range(1000, 1011))


def test_where_nothing_waits_no_time_passes() -> None:
    client = Client(0, 0)
    assert not any(judge(client, now, 7, waiting=0) for now in range(1, 100))
    assert not any(judge(client, now, 7) for now in range(100, 109))


@pytest.mark.parametrize("burst", [64_000, 2000])
def test_one_that_takes_in_bursts_is_judged_by_the_mean(burst: int) -> None:
    client = Client(0, 0)
    assert not any(judge(client, now, now // 8 * burst) for now in range(1, 200))
