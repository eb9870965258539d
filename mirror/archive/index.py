"""Upstream's two listings, `index.jsonl` and `index.html`: bytes to entries and back. Pure.

The format is documented at https://mybinder-sre.readthedocs.io/en/latest/analytics/events-archive.html:
one JSON object a line with `date`, `name` (relative to the index's own URL) and `count`. Upstream
writes the count as a string, today without a last newline. Everything else a hostile or broken
server may put there costs its own line only. The page has one table with the columns Date, Filename
and Number of Events; it stayed whole while `index.jsonl` was one line long for four months.
"""

import re
from collections.abc import Iterable, Iterator
from datetime import date, timedelta
from itertools import islice

import msgspec

from mirror.errors import Failure, IndexUnusableError
from mirror.model import IndexEntry, ParsedIndex, Refusal
from mirror.text import shown

FIRST_DAY = date(2018, 1, 1)
MAX_COUNT = 10**9
KEPT_REFUSALS = 20
"""Refused lines listed one by one; a body of nothing but garbage must not fill memory or logs."""

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNT = re.compile(r"[0-9]{1,10}")
# The standard library's HTMLParser takes minutes over 100 kB made for it, and raises AssertionError
# on "<![x[". Each of these patterns goes over the page once, whatever is in it.
_ROW = re.compile(r"<tr\b(.*?)(?=<tr\b|\Z)", re.IGNORECASE | re.DOTALL)
_CELL = re.compile(r"<td\b[^<>]*>(.*?)(?=</?t[dr]\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(r"<[^<>]*>")
_MAX_CELL = 500


class _Line(msgspec.Struct):
    name: str
    date: str
    count: int | str


_decoder = msgspec.json.Decoder(_Line)


class _RefusedError(ValueError):
    """The line cannot be accepted; the message says why."""


def parse_index(body: bytes, *, name_template: str, today: date) -> ParsedIndex:
    """Read the bytes of an index.

    Args:
        body: the whole index, decoded.
        name_template: what a daily file is called, with `{date}` in it.
        today: the current UTC date; days after tomorrow are refused.

    Raises:
        IndexUnusableError: not one good line, or the body is cut short.
    """
    counts: dict[date, set[int]] = {}
    refused: list[Refusal] = []
    refused_lines = 0
    for number, line in _lines(body):
        try:
            day, count = _parse_line(line, name_template, today)
        except _RefusedError as error:
            refused_lines += 1
            if len(refused) < KEPT_REFUSALS:
                refused.append(Refusal(number, str(error), shown(line)))
        else:
            counts.setdefault(day, set()).add(count)
    if not counts:
        raise IndexUnusableError(_why_unusable(body), failure=Failure.INDEX, transient=False)
    if _is_cut_short(body):
        raise IndexUnusableError(
            "the index is cut short in the middle of its last line", failure=Failure.CUT
        )
    return ParsedIndex(
        entries=tuple(
            IndexEntry(day, name_template.format(date=day), *counts[day])
            for day in sorted(counts)
            if len(counts[day]) == 1
        ),
        refused=tuple(refused),
        refused_lines=refused_lines,
        conflicts=tuple(day for day in sorted(counts) if len(counts[day]) > 1),
    )


def render_index(entries: Iterable[IndexEntry]) -> bytes:
    """Return the canonical index: ascending, counts as strings, each line ended by a newline."""
    return b"".join(
        b'{"name": "%s", "date": "%s", "count": "%d"}\n'
        % (entry.name.encode(), entry.date.isoformat().encode(), entry.count)
        for entry in sorted(entries, key=lambda entry: entry.date)
    )


def _lines(body: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield number and bytes of each line that is not blank, without byte order mark and CR."""
    for number, line in enumerate(body.removeprefix(b"\xef\xbb\xbf").split(b"\n"), start=1):
        if stripped := line.strip(b" \t\r"):
            yield number, stripped


def _parse_line(line: bytes, name_template: str, today: date) -> tuple[date, int]:
    try:
        fields = _decoder.decode(line)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise _RefusedError(f"not an index entry: {shown(str(error))}") from None
    day = _parse_date(fields.date, today)
    name = name_template.format(date=day)
    # A day has one name, the one made from its date: no path, scheme or escape passes.
    if fields.name != name:
        raise _RefusedError(f"the name is not {name}")
    return day, _parse_count(fields.count)


def _parse_date(text: str, today: date) -> date:
    if not _DATE.fullmatch(text):
        raise _RefusedError("the date is not YYYY-MM-DD")
    try:
        day = date.fromisoformat(text)
    except ValueError:
        raise _RefusedError("no such date") from None
    if not FIRST_DAY <= day <= today + timedelta(days=1):
        raise _RefusedError(f"the date is not between {FIRST_DAY} and tomorrow")
    return day


def _parse_count(value: int | str) -> int:
    if isinstance(value, str):
        if not _COUNT.fullmatch(value):
            raise _RefusedError("the count is not a whole number in ASCII digits")
        value = int(value)
    if not 0 <= value <= MAX_COUNT:
        raise _RefusedError(f"the count is not between 0 and {MAX_COUNT}")
    return value


def _is_cut_short(body: bytes) -> bool:
    last = body.rpartition(b"\n")[2].strip(b" \t\r")
    return last.startswith(b"{") and not last.endswith(b"}")


def _why_unusable(body: bytes) -> str:
    if not body.strip():
        return "the index is empty"
    if body.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "the index is a web page, not JSON Lines (a sign-in or error page?)"
    return f"the index has not one good line; it begins with: {shown(body.lstrip())}"


def parse_listing(body: bytes, *, name_template: str, today: date) -> dict[date, IndexEntry]:
    """Return the days that `index.html` lists with a name and count that belong to them.

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
