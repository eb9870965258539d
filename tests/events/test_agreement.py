"""Findings, the reading API and the rows of the data set: for any body they agree on its lines."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.events.findings import remember_kinds
from tests.events.agreement import require_agreement
from tests.events.test_decoder import LAUNCHES, ODD
from tests.events.test_findings import DAY, EVENT, LINES, event, lacking
from tests.making import divided
from tests.mirrors import of_all_eras

REAL = Path(os.environ.get("MIRROR_REAL_DATA", "/nowhere"), "lines.jsonl")


def in_alphabet(line: bytes) -> bytes:
    return json.dumps(json.loads(line), sort_keys=True).encode() + b"\n"


STAMPS = st.integers(0, 40).map(lambda minute: f"2021-08-03T10:{minute:02}:00+00:00")
EVENTS = st.builds(
    lambda stamp, **changes: event(timestamp=stamp, **changes),
    STAMPS,
    provider=st.sampled_from(["GitHub", "Git", "Gist"]),
    origin=st.sampled_from(["a", "b", "\x1b", "é" * 70]),
)
OLDER = STAMPS.map(
    lambda stamp: (
        lacking("ref", "origin", "build_token")
        .replace(b": 5", b": 2")
        .replace(b"2021-08-03T10:00:00+00:00", stamp.encode())
    )
)
# what a line must not pass for when it is parted at its timestamp
TRICKS = st.sampled_from(
    [
        b', "timestamp": "2021-08-03T10:00:00+00:00"',
        b', "timestamp": "2021-08-03T10:07:00+00:00", "spec": "a"',
        rb', "timest\u0061mp": "2021-08-03T10:00:00+00:00"',
        rb', "ref": "\", \"timestamp\": \"2021-08-03T10:00:00+00:00"',
        b', "ref": "timestamp"',
        b', "version": 6',
        b', "version": 4',
        b', "timestamp": 5',
        b', "x": {"timestamp": "2021-08-03T10:00:00+00:00"}',
        b', "ref": "\xff"',
        b",",
        b"}",
        b'"',
        b"\r",
        b" ",
    ]
)


@st.composite
def tricky_lines(draw):
    """A line by the schema's order or by alphabet, with something put in between."""
    fields = EVENT | {"timestamp": draw(STAMPS), "version": draw(st.sampled_from([4, 5, 6]))}
    line = json.dumps(fields, sort_keys=draw(st.booleans())).encode()
    trick = draw(TRICKS)
    places = [at for at in range(len(line)) if line.startswith((b", ", b"}", b'"}'), at)]
    at = draw(st.sampled_from([1, len(line), *places]))
    return line[:at] + trick + line[at:] + b"\n"


TRICKED = st.lists(EVENTS | tricky_lines(), max_size=6).map(b"".join)
MIXES = st.lists(
    EVENTS
    | EVENTS.map(in_alphabet)
    | OLDER
    | st.sampled_from([line for line, _ in LINES.values() if len(line) < 2000]),
    max_size=12,
).map(b"".join)
RUNS = st.tuples(EVENTS, st.integers(1, 5)).map(lambda run: run[0] * run[1])
WRONG = [None, True, 7, 5.0, -1.5, "x", [], {"a": None}, 10**30, ""]
CHANGED = st.dictionaries(st.sampled_from([*EVENT, "request_origin"]), st.sampled_from(WRONG)).map(
    lambda changes: event(**changes)
)
CASES = st.sampled_from(
    [line.removesuffix(b"\n") + b"\n" for line, _ in (LAUNCHES | ODD).values() if len(line) < 1000]
)


@pytest.mark.parametrize("line", [line for line, _ in LINES.values()], ids=LINES)
def test_beside_launches_of_its_version_a_line_is_no_other(line):
    require_agreement([event(), line], DAY)
    require_agreement([event(), line[:-1] + b"\n" + event()], DAY)


@pytest.mark.parametrize(("one", "body"), of_all_eras().items(), ids=str)
def test_days_of_all_eras(one, body):
    require_agreement([body], one)
    require_agreement([body[:5000], body[5000:]], one)


@settings(max_examples=150, deadline=None)
@given(divided(st.lists(CHANGED | CASES | EVENTS | OLDER, max_size=12).map(b"".join)))
def test_launches_deviating_launches_and_odd_lines_in_any_division(chunks):
    require_agreement(chunks, DAY)


@settings(max_examples=150, deadline=None)
@given(TRICKED)
def test_no_line_passes_for_another_that_differs_from_it_elsewhere_than_in_its_timestamp(body):
    kinds = remember_kinds()
    for _ in range(2):
        require_agreement([body], DAY, kinds)
        require_agreement([body * 3], DAY, kinds)


@settings(max_examples=150, deadline=None)
@given(divided(MIXES | st.lists(RUNS | MIXES, max_size=3).map(b"".join)))
def test_any_lines_in_any_division(chunks):
    body = b"".join(chunks)
    require_agreement(chunks, DAY)
    require_agreement([line + b"\n" for line in body.split(b"\n")], DAY)


@settings(deadline=None)
@given(
    divided(
        st.binary(max_size=60)
        | st.lists(st.sampled_from('{}[]\n ,:"12ab')).map("".join).map(str.encode)
    )
)
def test_any_bytes_in_any_division(chunks):
    require_agreement(chunks, DAY)


@pytest.mark.skipif(not REAL.is_file(), reason="MIRROR_REAL_DATA has no such lines")
@settings(max_examples=50, deadline=None)
@given(st.data())
def test_real_lines_in_any_order_and_division(data):
    lines = [json.loads(line)["line"].encode() + b"\n" for line in REAL.read_bytes().splitlines()]
    drawn = data.draw(st.lists(st.sampled_from(lines) | CHANGED, max_size=40).map(b"".join))
    require_agreement(data.draw(divided(st.just(drawn))), DAY)
