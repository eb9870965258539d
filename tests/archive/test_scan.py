"""The scanner sees the same body, whole, byte by byte or in ragged chunks."""

import hashlib
import re
from datetime import date

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.intake import Evidence, Scanner
from mirror.errors import UpstreamError
from tests.making import divided
from tests.upstream.launches import make_day

BODIES = {
    # body: lines, whether nothing is unfinished
    "nothing": (b"", 0, True),
    "one line": (b"a\n", 1, True),
    "one unfinished line": (b"a", 1, False),
    "two lines": (b"a\nb\n", 2, True),
    "an unfinished last line": (b"a\nb\nc", 3, False),
    "a newline alone": (b"\n", 0, True),
    "blank lines alone": (b"\n\n \n\t\n\r\n", 0, True),
    "blank lines first": (b"\n \n\na\nb\n", 2, True),
    "a blank line between": (b"a\n\nb\n", 2, True),
    "a line of a blank between": (b"a\n \nb\n", 2, True),
    "a line of a tab between": (b"a\n\t\nb\n", 2, True),
    "an empty CRLF line between": (b"a\n\r\nb\n", 2, True),
    "blank lines last": (b"a\nb\n\n\n", 2, True),
    "an unfinished blank last line": (b"a\nb\n ", 2, False),
    "an unfinished blank line alone": (b" \t", 0, False),
    "CRLF": (b"a\r\nb\r\n", 2, True),
    "CRLF and an unfinished CR": (b"a\r\n\r", 1, False),
    "lines that begin blank": (b" a\n\tb\n\rc\n", 3, True),
    "lines that end blank": (b"a \nb\t\n", 2, True),
    "an unfinished line that begins blank": (b"a\n b", 2, False),
    "a line of NUL": (b"\0\n", 1, True),
    "a line of other white space": (b"\x0b\n\x0c\n", 2, True),
    "other white space among blank lines": (b"\n\x0b\n\x0c", 2, False),
    "a lonely CR within a line": (b"a\rb\n", 1, True),
    "no UTF-8": (b"\xff\n\xfe\n", 2, True),
    "a real day": (make_day(date(2021, 8, 3), 100), 100, True),
    "a real day cut short": (make_day(date(2021, 8, 3), 100)[:-9], 100, False),
}


def scan(*chunks: bytes) -> Evidence:
    scanner = Scanner(("sha256", "md5"), max_bytes=10**9)
    for chunk in chunks:
        scanner.feed(chunk)
    return scanner.finish()


def expected_of(body: bytes, lines: int, finished: bool) -> Evidence:
    digests = {name: hashlib.new(name, body).hexdigest() for name in ("sha256", "md5")}
    return Evidence(len(body), lines, finished, digests)


@pytest.mark.parametrize(("body", "lines", "finished"), BODIES.values(), ids=BODIES)
def test_a_whole_body_is_sized_counted_and_digested(body, lines, finished):
    assert scan(body) == expected_of(body, lines, finished)


@pytest.mark.parametrize(("body", "lines", "finished"), BODIES.values(), ids=BODIES)
def test_byte_by_byte_it_is_the_same(body, lines, finished):
    assert scan(*(body[i : i + 1] for i in range(len(body)))) == expected_of(body, lines, finished)


@pytest.mark.parametrize(("body", "lines", "finished"), BODIES.values(), ids=BODIES)
def test_in_two_chunks_divided_anywhere_it_is_the_same(body, lines, finished):
    whole = expected_of(body, lines, finished)
    for cut in range(0, len(body) + 1, max(1, len(body) // 60)):
        assert scan(body[:cut], b"", body[cut:]) == whole


@pytest.mark.parametrize(("body", "lines", "finished"), BODIES.values(), ids=BODIES)
def test_what_follows_adds_its_own_lines(body, lines, finished):
    unfinished_has_text = not finished and body.rpartition(b"\n")[2].strip(b" \t\r") != b""
    joined = lines - unfinished_has_text + 2
    assert scan(body, b"x\ny\n").lines == joined
    assert scan(body + b"x\ny\n").lines == joined


# few letters, so that every meeting of newline, blank and text comes up
TEXTS = st.lists(st.sampled_from([b"\n", b" ", b"\t", b"\r", b"a", b"{}", b"\n\n", b"\r\n"])).map(
    b"".join
)


@given(divided(TEXTS))
def test_any_division_of_any_text_counts_the_lines_that_are_not_blank(chunks):
    body = b"".join(chunks)
    lines = sum(1 for line in body.split(b"\n") if line.strip(b" \t\r"))
    assert scan(*chunks) == expected_of(body, lines, body == b"" or body.endswith(b"\n"))


@given(st.integers(0, 30), divided(st.binary(max_size=40)))
def test_one_byte_over_the_cap_is_too_much_however_it_comes(cap, chunks):
    scanner = Scanner(max_bytes=cap)
    size = 0
    for chunk in chunks:
        size += len(chunk)
        if size > cap:
            with pytest.raises(UpstreamError):
                scanner.feed(chunk)
            return
        scanner.feed(chunk)
    assert scanner.finish().size == size <= cap


def test_a_body_over_the_cap_says_what_to_do_and_is_not_asked_for_again():
    scanner = Scanner(max_bytes=256 * 1024**2)
    scanner.size = 256 * 1024**2
    with pytest.raises(UpstreamError, match=re.escape("the body is larger than 268 MB")) as error:
        scanner.feed(b"x")
    assert str(error.value) == "the body is larger than 268 MB"
    assert error.value.hint == "raise http.max_file_size if that is right"
    assert error.value.transient is False


def test_without_further_wishes_the_digest_is_sha256():
    scanner = Scanner(max_bytes=9)
    scanner.feed(b"a\n")
    assert scanner.finish().digests == {"sha256": hashlib.sha256(b"a\n").hexdigest()}
