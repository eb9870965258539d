"""Steps of an upstream's life, short to write."""

from collections.abc import Mapping
from datetime import date, datetime, timedelta

from mirror.archive.listings import ParsedIndex
from mirror.archive.upstream import (
    IndexFacts,
    Upstream,
    accept_index,
    accept_listing,
    accept_unchanged,
    is_search_due,
)
from tests.making import at, days, entry

STALE_AFTER = timedelta(hours=36)
A_SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)
NOW = at("2021-08-06 12:00")
D1, D2, D3, D4, D5, D6 = days("2021-08-01", "2021-08-06")
EMPTY = Upstream("https://archive.example/")


def facts_of(text: str, modified: datetime | None = NOW, seen: datetime = NOW) -> IndexFacts:
    return IndexFacts(sha256=text, first_seen_at=seen, last_modified=modified)


def parsed_of(counts: Mapping[date, int], *conflicts: date) -> ParsedIndex:
    return ParsedIndex(
        tuple(entry(one, counts[one]) for one in sorted(counts)), conflicts=conflicts
    )


def accept(
    upstream: Upstream,
    counts: Mapping[date, int],
    *conflicts: date,
    now: datetime = NOW,
    facts: IndexFacts | None = None,
) -> Upstream:
    return accept_index(
        upstream,
        parsed_of(counts, *conflicts),
        facts or facts_of(f"{counts} {conflicts}", modified=now, seen=now),
        now=now,
        stale_after=STALE_AFTER,
    )


def unchanged(upstream: Upstream, now: datetime) -> Upstream:
    return accept_unchanged(upstream, now=now, stale_after=STALE_AFTER)


def listing(upstream: Upstream, counts: Mapping[date, int], now: datetime) -> Upstream:
    return accept_listing(upstream, {one: entry(one, counts[one]) for one in counts}, now=now)


def search_due(upstream: Upstream, now: datetime) -> bool:
    return is_search_due(unchanged(upstream, now), now=now)


THREE = {D1: 1, D2: 2, D3: 3}
KNOWN = accept(EMPTY, THREE)
