"""SHA256SUMS as `sha256sum` writes and reads it."""

from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.listings import parse_sums, render_sums
from tests.making import day, record

EARLY, LATE = record(day("2021-08-02")), record(day("2021-08-03"))
A, B = "a" * 64, "0123456789abcdef" * 4


def test_a_line_is_digest_two_blanks_and_name_ascending_by_date():
    assert (
        render_sums([LATE, EARLY])
        == (
            f"{EARLY.sha256}  events-2021-08-02.jsonl\n{LATE.sha256}  events-2021-08-03.jsonl\n"
        ).encode()
    )
    assert render_sums([]) == b""


def test_what_is_written_is_read():
    assert parse_sums(render_sums([EARLY, LATE])) == {
        EARLY.name: EARLY.sha256,
        LATE.name: LATE.sha256,
    }


def test_text_and_binary_marks_are_read():
    body = f"{A}  text\n{B} *binary".encode()
    assert parse_sums(body) == {"text": A, "binary": B}


def test_lines_of_other_kinds_are_passed_over():
    body = "\n".join(
        [
            "",
            "# a comment",
            f"SHA256 (tagged) = {A}",
            f"\\{A}  escaped\\nname",
            f"{A}  with\\backslash",
            f"{A}  ../up",
            f"{A}  /absolute",
            f"{A} one-blank",
            f"{A}\ttab",
            f"{A[:-1]}  short",
            f"{A}a  long",
            f"{A.upper()}  upper",
            f"{A}  ",
            f" {A}  indented",
            f"{B}  good",
        ]
    ).encode()
    assert parse_sums(body) == {"good": B}


def test_the_last_line_of_a_name_counts():
    assert parse_sums(f"{A}  x\n{B}  x\n".encode()) == {"x": B}


@given(st.binary() | st.binary().map(lambda tail: A.encode() + b"  " + tail))
def test_any_bytes_give_digests_of_plain_names_only(body):
    for name, digest in parse_sums(body).items():
        assert len(digest) == 64
        assert set(digest) <= set("0123456789abcdef")
        assert not {"/", "\\", "\n"} & set(name)
