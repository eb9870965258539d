"""The demo's upstream: a publisher that writes days and index, and the web server before them.

It behaves as the real one does: data first, then the page, then the index; today's file grows
with every round. Two of its incidents can be played: an index that shrinks to its newest line,
and a body that is cut short on its way.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from types import TracebackType
from typing import Self

from aiohttp import web

from mirror.archive.listings import IndexEntry, render_index, render_page
from mirror.demo.events import daily_count, make_day

_EVENTS_PER_DAY = 3000
_REBUILT_UNTIL_HOUR = 5
"""Yesterday's file is made anew in rounds before this hour (UTC)."""
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class _Stored:
    """A file of the archive: its bytes, when it was written, and its own headers."""

    body: bytes
    written_at: datetime
    meta: dict[str, str] = field(default_factory=dict)

    @property
    def headers(self) -> dict[str, str]:
        written_at = format_datetime(self.written_at, usegmt=True)
        etag = hashlib.md5(self.body, usedforsecurity=False).hexdigest()
        return {"ETag": f'"{etag}"', "Last-Modified": written_at, **self.meta}


def day_name(day: date) -> str:
    """Return the name of a day's file."""
    return f"events-{day}.jsonl"


class Publisher:
    """Writes the archive, in memory.

    Attributes:
        files: what is served, by name.
        index_shrunk: write only the newest line to index.jsonl, as happened in October 2025.
    """

    def __init__(self, first: date, last: date) -> None:
        """Make an archive of the days from `first` through `last`, all of them final."""
        self.files: dict[str, _Stored] = {}
        self.index_shrunk = False
        self._entries: dict[date, IndexEntry] = {}
        for number in range((last - first).days + 1):
            day = first + number * _ONE_DAY
            self._write_day(day, datetime.combine(day + _ONE_DAY, time(4), UTC))
        self._write_index(datetime.combine(last + _ONE_DAY, time(7), UTC))

    def publish(self, now: datetime) -> None:
        """Do one round at `now`, UTC: today's file, yesterday's in the small hours, the index."""
        if now.hour < _REBUILT_UNTIL_HOUR:
            self._write_day(now.date() - _ONE_DAY, now)
        self._write_day(now.date(), now)
        self._write_index(now)

    def _write_day(self, day: date, now: datetime) -> None:
        body = make_day(day, daily_count(day, _EVENTS_PER_DAY), until=now)
        entry = IndexEntry(day, day_name(day), body.count(b"\n"))
        meta = {"x-goog-meta-events-count": str(entry.count), "x-goog-meta-events-date": str(day)}
        self.files[entry.name] = _Stored(body, now, meta)
        self._entries[day] = entry

    def _write_index(self, now: datetime) -> None:
        entries = [self._entries[day] for day in sorted(self._entries)]
        self.files["index.html"] = _Stored(render_page(entries), now)
        listed = entries[-1:] if self.index_shrunk else entries
        self.files["index.jsonl"] = _Stored(render_index(listed), now)


class Upstream:
    """Serves a publisher's files on a loopback port, to be used with `async with`.

    Attributes:
        statuses: the status of every answer so far.
        cut: names whose next body stops halfway.
    """

    def __init__(self, publisher: Publisher) -> None:
        self.statuses: list[int] = []
        self.cut: set[str] = set()
        self._files = publisher.files
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None)

    async def __aenter__(self) -> Self:
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        return self

    async def __aexit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self._runner.cleanup()

    @property
    def url(self) -> str:
        """The base URL, with a slash at its end."""
        host, port = self._runner.addresses[0][:2]
        return f"http://{host}:{port}/"

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        name = request.match_info["name"] or "index.html"
        response = await self._respond(request, name, self._files.get(name))
        self.statuses.append(response.status)
        return response

    async def _respond(
        self, request: web.Request, name: str, stored: _Stored | None
    ) -> web.StreamResponse:
        if stored is None:
            return web.Response(status=404, text="no such file\n")
        headers = stored.headers
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        if name in self.cut:
            self.cut.remove(name)
            return await _send_half(request, stored)
        return web.Response(body=stored.body, headers=headers)


async def _send_half(request: web.Request, stored: _Stored) -> web.StreamResponse:
    """Promise the whole body, send half of it and close the connection."""
    response = web.StreamResponse(headers=stored.headers)
    response.content_length = len(stored.body)
    await response.prepare(request)
    await response.write(stored.body[: len(stored.body) // 2])
    if request.transport is not None:
        request.transport.close()
    return response
