"""Durations and sizes as people write them."""

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.text import format_duration, format_size, parse_duration, parse_size

NO_DURATION = 'must be a duration like "30s", "5m", "2h", "14d" or a number of seconds'
NO_SIZE = 'must be a size like "20MiB", "1GB" or bytes'


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("1s", 1),
        ("30m", 1800),
        ("2h", 7200),
        ("14d", 1_209_600),
        ("2w", 1_209_600),
        ("250ms", 0.25),
        ("0.05", 0.05),
        ("1.5h", 5400),
        ("90", 90),
        ("0", 0),
        ("0s", 0),
        (" 2 h ", 7200),
        (90, 90),
        (0.5, 0.5),
        (0, 0),
    ],
)
def test_durations_are_read_in_seconds(text, seconds):
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("20MiB", 20 * 1024**2),
        ("1GB", 10**9),
        ("64KiB", 65536),
        ("1.5kB", 1500),
        ("1KB", 1000),
        ("2MB", 2_000_000),
        ("1GiB", 1024**3),
        ("1TiB", 1024**4),
        ("1TB", 10**12),
        ("10B", 10),
        ("12", 12),
        (12, 12),
        (1e3, 1000),
        (0, 0),
        ("0.6", 1),
    ],
)
def test_sizes_are_read_in_whole_bytes(text, size):
    assert parse_size(text) == size
    assert isinstance(parse_size(text), int)


WRONG = [
    "",
    " ",
    "h",
    "-1",
    "+1",
    "1 2",
    "1e3",
    "0x10",
    "1,5",
    ".5",
    "5.",
    "1y",
    "nan",
    "inf",
    "\uff11",
    "9" * 400,
    -1,
    -0.1,
    float("nan"),
    float("inf"),
    1e19,
    True,
    False,
]


@pytest.mark.parametrize("value", [*WRONG, "1MiB", "1M", "1H"], ids=repr)
def test_what_is_no_duration_is_refused_with_examples(value):
    with pytest.raises(ValueError, match=f"^{re.escape(NO_DURATION)}$"):
        parse_duration(value)


@pytest.mark.parametrize("value", [*WRONG, "1h", "1mb", "1Kib", "1 M B"], ids=repr)
def test_what_is_no_size_is_refused_with_examples(value):
    with pytest.raises(ValueError, match=f"^{re.escape(NO_SIZE)}$"):
        parse_size(value)


def test_the_largest_number_that_is_meant_is_an_exabyte():
    assert parse_size(10**18) == 10**18
    assert parse_duration(1e18) == 1e18


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0s"),
        (0.5, "0.5s"),
        (1, "1s"),
        (59, "59s"),
        (60, "1m"),
        (90, "90s"),
        (1800, "30m"),
        (3600, "1h"),
        (5400, "90m"),
        (86400, "1d"),
        (14 * 86400, "14d"),
        (100, "100s"),
        (1_234_567.0, "1234567s"),
        (0.0000001, "0.0000001s"),
    ],
)
def test_a_duration_is_written_in_the_largest_unit_that_keeps_it_whole(seconds, text):
    assert format_duration(seconds) == text


@pytest.mark.parametrize(
    ("size", "text"),
    [
        (0, "0"),
        (100, "100"),
        (1000, "1000"),
        (1024, "1KiB"),
        (64 * 1024**2, "64MiB"),
        (1024**3, "1GiB"),
        (1024**4, "1TiB"),
        (1536, "1536"),
        (1536 * 1024, "1536KiB"),
    ],
)
def test_a_size_is_written_in_the_largest_unit_that_keeps_it_whole(size, text):
    assert format_size(size) == text


@given(st.integers(0, 10**15) | st.floats(0, 1e9))
def test_a_duration_written_is_read_as_it_was(seconds):
    assert parse_duration(format_duration(seconds)) == seconds


@given(st.integers(0, 10**15) | st.integers(0, 10**5).map(lambda number: number * 1024**2))
def test_a_size_written_is_read_as_it_was(size):
    assert parse_size(format_size(size)) == size
