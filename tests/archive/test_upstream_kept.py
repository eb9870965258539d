"""`upstream.json`: what is written is read again, and what cannot be believed is as if lost."""

from datetime import timedelta

import msgspec
import pytest
from msgspec.structs import replace

from mirror.archive.sealed import seal
from mirror.archive.upstream import VERSION, Upstream, parse_upstream, render_upstream
from mirror.errors import ConfigError
from tests.archive.steps import D1, D2, D3, KNOWN, NOW

URL = KNOWN.url


def test_what_was_written_is_read_under_the_url_it_is_of():
    body = render_upstream(KNOWN)

    assert parse_upstream(body, URL) == KNOWN
    assert parse_upstream(body, "") == KNOWN
    assert parse_upstream(body, "HTTPS://me:secret@Archive.example:443") == KNOWN


def test_what_another_upstream_said_is_not_taken_over():
    found = parse_upstream(render_upstream(KNOWN), "https://other.example/a")

    assert found == Upstream("https://other.example/a/")


def test_a_url_is_kept_in_one_spelling_and_without_a_password():
    written = replace(KNOWN, url="https://me:secret@ARCHIVE.example")

    assert parse_upstream(render_upstream(written), "") == KNOWN
    assert parse_upstream(render_upstream(written), URL) == KNOWN


@pytest.mark.parametrize("body", [None, b"", b"{", b"[]", b"\xff", b'{"url": 1}'])
def test_where_there_is_nothing_to_read_nothing_is_known(body: bytes | None):
    assert parse_upstream(body, "https://Archive.example") == Upstream(URL)
    assert parse_upstream(body, "") == Upstream("")


def test_a_flipped_bit_is_never_believed():
    body = render_upstream(KNOWN)
    for place in range(len(body)):
        flipped = body[:place] + bytes([body[place] ^ 1]) + body[place + 1 :]
        found = parse_upstream(flipped, URL)
        # one in the name of the checksum has changed nothing that counts
        assert found == Upstream(URL) or (found == KNOWN and place > body.rindex(b","))


def test_what_a_version_without_checksums_wrote_is_believed():
    assert parse_upstream(msgspec.json.encode(KNOWN), URL) == KNOWN


@pytest.mark.parametrize(
    "wrong",
    [
        {"accepted": {D1.replace(year=1999): 1}},
        {"found": {D1.replace(year=1999): 1}},
        {"unlisted": {D1.replace(year=1999): None}},
        {"absent": {D1.replace(year=1999): NOW}},
    ],
)
def test_days_before_there_was_an_archive_make_all_of_it_unbelievable(wrong: dict[str, object]):
    written = replace(KNOWN, accepted={D1: 1, D2: 2}, found={D3: 3})
    assert parse_upstream(render_upstream(written), URL) == written

    assert parse_upstream(render_upstream(replace(written, **wrong)), URL) == Upstream(URL)


def test_what_a_later_version_wrote_is_refused_whoever_asks():
    later = replace(KNOWN, version=VERSION + 1, state_since=NOW - timedelta(days=1))
    for body in (
        render_upstream(later),
        msgspec.json.encode(later),
        seal(b'{"url":"x","version":9}'),
    ):
        for url in (URL, "", "https://other.example/"):
            with pytest.raises(ConfigError) as caught:
                parse_upstream(body, url)
            assert caught.value.line().startswith("upstream.json is in format ")
            assert caught.value.line().endswith(
                f", later than {VERSION}, the last one known to this version "
                "(upgrade binder-mirror)"
            )
