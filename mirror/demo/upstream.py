"""The demo's upstream: makes up days, and writes and serves them as the real publisher does.

Days are launches of many repositories, always the same, in the archive's own format, version 5 or 6
by the day. Today's file grows with every round. Three incidents can be played: an index that
shrinks to its newest line, a body that is cut short on its way, and a day that loses most of its
launches.
"""

import hashlib
import json
import random
import tomllib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, date, datetime, time, timedelta
from email.utils import format_datetime
from functools import cache
from importlib import resources
from itertools import accumulate

from aiohttp import web

from mirror.archive.listings import IndexEntry, render_index, render_page

_ONE_DAY = timedelta(days=1)

_MINUTES = range(24 * 60)
# Twice as many launches in the afternoon (UTC) as in the small hours.
_RHYTHM = list(accumulate(100 - abs(minute - 900) // 15 for minute in _MINUTES))
_EVENTS_PER_DAY = 3000
_WEEKEND_SHARE = 0.55
_VERSION_6_SINCE = date(2026, 3, 2)
_STAMP = "@timestamp@"
_WAYS = 8  # in how many ways a repository is launched

_MADE_OF = tomllib.loads(resources.files("mirror.demo").joinpath("launches.toml").read_text())


class Upstream:
    """An archive in memory, with a web server and a calendar of its own.

    It begins `now`; so many days are published by then, up to yesterday, and all of them final.
    """

    def __init__(self, now: datetime, days: int) -> None:
        self.now = now  # only `wait` lets it pass
        self.index_shrunk = False  # only the newest line is in it, as happened in October 2025
        self.cut: set[str] = set()  # names whose next body stops halfway
        self.statuses: list[int] = []  # of every answer so far
        self._files: dict[str, tuple[bytes, dict[str, str]]] = {}
        self._entries: dict[date, IndexEntry] = {}
        for number in range(days, 0, -1):
            day = now.date() - number * _ONE_DAY
            self._write_day(day, datetime.combine(day + _ONE_DAY, time(4), UTC))
        self.write_listings(datetime.combine(now.date(), time(7), UTC))

    def wait(self, *, hours: int) -> None:
        """Let time pass, then publish today's file and the index."""
        self.now += timedelta(hours=hours)
        self._write_day(self.now.date(), self.now)
        self.write_listings(self.now)

    def write_listings(self, now: datetime) -> None:
        """Write index and page anew, as the publisher does every two hours."""
        entries = [self._entries[day] for day in sorted(self._entries)]
        listed = entries[-1:] if self.index_shrunk else entries
        self._write("index.html", render_page(entries), now)
        self._write("index.jsonl", render_index(listed), now)

    def gut(self, day: date) -> None:
        """Leave a dozen launches of a day, as a publisher may whose own storage has failed."""
        name = self._entries[day].name
        body, _ = self._files[name]
        self._write_day(day, self.now, b"".join(body.splitlines(keepends=True)[:12]))

    @asynccontextmanager
    async def serve(self, port: int) -> AsyncIterator[str]:
        """Serve the archive on a loopback port, 0 for any; yield its base URL, with its last slash.

        An OSError says that the port cannot be had.
        """
        app = web.Application()
        app.router.add_get("/{name:.*}", self._answer)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        try:
            await web.TCPSite(runner, "127.0.0.1", port).start()
            host, port = runner.addresses[0][:2]
            yield f"http://{host}:{port}/"
        finally:
            await runner.cleanup()

    def _write_day(self, day: date, now: datetime, body: bytes | None = None) -> None:
        body = make_day(day, until=now) if body is None else body
        entry = IndexEntry(day, f"events-{day}.jsonl", body.count(b"\n"))
        meta = {"x-goog-meta-events-count": str(entry.count), "x-goog-meta-events-date": str(day)}
        self._write(entry.name, body, now, **meta)
        self._entries[day] = entry

    def _write(self, name: str, body: bytes, now: datetime, **meta: str) -> None:
        etag = hashlib.md5(body, usedforsecurity=False).hexdigest()
        headers = {"ETag": f'"{etag}"', "Last-Modified": format_datetime(now, usegmt=True)}
        self._files[name] = body, headers | meta

    async def _answer(self, request: web.Request) -> web.Response:
        response = self._respond(request)
        self.statuses.append(response.status)
        return response

    def _respond(self, request: web.Request) -> web.Response:
        name = request.match_info["name"] or "index.html"
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


def make_day(day: date, *, until: datetime) -> bytes:
    """Return the body of a UTC day's file as it is at `until`: later events are missing."""
    rng = random.Random(day.toordinal())
    share = _WEEKEND_SHARE if day.weekday() >= 5 else 1.0
    count = round(_EVENTS_PER_DAY * share * rng.uniform(0.9, 1.1))
    minutes = sorted(rng.choices(_MINUTES, cum_weights=_RHYTHM, k=count))
    launches, weights = _launches(6 if day >= _VERSION_6_SINCE else 5)
    age = (until - datetime.combine(day, time(), UTC)).total_seconds() / 60
    return "".join(
        launch.replace(_STAMP, f"{day}T{minute // 60:02}:{minute % 60:02}:00+00:00")
        for minute, launch in zip(
            minutes, rng.choices(launches, cum_weights=weights, k=count), strict=True
        )
        if minute < age
    ).encode()


@cache
def _launches(version: int) -> tuple[list[str], list[float]]:
    """Return lines without their time, several of each repository, and their cumulated weights."""
    rng = random.Random("repositories")
    popular = _MADE_OF["popular"].items()
    repositories = {(one, spec): n for one, specs in popular for spec, n in specs.items()}
    for rank in range(240):
        words = "-".join(rng.choices(_MADE_OF["words"], k=2))
        spec = f"demo-user-{rank}/{words}/{rng.choice(_MADE_OF['refs'])}"
        repositories["GitHub", spec] = 2 + 30 // (rank + 1)
    names = [name for name in repositories for _ in range(_WAYS)]
    lines = [_launch(version, provider, spec, rng) for provider, spec in names]
    return lines, list(accumulate(repositories[name] for name in names))


def _launch(version: int, provider: str, spec: str, rng: random.Random) -> str:
    launch: dict[str, object] = {
        "build_token": rng.random() < 0.1,
        "origin": rng.choice(_MADE_OF["origins"]),
        "provider": provider,
        "ref": f"{rng.getrandbits(160):040x}",
        "schema": "binderhub.jupyter.org/launch",
        "spec": spec,
        "status": "success",
        "timestamp": _STAMP,
        "version": version,
    }
    if version >= 6:
        launch["request_origin"] = rng.choice(_MADE_OF["request_origins"])
    return json.dumps(launch, sort_keys=True) + "\n"
