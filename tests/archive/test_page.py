"""index.html as a second listing: the real page, our own, and pages made to hurt."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.listings import IndexEntry, parse_page
from mirror.archive.listings import render_page as render_our_page
from tests.making import TEMPLATE, at, day, entry
from tests.upstream.page import render_page

TODAY = day("2021-08-06")
ENTRIES = {one.date: one for one in (entry(day(f"2021-08-0{n}"), n) for n in (2, 3, 4))}
NOW = at("2021-08-06 12:00")
PAGE = render_page({one: (x.name, x.count) for one, x in ENTRIES.items()}, NOW)


def read(page: bytes, template: str = TEMPLATE) -> dict:
    return parse_page(page, name_template=template, today=TODAY)


def row(one: str = "2021-08-03", name: str = "", count: str = "3") -> bytes:
    name = name or f"events-{one}.jsonl"
    return f"<tr><td>{one}</td><td>{name}</td><td>{count}</td></tr>".encode()


def test_the_archives_page_lists_its_days():
    assert read(PAGE) == ENTRIES


def test_our_own_page_can_be_read_as_well():
    assert read(render_our_page(ENTRIES.values())) == ENTRIES


FORMS = {
    "in capitals": row().upper().replace(b"EVENTS", b"events").replace(b"JSONL", b"jsonl"),
    "with attributes": row().replace(b"<td>", b'<td class="x" id=y>').replace(b"<tr", b'<tr a="b"'),
    "with a link": row(name='<a href="events-2021-08-03.jsonl">events-2021-08-03.jsonl</a>'),
    "with marks": row(one="2021-08-03", count="<b><i>3</i></b>"),
    "with blanks and newlines": row()
    .replace(b"<td>", b"\n\t<td>\r\n ")
    .replace(b"</td>", b" </td >"),
    "without end tags": row().replace(b"</td>", b"").replace(b"</tr>", b""),
    "with a fourth cell": row().replace(b"</tr>", b"<td>more</td></tr>"),
    "with a thousand's comma": row(count="0,003"),
    "after text of no use": b"<p>2021 <td>x</td> &nbsp; <table>" + row(),
    "after bytes that are no UTF-8": b"\xff\xfe" + row(),
    "after an odd declaration": b"<![x[ <!DOCTYPE" + row(),
    "after an open comment": b"<!-- " + row(),
    "twice": row() * 2,
}


@pytest.mark.parametrize("page", FORMS.values(), ids=FORMS)
def test_a_row_is_read_in_each_of_its_forms(page):
    assert read(page) == {day("2021-08-03"): entry(day("2021-08-03"), 3)}


def test_rows_that_contradict_one_another_are_passed_over():
    assert read(row(count="3") + row("2021-08-04", count="4") + row(count="5")) == {
        day("2021-08-04"): entry(day("2021-08-04"), 4)
    }


@pytest.mark.parametrize("one", ["2018-01-01", "2021-08-06", "2021-08-07"])
def test_days_from_2018_through_tomorrow_are_listed(one):
    assert read(row(one)) == {day(one): entry(day(one), 3)}


PASSED_OVER = {
    "nothing": b"",
    "an empty row": b"<tr></tr>",
    "a header": b"<tr><th>Date</th><th>Filename</th><th>Number of Events</th></tr>",
    "two cells": row().replace(b"<td>3</td>", b""),
    "no row": row().replace(b"tr>", b"div>"),
    "a tag that begins alike": row().replace(b"<td>", b"<tdx>"),
    "a row that begins alike": row().replace(b"<tr>", b"<track>"),
    "the year 2017": row("2017-12-31"),
    "the day after tomorrow": row("2021-08-08"),
    "no such day": row("2021-02-30"),
    "no date": row("today", name="events-today.jsonl"),
    "another name": row(name="events-2021-08-02.jsonl"),
    "a name with a path": row(name="../events-2021-08-03.jsonl"),
    "a name with an address": row(name="https://evil.example/events-2021-08-03.jsonl"),
    "an empty count": row(count=""),
    "a negative count": row(count="-3"),
    "a count with a fraction": row(count="3.0"),
    "a count in full-width digits": row(count="\uff13"),
    "a count in superscript": row(count="\u00b3"),
    "a count over the limit": row(count="1000000001"),
    "a count of 11 digits": row(count="00000000003"),
    "a count of 5,000 digits": row(count="3" * 5000),
}


@pytest.mark.parametrize("page", PASSED_OVER.values(), ids=PASSED_OVER)
def test_a_row_that_is_anything_else_is_passed_over(page):
    other = day("2021-08-04")
    assert read(page) == {}
    assert read(page + row("2021-08-04")) == {other: entry(other, 3)}


def test_the_largest_count_is_a_thousand_million():
    one = day("2021-08-03")
    assert read(row(count="1000000000")) == {one: entry(one, 10**9)}


def test_names_follow_the_template():
    one = day("2021-08-03")
    assert read(row(name="launches-2021-08-03"), "launches-{date}") == {
        one: IndexEntry(one, "launches-2021-08-03", 3)
    }


HOSTILE = [
    b"<a ",
    b'<a b="',
    b"<!--",
    b"<![x[",
    b"<tr",
    b"<tr>",
    b"<td",
    b"<td>",
    b"<",
    b"</td",
    b"&#9",
]


@pytest.mark.parametrize("piece", HOSTILE, ids=repr)
def test_a_page_of_broken_tags_is_read_like_any(piece):
    # the standard library's parser takes many minutes over some of these
    page = b"<tr><td>" + piece * (300_000 // len(piece)) + row()
    assert set(read(page)) <= {day("2021-08-03")}


PIECES = st.sampled_from([row(), row("2021-08-02"), *HOSTILE, b"</tr>", b"2021-08-03", b"3", b">"])


@given(st.binary() | st.lists(PIECES | st.binary(max_size=9)).map(b"".join))
def test_any_bytes_give_days_with_their_own_names_and_possible_counts(page):
    for one, listed in read(page).items():
        assert listed.date == one <= day("2021-08-07")
        assert listed.name == TEMPLATE.format(date=one)
        assert 0 <= listed.count <= 10**9
