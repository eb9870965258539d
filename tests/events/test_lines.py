"""Blocks of lines: nothing is lost however a body is divided, and memory stays bounded."""

from hypothesis import given
from hypothesis import strategies as st

from mirror.events.lines import BLOCK_BYTES, MAX_LINE_BYTES, BlockCutter, halve
from tests.making import divided

BODIES = st.lists(st.sampled_from([b"{}\n", b"\n", b"a" * 99 + b"\n", b"x"])).map(b"".join)


def cut(*chunks: bytes) -> tuple[list[bytes], bytes]:
    cutter = BlockCutter()
    blocks = [block for chunk in chunks for block in cutter.feed(chunk)]
    return blocks, cutter.finish()


@given(divided(BODIES))
def test_blocks_are_whole_lines_and_together_the_body(chunks):
    blocks, rest = cut(*chunks)
    assert b"".join(blocks) + rest == b"".join(chunks)
    assert all(block.endswith(b"\n") for block in blocks)
    assert b"\n" not in rest


def test_a_large_chunk_is_cut_into_blocks_of_their_size():
    body = (b"x" * 99 + b"\n") * 5000
    blocks, rest = cut(body)
    assert b"".join(blocks) == body
    assert rest == b""
    assert max(map(len, blocks)) <= BLOCK_BYTES
    assert len(blocks) == -(-len(body) // (BLOCK_BYTES // 100 * 100))


def test_of_a_line_without_end_no_more_is_kept_than_tells_that_it_is_too_long():
    blocks, rest = cut(*[b"x" * BLOCK_BYTES] * 40)
    assert blocks == []
    assert rest == b"x" * (MAX_LINE_BYTES + 1)


def test_what_follows_a_line_that_is_too_long_is_not_lost():
    blocks, rest = cut(*[b"x" * BLOCK_BYTES] * 40, b"yy\nnext\nla", b"st")
    assert blocks == [b"x" * (MAX_LINE_BYTES + 1) + b"\nnext\n"]
    assert rest == b"last"


@given(BODIES)
def test_a_block_is_halved_between_lines_down_to_the_single_line(block):
    todo, lines = [block], []
    while todo:
        one = todo.pop()
        if halves := halve(one):
            assert all(halves)
            todo += reversed(halves)
        else:
            lines.append(one)
    assert lines == (block.splitlines(keepends=True) or [b""])
