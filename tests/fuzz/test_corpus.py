"""A short run of the fuzz targets without atheris: seeds, and seeds changed at random."""

import random

import pytest

from tests.fuzz.seeds import changed, seeds
from tests.fuzz.targets import TARGETS

_ROUNDS = 300


@pytest.mark.parametrize("name", TARGETS)
def test_seeds_and_what_comes_of_them(name):
    rng = random.Random(name)
    for seed in seeds(name):
        TARGETS[name](seed)
        for _ in range(_ROUNDS):
            TARGETS[name](changed(seed, rng))
