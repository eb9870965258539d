"""Parting of lines: nothing is lost, and only what stands as it should is parted."""

import json

import pytest

from mirror.events.stamps import Frame, part
from tests.making import day
from tests.upstream.launches import make_day

LEADING = b'{"timestamp": "2021-08-03T10:00:00+00:00", "version": 5, "spec": "a/b"}\n'
TRAILING = b'{"spec": "a/b", "timestamp": "2021-08-03T10:00:00+00:00", "version": 5}\n'
LATER = b"2021-08-03T10:01:00+00:00"


def later(line: bytes) -> bytes:
    return line.replace(b"2021-08-03T10:00:00+00:00", LATER)


@pytest.mark.parametrize(
    ("line", "frame", "left"),
    [
        (LEADING, Frame(b'{"timestamp": "', b'"'), {"version": 5, "spec": "a/b"}),
        (TRAILING, Frame(b"", b'", "version": 5}\n'), {"spec": "a/b", "version": 5}),
    ],
)
def test_lines_are_parted_where_their_timestamp_stands(line, frame, left):
    parted = part(line + line + later(line))
    assert parted is not None
    assert parted.frame == frame
    assert len(set(parted.rests)) == 1
    stamps = [frame.timestamp(stamp) for stamp in parted.stamps]
    assert stamps == ["2021-08-03T10:00:00+00:00"] * 2 + [LATER.decode()]
    assert json.loads(frame.without_timestamp(parted.rests[0])) == left


@pytest.mark.parametrize(
    "one", ["2018-12-01", "2019-08-01", "2020-08-01", "2021-08-01", "2023-01-01", "2026-05-01"]
)
def test_a_days_lines_are_parted_and_their_parts_make_up_the_lines(one):
    lines = make_day(day(one), 400).splitlines(keepends=True)
    parted = part(b"".join(lines))
    assert parted is not None
    for line, stamp, rest in zip(lines, parted.stamps, parted.rests, strict=True):
        assert line in (stamp + rest, rest + stamp)
        event = json.loads(line)
        assert parted.frame.timestamp(stamp) == event.pop("timestamp")
        assert json.loads(parted.frame.without_timestamp(rest)) == event
    assert len(set(parted.rests)) < len(lines) / 2


@pytest.mark.parametrize(
    "block",
    [
        b"\n",
        b"x",
        b"{}\n",
        LEADING + TRAILING,
        TRAILING + LEADING,
        TRAILING + TRAILING.replace(b": 5}", b": 4}"),
        TRAILING + TRAILING[:-1],
        LEADING + b"\n",
        LEADING + LEADING[:20],
        LEADING + b" " + LEADING,
        LEADING.replace(b"+00:00", b"Z"),
        LEADING.replace(b"10:00:00", b'10:00"00'),
        LEADING.replace(b"10:00:00", b"10:0\\u00"),
        LEADING.replace(b": ", b":"),
        TRAILING.replace(b"}\n", b"}\r\n"),
        TRAILING.replace(b": 5", b": 50"),
        TRAILING.replace(b'"version"', b'"x": 1, "version"'),
    ],
)
def test_lines_of_another_form_are_not_parted(block):
    assert part(block) is None
