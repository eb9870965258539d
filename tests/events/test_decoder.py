"""Lines decoded: each is a launch or an odd line with its number, and costs no other."""

import json
from datetime import UTC, date, datetime, timedelta, timezone

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mirror.events.decoder import (
    BLOCK_BYTES,
    MAX_LINE_BYTES,
    Oddity,
    OddLine,
    decode_blocks,
    read_blocks,
)
from mirror.events.launch import FIELD_TYPES, LAUNCH_SCHEMA, Launch
from tests.events.agreement import Chunks, decode
from tests.making import divided
from tests.upstream.launches import make_day

EVENT = {
    "timestamp": "2021-08-03T10:00:00+00:00",
    "schema": LAUNCH_SCHEMA,
    "version": 5,
    "provider": "GitHub",
    "spec": "user/repo/ref",
    "ref": "0123",
    "status": "success",
    "build_token": False,
    "origin": "gke.mybinder.org",
}
GOOD = Launch(
    timestamp=datetime(2021, 8, 3, 10, tzinfo=UTC),
    schema=LAUNCH_SCHEMA,
    version=5,
    provider="GitHub",
    spec="user/repo/ref",
    status="success",
    origin="gke.mybinder.org",
    ref="0123",
    build_token=False,
)


def event(**changes: object) -> bytes:
    return json.dumps(EVENT | changes).encode() + b"\n"


def lacking(*fields: str) -> bytes:
    return json.dumps({k: v for k, v in EVENT.items() if k not in fields}).encode() + b"\n"


LAUNCHES = {
    "a good event": (event(), GOOD),
    "without a newline": (event()[:-1], GOOD),
    "with CRLF": (event()[:-1] + b"\r\n", GOOD),
    "another order": (json.dumps(EVENT, sort_keys=True).encode() + b"\n", GOOD),
    "unknown fields": (event(python_logger=None, more=[{}, 1e9]), GOOD),
    "a huge number in an unknown field": (event(more=10**400), GOOD),
    "a null for a later field": (
        event(origin=None, ref=None),
        replace(GOOD, origin=None, ref=None),
    ),
    "a later version's fields missing": (
        lacking("origin", "ref", "build_token"),
        replace(GOOD, origin=None, ref=None, build_token=None),
    ),
    "a field before its version": (
        event(version=1, request_origin=""),
        replace(GOOD, version=1, request_origin=""),
    ),
    "version 5.0": (event(version=5.0), GOOD),
    "a new provider": (event(provider="Forge"), replace(GOOD, provider="Forge")),
    "another status": (event(status="failure"), replace(GOOD, status="failure")),
    "an escaped NUL": (event(spec="a\0b"), replace(GOOD, spec="a\0b")),
    "Z for UTC": (event(timestamp="2021-08-03T10:00:00Z"), GOOD),
    "no offset": (event(timestamp="2021-08-03T10:00:00"), GOOD),
    "another offset": (event(timestamp="2021-08-03T12:00:00+02:00"), GOOD),
    "another offset, the day before": (
        event(timestamp="2021-08-04T00:00:00+14:00"),
        GOOD,
    ),
    "no status": (lacking("status"), replace(GOOD, status=None)),
    "a null as status": (event(status=None), replace(GOOD, status=None)),
    "a number as status": (event(status=5), replace(GOOD, status=None)),
    "a number as origin": (event(origin=5), replace(GOOD, origin=None)),
    "a number as token": (event(build_token=0), replace(GOOD, build_token=None)),
    "a list as ref": (event(ref=["a"]), replace(GOOD, ref=None)),
    "two fields of another type": (
        event(ref=5, build_token="no"),
        replace(GOOD, ref=None, build_token=None),
    ),
    "a later version's field of another type": (event(request_origin=5), GOOD),
    "another type and version 5.0": (
        event(version=5.0, status=0),
        replace(GOOD, status=None),
    ),
    "two equal keys, one of another type": (
        event()[:-2] + b', "ref": 5}\n',
        replace(GOOD, ref=None),
    ),
    "two equal keys": (event()[:-2] + b', "spec": "later"}\n', replace(GOOD, spec="later")),
}


@pytest.mark.parametrize(("line", "expected"), LAUNCHES.values(), ids=LAUNCHES)
def test_a_line_that_is_a_launch(line, expected):
    assert decode(line) == [expected]
    (found,) = decode(line)
    assert found.timestamp.tzinfo is UTC
    assert type(found.version) is int


JSON, FIELDS_KIND = Oddity.NOT_AN_OBJECT, Oddity.BAD_FIELDS
SCHEMA, VERSION = Oddity.UNKNOWN_SCHEMA, Oddity.UNKNOWN_VERSION
WRONG = [None, True, 7, -1.5, "x", [], {}, [[1]], {"a": None}, 10**30, 1e300, ""]
ODD = {
    "no JSON": (b"hello\n", JSON),
    "a page": (b"<html>\n", JSON),
    "an array": (b"[{}]\n", JSON),
    "a number": (b"1\n", JSON),
    "a null": (b"null\n", JSON),
    "two objects": (event()[:-1] + event(), JSON),
    "half of an object": (event()[:40] + b"\n", JSON),
    "bad UTF-8": (event(spec="@").replace(b"@", b"\xff\xfe"), JSON),
    "a surrogate in UTF-8": (event(spec="@").replace(b"@", b"\xed\xa0\x80"), JSON),
    "a lone surrogate": (event(spec="@").replace(b"@", b"\\ud800"), JSON),
    "a raw NUL": (event(spec="@").replace(b"@", b"\0"), JSON),
    "only NULs": (b"\0" * 100 + b"\n", JSON),
    "deep": (b'{"a":' * 100_000 + b"1" + b"}" * 100_000 + b"\n", JSON),
    "deep in an event": (event(x=0)[:-2] + b',"y":' + b"[" * 99_999 + b"\n", JSON),
    "a number out of range": (event(version="@").replace(b'"@"', b"1e999"), JSON),
    "too long": (event(spec="x" * MAX_LINE_BYTES), JSON),
    "an empty object": (b"{}\n", SCHEMA),
    "no schema": (lacking("schema"), SCHEMA),
    "another schema": (event(schema="binderhub.jupyter.org/stop"), SCHEMA),
    "no version": (lacking("version"), VERSION),
    "version 0": (event(version=0), VERSION),
    "version 7": (event(version=7), VERSION),
    "version 5.5": (event(version=5.5), VERSION),
    "a huge version": (event(version=10**300), VERSION),
    "no timestamp": (lacking("timestamp"), FIELDS_KIND),
    "no moment": (event(timestamp="2021-08-03"), FIELDS_KIND),
    "a number as timestamp": (event(timestamp=1), FIELDS_KIND),
    "no such day": (event(timestamp="2021-02-30T10:00:00+00:00"), FIELDS_KIND),
    "before all time": (event(timestamp="0001-01-01T00:00:00+10:00"), FIELDS_KIND),
    "no provider": (lacking("provider"), FIELDS_KIND),
    "no spec": (lacking("spec"), FIELDS_KIND),
    "a null as spec": (event(spec=None), FIELDS_KIND),
    "a list as provider": (event(provider=["GitHub"]), FIELDS_KIND),
    "a timestamp without seconds": (event(timestamp="2021-08-03T10:00Z"), FIELDS_KIND),
    "bad UTF-8 in an unknown field": (event(x="@").replace(b"@", b"\xff"), JSON),
}


@pytest.mark.parametrize(("line", "kind"), ODD.values(), ids=ODD)
def test_an_odd_line_is_told_with_its_number_and_costs_no_neighbour(line, kind):
    before, after = event(spec="before"), event(spec="after")
    found = decode(before * 2 + b"\n" + line + after)
    assert [one.spec for one in found if isinstance(one, Launch)] == ["before", "before", "after"]
    (odd,) = [one for one in found if isinstance(one, OddLine)]
    assert (odd.line, odd.kind) == (4, kind)
    assert odd.reason.isprintable()
    assert 0 < len(odd.reason) <= 100
    assert line.startswith(odd.data)
    assert found[2] is odd


@pytest.mark.parametrize("value", WRONG, ids=repr)
@pytest.mark.parametrize("field", EVENT)
def test_a_wrong_type_in_any_field_is_told_and_never_a_crash(field, value):
    line = event(**{field: value})
    found = decode(event() + line + event())
    assert found[0] == found[2] == GOOD
    fits = type(value) is FIELD_TYPES[field]
    if field in ("status", "origin", "ref", "build_token"):
        assert found[1] == replace(GOOD, **{field: value if fits else None})
    elif fits and field in ("provider", "spec"):
        assert found[1] == replace(GOOD, **{field: value})
    else:
        assert found[1].line == 2
        assert found[1].data == line[:-1]


def test_a_line_of_a_hundred_megabytes_is_told_with_its_beginning():
    chunk = b"x" * 1024 * 1024
    found = decode(event() + b'{"a": "', *[chunk] * 100, b'"}\n' + event())
    assert [one if isinstance(one, Launch) else one.line for one in found] == [GOOD, 2, GOOD]
    assert len(found[1].data) == 200


REASONS = {
    b"[]": "not one JSON object",
    b"{}": "schema missing",
    event(schema="a\x1bb"): r'schema "a\u001bb"',
    event(version=7): "version 7",
    event(version="5"): 'version "5"',
    event(version=True): "version true",
    event(timestamp="soon"): 'timestamp "soon"',
    lacking("provider"): "provider missing",
    event(spec=["https://user:secret@example.org"]): "spec not a string",
    event(provider=5, spec=5): "provider not a string",
}


@pytest.mark.parametrize(("line", "reason"), REASONS.items())
def test_an_odd_line_has_a_reason_that_names_what_is_wrong(line, reason):
    (found,) = decode(line)
    assert (found.reason, found.line) == (reason, 1)


def test_an_odd_line_names_its_file():
    name = "events-2021-08-03.jsonl"
    (_, _, even), (_, (odd,), has_odd_lines) = decode_blocks([event() * 2, b"x\n"], name)
    assert (odd.file, odd.line) == (name, 3)
    assert (even, has_odd_lines) == (False, True)


def test_blank_lines_are_nothing_and_are_numbered():
    found = decode(b"\n \n" + event() + b"\r\n\t\nx\n\n")
    assert found[0] == GOOD
    assert (len(found), found[1].line) == (2, 6)


@pytest.mark.parametrize(
    ("block", "found"),
    [
        (b"E\nE\n", [GOOD, GOOD]),
        (b"E\nE", [GOOD, GOOD]),
        (b" E\nE \r\n", [GOOD, GOOD]),
        (b"\nE\n\nE\n\n", [GOOD, GOOD]),
        (b"EE\n\n", [1]),
        (b"E\nEE\nE", [GOOD, 2, GOOD]),
        (b'{"a":\n1}\nE\nE\n', [1, 2, GOOD, GOOD]),
        (b'{"a":\n1}EE\n', [1, 2]),
    ],
)
def test_a_launch_is_one_object_alone_on_its_line(block, found):
    # of which a decoder of JSON knows nothing: newlines are white space to it like any other
    decoded = decode(block.replace(b"E", event()[:-1]))
    assert [one.line if isinstance(one, OddLine) else one for one in decoded] == found


def test_an_object_over_two_lines_is_two_odd_lines():
    first, second = event().split(b" ", 1)
    found = decode(event() + first + b"\n" + second + event())
    assert [getattr(one, "line", None) for one in found] == [None, 2, 3, None]


def test_nothing_in_nothing_out():
    assert decode() == decode(b"") == decode(b"\n") == []


@pytest.mark.parametrize(
    "one",
    [date(2018, 11, 3), date(2019, 6, 12), date(2020, 6, 18), date(2022, 3, 3), date(2026, 3, 2)],
)
def test_a_whole_day_is_what_json_makes_of_it(one):
    body = make_day(one, 3000)
    expected = []
    for line in body.splitlines():
        fields = {k: v for k, v in json.loads(line).items() if k in FIELD_TYPES}
        fields["timestamp"] = datetime.fromisoformat(fields["timestamp"])
        expected.append(Launch(**fields))
    assert decode(body) == expected


ANY_LINE = st.one_of(
    st.sampled_from([line for line, _ in (LAUNCHES | ODD).values() if len(line) < 1000]),
    st.binary(max_size=40).map(lambda line: line.replace(b"\n", b"") + b"\n"),
)


@settings(deadline=None)
@given(st.lists(ANY_LINE, max_size=30).map(b"".join), st.data())
def test_however_a_body_is_divided_its_lines_are_what_they_are_alone(body, data):
    chunks = data.draw(divided(st.just(body)))
    alone: list[Launch | OddLine] = []
    for number, line in enumerate(body.split(b"\n"), 1):
        alone += [
            one if isinstance(one, Launch) else replace(one, line=number) for one in decode(line)
        ]
    assert decode(*chunks) == alone


def test_a_launch_is_a_value():
    moved = replace(GOOD, timestamp=datetime(2021, 8, 3, 12, tzinfo=timezone(timedelta(hours=2))))
    assert moved == GOOD
    assert hash(moved) == hash(GOOD)
    with pytest.raises(AttributeError, match="immutable"):
        GOOD.spec = "x"


BODIES = st.lists(st.sampled_from([b"{}\n", b"\n", b"a" * 99 + b"\n", b"x"])).map(b"".join)


@given(divided(BODIES))
def test_blocks_are_whole_lines_and_together_the_body(chunks):
    blocks = list(read_blocks(Chunks(chunks)))
    body = b"".join(chunks)
    assert b"".join(blocks) == body + b"\n" * (not body.endswith(b"\n") and body != b"")
    assert all(block.endswith(b"\n") for block in blocks)


def test_a_file_is_read_in_blocks_of_about_their_size():
    body = (b"x" * 99 + b"\n") * 5000
    blocks = list(read_blocks(Chunks([body])))
    assert b"".join(blocks) == body
    assert max(map(len, blocks)) < BLOCK_BYTES + 100
    assert len(blocks) <= 1.5 * len(body) / BLOCK_BYTES


def test_of_a_line_without_end_little_more_is_kept_than_tells_that_it_is_too_long():
    noted: list[bytes] = []
    (block,) = read_blocks(Chunks([b"x" * BLOCK_BYTES] * 40), noted.append)
    assert MAX_LINE_BYTES < len(block) - 1 <= MAX_LINE_BYTES + 2 * BLOCK_BYTES
    assert b"".join(noted) == b"x" * BLOCK_BYTES * 40


def test_what_follows_a_line_that_is_too_long_is_not_lost():
    chunks = [*[b"x" * BLOCK_BYTES] * 40, b"yy\nnext\nla", b"st"]
    blocks = list(read_blocks(Chunks(chunks)))
    assert b"".join(blocks).lstrip(b"x") == b"\nnext\nlast\n"
    assert [one.line for one in decode(*chunks)] == [1, 2, 3]
