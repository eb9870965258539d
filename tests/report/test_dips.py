"""Dips in a daily count: what is one, from when to when, and what is none."""

import json
import random
from collections.abc import Mapping
from datetime import date, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.report.anomaly import LASTING_DAYS, Kind
from mirror.report.losses import find_dips
from tests.making import day, days

_COLLAPSE = (5216, 3489, 865, 799, 1310, 0, 28, 0)
"""2025-01-09 to 16, as they really were."""
_CHRISTMAS = {
    (12, 19): 0.85, (12, 20): 0.76, (12, 21): 0.76, (12, 22): 0.76, (12, 23): 0.74,
    (12, 24): 0.5, (12, 25): 0.4, (12, 26): 0.52, (12, 27): 0.62, (12, 28): 0.66, (12, 29): 0.66,
    (12, 30): 0.66, (12, 31): 0.4, (1, 1): 0.35, (1, 2): 0.65, (1, 3): 0.7, (1, 4): 0.8,
}  # fmt: skip
"""What is left of a usual day in the quietest of the real Christmases, that of 2018."""


def season(first: str, last: str, usual: int = 9000, *, seed: int = 0) -> dict[date, int]:
    """Make counts with weekends, summers, Christmases and noise."""
    rng = random.Random(seed)
    made = {}
    for one in days(first, last):
        share = (0.55 if one.weekday() >= 5 else 1.0) * _CHRISTMAS.get((one.month, one.day), 1.0)
        share *= 0.85 if one.month in (7, 8) else 1.0
        made[one] = round(usual * share * rng.uniform(0.9, 1.1))
    return made


def lower(counts: Mapping[date, int], first: str, last: str, share: float) -> dict[date, int]:
    """Return counts of which a stretch of days lost all but a share."""
    lost = set(days(first, last))
    return {one: round(n * share) if one in lost else n for one, n in counts.items()}


def found(counts: Mapping[date, int]) -> list[tuple[str, str]]:
    return [(str(dip.first), str(dip.last)) for dip in find_dips(counts)]


def real_counts(folder: Path) -> dict[date, int]:
    lines = (folder / "index-2021-07-26.jsonl").read_text().splitlines()
    rows = [json.loads(line) for line in lines]
    return {day(row["date"]): int(row["count"]) for row in rows}


def test_the_real_index_has_none_at_weekends_or_holidays(real_data: Path) -> None:
    counts = real_counts(real_data)

    assert len(counts) == 997
    assert find_dips(counts) == ()


@pytest.mark.parametrize("length", [1, 8, 35])
@pytest.mark.parametrize("share", [0.0, 0.3])
def test_a_loss_in_the_real_index_is_found_wherever_it_falls(
    real_data: Path, share: float, length: int
) -> None:
    """To the day, in most places; elsewhere holidays or an end of term touch it."""
    counts = real_counts(real_data)
    exact = overlapping = 0
    starts = sorted(counts)[100:900:60]
    for start in starts:
        last = start + timedelta(days=length - 1)
        dips = find_dips(lower(counts, str(start), str(last), share))
        exact += [(dip.first, dip.last) for dip in dips] == [(start, last)]
        overlapping += any(dip.first <= last and dip.last >= start for dip in dips)

    assert overlapping == len(starts)
    assert exact >= 0.85 * len(starts)


def test_nothing_is_found_in_nothing() -> None:
    assert find_dips({}) == ()
    assert find_dips({date.min: 5, date.max: 0}) == ()


@settings(max_examples=40, deadline=None)
@given(
    shift=st.integers(0, 400),
    scale=st.floats(0.05, 40),
    cut=st.integers(0, 300),
    seed=st.integers(0, 10**6),
)
def test_a_season_shifted_and_scaled_has_none(
    shift: int, scale: float, cut: int, seed: int
) -> None:
    counts = season("2018-06-01", "2020-03-01", seed=seed)
    moved = {
        one + timedelta(days=shift): round(count * scale)
        for one, count in list(counts.items())[cut:]
    }

    assert find_dips(moved) == ()


@settings(max_examples=40, deadline=None)
@given(usual=st.integers(7000, 30000), seed=st.integers(0, 1000))
def test_the_collapse_of_2025_is_found_to_the_day(usual: int, seed: int) -> None:
    counts = season("2024-06-01", "2025-06-01", usual, seed=seed)
    counts |= dict(zip(days("2025-01-09", "2025-01-16"), _COLLAPSE, strict=True))

    dips = find_dips(counts)

    # at the least usual the first day has 83 % of it, which noise may hide
    assert [dip.last for dip in dips] == [date(2025, 1, 16)]
    assert date(2025, 1, 8) <= dips[0].first <= date(2025, 1, 10)
    assert dips[0].actual <= sum(_COLLAPSE) + 1.1 * usual
    assert not dips[0].goes_on


def test_a_lost_cluster_and_a_collapse_are_two_with_their_very_dates() -> None:
    counts = lower(season("2022-01-01", "2025-09-01"), "2022-10-20", "2022-11-23", 0.34)
    counts |= dict(zip(days("2025-01-09", "2025-01-16"), _COLLAPSE, strict=True))

    assert found(counts) == [("2022-10-20", "2022-11-23"), ("2025-01-09", "2025-01-16")]
    lost, collapse = find_dips(counts)
    assert lost.actual == sum(counts[one] for one in days("2022-10-20", "2022-11-23"))
    assert 0.3 < lost.actual / lost.expected < 0.38
    assert collapse.actual == sum(_COLLAPSE)


def test_a_loss_of_more_than_half_for_long_is_one_though_no_day_is_far_below() -> None:
    counts = lower(season("2022-01-01", "2023-01-01"), "2022-05-02", "2022-05-31", 0.45)

    assert found(counts) == [("2022-05-02", "2022-05-31")]


def test_a_dip_at_the_end_goes_on() -> None:
    (dip,) = find_dips(lower(season("2022-01-01", "2022-10-24"), "2022-10-20", "2022-10-24", 0.2))

    assert (str(dip.first), str(dip.last), dip.goes_on) == ("2022-10-20", "2022-10-24", True)


def test_what_lasts_is_a_new_level_and_later_losses_are_measured_by_it() -> None:
    counts = lower(season("2022-01-01", "2023-12-31"), "2022-05-02", "2023-12-31", 0.3)
    counts = lower(counts, "2023-05-08", "2023-05-09", 0.1)

    lasting, later = find_dips(counts)

    assert (str(lasting.first), lasting.kind) == ("2022-05-02", Kind.LEVEL)
    assert (lasting.last - lasting.first).days + 1 == LASTING_DAYS
    assert (str(later.first), str(later.last)) == ("2023-05-08", "2023-05-09")


def test_days_without_a_file_are_passed_over() -> None:
    counts = lower(season("2022-01-01", "2022-12-01"), "2022-05-02", "2022-05-08", 0.1)
    for gone in days("2022-05-04", "2022-05-05"):
        del counts[gone]

    (dip,) = find_dips(counts)

    assert (str(dip.first), str(dip.last)) == ("2022-05-02", "2022-05-08")
    assert dip.actual == sum(counts[o] for o in days("2022-05-02", "2022-05-08") if o in counts)


def test_chance_is_no_loss_where_there_are_few_events() -> None:
    rng = random.Random(3)
    counts = {one: max(0, round(rng.gauss(9, 3))) for one in days("2022-01-01", "2023-12-31")}

    assert find_dips(counts) == ()
