"""What parts of a body clients ask for."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.web.answer import parse_range

BODY = bytes(range(100))


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("bytes=0-0", BODY[:1]),
        ("bytes=0-", BODY),
        ("bytes=10-19", BODY[10:20]),
        ("bytes=90-", BODY[90:]),
        ("bytes=90-500", BODY[90:]),
        ("bytes=99-99", BODY[99:]),
        ("bytes=-1", BODY[99:]),
        ("bytes=-100", BODY),
        ("bytes=-5000", BODY),
        ("Bytes = 1 - 2 ", BODY[1:3]),
        ("bytes=100-", b""),
        ("bytes=100-200", b""),
        ("bytes=-0", b""),
        ("bytes=999999999999999999-", b""),
    ],
)
def test_one_range_is_a_part(text: str, part: bytes) -> None:
    asked = parse_range(text, len(BODY))
    assert asked is not None
    assert BODY[asked.start : asked.stop] == part
    assert len(asked) == len(part)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "bytes",
        "bytes=",
        "bytes=-",
        "bytes=5",
        "bytes=9-5",
        "bytes=a-b",
        "bytes=0-9,20-29",
        "bytes=1--2",
        "bytes=+1-2",
        "bytes=\u0661-\u0662",
        "bytes=0x1-2",
        "lines=0-9",
        "bytes=" + "9" * 5000 + "-",
    ],
)
def test_whatever_else_is_passed_over(text: str) -> None:
    assert parse_range(text, len(BODY)) is None


@given(st.text(alphabet="bytes=0123456789-, ", max_size=30), st.integers(0, 200))
def test_no_range_goes_beyond_the_body(text: str, size: int) -> None:
    asked = parse_range("bytes=" + text, size)
    assert asked is None or not asked or 0 <= asked.start < asked.stop <= size
