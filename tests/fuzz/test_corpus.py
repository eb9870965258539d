"""A short run of the fuzz targets without atheris: seeds, and seeds changed at random."""

import random
from datetime import date

import pytest

from mirror.demo.launches import make_day
from tests.fuzz.targets import TARGETS

_LINE = make_day(date(2026, 3, 2), 1)
_GIT = b"https%3A%2F%2Fuser%3Apw%40example.org%2Fteam%2Fcourse.git/HEAD"
SEEDS = {
    "lines": [
        b"",
        b"\n \n",
        _LINE * 3,
        _LINE[:-1] + _LINE,
        _LINE[:40] + b"\n" + _LINE[40:],
        b'{"a":' * 2000 + b"\n" + _LINE,
        b"\0\xff\xed\xa0\x80\n" + _LINE,
        _LINE.replace(b": 6", b": 1e999"),
        b"\xef\xbb\xbf" + _LINE,
    ],
    "spec": [
        b"",
        *(bytes([which]) + _GIT for which in range(9)),
        b"\x00QISKit/qiskit-tutorial.git/feature/x",
        b"\x01ns%2Fsub%2Frepo/ref",
        b"\x02git%40example.org%3Ax%2Fy/main",
        b"\x0410.5281/zenodo.4032875",
        b"\x02https%3A%2F%2F[::1%2Fx/main",
        b"\x02%2525252540/%",
    ],
}
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
