"""Upstream's `index.html` read as a second listing: bytes to entries. Pure.

The page has one table with the columns Date, Filename and Number of Events. It stayed whole while
`index.jsonl` was one line long for four months.
"""

import re
from collections.abc import Iterator
from datetime import date, timedelta
from itertools import islice

from mirror.archive.index import FIRST_DAY, MAX_COUNT
from mirror.model import IndexEntry

# The standard library's HTMLParser takes minutes over 100 kB made for it, and raises AssertionError
# on "<![x[". Each of these patterns goes over the page once, whatever is in it.
_ROW = re.compile(r"<tr\b(.*?)(?=<tr\b|\Z)", re.IGNORECASE | re.DOTALL)
_CELL = re.compile(r"<td\b[^<>]*>(.*?)(?=</?t[dr]\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_MAX_CELL = 500


def parse_listing(body: bytes, *, name_template: str, today: date) -> dict[date, IndexEntry]:
    """Return the days that the page lists with a name and count that belong to them.

    A row that is anything else is passed over: the page is only ever a second opinion.
    """
    found: dict[date, IndexEntry] = {}
    for cells in _rows(body.decode("utf-8", "replace")):
        entry = _entry(cells, name_template)
        if entry is not None and FIRST_DAY <= entry.date <= today + timedelta(days=1):
            found[entry.date] = entry
    return found


def _rows(page: str) -> Iterator[list[str]]:
    """Yield the text of the first three cells of each row."""
    for row in _ROW.finditer(page):
        cells = islice(_CELL.finditer(row[1]), 3)
        yield [_TAG.sub("", cell[1][:_MAX_CELL]).strip() for cell in cells]


def _entry(cells: list[str], name_template: str) -> IndexEntry | None:
    if len(cells) < 3:
        return None
    try:
        day = date.fromisoformat(cells[0])
    except ValueError:
        return None
    count = cells[2].replace(",", "")
    if cells[1] != name_template.format(date=day) or not (count.isascii() and count.isdigit()):
        return None
    if len(count) > 10 or int(count) > MAX_COUNT:
        return None
    return IndexEntry(day, cells[1], int(count))
