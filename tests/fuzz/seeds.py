"""What fuzzing begins with."""

import json
from datetime import date

from tests.upstream.launches import make_day

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
}
