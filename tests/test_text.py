"""Text of upstream's made fit to show: nothing is left that a terminal, a log or a page acts on."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.text import ago, human_bytes, plural, shown
from tests.making import ANY_TEXT

SHOWN = {
    "plain": ("events-2021-08-03.jsonl", "events-2021-08-03.jsonl"),
    "blank": ("a b", "a b"),
    "nothing": ("", ""),
    "letters of the world": ("é漢😀", "é漢😀"),
    "newline and tab": ("a\nb\tc\rd", r"a\nb\tc\rd"),
    "ESC and BEL": ("\x1b[31m\x07", r"\x1b[31m\x07"),
    "NUL and DEL": ("\0\x7f", r"\x00\x7f"),
    "C1 control": ("\x9b", r"\x9b"),
    "bidirectional override": ("\u202egnp.exe", r"\u202egnp.exe"),
    "zero width": ("a\u200bb\ufeff", r"a\u200bb\ufeff"),
    "line separators": ("\u2028\u2029\x85", r"\u2028\u2029\x85"),
    "lone surrogate": ("\ud800", r"\ud800"),
    "unassigned": ("\U000e0001", r"\U000e0001"),
    "UTF-8": ("é漢".encode(), "é漢"),
    "no UTF-8": (b"a\xff\xfeb", r"a\xff\xfeb"),
    "cut UTF-8": ("漢".encode()[:2], r"\xe6\xbc"),
}


@pytest.mark.parametrize(("text", "expected"), SHOWN.values(), ids=SHOWN)
def test_what_is_not_printable_is_escaped(text, expected):
    assert shown(text) == expected


@pytest.mark.parametrize(
    ("text", "limit", "expected"),
    [
        ("a" * 80, 80, "a" * 80),
        ("a" * 81, 80, "a" * 79 + "…"),
        ("abcdef", 6, "abcdef"),
        ("abcdefg", 6, "abcde…"),
        ("abc\x1b", 6, r"abc\x…"),
        ("ab\x1b", 6, r"ab\x1b"),
        (b"abcdefg", 6, "abcde…"),
        ("漢" * 6, 6, "漢" * 6),
        ("漢" * 7, 6, "漢" * 5 + "…"),
        (("😀" * 6).encode(), 6, "😀" * 6),
        (("😀" * 7).encode(), 6, "😀" * 5 + "…"),
        (b"a" * 10**6, 6, "aaaaa…"),
    ],
)
def test_what_is_too_long_ends_in_dots(text, limit, expected):
    assert shown(text, limit) == expected


def test_the_usual_limit_is_80():
    assert len(shown("a" * 81)) == 80


@given(ANY_TEXT | st.binary(), st.integers(1, 40))
def test_any_text_is_shown_printable_and_within_the_limit(text, limit):
    result = shown(text, limit)
    assert result.isprintable()
    assert len(result) <= limit


@given(ANY_TEXT)
def test_printable_text_is_shown_as_it_is(text):
    printable = "".join(filter(str.isprintable, text))[:80]
    assert shown(printable) == shown(printable.encode()) == printable


@pytest.mark.parametrize(
    ("count", "expected"), [(0, "0 days"), (1, "1 day"), (2, "2 days"), (2901, "2,901 days")]
)
def test_a_noun_is_plural_unless_there_is_one(count, expected):
    assert plural(count, "day") == expected
    others = ("launch", "launches"), ("repository", "repositories"), ("more line", "more lines")
    for one, many in others:
        assert plural(count, one) == expected.replace("days", many).replace("day", one)


@pytest.mark.parametrize(
    ("size", "expected"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_700, "1 MB"),
        (1234, "1.23 kB"),
        (1_730_000, "1.73 MB"),
        (24_000_000, "24 MB"),
        (10_200_000_000, "10.2 GB"),
        (2_500_000_000_000, "2.5 TB"),
        (2_500_000_000_000_000, "2.5e+03 TB"),
    ],
)
def test_sizes_are_told_in_decimal_units_with_three_digits(size, expected):
    assert human_bytes(size) == expected


@pytest.mark.parametrize(
    ("seconds", "expected"),
    [
        (-1, "in the future"),
        (59, "just now"),
        (60, "1 minute ago"),
        (7199, "1 hour ago"),
        (3 * 86400, "3 days ago"),
    ],
)
def test_an_age_is_in_its_largest_unit(seconds, expected):
    now = datetime(2026, 3, 6, 16, tzinfo=UTC)
    assert ago(now - timedelta(seconds=seconds), now=now) == expected
