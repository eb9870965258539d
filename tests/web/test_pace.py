"""Slow clients are told from those that have stopped."""

import pytest

from mirror.web.pace import Pace


def judge(pace: Pace, now: float, taken: int, waiting: int = 1, min_speed: int = 100) -> bool:
    return pace.is_too_slow(now, taken=taken, waiting=waiting, patience_s=10, min_speed=min_speed)


def test_one_that_takes_nothing_is_out_of_time_after_the_patience() -> None:
    pace = Pace(0, 5000)
    assert [judge(pace, now, 5000) for now in range(1, 11)] == [False] * 9 + [True]


def test_one_that_stops_is_given_the_patience_from_its_last_byte_on() -> None:
    pace = Pace(0, 0)
    assert not any(judge(pace, now, now * 1000) for now in range(1, 8))
    assert [judge(pace, now, 7000) for now in range(8, 18)] == [False] * 9 + [True]


def test_one_that_is_slow_but_steady_goes_on_for_ever() -> None:
    pace = Pace(0, 0)
    assert not any(judge(pace, now, now * 101) for now in range(1, 1000))


def test_one_that_drips_is_told_by_its_speed() -> None:
    pace = Pace(0, 0)
    assert [judge(pace, now, now * 99) for now in range(1, 11)] == [False] * 9 + [True]


def test_without_a_least_speed_a_drip_will_do() -> None:
    pace = Pace(0, 0)
    assert not any(judge(pace, now, now, min_speed=0) for now in range(1, 1000))
    assert any(judge(pace, now, 999, min_speed=0) for now in range(1000, 1011))


def test_where_nothing_waits_no_time_passes() -> None:
    pace = Pace(0, 0)
    assert not any(judge(pace, now, 7, waiting=0) for now in range(1, 100))
    assert not any(judge(pace, now, 7) for now in range(100, 109))


@pytest.mark.parametrize("burst", [64_000, 2000])
def test_one_that_takes_in_bursts_is_judged_by_the_mean(burst: int) -> None:
    pace = Pace(0, 0)
    assert not any(judge(pace, now, now // 8 * burst) for now in range(1, 200))
