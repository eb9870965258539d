"""Content codings: whole in any division, never silently short, never all of a bomb at a time."""

import gzip
import random
import re
import sys
import zlib
from datetime import date

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.archive.intake import PIECE_BYTES, Decoder
from mirror.errors import UpstreamError
from tests.making import divided
from tests.upstream.launches import make_day

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

BODY = make_day(date(2021, 8, 3), 300)


def zstd_of(body: bytes) -> bytes:
    checked = {zstd.CompressionParameter.checksum_flag: 1}
    return zstd.compress(body, options=checked)


ENCODERS = {"gzip": lambda body: gzip.compress(body, mtime=0), "zstd": zstd_of}
CODINGS = pytest.mark.parametrize("coding", ENCODERS)


def decode(coding: str, *chunks: bytes) -> bytes:
    decoder = Decoder(coding)
    body = b"".join(piece for chunk in chunks for piece in decoder.feed(chunk))
    decoder.finish()
    return body


@pytest.mark.parametrize(("name", "coding"), [("x-gzip", "gzip"), ("zstd", "zstd")])
def test_a_coding_goes_by_each_of_its_names(name, coding):
    assert decode(name, ENCODERS[coding](BODY)) == BODY


@pytest.mark.parametrize(
    ("name", "told"),
    [("br", "br"), ("deflate", "deflate"), ("gzip, gzip", "gzip, gzip"), ("\x1b[2J", r"\x1b[2J")],
)
def test_an_unknown_coding_is_refused_and_not_asked_for_again(name, told):
    with pytest.raises(UpstreamError) as error:
        Decoder(name)
    assert str(error.value) == f"unknown Content-Encoding {told}"
    assert error.value.transient is False


def test_the_name_of_an_unknown_coding_is_told_short():
    with pytest.raises(UpstreamError, match=f"^unknown Content-Encoding {'x' * 39}…$"):
        Decoder("x" * 5000)


@CODINGS
@given(data=st.data())
def test_any_division_decodes_to_the_same_body(coding, data):
    body = data.draw(st.binary(max_size=2000))
    encoded = ENCODERS[coding](body)
    assert decode(coding, *data.draw(divided(st.just(encoded)))) == body


@CODINGS
@pytest.mark.parametrize("size", [1, 7, 100_000])
def test_members_that_follow_one_another_are_one_body(coding, size):
    encode = ENCODERS[coding]
    encoded = encode(BODY) + encode(b"") + encode(b"more\n")
    chunks = [encoded[i : i + size] for i in range(0, len(encoded), size)]
    assert decode(coding, *chunks) == BODY + b"more\n"


@CODINGS
def test_a_body_cut_short_anywhere_is_noticed(coding):
    encoded = ENCODERS[coding](BODY[:600])
    for end in range(len(encoded)):
        with pytest.raises(UpstreamError, match=rf"^the {coding} body is cut short$") as error:
            decode(coding, encoded[:end])
        assert error.value.transient


@CODINGS
def test_a_second_member_cut_short_is_noticed(coding):
    encoded = ENCODERS[coding](BODY)
    with pytest.raises(UpstreamError, match=r"is cut short$"):
        decode(coding, encoded, encoded[:5])


@CODINGS
@pytest.mark.parametrize("tail", [b"<html></html>", b"\0" * 30])
def test_what_follows_the_last_member_is_damage(coding, tail):
    with pytest.raises(UpstreamError, match=f"^the {coding} body is damaged: .+") as error:
        decode(coding, ENCODERS[coding](BODY) + tail)
    assert str(error.value).isprintable()


@CODINGS
@settings(max_examples=300)
@given(data=st.data())
def test_a_flipped_bit_never_passes_for_another_body(coding, data):
    encoded = bytearray(ENCODERS[coding](BODY[:600]))
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        body = decode(coding, bytes(encoded))
    except UpstreamError:
        return
    # some bits of a header (time, system, a reserved one) say nothing about the body
    assert body == BODY[:600]


@CODINGS
@given(data=st.data())
def test_no_bytes_raise_anything_but_a_body_error(coding, data):
    head = data.draw(st.sampled_from([b"", ENCODERS[coding](b"x")[:-9], ENCODERS[coding](b"x")]))
    decoder = Decoder(coding)
    try:
        for piece in decoder.feed(head + data.draw(st.binary())):
            assert len(piece) <= PIECE_BYTES
        decoder.finish()
    except UpstreamError as error:
        assert coding in str(error)  # noqa: PT017 - garbage may also be no damage at all


@CODINGS
@pytest.mark.parametrize("size", [PIECE_BYTES - 1, PIECE_BYTES, PIECE_BYTES + 1, 5_000_000])
@pytest.mark.parametrize("chunk", [64, 10**6])
def test_a_bomb_goes_off_in_pieces(coding, size, chunk):
    encoded = ENCODERS[coding](b"\0" * size)
    decoder = Decoder(coding)
    sizes = [
        len(piece)
        for start in range(0, len(encoded), chunk)
        for piece in decoder.feed(encoded[start : start + chunk])
    ]
    decoder.finish()
    assert sum(sizes) == size
    assert 0 < max(sizes) <= PIECE_BYTES
    assert 0 not in sizes


def test_a_zstd_window_over_eight_megabytes_is_refused():
    options = {zstd.CompressionParameter.window_log: 24}
    compressor = zstd.ZstdCompressor(options=options)
    encoded = compressor.compress(b"x" * 1000) + compressor.flush()
    with pytest.raises(UpstreamError, match=r"^the zstd body is damaged: "):
        decode("zstd", encoded)


def test_raw_deflate_is_no_gzip():
    with pytest.raises(UpstreamError, match=r"^the gzip body is damaged: "):
        decode("gzip", zlib.compress(BODY))


IDLE = {
    "empty gzip members": ("gzip", b"", gzip.compress(b"")),
    "a gzip file name": ("gzip", b"\x1f\x8b\x08\x08" + bytes(6), b"n"),
    "a gzip comment": ("gzip", b"\x1f\x8b\x08\x10" + bytes(6), b"c"),
    "gzip extra fields": ("gzip", b"", b"\x1f\x8b\x08\x04" + bytes(6) + b"\xff\xff" + b"x" * 65535),
    "zstd frames to skip": ("zstd", b"", b"\x50\x2a\x4d\x18\x00\x00\x00\x00"),
    "a large zstd frame to skip": ("zstd", b"\x50\x2a\x4d\x18\xff\xff\xff\xff", b"x"),
    "empty zstd frames": ("zstd", b"", zstd.compress(b"")),
}


@pytest.mark.parametrize(("coding", "beginning", "piece"), IDLE.values(), ids=IDLE)
def test_what_decodes_to_nothing_is_refused_within_a_megabyte(coding, beginning, piece):
    # a field of extra ends where the next begins: a whole member between them
    if piece.startswith(b"\x1f\x8b\x08\x04"):
        piece += gzip.compress(b"")[10:]
    chunks = [beginning, *[piece * (10_000 // len(piece) + 1)] * 100]
    taken, problem = take_in_vain(Decoder(coding), chunks)
    assert taken < 1_000_000
    assert re.fullmatch(f"[0-9,]+ bytes of {coding} hold only 0", str(problem))
    assert problem.transient is False


def take_in_vain(decoder: Decoder, chunks: list[bytes]) -> tuple[int, UpstreamError]:
    """Return the bytes after which a decoder that yields nothing refuses more, and its error."""
    taken = 0
    for chunk in chunks:
        taken += len(chunk)
        try:
            assert list(decoder.feed(chunk)) == []
        except UpstreamError as error:
            return taken, error
    raise AssertionError("it takes whatever comes")


@CODINGS
def test_many_tiny_members_are_one_body(coding):
    member = ENCODERS[coding](b"a line of this length\n")
    body = decode(coding, member * 50_000)
    assert body == b"a line of this length\n" * 50_000


def test_what_grows_by_its_coding_is_no_reason_to_refuse():
    noise = random.Random(0).randbytes(3_000_000)
    assert decode("gzip", gzip.compress(noise, 1)) == noise
