"""Keeps bodies in gzip and zstd for clients that prefer them: each made once, deleted any time.

A file is named `SHA256.CODING.SHA256`: the digest of the plain body, the coding, and the digest of
what the file holds; so nothing kept can ever be taken for a body that has since been replaced, and
several processes may share the folder. Formats: RFC 1952 (gzip) and RFC 8878 (zstd, with a window
well below the 8 MB that RFC 9659 allows).
"""

import asyncio
import errno
import hashlib
import os
import re
import secrets
import time
import zlib
from collections.abc import Sequence
from contextlib import suppress
from typing import IO

from msgspec.structs import replace

from mirror.archive.intake import import_zstd
from mirror.errors import StorageError, WrongKindError
from mirror.logs import get_logger
from mirror.store.disk import READ_BYTES, flush, kind_of, open_file
from mirror.web.answer import Representation
from mirror.web.site import Site

CODINGS = ("zstd", "gzip")  # what is offered, the best first
_MIN_BYTES = 256  # smaller bodies are not worth a file
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_LEVEL = 6
_MAX_QUEUE = 16  # bodies in the making; beyond them clients get the plain bytes instead of waiting
_TOUCH_S = 60
_PAUSE_S = 60  # how long nothing is tried on a disk that refused
_UNFINISHED = ".part"
_NAME = re.compile(rf"([0-9a-f]{{64}}\.(?:{'|'.join(CODINGS)}))\.[0-9a-f]{{64}}")
"""The name of a file that is kept, and in it the key by which it is found."""
_ACCEPTED = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?"
)
_ALIASES = {"x-gzip": "gzip"}
_IMPLIED = 0.001  # weight of plain bytes where none is given: any coding named is better


def choose_coding(accepted: str, offered: Sequence[str]) -> str | None:
    """Return the coding that the client prefers (RFC 9110, 12.5.3); None for the plain bytes.

    A client that refuses everything gets the plain bytes too, for there is nothing else. Several
    `Accept-Encoding` headers are joined by commas. Where weights are equal, the coding offered
    first wins.
    """
    weights = {}
    for match in filter(None, map(_ACCEPTED.fullmatch, accepted.split(","))):
        coding = match[1].lower()
        weights[_ALIASES.get(coding, coding)] = min(1.0, float(match[2] or 1))
    others = weights.get("*", 0.0)
    plain = weights.get("identity", weights.get("*", _IMPLIED))
    best = max(offered, key=lambda coding: weights.get(coding, others))
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= plain else None


class EncodedBodies:
    """Makes, keeps and opens encoded bodies of a site. To be used on one event loop."""

    def __init__(self, site: Site) -> None:
        self._site = site
        self._folder = site.data.encoded
        self._kept: dict[str, str] = {}
        with suppress(OSError):
            names = [_NAME.fullmatch(path.name) for path in self._folder.iterdir()]
            self._kept = {match[1]: match[0] for match in names if match}
        self._making: dict[str, asyncio.Task[None]] = {}
        self._turn = asyncio.Lock()
        self._refused_at = -float(_PAUSE_S)

    async def open(self, plain: Representation, coding: str) -> Representation | None:
        """Return a body in a coding, made first if it is not kept.

        None if it is not available now: an error of the disk, a small body, too many waiting, or
        plain bytes that have not their digest.
        """
        if plain.size < _MIN_BYTES or not self._site.config.server.encoded_size:
            return None
        key = f"{plain.sha256}.{coding}"
        if (found := self._open_kept(key, plain)) is not None:
            return found
        making = self._making.get(key)
        if making is None:
            is_refused = time.monotonic() - self._refused_at < _PAUSE_S
            if is_refused or len(self._making) >= _MAX_QUEUE:
                return None
            making = self._making[key] = asyncio.create_task(self._make(key, plain))
            making.add_done_callback(lambda _: self._making.pop(key, None))
        # a client that leaves does not take the body from those who wait for it too
        await asyncio.shield(making)
        return self._open_kept(key, plain)

    def _open_kept(self, key: str, plain: Representation) -> Representation | None:
        name = self._kept.get(key)
        if name is None:
            return None
        try:
            file = open_file(self._folder / name)
        except (OSError, WrongKindError):
            del self._kept[key]
            return None
        _, coding, sha256 = name.split(".")
        stats = os.fstat(file.fileno())
        if time.time() - stats.st_mtime > _TOUCH_S:
            # marks it as used; not on a read-only disk
            with suppress(OSError):
                os.utime(file.fileno())
        return replace(
            plain,
            file=file,
            size=stats.st_size,
            sha256=sha256,
            headers={**plain.headers, "Content-Encoding": coding},
        )

    async def _make(self, key: str, plain: Representation) -> None:
        """Make one; after an error of the disk none is made for a while."""
        try:
            # one at a time leaves the other processors to those who serve and fetch
            async with self._turn:
                await asyncio.to_thread(self._write, key, plain)
        except (OSError, StorageError) as error:
            self._refused_at = time.monotonic()
            get_logger().warning("encoding.refused", problem=str(error))

    def _write(self, key: str, plain: Representation) -> None:
        """Write an encoded body, whole or not at all, and make room for the next."""
        if self._site.data.free_bytes() < plain.size + self._site.config.storage.min_free:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind_of(self._folder) != "directory":
            # raises if anything else is there: it is not followed
            self._folder.mkdir()
        unfinished = self._folder / f"{secrets.token_hex(8)}{_UNFINISHED}"
        try:
            with open_file(plain.source) as source, unfinished.open("xb") as target:
                sha256, encoded_sha256 = _encode(source, target, key.rpartition(".")[2])
                flush(target.fileno(), unfinished)
            if sha256 == plain.sha256:
                name = f"{key}.{encoded_sha256}"
                unfinished.replace(self._folder / name)
                self._kept[key] = name
                self._trim()
        except (FileNotFoundError, WrongKindError):
            pass  # the plain body is gone by now, or another process has trimmed
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)

    def _trim(self) -> None:
        """Remove the least recently used beyond the limit, until a tenth of it is free."""
        limit = self._site.config.server.encoded_size
        with os.scandir(self._folder) as entries:
            stats = {
                entry.name: entry.stat(follow_symlinks=False)
                for entry in entries
                # one that is unfinished for long was abandoned
                if _NAME.fullmatch(entry.name) or entry.name.endswith(_UNFINISHED)
            }
        total = sum(one.st_size for one in stats.values())
        if total <= limit:
            return
        *older, _latest = sorted(stats, key=lambda name: stats[name].st_mtime)
        for name in older:
            if total <= limit * 9 // 10:
                break
            (self._folder / name).unlink(missing_ok=True)
            total -= stats[name].st_size


def _encode(source: IO[bytes], target: IO[bytes], coding: str) -> tuple[str, str]:
    """Encode `source` into `target`; return the digests of both."""
    if coding == "gzip":
        encoder = zlib.compressobj(_LEVEL, zlib.DEFLATED, _GZIP_WBITS)
    else:
        encoder = import_zstd().ZstdCompressor(level=_LEVEL)
    plain, encoded = hashlib.sha256(), hashlib.sha256()
    chunk = None
    while chunk != b"":
        chunk = source.read(READ_BYTES)
        plain.update(chunk)
        piece = encoder.compress(chunk) if chunk else encoder.flush()
        encoded.update(piece)
        target.write(piece)
    target.flush()
    return plain.hexdigest(), encoded.hexdigest()
