"""A short run of the fuzz targets without atheris: seeds, and seeds changed at random."""

import random

import pytest

from tests.fuzz.seeds import SEEDS
from tests.fuzz.targets import TARGETS

_ROUNDS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_comes_of_them(name):
    rng = random.Random(name)
    for seed in SEEDS[name]:
        TARGETS[name](seed)
        for _ in range(_ROUNDS):
            data = bytearray(seed)
            for _ in range(rng.randint(1, 4)):
                at = rng.randint(0, len(data))
                data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
            TARGETS[name](bytes(data))
