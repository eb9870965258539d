"""The files made from the records name exactly what is held."""

import re
from datetime import timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.listings import (
    IndexEntry,
    entries_of,
    local_index,
    page_of,
    render_index,
    render_page,
)
from tests.making import at, day, entry, record

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
    headings = ("Date", "Filename", "Number of Events")
    assert "".join(f'<th scope="col">{one}</th>' for one in headings) in page.replace("\n", "")
    assert page.index("events-2021-08-03") < page.index("events-2021-08-02")
    assert (
        '<tr><td>2021-08-02</td><td><a href="events-2021-08-02.jsonl">events-2021-08-02.jsonl</a>'
        "</td><td>7</td></tr>\n" in page
    )
    assert page.count("<tr>") == 3
    assert page.count("</tr>\n<tr><td>") == 1


def test_the_page_leads_to_all_that_belongs_to_it_below_any_prefix():
    page = render_page([]).decode()
    links = re.findall(r'<a href="([^"]*)"', page)
    ours = [one for one in links if not one.startswith("https://")]
    assert ours == [
        *("index.jsonl", "SHA256SUMS", "datapackage.json", "croissant.json"),
        *("status", "report"),
    ]
    assert "https://creativecommons.org/publicdomain/zero/1.0/" in links
    assert page.count("<main>") == page.count("</main>") == 1


def test_the_page_says_which_days_it_has_and_when_the_last_one_was_fetched():
    written, fetched = at("2021-08-03 14:02"), at("2021-08-03 15:00")
    rows = [
        record(DAYS[1], fetched_at=fetched, last_modified=written),
        record(DAYS[0], fetched_at=fetched - timedelta(days=1)),
    ]
    page = page_of(rows)
    assert b"2 days from <time>2021-08-02</time> to <time>2021-08-03</time>, last f" in page
    # not when upstream wrote it
    assert b"last fetched <time>2021-08-03</time> 15:00 UTC." in page
    # equal days are an equal page, whenever they were looked at last
    assert page_of(replace(one, checked_at=at("2022-01-01")) for one in reversed(rows)) == page
    assert b", with no day yet.</p>" in page_of([])


def test_a_name_cannot_break_out_of_the_page():
    page = render_page([IndexEntry(DAYS[0], "\"><script>'&", 1)]).decode()
    assert "<script>" not in page
    assert "&quot;&gt;&lt;script&gt;&#x27;&amp;" in page
