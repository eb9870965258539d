"""Serves daily files, index and listings: paths are looked up, never built from a request.

What is opened is what is sent and what the headers speak of: the record is chosen by size and time
of the opened file, so that an answer is whole and true while a sync replaces files beside it.
"""

import asyncio
import hashlib
import os
from collections.abc import Callable, Iterable
from contextlib import ExitStack
from datetime import UTC, datetime
from functools import partial
from io import FileIO
from typing import BinaryIO
from urllib.parse import unquote

from aiohttp import web
from msgspec.structs import replace

from mirror.archive.listings import entries_of, page_of, render_index, render_sums
from mirror.archive.metadata import render_croissant, render_datapackage
from mirror.archive.ports import Listing
from mirror.errors import WrongKindError
from mirror.model import Record
from mirror.status.snapshot import Snapshot
from mirror.store.disk import open_file
from mirror.store.inventory import open_recorded
from mirror.store.proof import open_proved
from mirror.web.answer import Representation, answer, names_tag
from mirror.web.encodings import CODINGS, EncodedBodies, choose_coding
from mirror.web.site import Site

_LISTINGS: dict[str, tuple[str, Callable[[Iterable[Record]], bytes] | None]] = {
    Listing.PAGE: ("text/html; charset=utf-8", page_of),
    Listing.STYLE: ("text/css; charset=utf-8", None),
    Listing.INDEX: ("text/plain", lambda records: render_index(entries_of(records))),
    Listing.SUMS: ("text/plain; charset=utf-8", render_sums),
    Listing.DATAPACKAGE: ("application/json", render_datapackage),
    Listing.CROISSANT: ("application/ld+json", render_croissant),
}
"""By name: the type of a listing, and what makes it of the days held, where these matter."""
_SETTLED = "public, max-age=3600"
_UNSETTLED = "public, max-age=60"
_ON_LOOP_BYTES = 512 * 1024
"""Reading and digesting so much takes half a millisecond; an index of 3,000 days has half of it."""


def add_archive(app: web.Application, site: Site) -> None:
    """Add the archive: to be added last, for it takes every path that is left."""
    app.router.add_get("/{path:.*}", partial(_serve, site, EncodedBodies(site)))


async def _serve(site: Site, encoded: EncodedBodies, request: web.Request) -> web.StreamResponse:
    name = _name(request)
    if name is None:
        raise web.HTTPBadRequest
    plain = await _find(site, name or Listing.PAGE)
    if plain is None:
        raise web.HTTPNotFound
    with plain.file:
        sent = await _encode(encoded, request, plain) or plain
        with sent.file:
            return await answer(request, sent)


def _name(request: web.Request) -> str | None:
    """Return the path asked for, without needless encoding, slashes and dots (RFC 3986, 6.2.2).

    Upstream's nginx merges them; None where they lead above the root, which it refuses too. It is
    compared with names and never opened, so that nothing in it can lead anywhere.
    """
    # of the absolute form too, which every server has to take (RFC 9112, 3.2.2)
    names = unquote(request.rel_url.raw_path, errors="replace").split("/")
    path: list[str] = []
    for name in names:
        if name == "..":
            if not path:
                return None
            path.pop()
        elif name not in ("", "."):
            path.append(name)
    is_folder = path and names[-1] in ("", ".", "..")
    return "/".join(path) + ("/" if is_folder else "")


async def _find(site: Site, name: str) -> Representation | None:
    if name in _LISTINGS:
        found = await _open_listing(site, name)
        if found is None:
            # not 404 where the whole copy cannot be read
            await site.snapshots.snapshot(fresh=True)
        return found
    if (day := site.data.days.day_of(name)) is None:
        return None
    file = site.data.archive / name
    for fresh in (False, True):
        snapshot = await site.snapshots.snapshot(fresh=fresh)
        if claims := snapshot.inventory.claims.get(day):
            # on the loop: a thread's turn costs more than all the rest of a request
            found = _open_day(site, claims, partial(open_recorded, file))
            if found is None:
                prove = partial(open_proved, site.data, file)
                found = await asyncio.to_thread(_open_day, site, claims, prove)
            if found is not None:
                return found
        if day in snapshot.inventory.records:
            site.snapshots.doubt()
        if fresh:
            # the listings may have it: it is not to be said that it is not there
            _require_proved(snapshot)
    return None


async def _open_listing(site: Site, name: str) -> Representation | None:
    """Open a listing and digest it, for its digest is not on record; None where there is none.

    One that would list what is not here is made for the moment, of what is.
    """
    path, held = site.data.archive / name, await site.snapshots.snapshot()
    content_type, render = _LISTINGS[name]
    try:
        with ExitStack() as stack:
            if held.is_overstated and render is not None:
                _require_proved(held)
                body = await asyncio.to_thread(render, held.inventory.records.values())
                file = stack.enter_context(_in_memory(name, body))
            else:
                file = stack.enter_context(open_file(path))
            stats = os.fstat(file.fileno())
            if stats.st_size <= _ON_LOOP_BYTES:
                digest = hashlib.file_digest(file, "sha256")
            else:
                digest = await asyncio.to_thread(hashlib.file_digest, file, "sha256")
            stack.pop_all()
    except (FileNotFoundError, WrongKindError):
        return None
    sha256 = digest.hexdigest()
    return Representation(
        file=file,
        source=path,
        size=stats.st_size,
        sha256=sha256,
        tag=sha256,
        modified_at=datetime.fromtimestamp(int(stats.st_mtime), UTC),
        headers={"Content-Type": content_type, "Cache-Control": _UNSETTLED},
    )


def _require_proved(snapshot: Snapshot) -> None:
    if not snapshot.is_proved:
        reason = "files are being compared with their digests, ask again in a moment"
        raise web.HTTPServiceUnavailable(headers={"Retry-After": "2"}, reason=reason)


def _in_memory(name: str, body: bytes) -> FileIO:
    file = FileIO(os.memfd_create(name), "w+")
    file.write(body)
    file.seek(0)
    return file


def _open_day(
    site: Site,
    claims: tuple[Record, ...],
    open_claimed: Callable[[tuple[Record, ...]], tuple[BinaryIO, Record] | None],
) -> Representation | None:
    """Open a daily file if it is the one on record; None where it is another, or gone."""
    path = site.data.archive / claims[-1].name
    try:
        opened = open_claimed(claims)
    except (FileNotFoundError, WrongKindError):
        return None
    if opened is None:
        return None
    file, record = opened
    published_at = datetime.fromtimestamp(record.mtime_ns // 10**9, UTC)
    is_final = site.data.days.is_final(record.date, site.now())
    return Representation(
        file=file,
        source=path,
        size=record.size,
        sha256=record.sha256,
        tag=record.sha256,
        # one that took another's place was modified then: see `mirror.store.inventory.time_for`
        modified_at=max(filter(None, (record.last_modified, published_at))),
        headers={
            "Content-Type": "application/octet-stream",
            "Cache-Control": _SETTLED if is_final else _UNSETTLED,
            "x-goog-meta-events-count": str(record.lines),
            "x-goog-meta-events-date": str(record.date),
        },
    )


async def _encode(
    encoded: EncodedBodies, request: web.Request, plain: Representation
) -> Representation | None:
    """Return the body in the coding that the client likes best; None for the plain one.

    A client that asks for a range means a part of what it knows, and that is the plain body unless
    If-Range names another (aiohttp's clients, fsspec among them, accept gzip with every range,
    and would fail at a part of it). One that holds the plain body need not be sent any.
    """
    coding = choose_coding(", ".join(request.headers.getall("Accept-Encoding", ())), CODINGS)
    if coding is None:
        return None
    wanted = replace(plain, tag=f"{plain.tag}-{coding}")
    if "Range" in request.headers:
        if request.headers.get("If-Range", "").strip() != f'"{wanted.tag}"':
            return None
    elif names_tag(request, "If-None-Match", plain.tag):
        return None
    if names_tag(request, "If-None-Match", wanted.tag):
        # the client has it: it need not be made to say so
        return wanted
    return await encoded.open(wanted, coding)
