"""The manifest and its journal: a line that cannot be read costs its day alone."""

import json

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from msgspec.structs import replace

from mirror.archive.manifest import (
    Inventory,
    match_record,
    read_claims,
    render_journal_line,
    render_manifest,
)
from mirror.archive.plan import DayRules
from mirror.archive.sealed import seal
from mirror.errors import ConfigError
from mirror.model import Findings, Flag, Record
from tests.making import at, day, days, record

FIRST, SECOND, THIRD = (record(day(f"2021-08-0{n}"), n) for n in (2, 3, 4))
HEADER = b'{"format":"binder-mirror manifest","version":2,"crc32":"46ff8c26"}\n'
HEADER_1 = b'{"format":"binder-mirror manifest","version":1}\n'
name_of = DayRules().name_of
FULL = record(
    day("2021-08-05"),
    etag='W/"x"',
    last_modified=at("2021-08-06 07:00"),
    generation=2**63,
    flags=(Flag.AHEAD, Flag.ADOPTED),
    findings=Findings(versions={"5": 9, "…": 1}, not_objects=1),
    index_count=None,
)


def parsed(body):
    """Return the records of a manifest, and how many of its lines are not believed."""
    found = read_claims(body, None, name_of)
    assert found.is_clean is not (found.unreadable_lines > 0 or body.startswith(HEADER_1))
    return {one: claims[0] for one, claims in found.claims.items()}, found.unreadable_lines


def replayed(journal, *, records=(), has_checksums=True):
    """Return the claims of a journal beside a manifest."""
    known = render_manifest(records) if has_checksums else HEADER_1
    found = read_claims(known, journal, name_of)
    assert not found.is_clean
    return found.claims


def line_1_of(one):
    """Return a record's line as version 1 wrote it."""
    return msgspec.json.encode(one) + b"\n"


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
    name=st.just(""),
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
    records = [replace(one, name=name_of(one.date)) for one in records]
    expected = {one.date: one for one in records}
    assert parsed(render_manifest(records)) == (expected, 0)
    journal = b"".join(map(render_journal_line, records))
    assert replayed(journal) == {one: (expected[one],) for one in expected}


UNREADABLE = {
    "garbage": b"garbage\n",
    "a torn line": b'{"date":"2021-08-03","name":"events\n',
    "a line of another kind": b'{"event":"removed","date":"2021-08-03"}\n',
    "a line that lacks a field": b'{"date":"2021-08-03"}\n',
    "no UTF-8": seal(msgspec.json.encode(SECOND).replace(b"events", b"\xff\xfe")) + b"\n",
    "brackets": seal(b'{"x":' + b"[" * 100_000) + b"\n",
    "no checksum": line_1_of(SECOND),
    "another name": render_journal_line(replace(SECOND, name=FIRST.name)),
    "a checksum in capitals": render_journal_line(SECOND)[:-11] + b'ABCDEF"}\n',
}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_line_that_cannot_be_read_costs_its_own_day(line):
    head, first, third = render_manifest([FIRST, THIRD]).splitlines(keepends=True)
    records, unreadable = parsed(head + first + line + b"\n" + third)
    assert records == {FIRST.date: FIRST, THIRD.date: THIRD}
    assert unreadable == 1


def test_a_manifest_of_years_loses_no_more_than_the_lines_that_cannot_be_read():
    held = [record(one) for one in days("2019-01-01", "2022-12-31")]
    lines = render_manifest(held).splitlines(keepends=True)
    for number in (200, 800, 801):
        lines[number] = b"x\n"
    records, unreadable = parsed(b"".join(lines).rstrip(b"\n"))
    lost = {held[number - 1].date for number in (200, 800, 801)}
    assert records == {one.date: one for one in held if one.date not in lost}
    assert unreadable == 3


def test_each_unreadable_line_is_counted():
    body = render_manifest([FIRST]) + b"x\n" + b"y\n" + b"z"
    assert parsed(body) == ({FIRST.date: FIRST}, 3)


@pytest.mark.parametrize(
    ("body", "unreadable"),
    [
        (b"", 0),
        (b"garbage\n", 1),
        (b"\xff\xfe\n\n", 1),
        (b"\0" * 4096, 1),
        (b'{"x":' + b"[" * 100_000, 1),
        (HEADER_1[1:] + line_1_of(FIRST), 2),
        (line_1_of(FIRST), 1),
    ],
)
def test_without_header_and_checksums_nothing_is_known(body, unreadable):
    assert parsed(body) == ({}, unreadable)


@pytest.mark.parametrize("head", [b"", b"[]\n", HEADER[1:], HEADER_1, HEADER + b"[]\n"])
def test_a_line_with_its_checksum_stands_for_itself(head):
    known = {FIRST.date: FIRST, SECOND.date: SECOND}
    lines = render_journal_line(FIRST) + render_journal_line(SECOND)
    assert parsed(head + lines)[0] == known


@pytest.mark.parametrize(
    ("header", "what"),
    [
        ({"format": "binder-mirror manifest", "version": 3}, "binder-mirror manifest of format 3"),
        ({"format": "another\x1b", "version": 1}, r"another\\x1b of format 1"),
    ],
)
def test_a_manifest_of_a_later_or_another_format_is_left_alone(header, what):
    body = json.dumps(header).encode() + b"\n"
    why = f"^manifest.jsonl is a {what}; this version knows the binder-mirror manifest up to"
    with pytest.raises(ConfigError, match=why) as error:
        parsed(body)
    assert error.value.hint == (
        "upgrade binder-mirror, or move manifest.jsonl away to have it rebuilt"
    )


def test_a_later_line_of_a_day_takes_the_place_of_an_earlier_one():
    newer = record(FIRST.date, 99)
    body = render_manifest([FIRST]) + render_manifest([newer]).splitlines()[1]
    assert parsed(body) == ({FIRST.date: newer}, 0)


def test_the_journal_adds_claims_to_those_of_the_manifest_oldest_first():
    again, once_more = record(FIRST.date, 11), record(FIRST.date, 12)
    journal = b"".join(map(render_journal_line, [again, SECOND, once_more]))
    assert replayed(journal, records=[FIRST, THIRD]) == {
        FIRST.date: (FIRST, again, once_more),
        SECOND.date: (SECOND,),
        THIRD.date: (THIRD,),
    }


@pytest.mark.parametrize("end", range(1, len(render_journal_line(THIRD)) - 1, 7))
def test_a_journal_torn_anywhere_in_its_last_line_keeps_the_others(end):
    journal = render_journal_line(SECOND) + render_journal_line(THIRD)[:end]
    assert replayed(journal) == {SECOND.date: (SECOND,)}


@pytest.mark.parametrize("line", UNREADABLE.values(), ids=UNREADABLE)
def test_a_journal_line_that_cannot_be_read_keeps_those_around_it(line):
    journal = render_journal_line(FIRST) + line + b"\n" + render_journal_line(THIRD)
    assert replayed(journal) == {FIRST.date: (FIRST,), THIRD.date: (THIRD,)}


@given(st.binary(), st.sampled_from([b"", HEADER, render_manifest([FIRST])]))
def test_no_bytes_keep_the_manifest_or_the_journal_from_being_read(body, head):
    records, unreadable = parsed(head + body)
    assert set(records) <= {FIRST.date}
    assert unreadable >= 0
    assert replayed(body) == {}


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
    assert parsed(render_manifest([FULL])) == ({FULL.date: FULL}, 0)
    assert replayed(render_journal_line(FULL)) == {FULL.date: (FULL,)}


def flips(body):
    """Yield a body once for each of its bits, with that one flipped."""
    for place in range(len(body)):
        for bit in range(8):
            flipped = bytearray(body)
            flipped[place] ^= 1 << bit
            yield bytes(flipped), place


HELD = {one.date: one for one in (FIRST, SECOND, FULL)}


def test_a_flipped_bit_in_the_manifest_costs_its_line_and_nothing_else():
    body = render_manifest(HELD.values())
    for flipped, place in flips(body):
        records, unreadable = parsed(flipped)
        line = body[:place].count(b"\n")
        # the newline belongs to two lines, the last to one; the header to no day
        touched = {line, line + 1} if body[place : place + 1] == b"\n" else {line}
        lost = {day for number, day in enumerate(HELD, start=1) if number in touched}
        assert records == {day: one for day, one in HELD.items() if day not in lost}
        assert unreadable >= 1


def test_a_flipped_bit_in_the_journal_is_never_believed():
    body = b"".join(b"\n" + render_journal_line(one) for one in HELD.values())
    for flipped, _ in flips(body):
        claims = replayed(flipped)
        assert len(claims) >= 1
        assert all(claims[day] == (HELD[day],) for day in claims)


@pytest.mark.parametrize("body", [line_1_of(FULL), render_manifest([FULL])])
def test_a_byte_of_any_value_in_any_place_is_never_believed_with_checksums(body):
    for place in range(len(body)):
        for value in (0, 0x0A, 0x20, 0x30, 0x7F, 0xFF, body[place] ^ 0x20):
            changed = body[:place] + bytes([value]) + body[place + 1 :]
            assert parsed(changed)[0] in ({}, {FULL.date: FULL})


def test_what_version_1_wrote_is_believed_under_its_own_header():
    manifest = HEADER_1 + line_1_of(FIRST) + line_1_of(FULL)
    assert parsed(manifest) == ({FIRST.date: FIRST, FULL.date: FULL}, 0)
    misnamed = line_1_of(replace(SECOND, name=FIRST.name))
    assert parsed(HEADER_1 + misnamed) == ({}, 1)


def test_a_journal_without_checksums_counts_beside_a_manifest_of_version_1_alone():
    journal = line_1_of(FIRST) + render_journal_line(SECOND)
    assert replayed(journal, has_checksums=False) == {FIRST.date: (FIRST,), SECOND.date: (SECOND,)}
    assert replayed(journal) == {SECOND.date: (SECOND,)}
    # a line with a checksum is never believed against it
    for flipped, _ in flips(render_journal_line(SECOND).rstrip()):
        claims = replayed(flipped, has_checksums=False)
        assert claims in ({}, {SECOND.date: (SECOND,)})


@pytest.mark.parametrize("version", [3, 4, 99])
def test_a_later_format_is_refused_with_or_without_the_right_checksum(version):
    header = json.loads(HEADER) | {"version": version}
    unsealed = {name: value for name, value in header.items() if name != "crc32"}
    sealed = seal(json.dumps(unsealed).encode())
    for line in (json.dumps(header).encode(), json.dumps(unsealed).encode(), sealed):
        with pytest.raises(ConfigError, match=f"of format {version}"):
            parsed(line + b"\n" + render_journal_line(FIRST))


def test_a_day_in_doubt_keeps_its_claim_until_it_is_taken_up_again():
    gone = replace(SECOND, sha256="f" * 64)
    inventory = Inventory()
    inventory.records[FIRST.date] = FIRST
    inventory.missing[SECOND.date] = gone

    for one in (FIRST, gone, THIRD):
        inventory.doubt(one.date)

    assert (inventory.records, inventory.missing) == ({}, {})
    assert inventory.claimed() == {FIRST.date: FIRST, SECOND.date: gone}
    assert inventory.unverified[THIRD.date] == ()
    assert inventory.last_known(SECOND.date) == gone
    assert inventory.is_clean is False


def test_a_day_that_is_taken_up_is_neither_missing_nor_in_doubt():
    inventory = Inventory(unverified={SECOND.date: (SECOND,)})
    inventory.missing[FIRST.date] = FIRST

    inventory.take_up(FIRST)
    inventory.take_up(SECOND)

    assert inventory.records == {FIRST.date: FIRST, SECOND.date: SECOND}
    assert (inventory.missing, inventory.unverified) == ({}, {})
    assert inventory.is_clean is False
