"""Headers to values: what cannot be read is as if it had not been sent."""

import base64
import hashlib
import time
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import CIMultiDict

from mirror.archive.headers import (
    OfferedDigest,
    ReplyMeta,
    parse_http_date,
    parse_meta,
    parse_retry_after,
)
from tests.making import ANY_TEXT, at

BODY = b"a body\n"
NOW = at("2021-08-03 12:00")
MD5, SHA256 = hashlib.md5(BODY), hashlib.sha256(BODY)
MD5_64, SHA256_64 = (base64.b64encode(one.digest()).decode() for one in (MD5, SHA256))


def meta(*headers: tuple[str, str]) -> ReplyMeta:
    return parse_meta(CIMultiDict(headers), now=NOW)


def digests(*headers: tuple[str, str]) -> tuple[OfferedDigest, ...]:
    return meta(*headers).digests


def test_an_answer_without_headers_says_nothing():
    assert meta() == ReplyMeta()


def test_the_archives_own_headers_are_all_read():
    assert meta(
        ("etag", f'"{MD5.hexdigest()}"'),
        ("last-modified", "Tue, 03 Aug 2021 10:20:30 GMT"),
        ("Content-Encoding", "gzip"),
        ("X-GOOG-GENERATION", "1627984830123456"),
        ("x-goog-stored-content-encoding", "gzip"),
        ("x-goog-meta-events-count", "7057"),
        ("x-goog-hash", f"crc32c=AAAAAA==,md5={MD5_64}"),
    ) == ReplyMeta(
        etag=f'"{MD5.hexdigest()}"',
        names_etag=True,
        last_modified=at("2021-08-03 10:20:30"),
        generation=1627984830123456,
        codings=("gzip",),
        stored_encoding="gzip",
        events_count=7057,
        digests=(
            OfferedDigest("x-goog-hash", "md5", MD5.hexdigest()),
            OfferedDigest("etag", "md5", MD5.hexdigest()),
        ),
    )


@pytest.mark.parametrize(
    ("sent", "read"),
    [
        (["gzip"], ("gzip",)),
        ([" GZip "], ("gzip",)),
        ([""], ()),
        ([" br ,,gzip"], ("br", "gzip")),
        (["gzip", " identity "], ("gzip",)),
        (["Identity", "zstd", "gzip"], ("zstd", "gzip")),
    ],
)
def test_the_codings_of_all_header_lines_are_read_in_order(sent, read):
    assert meta(*(("Content-Encoding", line) for line in sent)).codings == read


@pytest.mark.parametrize(("sent", "read"), [("gzip", "gzip"), (" GZip ", "gzip"), ("", "")])
def test_the_coding_of_what_is_stored_is_read_in_lower_case(sent, read):
    assert meta(("x-goog-stored-content-encoding", sent)).stored_encoding == read


def test_a_validator_given_twice_counts_where_both_say_the_same():
    tag, other = f'"{MD5.hexdigest()}"', '"another"'
    day, later = "Tue, 03 Aug 2021 10:20:30 GMT", "Tue, 03 Aug 2021 10:20:31 GMT"

    same = meta(("ETag", tag), ("etag", tag), ("Last-Modified", day), ("last-modified", day))
    assert same == meta(("ETag", tag), ("Last-Modified", day))

    differ = meta(("ETag", tag), ("etag", other), ("Last-Modified", day), ("last-modified", later))
    assert differ == ReplyMeta(names_etag=True)


ETAGS = {
    "strong": ('"abc"', True),
    "weak": ('W/"abc"', True),
    "bare": ("abc", True),
    "of a letter": ("a", True),
    "empty": ("", False),
    "of a thousand characters": ('"' + "x" * 998 + '"', True),
    "longer": ('"' + "x" * 999 + '"', False),
    "of undecodable bytes": ('"\udcff"', False),
    "of other letters": ('"é"', False),
    "with control characters": ('"\x00\x1b"', False),
}


@pytest.mark.parametrize(("sent", "usable"), ETAGS.values(), ids=ETAGS)
def test_an_etag_is_kept_as_sent_where_it_can_be_recorded_and_sent_back(sent, usable):
    assert meta(("ETag", sent)).etag == (sent if usable else None)


NUMBERS = ["x-goog-generation", "x-goog-meta-events-count"]


def numbers(headers: ReplyMeta) -> list[int | None]:
    return [headers.generation, headers.events_count]


@pytest.mark.parametrize("text", ["0", "7", "0007", "1000000000", "0" * 19 + "7"])
def test_whole_numbers_are_read(text):
    assert numbers(meta(*((name, text) for name in NUMBERS))) == [int(text)] * 2


@pytest.mark.parametrize(
    "text",
    [
        "",
        "-1",
        "+1",
        "1.0",
        "1e3",
        "0x1",
        " 1",
        "\uff17",
        "\u00b2",
        "0" * 20 + "7",
        "9" * 20,
        "9" * 5000,
    ],
)
def test_what_is_no_whole_number_is_as_if_not_sent(text):
    assert numbers(meta(*((name, text) for name in NUMBERS))) == [None] * 2


def test_numbers_have_their_own_limits():
    assert meta(("x-goog-meta-events-count", "1000000001")).events_count is None
    assert meta(("x-goog-generation", str(2**63))).generation == 2**63
    assert meta(("x-goog-generation", str(2**63 + 1))).generation is None


def offered(source: str, *algorithms: str) -> tuple[OfferedDigest, ...]:
    values = {"md5": MD5.hexdigest(), "sha256": SHA256.hexdigest()}
    return tuple(OfferedDigest(source, one, values[one]) for one in algorithms)


DIGESTS = {
    # a strong ETag of 32 hex digits, and no other
    "etag": (("ETag", f'"{MD5.hexdigest()}"'), offered("etag", "md5")),
    "etag in capitals": (("ETag", f'"{MD5.hexdigest().upper()}"'), offered("etag", "md5")),
    "weak etag": (("ETag", f'W/"{MD5.hexdigest()}"'), ()),
    "bare etag": (("ETag", MD5.hexdigest()), ()),
    "etag of 64 digits": (("ETag", f'"{SHA256.hexdigest()}"'), ()),
    "etag of a part": (("ETag", f'"{MD5.hexdigest()}-2"'), ()),
    "etag of other letters": (("ETag", '"' + "g" * 32 + '"'), ()),
    "etag with a newline": (("ETag", f'"{MD5.hexdigest()}"\n'), ()),
    # RFC 9530
    "sha-256": (("Repr-Digest", f"sha-256=:{SHA256_64}:"), offered("repr-digest", "sha256")),
    "of the content": (
        ("Content-Digest", f"sha-256=:{SHA256_64}:"),
        offered("content-digest", "sha256"),
    ),
    "both algorithms": (
        ("Repr-Digest", f"sha-256=:{SHA256_64}:, md5=:{MD5_64}:"),
        offered("repr-digest", "sha256", "md5"),
    ),
    "with a parameter and blanks": (
        ("Repr-Digest", f" SHA-256 = :{SHA256_64}: ;q=1 ,x"),
        offered("repr-digest", "sha256"),
    ),
    "of an unknown algorithm": (("Repr-Digest", f"sha-512=:{SHA256_64}:"), ()),
    "without colons": (("Repr-Digest", f"sha-256={SHA256_64}"), ()),
    "with one colon": (("Repr-Digest", f"sha-256=:{SHA256_64}"), ()),
    "of two colons": (("Repr-Digest", "sha-256=::"), ()),
    "of one colon": (("Repr-Digest", "sha-256=:"), ()),
    "of the wrong length": (("Repr-Digest", f"sha-256=:{MD5_64}:"), ()),
    "of no base64": (("Repr-Digest", f"sha-256=:{SHA256_64[:4]}!{SHA256_64[4:]}:"), ()),
    "of other letters": (("Repr-Digest", "sha-256=:é:"), ()),
    # the older ones
    "content-md5": (("Content-MD5", MD5_64), offered("content-md5", "md5")),
    "content-md5 in hex": (("Content-MD5", MD5.hexdigest()), ()),
    "content-md5, empty": (("Content-MD5", ""), ()),
    "google's": (("x-goog-hash", f"crc32c=n03x6A==, md5={MD5_64}"), offered("x-goog-hash", "md5")),
    "google's, of md5 alone": (("x-goog-hash", f"md5={MD5_64}"), offered("x-goog-hash", "md5")),
    "google's, of another kind": (("x-goog-hash", f"crc32c={MD5_64}"), ()),
    "google's, cut": (("x-goog-hash", f"md5={MD5_64[:-4]}"), ()),
}


@pytest.mark.parametrize(("header", "expected"), DIGESTS.values(), ids=DIGESTS)
def test_a_digest_is_offered_by_a_header_of_its_form(header, expected):
    assert digests(header) == expected


def test_google_sends_a_header_for_each_digest():
    assert digests(("x-goog-hash", "crc32c=n03x6A=="), ("X-Goog-Hash", f"md5={MD5_64}")) == (
        offered("x-goog-hash", "md5")
    )
    assert digests(("Repr-Digest", "x=:y:"), ("Repr-Digest", f"md5=:{MD5_64}:")) == (
        offered("repr-digest", "md5")
    )


def test_all_digests_of_an_answer_are_offered_with_their_source():
    found = digests(
        ("ETag", f'"{MD5.hexdigest()}"'),
        ("x-goog-hash", f"md5={MD5_64}"),
        ("Content-MD5", MD5_64),
        ("Content-Digest", f"md5=:{MD5_64}:"),
        ("Repr-Digest", f"md5=:{MD5_64}:"),
    )
    sources = ["repr-digest", "content-digest", "content-md5", "x-goog-hash", "etag"]
    assert [one.source for one in found] == sources


DATES = {
    "Tue, 03 Aug 2021 10:20:30 GMT": at("2021-08-03 10:20:30"),
    "Tue, 03 Aug 2021 10:20:30 -0000": at("2021-08-03 10:20:30"),
    "Tue, 03 Aug 2021 12:20:30 +0200": at("2021-08-03 10:20:30"),
    "Tuesday, 03-Aug-21 10:20:30 GMT": at("2021-08-03 10:20:30"),
    "Tue Aug  3 10:20:30 2021": at("2021-08-03 10:20:30"),
}


@pytest.fixture(params=["UTC", "Asia/Tokyo"])
def _zone(request, monkeypatch):
    monkeypatch.setenv("TZ", request.param)
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


@pytest.mark.usefixtures("_zone")
@pytest.mark.parametrize(("text", "expected"), DATES.items())
def test_a_date_is_read_in_all_three_forms_as_utc(text, expected):
    read = parse_http_date(text)
    assert read == expected
    assert read is not None
    assert read.utcoffset() == timedelta(0)
    assert meta(("Last-Modified", text)).last_modified == expected


def test_a_date_ahead_of_our_clock_is_as_if_not_sent():
    assert meta(("Last-Modified", "Tue, 03 Aug 2021 12:00:00 GMT")).last_modified == NOW
    assert meta(("Last-Modified", "Tue, 03 Aug 2021 12:00:01 GMT")).last_modified is None


@pytest.mark.parametrize(
    "text",
    [
        None,
        "",
        "now",
        "2021-08-03T10:20:30Z",
        "Tue, 32 Aug 2021 10:20:30 GMT",
        "Tue, 03 Aug 2021 25:20:30 GMT",
        "Tue, 03 Aug 99999 10:20:30 GMT",
        "Fri, 31 Dec 9999 23:59:59 -0100",
        "Tue, 03 Aug 2021 10:20:30 +99999999999",
        "Tue, 03 Aug " + "9" * 5000 + " 10:20:30 GMT",
    ],
)
def test_what_is_no_date_is_as_if_not_sent(text):
    assert parse_http_date(text) is None


WAITS = {
    "0": 0,
    "120": 120,
    "1000000000": 10**9,
    "Tue, 03 Aug 2021 10:20:30 GMT": 30,
    "Tue, 03 Aug 2021 10:19:59 GMT": 0,
    "Tue, 03 Aug 2011 10:20:30 GMT": 0,
    "-5": None,
    "1.5": None,
    "1000000001": None,
    "soon": None,
    "": None,
    None: None,
}


@pytest.mark.parametrize(("text", "expected"), WAITS.items())
def test_a_wait_is_asked_for_in_seconds_or_until_a_date(text, expected):
    assert parse_retry_after(text, at("2021-08-03 10:20:00")) == expected


NAMES = st.sampled_from(
    ["ETag", "Last-Modified", "Repr-Digest", "Content-MD5", "x-goog-hash", *NUMBERS]
)
LETTERS = st.lists(st.sampled_from('0123456789:-, =+"/MonTueJanDecGMT')).map("".join)
VALUES = ANY_TEXT | LETTERS


@given(st.lists(st.tuples(NAMES, VALUES | st.sampled_from(list(DATES))), max_size=5))
def test_no_header_raises(headers):
    read = meta(*headers)
    assert read.etag is None or read.etag.isascii()
    assert read.last_modified is None or read.last_modified.utcoffset() == timedelta(0)
    for one in read.digests:
        assert len(one.value) == {"md5": 32, "sha256": 64}[one.algorithm]
        assert set(one.value) <= set("0123456789abcdef")


@given(VALUES)
def test_no_retry_after_raises_or_is_negative(text):
    wait = parse_retry_after(text, at("2021-08-03"))
    assert wait is None or wait >= 0


CHAINS = {
    "one": (["0123456789ab"], ("0123456789ab",)),
    "several": (["0123456789ab, ba9876543210"], ("0123456789ab", "ba9876543210")),
    "in several lines": (["0123456789ab", "ba9876543210"], ("0123456789ab", "ba9876543210")),
    "others between": (["0123456789ab,, x, 0123456789AB, 0123456789abc"], ("0123456789ab",)),
    "too many": ([", ".join(["0123456789ab"] * 20)], ("0123456789ab",) * 16),
    "none": ([""], ()),
}


@pytest.mark.parametrize(("sent", "read"), CHAINS.values(), ids=CHAINS)
def test_a_chain_of_mirrors_is_read_strictly_and_bounded(sent, read):
    assert meta(*(("X-Binder-Mirror", line) for line in sent)).mirrors == read
