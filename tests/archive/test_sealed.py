"""Lines with a checksum: right as a whole, and how far from right is still ours."""

import pytest

from mirror.archive.sealed import is_one_byte_off, is_sealed, is_unsealed, seal

LINE = seal(b'{"lines":10}')


def test_a_sealed_line_is_right_and_with_any_bit_flipped_it_is_not():
    assert b'{"lines":10,"crc32":"%s"}' % LINE[-10:-2] == LINE
    assert is_sealed(LINE)
    for place in range(len(LINE)):
        assert not is_sealed(LINE[:place] + bytes([LINE[place] ^ 1]) + LINE[place + 1 :])


def test_a_line_without_a_checksum_is_neither_right_nor_damaged():
    assert is_unsealed(b'{"lines":10}')
    assert not is_sealed(b'{"lines":10}')
    assert not is_unsealed(LINE)


@pytest.mark.parametrize(
    ("line", "is_off"),
    [
        (b"abc", False),
        (b"abd", True),
        (b"xbc", True),
        (b"xyc", False),
        (b"xb", False),
        (b"ab", False),
        (b"abcd", False),
        (b"", False),
    ],
)
def test_one_byte_off_is_one_byte_changed_and_none_lost(line: bytes, is_off: bool):
    assert is_one_byte_off(line, b"abc") is is_off
