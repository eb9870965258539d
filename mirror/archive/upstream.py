"""What upstream has ever said: a value and its transitions. Pure.

Its index has stood still for four months and been one line long for another four, so one index is
never the whole truth: accepted is all that any index ever listed, and two states of trouble,
*stale* and *shrunk*, start a search for days through `index.html` and by name. Kept beside it are
days that were asked for in vain, whether its ETags are digests, and *disputes*: refused bodies that
are taken if they are served unchanged for long enough, and, if they are refused for their age, once
nothing newer has come for long enough, whatever their bytes.

A clock that is wrong leaves moments and days in the future behind: `mend_times` takes the moments
back once it is right, and days after tomorrow are left alone until they come.
"""

from collections.abc import Mapping
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import islice
from typing import Annotated, TypeAlias

import msgspec
from msgspec import Meta, Struct, field
from msgspec.structs import replace

from mirror.archive.listings import IndexEntry, ParsedIndex, Refusal
from mirror.archive.plan import DayRules, is_plausible
from mirror.archive.sealed import is_sealed, is_unsealed, seal
from mirror.config.address import identity_of
from mirror.config.settings import UpstreamConfig
from mirror.errors import ConfigError, decode_or_none
from mirror.model import DayRange, IndexState, Moment

VERSION = 1
ARCHIVE_BEGINS = date(2018, 11, 3)  # as its documentation says: no search goes further back
SEARCH_EVERY = timedelta(hours=6)
ASKED_AT_MOST = 200  # days asked for by name in one poll
VANISHED_AFTER = timedelta(days=7)
_RECENT_DAYS = timedelta(days=3)
_ABSENT_FOR_RECENT = timedelta(hours=6)
_ABSENT_FOR = timedelta(days=7)


class ETags(StrEnum):
    """What this upstream's 32-digit ETags have proved to be."""

    UNKNOWN = "unknown"
    DIGESTS = "digests"
    OPAQUE = "opaque"


class Dispute(Struct, frozen=True, omit_defaults=True):
    """A body that was refused although only a count, an ETag or its age speaks against it."""

    sha256: str
    since: Moment  # when these very bytes first came
    reason: str
    older_since: datetime | None = None
    """Since when all that came, these bytes or others, was older than what is held."""


Count: TypeAlias = Annotated[int, Meta(ge=0, le=10**9)]


class IndexFacts(Struct, frozen=True, omit_defaults=True):
    """The index body accepted last."""

    sha256: str
    first_seen_at: Moment
    etag: str | None = None
    is_doubtful: bool = False
    """Whether its ETag contradicts it: unless ETags are opaque, it is asked for in full again."""
    last_modified: Moment | None = None
    generation: int | None = None
    whole: bool = True  # whether every line was accepted
    name_template: str = UpstreamConfig().name_template  # what it calls a daily file

    @property
    def changed_at(self) -> datetime:
        """Upstream's own date of it, else when this body was first seen."""
        return self.last_modified or self.first_seen_at


class Upstream(Struct, frozen=True, omit_defaults=True):
    """All that upstream has said and that we keep of it."""

    url: str  # its identity: see `mirror.config.address`
    version: int = VERSION
    index: IndexFacts | None = None
    state: IndexState = IndexState.FRESH
    state_since: Moment | None = None
    accepted: Mapping[date, Count] = {}  # count by day: all days that an accepted index ever listed
    unlisted: Mapping[date, Moment | None] = {}
    """Accepted days that the index no longer lists: since when no listing has had them; None where
    `index.html` still has."""
    found: Mapping[date, Count | None] = {}
    """Days found without the index, with the count of `index.html` where it has one."""
    absent: Mapping[date, Moment] = {}
    """Days asked for by name and not there, and when; of days found, since when that is so."""
    conflicts: tuple[date, ...] = ()
    refused: tuple[Refusal, ...] = ()
    refused_lines: int = 0
    floor: date | None = None  # in trouble, the newest day accepted before, where the search begins
    searched_at: Moment | None = None
    disputes: Mapping[date, Dispute] = field(default_factory=dict, name="trials")
    index_older_since: Moment | None = None
    """Since when every index that came was older than the one accepted."""
    etags: ETags = ETags.UNKNOWN
    since: date | None = None
    """The first day to keep, as a poll was told to remember; a setting wins over it."""
    mirrors: tuple[str, ...] = ()
    """The mirrors that it is a copy of, itself first; none where it is no mirror."""


def accept_index(
    upstream: Upstream,
    parsed: ParsedIndex,
    facts: IndexFacts,
    *,
    now: datetime,
    stale_after: timedelta,
) -> Upstream:
    """Return what is known after a new index: days in conflict or not listed stay as they were."""
    listed = {entry.date: entry.count for entry in parsed.entries}
    named = listed.keys() | set(parsed.conflicts)
    unlisted = {
        day: upstream.unlisted.get(day, now) for day in upstream.accepted if day not in named
    }
    after = replace(
        upstream,
        index=facts,
        accepted=dict(sorted({**upstream.accepted, **listed}.items())),
        unlisted=unlisted,
        found={day: count for day, count in upstream.found.items() if day not in listed},
        conflicts=parsed.conflicts,
        refused=parsed.refused,
        refused_lines=parsed.refused_lines,
        index_older_since=None,
    )
    return _settle(upstream, after, now=now, stale_after=stale_after)


def accept_unchanged(upstream: Upstream, *, now: datetime, stale_after: timedelta) -> Upstream:
    """Return what is known after upstream said that its index is the one we have."""
    after = replace(upstream, index_older_since=None)
    return _settle(upstream, after, now=now, stale_after=stale_after)


def accept_listing(
    upstream: Upstream, rows: Mapping[date, IndexEntry], *, now: datetime
) -> Upstream:
    """Return what is known after `index.html` was read as a second listing; it may not be there.

    For days that the index does not list it is the only word on their count.
    """
    unlisted = {
        day: None if day in rows else since or now for day, since in upstream.unlisted.items()
    }
    counts = {day: rows[day].count for day in unlisted if day in rows}
    known = upstream.accepted.keys() | set(upstream.conflicts)
    news = {day: entry.count for day, entry in rows.items() if day not in known}
    return replace(
        upstream,
        unlisted=unlisted,
        accepted={**upstream.accepted, **counts},
        found={**upstream.found, **news},
        absent={day: asked for day, asked in upstream.absent.items() if day not in rows},
    )


def _settle(
    before: Upstream, after: Upstream, *, now: datetime, stale_after: timedelta
) -> Upstream:
    """Put the state, its beginning and the floor of the search right."""
    index, shrunk = after.index, bool(dropped(after, now=now))
    # by its own date, or since it was first seen
    stale = index is not None and now - index.changed_at > stale_after
    is_tiny = len(after.accepted) <= 1
    if not (stale or shrunk or is_tiny):
        absent = {day: since for day, since in after.absent.items() if day in after.found}
        after = replace(after, floor=None, searched_at=None, absent=absent)
    elif before.floor is None:
        # one that stands still is whole as far as it goes; else its newest days say nothing
        known = before if shrunk or is_tiny else after
        after = replace(after, floor=date.min if is_tiny else _newest(known, now))
    worst_first = (
        (shrunk, IndexState.SHRUNK),
        (bool(after.conflicts), IndexState.CONFLICTING),
        (stale, IndexState.STALE),
        (after.index == before.index, IndexState.UNCHANGED),
    )
    state = next((state for holds, state in worst_first if holds), IndexState.FRESH)
    is_same = before.state == state or (before.state.is_healthy and state.is_healthy)
    return replace(after, state=state, state_since=(before.state_since if is_same else now) or now)


def dropped(upstream: Upstream, *, now: datetime) -> frozenset[date]:
    """Return the accepted days that the index no longer lists, and that have not vanished yet."""
    tomorrow, gone = _tomorrow(now), vanished(upstream, now=now)
    return frozenset(day for day in upstream.unlisted if day not in gone and day <= tomorrow)


def vanished(upstream: Upstream, *, now: datetime) -> frozenset[date]:
    """Return the accepted days that no listing has had for `VANISHED_AFTER`."""
    return frozenset(
        day
        for day, since in upstream.unlisted.items()
        if since is not None and now - since >= VANISHED_AFTER
    )


def is_search_due(upstream: Upstream, *, now: datetime) -> bool:
    """Return whether this poll, having heard of the index, looks for days that it does not list."""
    last = upstream.searched_at
    return upstream.floor is not None and (last is None or now - last >= SEARCH_EVERY)


def days_to_ask(upstream: Upstream, *, now: datetime) -> tuple[date, ...]:
    """Return the days to ask for by name: after the floor, through today, newest first, bounded."""
    today = now.date()
    first = max(ARCHIVE_BEGINS, (upstream.floor or date.min) + timedelta(1))
    days = (today - timedelta(back) for back in range((today - first).days + 1))
    known = upstream.accepted.keys() | upstream.found.keys()
    unknown = (day for day in days if day not in known and not _is_absent(upstream, day, now))
    return tuple(islice(unknown, ASKED_AT_MOST))


def _is_absent(upstream: Upstream, day: date, now: datetime) -> bool:
    """Return whether a day was not there when it was asked for not long ago."""
    asked = upstream.absent.get(day)
    remembered = _ABSENT_FOR_RECENT if now.date() - day <= _RECENT_DAYS else _ABSENT_FOR
    return asked is not None and now - asked < remembered


def listed_counts(upstream: Upstream, *, now: datetime) -> dict[date, int | None]:
    """Return every day that upstream can be asked for, with the count that a listing promises."""
    tomorrow, gone = _tomorrow(now), vanished(upstream, now=now)
    known = {**upstream.found, **upstream.accepted}
    return {day: n for day, n in known.items() if day <= tomorrow and day not in gone}


def wanted_days(upstream: Upstream, rules: DayRules, *, now: datetime) -> frozenset[date]:
    """Return the days that are to be held: all that are listed, from the first one to keep on."""
    kept = DayRange(first_day(upstream, rules))
    return frozenset(day for day in listed_counts(upstream, now=now) if day in kept)


def first_day(upstream: Upstream, rules: DayRules) -> date | None:
    """Return the first day to keep; None for all."""
    return rules.since or upstream.since


def indexed_counts(upstream: Upstream) -> dict[date, int]:
    """Return what the index accepted last lists, where every line of it was accepted."""
    return {day: n for day, n in upstream.accepted.items() if day not in upstream.unlisted}


def _tomorrow(now: datetime) -> date:
    return now.date() + timedelta(days=1)


def _newest(upstream: Upstream, now: datetime) -> date:
    """Return the newest day accepted that a clock put right leaves possible."""
    return max((day for day in upstream.accepted if day <= _tomorrow(now)), default=date.min)


def needs_rereading(upstream: Upstream, *, now: datetime) -> bool:
    """Return whether the index accepted last may say other days now than when it was read.

    A line is refused by the day it comes on; a clock put right, forwards or backwards, moves that.
    """
    index, latest = upstream.index, max(upstream.accepted, default=date.min)
    return index is not None and (not index.whole or latest > _tomorrow(now))


def mend_times(upstream: Upstream, *, now: datetime) -> Upstream:
    """Return what is known with no moment in the future: a clock that was ahead wrote those."""
    index, floor = upstream.index, upstream.floor
    if index is not None:
        changed, seen = index.last_modified, index.first_seen_at
        dated = changed if changed is not None and changed <= now else None
        index = replace(index, last_modified=dated, first_seen_at=min(seen, now))
    return replace(
        upstream,
        index=index,
        state_since=_past(upstream.state_since, now),
        unlisted={day: since and min(since, now) for day, since in upstream.unlisted.items()},
        absent={day: asked for day, asked in upstream.absent.items() if asked <= now},
        floor=floor if floor is None or floor <= _tomorrow(now) else _newest(upstream, now),
        searched_at=_past(upstream.searched_at, now),
        disputes={
            day: replace(one, older_since=_past(one.older_since, now))
            for day, one in upstream.disputes.items()
            if one.since <= now
        },
        index_older_since=_past(upstream.index_older_since, now),
    )


def _past(moment: datetime | None, now: datetime) -> datetime | None:
    return moment if moment is not None and moment <= now else None


def open_dispute(
    dispute: Dispute | None, *, sha256: str, reason: str, now: datetime, is_older: bool = False
) -> Dispute:
    """Return the dispute of a refused body: these bytes' first coming, or a new beginning.

    How long all that came has been older than what is held goes on under other bytes.
    """
    before = dispute if dispute is not None else Dispute(sha256, now, reason)
    since = before.since if before.sha256 == sha256 else now
    return Dispute(sha256, since, reason, (before.older_since or now) if is_older else None)


def has_stood(since: datetime | None, *, now: datetime, disagree_after: float) -> bool:
    """Return whether upstream has said the same for long enough to be believed."""
    return since is not None and now - since >= timedelta(seconds=disagree_after)


_decoder = msgspec.json.Decoder(Upstream)


def render_upstream(upstream: Upstream) -> bytes:
    """Return `upstream.json`, with its checksum; a version that knows of none passes it over."""
    return seal(msgspec.json.encode(upstream))


def parse_upstream(body: bytes | None, url: str) -> Upstream:
    """Return what is kept of the upstream at `url`; nothing known where there is nothing.

    What another upstream said is not taken over, by the identity of its URL, the only spelling that
    is kept; an empty `url` stands for any. What cannot be read is as if lost: it is made anew from
    the next index. A ConfigError says that a later version of this software wrote it.
    """
    wanted = identity_of(url)
    if (upstream := decode_or_none(_decoder, body or b"")) is None:
        return Upstream(wanted)
    days = (*upstream.accepted, *upstream.found, *upstream.unlisted, *upstream.absent)
    if not all(map(is_plausible, days)):
        return Upstream(wanted)
    if upstream.version > VERSION:
        raise ConfigError(
            f"upstream.json is in format {upstream.version}, later than {VERSION}, the last one "
            "known to this version",
            hint="upgrade binder-mirror",
        )
    # a flipped bit must not become an accepted count, or a validator
    is_right = is_sealed(body or b"") or is_unsealed(body or b"")
    known = identity_of(upstream.url)
    is_same = is_right and wanted in ("", known)
    return replace(upstream, url=known) if is_same else Upstream(wanted)
