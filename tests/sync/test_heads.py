"""Heads of answers that say one thing in several ways are put into one form."""

import pytest

from mirror.sync.wire import tidy_head

OK = b"HTTP/1.1 200 OK\r\n"


def tidied(fields: bytes, first: bytes = OK) -> bytes:
    """Return what becomes of header lines; the first line stays."""
    head = tidy_head(first + fields + b"\r\n")
    assert head.startswith(first)
    assert head.endswith(b"\r\n\r\n")
    return head.removeprefix(first).removesuffix(b"\r\n")


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        (b"", b""),
        (b"ETag: x\r\nX: y: z\r\nX:\r\n", b"ETag: x\r\nX: y: z\r\nX:\r\n"),
        (b"no colon\r\nX: y\r\n", b"no colon\r\nX: y\r\n"),
        (b"X: a\r\n b\r\n\t c\r\nY: d\r\n", b"X: a b c\r\nY: d\r\n"),
        (b"X: a\n  b\nY: c\n", b"X: a b\r\nY: c\r\n"),
        (b"ETag \t: x \r\n", b"ETag: x \r\n"),
    ],
)
def test_lines_are_whole_and_their_names_end_at_the_colon(fields: bytes, expected: bytes) -> None:
    assert tidied(fields) == expected


@pytest.mark.parametrize(
    "fields",
    [
        b"Content-Length: 5\r\n",
        b"content-length:5\r\nCONTENT-LENGTH : \t5 \r\n",
        b"Content-Length: 5, 5 ,5\r\n",
        b"Content-Length: 5\r\nTransfer-Encoding: identity\r\n",
        b"transfer-encoding: \tIDENTITY\t\r\nContent-Length: 5\r\n",
    ],
)
def test_a_length_is_given_once(fields: bytes) -> None:
    assert tidied(b"A: b\r\n" + fields + b"X: y\r\n") == b"A: b\r\nX: y\r\nContent-Length: 5\r\n"


@pytest.mark.parametrize("coding", [b"Transfer-Encoding: chunked", b"transfer-encoding: gzip"])
def test_a_coding_is_the_better_word_and_the_connection_is_not_used_again(coding: bytes) -> None:
    close = b"Connection: close\r\n"
    assert tidied(b"Content-Length: 5\r\n" + coding + b"\r\n") == coding + b"\r\n" + close
    assert tidied(coding + b"\r\nContent-Length: 5\r\n") == coding + b"\r\n" + close
    assert tidied(coding + b"\r\n") == coding + b"\r\n"
    assert tidied(b"Transfer-Encoding: identity\r\n") == b""


@pytest.mark.parametrize("version", [b"1.0", b"1.1"])
def test_what_is_not_modified_has_no_body_that_one_could_rely_on(version: bytes) -> None:
    first = b"HTTP/%s 304 Not Modified\r\n" % version
    assert tidied(b"Content-Length: 5\r\n", first) == b"Connection: close\r\n"
    assert tidied(b"Content-Length: 0\r\n", first) == b"Content-Length: 0\r\n"
    assert tidied(b"X: y\r\n", first) == b"X: y\r\n"
    for other in (b"HTTP/%s 3040 x\r\n", b"HTTP/%s 200 304\r\n"):
        assert tidied(b"Content-Length: 5\r\n", other % version) == b"Content-Length: 5\r\n"


@pytest.mark.parametrize(
    "fields", [b"Content-Length: 7\r\nContent-Length: 5\r\n", b"Content-Length: 5,7\r\n"]
)
def test_lengths_that_differ_are_told(fields: bytes) -> None:
    with pytest.raises(ValueError, match=r"^lengths that differ: 5 and 7$"):
        tidied(fields)
