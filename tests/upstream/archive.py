"""The test upstream's bucket: what the publisher writes and the server serves, in memory.

`UpstreamArchive.publish` goes the real publisher's way (data first, then the page,
then the index) and its knobs replay the real incidents. Event lines come from
`launches`; nothing here knows about HTTP.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from operator import itemgetter

from tests.upstream.launches import daily_count, make_day
from tests.upstream.page import render_page

_ONE_DAY = timedelta(days=1)
# Yesterday's file is rebuilt while the hour is below this.
_REBUILD_UNTIL_HOUR = 5
OCTETS = "application/octet-stream"


@dataclass(frozen=True, slots=True)
class StoredObject:
    """One object of the bucket.

    Attributes:
        body: Its stored bytes.
        last_modified: When it was written, aware, UTC.
        content_type: Its media type.
        etag: Its ETag without quotes; the body's MD5 in hex unless given.
        meta: Its own metadata, names in lower case without `x-goog-meta-`.
        encoding: The coding of the stored bytes: "gzip" or "".
        generation: The number of this write; the microseconds of its time unless given.
    """

    body: bytes
    last_modified: datetime
    content_type: str = OCTETS
    etag: str = ""
    meta: Mapping[str, str] = field(default_factory=dict)
    encoding: str = ""
    generation: int = 0

    def __post_init__(self) -> None:
        if not self.etag:
            digest = hashlib.md5(self.body, usedforsecurity=False).hexdigest()
            object.__setattr__(self, "etag", digest)
        if not self.generation:
            number = int(self.last_modified.timestamp() * 1_000_000)
            object.__setattr__(self, "generation", number)


@dataclass(slots=True)
class UpstreamArchive:
    """The archive: named objects, and the publisher that writes them.

    Attributes:
        seed: Seed of all events.
        events_per_day: Mean number of events of a working day.
        objects: The bucket, by name.
        claims: Counts that the index states against the truth, by day: more
            than the body's for a file that is behind, fewer for one ahead.
        index_frozen: Data goes on, neither index file is rewritten (2025-06).
        index_shrunk: index.jsonl is its last line alone while the page stays
            complete (2025-10).
        final_newline: Whether index.jsonl ends in a newline (before 2025-10).
        counts_as_ints: Whether counts in the index are numbers, not strings.
    """

    seed: int = 0
    events_per_day: int = 200
    objects: dict[str, StoredObject] = field(default_factory=dict)
    claims: dict[date, int] = field(default_factory=dict)
    index_frozen: bool = False
    index_shrunk: bool = False
    final_newline: bool = False
    counts_as_ints: bool = False

    @classmethod
    def with_days(
        cls,
        first: date,
        last: date,
        *,
        events_per_day: int = 200,
        now: datetime | None = None,
        seed: int = 0,
    ) -> "UpstreamArchive":
        """Make an archive as the publisher would have left it.

        Args:
            first: Its first day.
            last: Its last day.
            events_per_day: Mean number of events of a working day.
            now: The moment to picture, aware; by default 07:00 UTC after the
                last day, when all days are final.
            seed: Seed of all events.

        Returns:
            The archive, with its index.
        """
        now = now or _at_hour(last + _ONE_DAY, 7)
        archive = cls(seed=seed, events_per_day=events_per_day)
        archive.put("static/bootstrap-4.1.3.min.css", b"body{}\n", now, content_type="text/css")
        archive.put("cloud-costs.jsonl", b'{"version": 1}\n', now)
        for day in _days(first, last):
            archive.rebuild(day, min(now, _at_hour(day + _ONE_DAY, _REBUILD_UNTIL_HOUR - 1)))
        archive.write_index(now)
        return archive

    def __getitem__(self, name: str) -> StoredObject:
        return self.objects[name]

    def days(self) -> dict[date, StoredObject]:
        """Return the daily files, ascending by name, as their own metadata dates them."""
        return {
            date.fromisoformat(stored.meta["events-date"]): stored
            for _, stored in sorted(self.objects.items(), key=itemgetter(0))
            if "events-date" in stored.meta
        }

    def put(
        self,
        name: str,
        body: bytes,
        at: datetime,
        *,
        content_type: str = OCTETS,
        meta: Mapping[str, str] | None = None,
    ) -> StoredObject:
        """Write any object, a wrong index for one (or set `objects` for more to say).

        Args:
            name: Its name, without a leading slash.
            body: The bytes to store.
            at: Its Last-Modified, aware.
            content_type: Its media type.
            meta: Its own metadata.

        Returns:
            The stored object. The one it replaces is unchanged: keep it to be stale.
        """
        stored = StoredObject(body, at, content_type, meta=dict(meta or {}))
        self.objects[name] = stored
        return stored

    def put_day(self, day: date, body: bytes | int, at: datetime) -> StoredObject:
        """Write a daily file with its metadata.

        Args:
            day: Its day.
            body: Its bytes, or a number of events to make up.
            at: Its Last-Modified, aware.

        Returns:
            The stored object.
        """
        if isinstance(body, int):
            body = make_day(day, body, seed=self.seed)
        meta = {"events-count": str(body.count(b"\n")), "events-date": day.isoformat()}
        return self.put(day_name(day), body, at, meta=meta)

    def remove(self, name: str) -> None:
        """Remove an object.

        Raises:
            KeyError: There is none of that name.
        """
        del self.objects[name]

    def rebuild(self, day: date, now: datetime) -> StoredObject:
        """Write a day's file anew from what the raw logs hold at `now`."""
        count = daily_count(day, self.events_per_day)
        return self.put_day(day, make_day(day, count, seed=self.seed, until=now), now)

    def publish(self, now: datetime) -> None:
        """Do one round of the publisher: data first, then the page and the index.

        Args:
            now: The moment, aware. Today's file is rebuilt, yesterday's too
                while the UTC hour is below 5.
        """
        now = now.astimezone(UTC)
        if now.hour < _REBUILD_UNTIL_HOUR:
            self.rebuild(now.date() - _ONE_DAY, now)
        self.rebuild(now.date(), now)
        if not self.index_frozen:
            self.write_index(now)

    def write_index(self, at: datetime, *, lines: list[str] | None = None) -> None:
        """Write index.html and index.jsonl from what the bucket holds.

        Args:
            at: Their Last-Modified, aware.
            lines: Lines to write to index.jsonl instead of the true ones.
        """
        counts = {day: self._listed_count(day, stored) for day, stored in self.days().items()}
        page = render_page({day: (day_name(day), count) for day, count in counts.items()}, at)
        self.put("index.html", page, at, content_type="text/html")
        if lines is None:
            lines = [self._index_line(day, count) for day, count in counts.items()]
            lines = lines[-1:] if self.index_shrunk else lines
        end = "\n" if self.final_newline and lines else ""
        body = ("\n".join(lines) + end).encode()
        self.put("index.jsonl", body, at, content_type="text/plain")

    def _listed_count(self, day: date, stored: StoredObject) -> int:
        return self.claims.get(day, int(stored.meta["events-count"]))

    def _index_line(self, day: date, count: int) -> str:
        value = count if self.counts_as_ints else str(count)
        return json.dumps({"name": day_name(day), "date": day.isoformat(), "count": value})


def day_name(day: date) -> str:
    """Return the name of a day's file."""
    return f"events-{day.isoformat()}.jsonl"


def _days(first: date, last: date) -> Iterator[date]:
    return (first + i * _ONE_DAY for i in range((last - first).days + 1))


def _at_hour(day: date, hour: int) -> datetime:
    return datetime.combine(day, time(hour), UTC)
