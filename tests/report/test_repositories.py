"""Counting repositories in bounded memory."""

import random
from collections import Counter

from mirror.report.facts import rank


def test_up_to_the_bound_counts_are_exact_and_equal_ones_in_order_of_name() -> None:
    names = ("b", "a", "c", "a", "b", "c", "c", None)

    ranking = rank(((name, 1) for name in names), 2, limit=3)

    assert [(one.name, one.launches) for one in ranking.top] == [("c", 3), ("a", 2)]
    assert (ranking.launches, ranking.repositories) == (7, 3)
    assert (ranking.uncertain_by, ranking.unknown) == (0, 1)


def test_beyond_the_bound_no_count_is_further_off_than_is_said() -> None:
    rng = random.Random(1)
    names = [f"r{min(rng.randrange(1, 3000), rng.randrange(1, 3000))}" for _ in range(20_000)]
    names += ["popular"] * 2_000
    rng.shuffle(names)
    true = Counter(names)

    ranking = rank(((name, 1) for name in names), 50, limit=400)

    assert ranking.top[0].name == "popular"
    assert (ranking.launches, ranking.repositories) == (len(names), 400)
    assert 0 < ranking.uncertain_by < len(names)
    listed = {one.name: one.launches for one in ranking.top}
    for name, launches in true.items():
        assert listed.get(name, launches) == launches
        assert name in listed or launches <= max(ranking.top[-1].launches, ranking.uncertain_by)
