"""Counting repositories in bounded memory."""

import random
from collections import Counter

from mirror.report.repositories import Counts


def test_up_to_the_bound_counts_are_exact_and_equal_ones_in_order_of_name() -> None:
    counts = Counts(kept=3)
    for name in ("b", "a", "c", "a", "b", "c", "c"):
        counts.add(name)

    ranking = counts.rank(2)

    assert [(one.name, one.launches) for one in ranking.top] == [("c", 3), ("a", 2)]
    assert (ranking.launches, ranking.repositories, ranking.uncertain_by) == (7, 3, 0)


def test_beyond_the_bound_no_count_is_further_off_than_is_told() -> None:
    rng = random.Random(1)
    names = [f"r{min(rng.randrange(1, 3000), rng.randrange(1, 3000))}" for _ in range(20_000)]
    names += ["popular"] * 2_000
    rng.shuffle(names)
    true, counts = Counter(names), Counts(kept=400)
    for name in names:
        counts.add(name)

    ranking = counts.rank(50)

    assert ranking.top[0].name == "popular"
    assert ranking.launches == len(names)
    assert 0 < ranking.uncertain_by < 400
    for one in ranking.top:
        assert one.launches <= true[one.name] <= one.launches + ranking.uncertain_by
