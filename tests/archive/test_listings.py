"""The files made from the records name exactly what is held."""

import pytest

from mirror.archive.listings import (
    IndexEntry,
    entries_of,
    local_index,
    render_index,
    render_page,
)
from tests.making import day, entry, record

DAYS = [day("2021-08-02"), day("2021-08-03")]
HELD = {one: record(one, 7) for one in DAYS}
ENTRIES = tuple(entry(one, 7) for one in DAYS)
# as upstream writes it today: without a last newline
BODY = render_index(ENTRIES).rstrip(b"\n")
LISTED = dict.fromkeys(DAYS, 7)


def test_where_all_is_in_step_the_local_index_is_upstreams_byte_for_byte():
    assert local_index(HELD, LISTED, BODY) == BODY


def test_the_order_of_the_records_does_not_matter():
    assert local_index(dict(reversed(HELD.items())), LISTED, BODY) == BODY


OUT_OF_STEP = {
    "a day is not held": {DAYS[0]: HELD[DAYS[0]]},
    "nothing is held": {},
    "another day is held": HELD | {day("2021-08-04"): record(day("2021-08-04"), 1)},
    "a body has another count": HELD | {DAYS[1]: record(DAYS[1], 8, index_count=7)},
}


@pytest.mark.parametrize("records", OUT_OF_STEP.values(), ids=OUT_OF_STEP)
def test_else_it_lists_what_is_held_with_the_lines_of_the_held_body(records):
    assert local_index(records, LISTED, BODY) == render_index(
        IndexEntry(one, held.name, held.lines) for one, held in records.items()
    )


def test_without_upstreams_index_it_is_canonical():
    assert local_index(HELD, LISTED, None) == BODY + b"\n"
    assert local_index({}, {}, None) == b""


def test_entries_are_ascending_and_count_the_held_lines():
    later, sooner = record(DAYS[1], 9, index_count=5), record(DAYS[0], 8)
    assert entries_of([later, sooner]) == (entry(DAYS[0], 8), entry(DAYS[1], 9))


def test_the_page_lists_newest_first_under_the_archives_own_headings():
    page = render_page(ENTRIES).decode()
    assert "<th>Date</th><th>Filename</th><th>Number of Events</th>" in page
    assert page.index("events-2021-08-03") < page.index("events-2021-08-02")
    assert (
        '<tr><td>2021-08-02</td><td><a href="events-2021-08-02.jsonl">events-2021-08-02.jsonl</a>'
        "</td><td>7</td></tr>\n" in page
    )
    assert page.count("<tr>") == 3
    assert page.count("</tr>\n<tr>") == 1


def test_a_name_cannot_break_out_of_the_page():
    page = render_page([IndexEntry(DAYS[0], "\"><script>'&", 1)]).decode()
    assert "<script>" not in page
    assert "&quot;&gt;&lt;script&gt;&#x27;&amp;" in page
