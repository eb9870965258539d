"""Caches files compressed with gzip or zstd: each is made once, and may be deleted any time.

A file is named `SHA256.CODING.SHA256`: the digest of the plain body, the coding, and the digest of
what the file holds; so nothing kept can ever be taken for a body that has since been replaced, and
several processes may share the folder. Formats: RFC 1952 (gzip) and RFC 8878 (zstd, with a window
well below the 8 MB that RFC 9659 allows).
"""

import asyncio
import errno
import hashlib
import io
import os
import secrets
import time
import zlib
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import IO, Protocol

from msgspec import Struct

from mirror.archive.coding import import_zstd
from mirror.config.settings import Config
from mirror.errors import WrongKindError
from mirror.logs import get_logger
from mirror.store.disk import READ_BYTES, kind_of, open_file
from mirror.store.layout import DataDir

CODINGS = ("zstd", "gzip")
"""What is offered, the best first."""
_MIN_BYTES = 256
"""Smaller bodies are not worth a file."""
_GZIP_WBITS = 16 + zlib.MAX_WBITS
_LEVEL = 6
_MAX_QUEUE = 16
"""Bodies in the making; beyond them clients get the plain bytes instead of waiting."""
_TOUCH_S = 60
_ABANDONED_S = 3600
_PAUSE_S = 60
"""How long nothing is tried on a disk that refused."""

_Key = tuple[str, str]
"""Digest of the plain body, and coding."""


class Encoded(Struct):
    """An opened body in a content coding; size and digest are of the encoded bytes."""

    file: IO[bytes]
    size: int
    sha256: str


class _Encoder(Protocol):
    def compress(self, data: bytes, /) -> bytes: ...
    def flush(self) -> bytes: ...


class EncodedBodies:
    """Makes, keeps and opens encoded bodies. To be used on one event loop.

    Args:
        data: the data directory; its folder `encoded/` is made when first wanted.
    """

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._folder = data.encoded
        self._kept: dict[_Key, str] | None = None
        self._bytes = 0
        self._making: dict[_Key, asyncio.Future[bool]] = {}
        # one maker leaves the other processors to those who serve and fetch
        self._maker = ThreadPoolExecutor(1, "encode")
        self._refused_at = -float(_PAUSE_S)

    def close(self) -> None:
        """Let the thread end."""
        self._maker.shutdown(wait=False, cancel_futures=True)

    async def open(
        self, plain: Path | bytes, size: int, sha256: str, coding: str, config: Config
    ) -> Encoded | None:
        """Open a body in a coding, made first if it is not kept.

        Args:
            plain: the body, or where it is published.
            size: its bytes.
            sha256: its digest; whatever has another one is not encoded.
            coding: one of `CODINGS`.
            config: bounds of the folder and of the disk.

        Returns:
            None if it is not available now: an error of the disk, a small body, too many waiting.
        """
        if size < _MIN_BYTES or not config.server.encoded_size:
            return None
        key = sha256, coding
        if self._kept is None:
            self._kept = await asyncio.to_thread(self._scan)
        found = self._open_kept(key)
        if found is None and await self._is_made(key, plain, size, config):
            found = self._open_kept(key)
        return found

    def _open_kept(self, key: _Key) -> Encoded | None:
        kept = self._kept or {}
        name = kept.get(key)
        if name is None:
            return None
        found = _open(self._folder / name)
        if found is None:
            del kept[key]
        return found

    async def _is_made(self, key: _Key, plain: Path | bytes, size: int, config: Config) -> bool:
        making = self._making.get(key)
        if making is None:
            is_refused = time.monotonic() - self._refused_at < _PAUSE_S
            if is_refused or len(self._making) >= _MAX_QUEUE:
                return False
            loop = asyncio.get_running_loop()
            making = loop.run_in_executor(self._maker, self._make, key, plain, size, config)
            self._making[key] = making
            making.add_done_callback(lambda _: self._making.pop(key, None))
        # a client that leaves does not take the body from those who wait for it too
        return await asyncio.shield(making)

    def _make(self, key: _Key, plain: Path | bytes, size: int, config: Config) -> bool:
        """Make one, on the maker's thread; after an error of the disk none is made for a while."""
        try:
            self._prepare(size + config.storage.min_free)
            name = self._write(key, plain)
            if name is None:
                return False
            self._bytes += (self._folder / name).stat().st_size
            if self._bytes > config.server.encoded_size:
                self._trim(config.server.encoded_size, spare=name)
        except OSError as error:
            self._refused_at = time.monotonic()
            get_logger().warning("encoding.refused", problem=str(error))
            return False
        if self._kept is not None:
            self._kept[key] = name
        return True

    def _prepare(self, needed: int) -> None:
        """Make the folder if there is none, and check the room; raises OSError."""
        if self._data.free_bytes() < needed:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        if kind_of(self._folder) != "directory":
            # raises if anything else is there: it is not followed
            self._folder.mkdir()

    def _write(self, key: _Key, plain: Path | bytes) -> str | None:
        """Write an encoded body, whole or not at all; None if the plain one is gone by now."""
        sha256, coding = key
        unfinished = self._folder / f"{secrets.token_hex(8)}.part"
        try:
            with _open_plain(plain) as source, unfinished.open("xb") as target:
                digests = _encode(source, target, coding)
                os.fsync(target.fileno())
            if digests[0] != sha256:
                return None
            name = f"{sha256}.{coding}.{digests[1]}"
            unfinished.replace(self._folder / name)
        except (FileNotFoundError, WrongKindError):
            return None
        finally:
            with suppress(OSError):
                unfinished.unlink(missing_ok=True)
        return name

    def _scan(self) -> dict[_Key, str]:
        """Return what is kept, and sum its bytes."""
        kept: dict[_Key, str] = {}
        with suppress(OSError):
            for name, stats in self._files():
                if (key := _parse_name(name)) is not None:
                    kept[key] = name
                    self._bytes += stats.st_size
        return kept

    def _trim(self, limit: int, *, spare: str) -> None:
        """Remove the least recently used, until a tenth is free, and abandoned parts."""
        found: list[tuple[float, int, str]] = []
        for name, stats in self._files():
            if _parse_name(name) is not None:
                found.append((stats.st_mtime, stats.st_size, name))
            elif name.endswith(".part") and time.time() - stats.st_mtime > _ABANDONED_S:
                (self._folder / name).unlink(missing_ok=True)
        self._bytes = sum(size for _, size, _ in found)
        for _, size, name in sorted(found):
            if self._bytes <= limit * 9 // 10:
                break
            if name != spare:
                (self._folder / name).unlink(missing_ok=True)
                self._bytes -= size

    def _files(self) -> Iterator[tuple[str, os.stat_result]]:
        with os.scandir(self._folder) as entries:
            for entry in entries:
                yield entry.name, entry.stat(follow_symlinks=False)


def _parse_name(name: str) -> _Key | None:
    match name.split("."):
        case [sha256, coding, encoded] if coding in CODINGS and len(sha256) == len(encoded) == 64:
            return sha256, coding
    return None


def _open(path: Path) -> Encoded | None:
    try:
        file = open_file(path)
    except (OSError, WrongKindError):
        return None
    stats = os.fstat(file.fileno())
    if time.time() - stats.st_mtime > _TOUCH_S:
        # marks it as used; not on a read-only disk
        with suppress(OSError):
            os.utime(file.fileno())
    return Encoded(file, stats.st_size, path.name.rpartition(".")[2])


def _open_plain(plain: Path | bytes) -> IO[bytes]:
    return io.BytesIO(plain) if isinstance(plain, bytes) else open_file(plain)


def _encode(source: IO[bytes], target: IO[bytes], coding: str) -> tuple[str, str]:
    """Encode `source` into `target`; return the digests of both."""
    encoder: _Encoder
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
