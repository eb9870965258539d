"""From wire bytes to evidence: which digests are taken over which bytes."""

import gzip
import hashlib
from datetime import date

import pytest

from mirror.archive.headers import OfferedDigest, ReplyMeta
from mirror.archive.intake import Evidence, Intake
from mirror.errors import Failure, UpstreamError
from tests.upstream.launches import make_day

DAY = date(2021, 8, 3)
PLAIN = make_day(DAY, 50)
ZIPPED = gzip.compress(PLAIN)
TWICE = gzip.compress(ZIPPED)


def md5(body: bytes, source: str = "etag") -> OfferedDigest:
    return OfferedDigest(source, "md5", hashlib.md5(body).hexdigest())


def sha256(body: bytes, source: str = "repr-digest") -> OfferedDigest:
    return OfferedDigest(source, "sha256", hashlib.sha256(body).hexdigest())


def take_in(
    body: bytes, *digests: OfferedDigest, codings: tuple[str, ...] = (), stored: str = "identity"
) -> tuple[bytes, Evidence]:
    meta = ReplyMeta(codings=codings, stored_encoding=stored, digests=digests)
    intake = Intake(meta, max_bytes=10**6)
    kept = b"".join(
        piece for byte in range(0, len(body), 99) for piece in intake.feed(body[byte:][:99])
    )
    return kept, intake.finish()


EVIDENCE = Evidence(
    size=len(PLAIN),
    lines=50,
    ends_with_newline=True,
    digests={"sha256": hashlib.sha256(PLAIN).hexdigest()},
)


@pytest.mark.parametrize(("body", "codings"), [(PLAIN, ()), (ZIPPED, ("gzip",))])
def test_what_is_kept_and_seen_is_the_decoded_body(body, codings):
    assert take_in(body, codings=codings) == (PLAIN, EVIDENCE)


DIGESTS = {
    # body on the wire, its coding, that of the stored bytes; offered; right; wrong
    "plain, all right": (
        (PLAIN, (), "identity"),
        [md5(PLAIN), sha256(PLAIN)],
        ("etag", "repr-digest"),
        (),
    ),
    "plain, all wrong": (
        (PLAIN, (), "identity"),
        [md5(b""), sha256(b"")],
        (),
        ("etag", "repr-digest"),
    ),
    "plain, one of two wrong": (
        (PLAIN, (), "identity"),
        [sha256(PLAIN), md5(b"", "content-md5")],
        ("repr-digest",),
        ("content-md5",),
    ),
    "encoded, over the bytes on the wire": (
        (ZIPPED, ("gzip",), "gzip"),
        [md5(ZIPPED, "x-goog-hash"), sha256(ZIPPED)],
        ("x-goog-hash", "repr-digest"),
        (),
    ),
    "encoded, over the decoded bytes": (
        (ZIPPED, ("gzip",), "gzip"),
        [md5(PLAIN), md5(PLAIN, "x-goog-hash"), md5(PLAIN, "content-md5"), sha256(PLAIN)],
        ("etag", "x-goog-hash"),
        ("content-md5", "repr-digest"),
    ),
    "encoded twice, over each of the three": (
        (TWICE, ("gzip", "gzip"), "identity"),
        [md5(PLAIN), md5(ZIPPED, "x-goog-hash"), md5(TWICE, "content-md5")],
        ("etag", "x-goog-hash", "content-md5"),
        (),
    ),
    "encoded, over nothing that came": (
        (ZIPPED, ("gzip",), "identity"),
        [md5(b""), md5(b"", "x-goog-hash")],
        (),
        ("etag", "x-goog-hash"),
    ),
    "stored encoded and sent plain: those of the store do not apply": (
        (PLAIN, (), "gzip"),
        [md5(ZIPPED), md5(ZIPPED, "x-goog-hash")],
        (),
        (),
    ),
    "stored encoded and sent plain: those of the answer do": (
        (PLAIN, (), "gzip"),
        [md5(ZIPPED), sha256(PLAIN), md5(b"", "content-md5")],
        ("repr-digest",),
        ("content-md5",),
    ),
    "stored encoded and sent so": ((ZIPPED, ("gzip",), "gzip"), [md5(ZIPPED)], ("etag",), ()),
}


@pytest.mark.parametrize(("wire", "offered", "right", "wrong"), DIGESTS.values(), ids=DIGESTS)
def test_offered_digests_are_compared_over_the_bytes_they_are_of(wire, offered, right, wrong):
    body, codings, stored = wire
    kept, evidence = take_in(body, *offered, codings=codings, stored=stored)
    assert kept == PLAIN
    assert (evidence.right, evidence.wrong) == (right, wrong)
    assert evidence.sha256 == EVIDENCE.sha256


def test_only_digests_of_the_stored_object_are_put_aside():
    offered = tuple(md5(b"", source) for source in ("etag", "content-md5", "x-goog-hash"))
    _, evidence = take_in(PLAIN, *offered, stored="gzip")
    assert (evidence.right, evidence.wrong) == ((), ("content-md5",))


def test_a_body_without_digests_has_neither_right_nor_wrong_ones():
    _, evidence = take_in(PLAIN)
    assert evidence.right == evidence.wrong == ()


def test_an_unfinished_last_line_is_seen():
    assert take_in(PLAIN[:-1])[1].ends_with_newline is False
    assert take_in(PLAIN[:-1])[1].lines == 50


PAGES = {
    "a page": (b"<!DOCTYPE html>", True),
    "a page after blanks": (b" \r\n\t" * 99 + b"<html>", True),
    "a page after a byte order mark": (b"\xef\xbb\xbf\n<?xml", True),
    "a day": (PLAIN, False),
    "a day with a page in it": (PLAIN + b"<html>", False),
    "blanks": (b" \r\n\t" * 99, False),
    "nothing": (b"", False),
}


@pytest.mark.parametrize("codings", [(), ("gzip",)])
@pytest.mark.parametrize(("body", "is_page"), PAGES.values(), ids=PAGES)
def test_a_web_page_is_known_by_its_first_character(body, is_page, codings):
    wire = gzip.compress(body) if codings else body
    assert take_in(wire, codings=codings)[1].is_page is is_page


@pytest.mark.parametrize(
    ("body", "codings"),
    [(b"x" * 101, ()), (gzip.compress(b"x" * 101), ("gzip",))],
    ids=["plain", "gzip"],
)
def test_the_cap_is_on_the_decoded_body(body, codings):
    with pytest.raises(UpstreamError, match=r"^the body is larger than 100 B$"):
        list(Intake(ReplyMeta(codings=codings), max_bytes=100).feed(body))
    assert list(Intake(ReplyMeta(codings=codings), max_bytes=101).feed(body)) == [b"x" * 101]


def test_an_encoded_body_cut_short_gives_no_evidence():
    intake = Intake(ReplyMeta(codings=("gzip",)), max_bytes=10**6)
    assert PLAIN.startswith(b"".join(intake.feed(ZIPPED[:-1])))
    with pytest.raises(UpstreamError, match=r"^the gzip body is cut short$"):
        intake.finish()


def test_an_unknown_coding_is_refused_before_any_byte():
    with pytest.raises(UpstreamError, match="unknown Content-Encoding br"):
        Intake(ReplyMeta(codings=("br",)), max_bytes=10**6)


def test_a_tower_of_codings_is_refused_for_good() -> None:
    take_in(TWICE, codings=("gzip", "gzip"))

    with pytest.raises(UpstreamError, match=r"^more than 2 codings: gzip, x-gzip, gzip$") as caught:
        take_in(b"", codings=("gzip", "x-gzip", "gzip"))

    assert (caught.value.failure, caught.value.transient) == (Failure.ENCODING, False)
