"""Daily files with odd lines in them, decoded by ourselves for the data set."""

from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO

import msgspec
from msgspec import Struct

from mirror.data.dataset import TOLD_LINES, OddReport
from mirror.edges.disk import READ_BYTES, open_file
from mirror.events.launch import Launch, LaunchDecoder, OddLine
from mirror.events.lines import BlockCutter


class _Row(Struct, gc=False):
    """A launch and its line, as they are handed to DuckDB."""

    line: int
    launch: Launch


def write_decoded(source: Path, target: Path) -> tuple[int, tuple[OddReport, ...]]:
    """Write the launches of a file with their lines; return how many lines are none, and some."""
    encoder = msgspec.json.Encoder()
    odd = 0
    told: list[OddReport] = []
    with open_file(source) as file, target.open("xb") as decoded:
        for first_line, block in _blocks(file):
            numbered = _decode_block(block, first_line)
            rows = [_Row(line, one) for line, one in numbered if isinstance(one, Launch)]
            decoded.write(encoder.encode_lines(rows))
            odd += len(numbered) - len(rows)
            told += [
                OddReport(line, one.kind, one.reason)
                for line, one in numbered
                if isinstance(one, OddLine) and len(told) < TOLD_LINES
            ]
    return odd, tuple(told[:TOLD_LINES])


def _blocks(file: BinaryIO) -> Iterator[tuple[int, bytes]]:
    """Yield blocks of whole lines with the number of the first."""
    cutter, line = BlockCutter(), 1
    while chunk := file.read(READ_BYTES):
        for block in cutter.feed(chunk):
            yield line, block
            line += block.count(b"\n")
    if rest := cutter.finish():
        yield line, rest


def _decode_block(block: bytes, first_line: int) -> list[tuple[int, Launch | OddLine]]:
    lines = block.removesuffix(b"\n").split(b"\n")
    decoded = _decode(block)
    if len(decoded) == len(lines):
        return list(enumerate(decoded, first_line))
    # blank lines leave no trace: which line is which can only be told one by one
    return [(number, one) for number, line in enumerate(lines, first_line) for one in _decode(line)]


def _decode(block: bytes) -> list[Launch | OddLine]:
    decoder = LaunchDecoder()
    return [one for part in (*decoder.feed(block), decoder.finish()) for one in part]
