"""The manifest and its journal: a line that cannot be read costs its day alone."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mirror.archive.manifest import (
    match_record,
    parse_manifest,
    render_journal_line,
    render_manifest,
    replay_journal,
)
from mirror.errors import ConfigError
from mirror.model import Findings, Flag, Record
from tests.making import at, day, days, record

FIRST, SECOND, THIRD = (record(day(f"2021-08-0{n}"), n) for n in (2, 3, 4))
HEADER = b'{"format":"binder-mirror manifest","version":1}\n'
FULL = record(
    day("2021-08-05"),
    etag='W/"x"',
    last_modified=at("2021-08-06 07:00"),
    generation=2**63,
    flags=(Flag.AHEAD, Flag.ADOPTED),
    findings=Findings(versions={"5": 9, "…": 1}, not_objects=1),
    index_count=None,
)


def test_the_manifest_is_a_header_and_a_line_a_day_ascending():
    head, *rows = render_manifest([THIRD, FIRST]).splitlines()
    assert head + b"\n" == HEADER
    assert [json.loads(row)["date"] for row in rows] == ["2021-08-02", "2021-08-04"]


def test_every_line_of_the_manifest_ends_and_an_empty_one_is_its_header():
    assert render_manifest([FIRST]).endswith(b"}\n")
    assert render_manifest([]) == HEADER


MOMENTS = st.sampled_from([at("2018-01-01"), at("2021-08-06 07:30"), at("9999-12-31 23:59")])
TEXTS = st.sampled_from(["", "events-2021-08-02.jsonl", '"\n\0\x1b\u2028', "漢😀"])
RECORDS = st.builds(
    Record,
    date=st.dates(day("2018-01-01"), day("2030-01-01")),
    name=TEXTS,
    size=st.integers(0, 2**40),
    sha256=TEXTS,
    lines=st.integers(0, 10**9),
    mtime_ns=st.integers(0, 2**62),
    fetched_at=MOMENTS,
    checked_at=MOMENTS,
    index_count=st.none() | st.integers(0, 10**9),
    etag=st.none() | TEXTS,
    last_modified=st.none() | MOMENTS,
    generation=st.none() | st.integers(0, 2**63),
    flags=st.lists(st.sampled_from(Flag), max_size=2).map(tuple),
    findings=st.none() | st.builds(Findings, versions=st.dictionaries(TEXTS, st.integers(0, 9))),
)


@settings(max_examples=50)
@given(st.lists(RECORDS, unique_by=lambda one: one.date, max_size=4))
def test_what_is_written_is_read_as_it_was(records):
    expected = {one.date: one for one in records}
    assert parse_manifest(render_manifest(records)) == (expected, 0)
    journal = b"".join(map(render_journal_line, records))
    assert replay_journal({}, journal) == {one: (expected[one],) for one in expected}


UNREADABLE = {
    "garbage": b"garbage\n",
    "a torn line": b'{"date":"2021-08-03","name":"events\n',
    "a line of another kind": b'{"event":"removed","date":"2021-08-03"}\n',
    "a line that lacks a field": b'{"date":"2021-08-03"}\n',
    "no UTF-8": render_journal_line(SECOND).replace(b"events", b"\xff\xfe"),
    "brackets": b'{"x":' + b"[" * 100_000 + b"\n",
}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_cannot_be_read_costs_its_own_day(line):
    head, first, third = render_manifest([FIRST, THIRD]).splitlines(keepends=True)
    records, unreadable = parse_manifest(head + first + line + b"\n" + third)
    assert records == {FIRST.date: FIRST, THIRD.date: THIRD}
    assert unreadable == 1


def test_a_manifest_of_years_loses_no_more_than_the_lines_that_cannot_be_read():
    held = [record(one) for one in days("2019-01-01", "2022-12-31")]
    lines = render_manifest(held).splitlines(keepends=True)
    for number in (200, 800, 801):
        lines[number] = b"x\n"
    records, unreadable = parse_manifest(b"".join(lines).rstrip(b"\n"))
    lost = {held[number - 1].date for number in (200, 800, 801)}
    assert records == {one.date: one for one in held if one.date not in lost}
    assert unreadable == 3


def test_each_unreadable_line_is_counted():
    body = render_manifest([FIRST]) + b"x\n" + b"y\n" + b"z"
    assert parse_manifest(body) == ({FIRST.date: FIRST}, 3)


@pytest.mark.parametrize(
    ("body", "unreadable"),
    [
        (b"", 0),
        (b"garbage\n", 1),
        (b"\xff\xfe\n\n", 2),
        (b"\0" * 4096, 1),
        (b'{"x":' + b"[" * 100_000, 1),
        (b"[]\n" + render_manifest([FIRST]), 3),
        (render_journal_line(FIRST), 1),
    ],
)
def test_without_its_header_nothing_is_known(body, unreadable):
    assert parse_manifest(body) == ({}, unreadable)


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"format": "binder-mirror manifest", "version": 2}, "binder-mirror manifest of format 2"),
        ({"format": "another\x1b", "version": 1}, r"another\\x1b of format 1"),
    ],
)
def test_a_manifest_of_a_later_or_another_format_is_left_alone(header, what):
    body = json.dumps(header).encode() + b"\n"
    why = f"^manifest.jsonl is a {what}; this version knows the binder-mirror manifest up to"
    with pytest.raises(ConfigError, match=why) as error:
        parse_manifest(body)
    assert error.value.hint == (
        "upgrade binder-mirror, or move manifest.jsonl away to have it rebuilt"
    )


def test_a_later_line_of_a_day_takes_the_place_of_an_earlier_one():
    newer = record(FIRST.date, 99)
    body = render_manifest([FIRST]) + render_manifest([newer]).splitlines()[1]
    assert parse_manifest(body) == ({FIRST.date: newer}, 0)


def test_the_journal_adds_claims_to_those_of_the_manifest_oldest_first():
    again, once_more = record(FIRST.date, 11), record(FIRST.date, 12)
    journal = b"".join(map(render_journal_line, [again, SECOND, once_more]))
    assert replay_journal({FIRST.date: FIRST, THIRD.date: THIRD}, journal) == {
        FIRST.date: (FIRST, again, once_more),
        SECOND.date: (SECOND,),
        THIRD.date: (THIRD,),
    }


@pytest.mark.parametrize("end", range(1, len(render_journal_line(THIRD)) - 1, 7))
def test_a_journal_torn_anywhere_in_its_last_line_keeps_the_others(end):
    journal = render_journal_line(SECOND) + render_journal_line(THIRD)[:end]
    assert replay_journal({}, journal) == {SECOND.date: (SECOND,)}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_journal_line_that_cannot_be_read_keeps_those_around_it(line):
    journal = render_journal_line(FIRST) + line + b"\n" + render_journal_line(THIRD)
    assert replay_journal({}, journal) == {FIRST.date: (FIRST,), THIRD.date: (THIRD,)}


@given(st.binary(), st.sampled_from([b"", HEADER, render_manifest([FIRST])]))
def test_no_bytes_keep_the_manifest_or_the_journal_from_being_read(body, head):
    records, unreadable = parse_manifest(head + body)
    assert set(records) <= {FIRST.date}
    assert unreadable >= 0
    assert replay_journal({}, body) == {}


def test_the_latest_claim_that_agrees_with_the_file_is_chosen():
    one = record(FIRST.date, 5, size=500, mtime_ns=7)
    same = record(FIRST.date, 6, size=500, mtime_ns=7)
    other = record(FIRST.date, 7, size=500, mtime_ns=8)
    longer = record(FIRST.date, 8, size=501, mtime_ns=7)
    claims = [one, same, other, longer]
    assert match_record(claims, size=500, mtime_ns=7) is same
    assert match_record(claims, size=500, mtime_ns=8) is other
    assert match_record(claims, size=501, mtime_ns=7) is longer
    assert match_record(claims, size=501, mtime_ns=8) is None
    assert match_record([], size=500, mtime_ns=7) is None


def test_a_record_with_every_field_survives_both_books():
    assert parse_manifest(render_manifest([FULL])) == ({FULL.date: FULL}, 0)
    assert replay_journal({}, render_journal_line(FULL)) == {FULL.date: (FULL,)}
