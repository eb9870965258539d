"""The listings `index.jsonl`, `index.html` and `SHA256SUMS`: bytes to entries and back. Pure.

The index is documented at https://mybinder-sre.readthedocs.io/en/latest/analytics/events-archive.html:
one JSON object a line with `date`, `name` (relative to the index's own URL) and `count`. Upstream
writes the count as a string, today without a last newline. Everything else a hostile or broken
server may put there costs its own line only. The page has one table with the columns Date, Filename
and Number of Events; it stayed whole while `index.jsonl` was one line long for four months.

Our own listings name exactly what is held. The index is upstream's own bytes where everything is in
step, so that a complete mirror is identical to its upstream, byte for byte.
"""

import io
import re
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from datetime import date, datetime, timedelta
from functools import cache
from html import escape
from itertools import islice

import msgspec
from msgspec import Struct

from mirror.errors import BAD_JSON, Failure, IndexUnusableError
from mirror.model import Record
from mirror.text import plural, shown, utc_minute

FIRST_DAY = date(2018, 1, 1)
MAX_COUNT = 10**9
KEPT_REFUSALS = 20  # refused lines listed one by one; garbage must not fill memory or logs

_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}")
_COUNT = re.compile(r"[0-9]{1,10}")
# The standard library's HTMLParser takes minutes over 100 kB made for it, and raises AssertionError
# on "<![x[". Each of these patterns goes over the page once, whatever is in it.
_ROW = re.compile(rb"<tr\b(.*?)(?=<tr\b|\Z)", re.IGNORECASE | re.DOTALL)
_CELL = re.compile(rb"<td\b[^<>]*>(.*?)(?=</?t[dr]\b|\Z)", re.IGNORECASE | re.DOTALL)
_TAG = re.compile(rb"<[^<>]*>")
_MAX_CELL = 500
_BYTE_ORDER_MARK = b"\xef\xbb\xbf"
_SUM = re.compile(rb"([0-9a-f]{64}) [ *]([^\\/\n]+)")


class IndexEntry(Struct, frozen=True, gc=False):
    """One day as upstream's index lists it."""

    date: date
    name: str
    count: int  # events that the index claims for the file


class Refusal(Struct, frozen=True):
    """A line of a listing that could not be accepted."""

    line: int  # number of the line, from 1
    reason: str
    text: str  # the line's beginning, escaped for a terminal


class ParsedIndex(Struct, frozen=True):
    """What one body of `index.jsonl` says."""

    entries: tuple[IndexEntry, ...]  # accepted lines, ascending by date, one a day
    refused: tuple[Refusal, ...] = ()  # the first refused lines; `refused_lines` counts them all
    refused_lines: int = 0
    conflicts: tuple[date, ...] = ()
    """Days listed with two different counts; none of their lines is among the entries."""

    @property
    def is_whole(self) -> bool:
        """Whether every line was accepted."""
        return not self.refused_lines and not self.conflicts


def parse_index(body: bytes, *, name_template: str, today: date) -> ParsedIndex:
    """Read the bytes of a whole index, decoded; days after tomorrow, as of `today`, are refused.

    An IndexUnusableError says that there is not one good line, or that the body is cut short.
    """
    listed: dict[date, set[IndexEntry]] = {}
    refused: list[Refusal] = []
    refused_lines = 0
    # one by one: a list of millions of lines is many times as large as they are
    for number, line in enumerate(io.BytesIO(body.removeprefix(_BYTE_ORDER_MARK)), start=1):
        if not (stripped := line.strip(b" \t\r\n")):
            continue
        try:
            entry = _parse_line(stripped, name_template, today)
        except _RefusedError as error:
            refused_lines += 1
            if len(refused) < KEPT_REFUSALS:
                refused.append(Refusal(number, str(error), shown(stripped)))
        else:
            counts = listed.setdefault(entry.date, set())
            if len(counts) < 2:  # two are a conflict, however many there are
                counts.add(entry)
    if not listed:
        raise IndexUnusableError(_why_unusable(refused), failure=Failure.INDEX, transient=False)
    last = body[body.rfind(b"\n") + 1 :].strip(b" \t\r")
    if last.startswith(b"{") and not last.endswith(b"}"):
        raise IndexUnusableError(
            "the index is cut short in the middle of its last line", failure=Failure.CUT
        )
    days = sorted(listed)
    return ParsedIndex(
        entries=tuple(entry for day in days if len(listed[day]) == 1 for entry in listed[day]),
        refused=tuple(refused),
        refused_lines=refused_lines,
        conflicts=tuple(day for day in days if len(listed[day]) > 1),
    )


def parse_page(body: bytes, *, name_template: str, today: date) -> dict[date, IndexEntry]:
    """Return the days that `index.html` lists with a name and count that belong to them.

    A row that is anything else is passed over, as are rows that contradict one another: the page is
    only ever a second opinion.
    """
    found: dict[date, IndexEntry] = {}
    contradicted: set[date] = set()
    for row in _ROW.finditer(body):
        cells = [cell[1][:_MAX_CELL] for cell in islice(_CELL.finditer(row[1]), 3)]
        if len(cells) < 3:
            continue
        texts = (_TAG.sub(b"", cell).decode("utf-8", "replace") for cell in cells)
        day, name, count = map(str.strip, texts)
        with suppress(_RefusedError):
            entry = _make_entry(day, name, count.replace(",", ""), name_template, today)
            if found.setdefault(entry.date, entry) != entry:
                contradicted.add(entry.date)
    return {day: entry for day, entry in found.items() if day not in contradicted}


class _Line(Struct):
    name: str
    date: str
    count: int | str


_decoder = msgspec.json.Decoder(_Line)


class _RefusedError(ValueError):
    """The line cannot be accepted; the message says why."""


def _parse_line(line: bytes, name_template: str, today: date) -> IndexEntry:
    try:
        fields = _decoder.decode(line)
    except BAD_JSON as error:
        raise _RefusedError(f"not an index entry: {shown(str(error))}") from None
    return _make_entry(fields.date, fields.name, fields.count, name_template, today)


def _make_entry(
    day_text: str, name: str, count: int | str, name_template: str, today: date
) -> IndexEntry:
    day = _parse_date(day_text, today)
    # A day has one name, the one made from its date: no path, scheme or escape passes.
    if name != (right := name_template.format(date=day)):
        raise _RefusedError(f"the name is not {right}")
    return IndexEntry(day, name, _parse_count(count))


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


def _why_unusable(refused: Sequence[Refusal]) -> str:
    if not refused:
        return "the index is empty"
    first = refused[0]
    if first.text.startswith("<"):
        return "the index is a web page, not JSON Lines (a sign-in or error page?)"
    why = f"line {first.line} is refused: {first.reason}: {first.text}"
    return f"the index has not one good line; {why}"


def render_index(entries: Iterable[IndexEntry]) -> bytes:
    """Return the canonical index: ascending, counts as strings, each line ended by a newline."""
    return b"".join(
        b'{"name": "%s", "date": "%s", "count": "%d"}\n'
        % (entry.name.encode(), entry.date.isoformat().encode(), entry.count)
        for entry in sorted(entries, key=lambda entry: entry.date)
    )


def local_index(
    records: Mapping[date, Record], listed: Mapping[date, int], body: bytes | None
) -> bytes:
    """Return the index to publish: upstream's where it lists what is held, else a canonical one.

    Its counts are `listed`, its bytes are `body`, where they are at hand and every line was
    accepted.
    """
    if body is not None and listed == {day: record.lines for day, record in records.items()}:
        return body
    return render_index(entries_of(records.values()))


def entries_of(records: Iterable[Record]) -> tuple[IndexEntry, ...]:
    """Return the index entries of held days, ascending; the count is that of the held body."""
    rows = sorted(records, key=lambda record: record.date)
    return tuple(IndexEntry(record.date, record.name, record.lines) for record in rows)


def render_page(entries: Iterable[IndexEntry], fetched_at: datetime | None = None) -> bytes:
    """Return `index.html`: the table Date, Filename, Number of Events, newest first.

    `fetched_at` is when the copy last got a file, aware UTC. Not the time of now: equal copies make
    an equal page.
    """
    days = sorted(entries, key=lambda entry: entry.date, reverse=True)
    state = "with no day yet"
    if days:
        state = f"{plural(len(days), 'day')} from {days[-1].date} to {days[0].date}"
    if fetched_at is not None:
        state += f", last fetched {utc_minute(fetched_at)}"
    state = _DATE.sub(r"<time>\g<0></time>", state)  # which the style keeps on one line
    rows = "".join(
        f'<tr><td>{entry.date}</td><td><a href="{escape(entry.name)}">{escape(entry.name)}</a></td>'
        f"<td>{entry.count}</td></tr>\n"
        for entry in days
    )
    return _page().format(rows=rows, state=state).encode()


@cache
def _page() -> str:
    from importlib import resources  # noqa: PLC0415 - takes time, and most commands make no page

    return resources.files("mirror.archive").joinpath("page.html").read_text("utf-8")


def page_of(records: Iterable[Record]) -> bytes:
    """Return `index.html` of held days."""
    rows = list(records)
    return render_page(entries_of(rows), max((one.fetched_at for one in rows), default=None))


def render_sums(records: Iterable[Record]) -> bytes:
    """Return `SHA256SUMS`: one `digest  name` line a held day, ascending, for `sha256sum -c`."""
    rows = sorted(records, key=lambda record: record.date)
    return render_digests({record.name: record.sha256 for record in rows})


def render_digests(by_name: Mapping[str, str]) -> bytes:
    """Return lines for `sha256sum -c`, in the order given."""
    return b"".join(f"{digest}  {name}\n".encode() for name, digest in by_name.items())


def parse_sums(body: bytes) -> dict[str, str]:
    """Return digest by name; lines that are none of `sha256sum`'s are passed over."""
    matches = map(_SUM.fullmatch, body.split(b"\n"))
    return {m[2].decode("utf-8", "replace"): m[1].decode() for m in matches if m is not None}
