"""Origins that fell silent while others went on."""

from collections.abc import Mapping
from datetime import date

from mirror.report.losses import find_silences
from tests.making import days

_USUAL = {"gke": 660, "ovh": 200, "gesis": 140}


def series(first: str, last: str, usual: Mapping[str, int] = _USUAL) -> dict[date, dict[str, int]]:
    return {one: dict(usual) for one in days(first, last)}


def silence(
    origins: dict[date, dict[str, int]], name: str, first: str, last: str, left: int = 0
) -> None:
    for one in days(first, last):
        del origins[one][name]
        if left:
            origins[one][name] = left


def found(origins: Mapping[date, Mapping[str, int]]) -> list[tuple[str, str, str, bool]]:
    return [
        (one.subject, str(one.first), str(one.last), one.goes_on) for one in find_silences(origins)
    ]


def test_nobody_is_silent_where_all_go_on() -> None:
    assert find_silences(series("2023-01-01", "2023-06-30")) == ()
    assert find_silences({}) == ()


def test_a_member_that_stops_for_a_month_is_found_with_its_dates() -> None:
    origins = series("2023-01-01", "2023-06-30")
    silence(origins, "gesis", "2023-04-01", "2023-04-30")

    (one,) = find_silences(origins)

    assert found(origins) == [("gesis", "2023-04-01", "2023-04-30", False)]
    assert (one.actual, one.expected) == (0, 30 * 140)


def test_a_few_test_launches_are_silence_too() -> None:
    origins = series("2023-01-01", "2023-06-30")
    silence(origins, "gke", "2023-04-01", "2023-04-30", left=3)

    assert found(origins) == [("gke", "2023-04-01", "2023-04-30", False)]
    assert find_silences(origins)[0].actual == 90


def test_one_that_never_came_back_is_silent_to_the_end() -> None:
    origins = series("2023-01-01", "2023-06-30")
    silence(origins, "ovh", "2023-06-10", "2023-06-30")

    assert found(origins) == [("ovh", "2023-06-10", "2023-06-30", True)]


def test_a_day_on_which_all_are_gone_says_nothing_of_one_of_them() -> None:
    origins = series("2025-01-01", "2025-02-28")
    for one in days("2025-01-14", "2025-01-16"):
        origins[one] = {}
    origins[date(2025, 1, 17)] = {"gke": 3}

    assert find_silences(origins) == ()


def test_a_silence_goes_on_over_a_day_that_says_nothing() -> None:
    origins = series("2025-01-01", "2025-02-28")
    silence(origins, "gesis", "2025-01-13", "2025-01-20")
    origins[date(2025, 1, 16)] = {}
    del origins[date(2025, 1, 17)]
    origins[date(2025, 1, 18)] = {"gke": 5, "ovh": 2}

    assert found(origins) == [("gesis", "2025-01-13", "2025-01-20", False)]


def test_two_members_may_be_silent_at_once() -> None:
    origins = series("2025-01-01", "2025-02-28")
    silence(origins, "gesis", "2025-01-13", "2025-01-20")
    silence(origins, "ovh", "2025-01-15", "2025-01-31")

    assert found(origins) == [
        ("gesis", "2025-01-13", "2025-01-20", False),
        ("ovh", "2025-01-15", "2025-01-31", False),
    ]


def test_a_member_that_is_drained_slowly_is_not_missed() -> None:
    origins = series("2025-01-01", "2025-01-31")
    for number, one in enumerate(days("2025-02-01", "2025-03-31")):
        origins[one] = {"gke": 800, "ovh": 200, "gesis": max(0, 140 - 4 * number)}

    assert find_silences(origins) == ()


def test_a_small_member_may_have_no_launch_by_chance() -> None:
    origins = series("2025-01-01", "2025-03-31", {"gke": 900, "tiny": 6})
    silence(origins, "tiny", "2025-02-01", "2025-02-02")

    assert find_silences(origins) == ()


def test_the_one_member_of_an_archive_is_measured_by_nobody() -> None:
    origins = series("2025-01-01", "2025-03-31", {"only": 900})
    silence(origins, "only", "2025-02-01", "2025-02-02")

    assert find_silences(origins) == ()


def test_what_was_counted_together_is_no_origin() -> None:
    origins = series("2025-01-01", "2025-03-31", {"gke": 900, "…": 300})
    silence(origins, "…", "2025-02-01", "2025-02-20")

    assert find_silences(origins) == ()
