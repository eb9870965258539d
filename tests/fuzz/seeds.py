"""What fuzzing begins with: these, and the files in `corpus/`, where what was found is kept."""

import json
import random
from collections.abc import Sequence
from datetime import UTC, date, datetime
from pathlib import Path

from mirror.archive.listings import IndexEntry, render_index, render_sums
from mirror.archive.manifest import render_manifest
from mirror.archive.upstream import Upstream, render_upstream
from mirror.config.loading import render
from mirror.config.settings import Config
from tests.making import record
from tests.upstream.launches import make_day
from tests.upstream.page import render_page

CORPUS = Path(__file__).with_name("corpus")
_RECORDS = [record(date(2024, 3, day), lines=day) for day in range(1, 4)]
_COUNTS = {one.date: (one.name, one.lines) for one in _RECORDS}
_INDEX = render_index(IndexEntry(one.date, one.name, one.lines) for one in _RECORDS)
_UPSTREAM = render_upstream(Upstream("http://x/", accepted={date(2024, 3, 1): 7}))

_LINE = make_day(date(2026, 3, 2), 1)
_GIT = b"https%3A%2F%2Fuser%3Apw%40example.org%2Fteam%2Fcourse.git/HEAD"
_LINES = [
    b"",
    b"\n \n",
    _LINE * 3,
    _LINE[:-1] + _LINE,
    _LINE[:40] + b"\n" + _LINE[40:],
    b'{"a":' * 2000 + b"\n" + _LINE,
    b"\0\xff\xed\xa0\x80\n" + _LINE,
    _LINE.replace(b": 6", b": 1e999"),
    b"\xef\xbb\xbf" + _LINE,
    # by alphabet and as in the schema, so that lines are parted at their timestamp
    make_day(date(2021, 7, 2), 4),
    make_day(date(2020, 1, 1), 4),
    json.dumps(json.loads(_LINE), sort_keys=True).encode() + b"\n" + _LINE,
]
SEEDS = {
    "lines": _LINES,
    "findings": _LINES,
    "spec": [
        b"",
        *(bytes([which]) + _GIT for which in range(9)),
        b"\x00QISKit/qiskit-tutorial.git/feature/x",
        b"\x01ns%2Fsub%2Frepo/ref",
        b"\x02git%40example.org%3Ax%2Fy/main",
        b"\x0410.5281/zenodo.4032875",
        b"\x02https%3A%2F%2F[::1%2Fx/main",
        b"\x02%2525252540/%",
    ],
    "index": [_INDEX, _INDEX.rstrip(), _INDEX + _INDEX, _INDEX.replace(b'"1"', b"1"), b"<html>"],
    "page": [render_page(_COUNTS, datetime(2024, 3, 4, tzinfo=UTC)), b"<tr><td>", b"<![x["],
    "sums": [render_sums(_RECORDS)],
    "manifest": [render_manifest(_RECORDS), b"", b"\x00\x10\x01" * 9],
    "upstream": [_UPSTREAM, b"{}", b"null"],
    "settings": [render(Config()).encode(), b"[http]\nretries = 1\n", b"[[http]]", b"http = 1"],
    "range": [
        b"\x00\xffbytes=0-9",
        b"\x00\xffbytes=-5",
        b"\x00\xffbytes=7-",
        b"\x00\x00bytes=0-",
        b"\xff\xffbytes=0-1,5-9",
    ],
    "accept": [b"gzip, deflate, br;q=0.5, zstd", b"*;q=0", b"identity;q=1, *;q=0.1", b"x-gzip"],
    "dates": [b"Sun, 06 Nov 1994 08:49:37 GMT", b"120", b"Sunday, 06-Nov-94 08:49:37 GMT", b"-1"],
}


def seeds(name: str) -> Sequence[bytes]:
    """Return what fuzzing a target begins with."""
    return [*SEEDS[name], *(path.read_bytes() for path in sorted((CORPUS / name).glob("*")))]


def changed(seed: bytes, rng: random.Random) -> bytes:
    """Return a seed with a few bytes put in, taken out or replaced, here and there."""
    data = bytearray(seed)
    for _ in range(rng.randint(1, 4)):
        at = rng.randint(0, len(data))
        data[at : at + rng.randint(0, 3)] = rng.randbytes(rng.randint(0, 3))
    return bytes(data)
