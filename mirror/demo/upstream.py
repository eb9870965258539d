"""The demo's upstream: writes days, page and index as the real publisher does, and serves them.

Today's file grows with every round. Two incidents can be played: an index that shrinks to its
newest line, and a body that is cut short on its way.
"""

import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime

from aiohttp import web

from mirror.archive.listings import IndexEntry, render_index, render_page
from mirror.demo.events import make_day

_REBUILT_UNTIL_HOUR = 5
"""Yesterday's file is made anew in rounds before this hour (UTC)."""
_ONE_DAY = timedelta(days=1)


class Upstream:
    """An archive in memory, with a web server of its own.

    Args:
        first: the first day published.
        last: the last one; like all before it, it is final.

    Attributes:
        index_shrunk: write only the newest line to index.jsonl, as happened in October 2025.
        cut: names whose next body stops halfway.
        statuses: the status of every answer so far.
    """

    def __init__(self, first: date, last: date) -> None:
        self.index_shrunk = False
        self.cut: set[str] = set()
        self.statuses: list[int] = []
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._entries: dict[date, IndexEntry] = {}
        for number in range((last - first).days + 1):
            day = first + number * _ONE_DAY
            self._write_day(day, datetime.combine(day + _ONE_DAY, time(4), UTC))
        self._write_listings(datetime.combine(last + _ONE_DAY, time(7), UTC))

    def publish(self, now: datetime) -> None:
        """Do one round at `now`, UTC: today's file, yesterday's in the small hours, the index."""
        if now.hour < _REBUILT_UNTIL_HOUR:
            self._write_day(now.date() - _ONE_DAY, now)
        self._write_day(now.date(), now)
        self._write_listings(now)

    @asynccontextmanager
    async def serve(self) -> AsyncIterator[str]:
        """Serve the archive on a loopback port; yield its base URL, with a slash at the end."""
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", 0).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}/"
        finally:
            await runner.cleanup()

    def _write_day(self, day: date, now: datetime) -> None:
        body = make_day(day, until=now)
        entry = IndexEntry(day, f"events-{day}.jsonl", body.count(b"\n"))
        meta = {"x-goog-meta-events-count": str(entry.count), "x-goog-meta-events-date": str(day)}
        self._write(entry.name, body, now, meta)
        self._entries[day] = entry

    def _write_listings(self, now: datetime) -> None:
        entries = [self._entries[day] for day in sorted(self._entries)]
        self._write("index.html", render_page(entries), now)
        self._write(
            "index.jsonl", render_index(entries[-1:] if self.index_shrunk else entries), now
        )

    def _write(
        self, name: str, body: bytes, now: datetime, meta: dict[str, str] | None = None
    ) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{etag}"', "Last-Modified": format_datetime(now, usegmt=True)}
        self._files[name] = body, headers | (meta or {})

    async def _answer(self, request: web.Request) -> web.Response:
        response = self._respond(request, request.match_info["name"] or "index.html")
        self.statuses.append(response.status)
        return response

    def _respond(self, request: web.Request, name: str) -> web.Response:
        if name not in self._files:
            return web.Response(status=404, text="no such file\n")
        body, headers = self._files[name]
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        if name not in self.cut:
            return web.Response(body=body, headers=headers)
        # promise the whole body, send half of it and close the connection
        self.cut.remove(name)
        headers = {**headers, "Content-Length": str(len(body))}
        response = web.Response(body=body[: len(body) // 2], headers=headers)
        response.force_close()
        return response
