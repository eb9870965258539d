"""Launches that repeat: parts are what the whole lines are, or the block is not taken at all."""

import json
import tracemalloc
from datetime import datetime

import pytest
from msgspec.structs import replace

from mirror.events.decoder import decode_line
from mirror.events.launch import Launch
from mirror.events.repeats import ANY_TIME, KNOWN_BYTES, RepeatDecoder
from tests.making import day
from tests.upstream.launches import make_day

EVENT = {
    "timestamp": "2021-08-03T10:00:00+00:00",
    "schema": "binderhub.jupyter.org/launch",
    "version": 5,
    "provider": "GitHub",
    "spec": "a/b/c",
}
LEADING = json.dumps(EVENT).encode() + b"\n"
TRAILING = json.dumps(EVENT, sort_keys=True).encode() + b"\n"
LATER = b"2021-08-03T10:01:00+00:00"


def later(line: bytes) -> bytes:
    return line.replace(b"2021-08-03T10:00:00+00:00", LATER)


def make_decoder() -> RepeatDecoder[datetime, Launch]:
    return RepeatDecoder(lambda moment: moment, lambda launch: launch)


def decode(block: bytes) -> list[Launch] | None:
    """Return the launches of a block, put together of their parts."""
    parts = make_decoder().decode(block)
    if parts is None:
        return None
    moments, launches = parts
    assert {launch.timestamp for launch in launches} == {ANY_TIME}
    return [
        replace(launch, timestamp=moment) for moment, launch in zip(moments, launches, strict=True)
    ]


@pytest.mark.parametrize("line", [LEADING, TRAILING])
def test_what_repeats_is_made_once(line):
    moments, launches = [], []
    decoder = RepeatDecoder(
        lambda moment: moments.append(moment) or len(moments),
        lambda launch: launches.append(launch) or launch.spec,
    )
    other = line.replace(b"a/b/c", b"d/e/f")
    assert decoder.decode(line + line + later(line)) == ([1, 1, 2], ["a/b/c"] * 3)
    assert decoder.decode(later(other) + line) == ([2, 1], ["d/e/f", "a/b/c"])
    assert (len(moments), len(launches)) == (2, 2)
    decoder.forget_moments()
    assert decoder.decode(line) == ([3], ["a/b/c"])
    assert len(launches) == 2


@pytest.mark.parametrize(
    "one", ["2018-12-01", "2019-08-01", "2020-08-01", "2021-08-01", "2023-01-01", "2026-05-01"]
)
def test_a_days_launches_are_those_of_its_lines(one):
    body = make_day(day(one), 400)
    assert decode(body) == [decode_line(line) for line in body.splitlines()]


@pytest.mark.parametrize(
    "key",
    [
        b', "timestamp": "2000-01-01T00:00:00+00:00"',
        b', "timestamp": "2021-08-03T10:07:00+00:00"',
        b', "time\\u0073tamp": "2021-08-03T10:07:00+00:00"',
    ],
)
def test_a_second_timestamp_may_decide_and_so_the_line_is_not_taken(key):
    assert decode(LEADING.replace(b"}\n", key + b"}\n")) is None
    assert decode(TRAILING.replace(b', "schema"', key + b', "schema"', 1)) is None


@pytest.mark.parametrize(
    "block",
    [
        b"",
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
        LEADING + LEADING.replace(b'"spec"', b'"spice"'),
        LEADING.replace(b"+00:00", b"Z"),
        LEADING.replace(b"+00:00", b"+02:00"),
        LEADING.replace(b"-03T", b"-33T"),
        LEADING.replace(b"10:00:00", b'10:00"00'),
        LEADING.replace(b"10:00:00", b"10:0\\u00"),
        LEADING.replace(b"2021-08-03T10:00:00+00:00", b"2021-08-03T10:00:00.00000"),
        LEADING.replace(b"2021-08-03T10:00:00+00:00", b'2021-08-03T10:00Z","a":"b'),
        LEADING.replace(b": ", b":"),
        LEADING.replace(b"a/b/c", b"x" * 2**20),
        TRAILING.replace(b"}\n", b"}\r\n"),
        TRAILING.replace(b": 5", b": 50"),
        TRAILING.replace(b'"version"', b'"x": 1, "version"'),
        TRAILING.replace(b', "timestamp"', b', "a\\"timestamp"'),
    ],
)
def test_lines_of_another_form_are_not_taken(block):
    assert decode(block) is None


def test_what_is_remembered_is_bounded():
    decoder = make_decoder()
    tracemalloc.start()
    try:
        for number in range(400):
            spec = b"%d" % number + b"x" * 100_000
            assert decoder.decode(LEADING.replace(b"a/b/c", spec))
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # the text of a line and the launch made of it
    assert held < KNOWN_BYTES * 2.5
