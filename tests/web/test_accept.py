"""What clients say of encodings, and what they are given."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.web.encodings import choose_coding

OFFERED = ("zstd", "gzip")


@pytest.mark.parametrize(
    ("accepted", "chosen"),
    [
        ("", None),
        ("identity", None),
        ("gzip", "gzip"),
        ("x-gzip", "gzip"),
        ("GZIP", "gzip"),
        ("gzip, deflate, br", "gzip"),
        ("gzip, deflate, br, zstd", "zstd"),
        ("gzip;q=1, zstd;q=0.5", "gzip"),
        ("gzip;q=0.1, zstd;q=0.2", "zstd"),
        ("gzip ; q=0.5", "gzip"),
        ("gzip;q=0", None),
        ("gzip;q=0.000", None),
        ("br", None),
        ("*", "zstd"),
        ("*;q=0.1", "zstd"),
        ("*;q=0", None),
        ("zstd;q=0, *", "gzip"),
        ("gzip, *;q=0", "gzip"),
        ("identity, gzip;q=0.5", None),
        ("identity;q=0.5, gzip", "gzip"),
        ("identity;q=0.5, gzip;q=0.5", "gzip"),
        ("identity;q=0", None),
        ("identity;q=0, gzip", "gzip"),
        ("identity;q=0, *;q=0", None),
        ("gzip;q=2", None),
        ("gzip;level=9", None),
        ("gzip;q=x, zstd", "zstd"),
        (",, gzip ,", "gzip"),
        ("gzip deflate", None),
    ],
)
def test_the_best_of_what_is_acceptable(accepted: str, chosen: str | None) -> None:
    assert choose_coding(accepted, OFFERED) == chosen


@given(st.text(alphabet="gzipstd*x;q=01., \t-", max_size=60))
def test_whatever_is_said_there_is_an_answer(accepted: str) -> None:
    assert choose_coding(accepted, OFFERED) in (None, *OFFERED)
