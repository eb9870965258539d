"""Values that the tests of the pure core are made of."""

import hashlib
from collections.abc import Iterator
from datetime import UTC, date, datetime, timedelta

from hypothesis import strategies as st
from msgspec.structs import replace

from mirror.archive.listings import IndexEntry
from mirror.model import Record

TEMPLATE = "events-{date}.jsonl"


def at(text: str) -> datetime:
    """Make an aware moment of "2021-08-06" or "2021-08-06 12:30"."""
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


def day(text: str) -> date:
    return date.fromisoformat(text)


def days(first: str, last: str) -> Iterator[date]:
    """Yield every day from the first to the last."""
    one = day(first)
    while one <= day(last):
        yield one
        one += timedelta(days=1)


def entry(one: date, count: int) -> IndexEntry:
    return IndexEntry(one, f"events-{one}.jsonl", count)


def record(one: date, lines: int = 10, **changes: object) -> Record:
    """Make the record of a day that was fetched when it was final."""
    fetched_at = datetime(one.year, one.month, one.day, 9, tzinfo=UTC) + timedelta(days=1)
    made = Record(
        date=one,
        name=f"events-{one}.jsonl",
        size=lines * 100,
        sha256=hashlib.sha256(f"{one} {lines}".encode()).hexdigest(),
        lines=lines,
        mtime_ns=1,
        fetched_at=fetched_at,
        checked_at=fetched_at,
        index_count=lines,
        etag=f'"{one} {lines}"',
    )
    return replace(made, **changes)


ANY_TEXT = st.lists(st.integers(0, 0x10FFFF)).map(lambda points: "".join(map(chr, points)))
"""Any characters at all, lone surrogates among them; `st.text` first takes seconds to prepare."""


@st.composite
def divided(draw: st.DrawFn, bodies: st.SearchStrategy[bytes]) -> list[bytes]:
    """Draw a body in ragged chunks, empty ones among them."""
    body = draw(bodies)
    cuts = sorted(draw(st.lists(st.integers(0, len(body)), max_size=12)))
    return [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
