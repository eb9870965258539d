"""Bodies in gzip and zstd, for those who accept them: made once, kept, true, never in the way."""

import asyncio
import base64
import gzip
import hashlib
import io
import os
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import msgspec
import pytest

from mirror.config.settings import Config, ServerConfig, StorageConfig
from mirror.store.layout import DataDir
from mirror.web.answer import Representation
from mirror.web.encodings import EncodedBodies
from mirror.web.site import Site
from tests.command import Shell
from tests.web.serving import make_site

if sys.version_info >= (3, 14):
    from compression import zstd
else:
    from backports import zstd

DECODE = {"gzip": gzip.decompress, "zstd": zstd.decompress}


def kept(shell: Shell) -> list[str]:
    return sorted(path.name for path in shell.data.encoded.glob("*"))


def accepting(accepted: str, **headers: str) -> dict[str, str]:
    renamed = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"Accept-Encoding": accepted, **renamed}


@pytest.mark.parametrize("coding", ["gzip", "zstd"])
@pytest.mark.parametrize("name", ["index.jsonl", "SHA256SUMS", "", "day"])
async def test_whoever_accepts_it_gets_it_whole_with_digests_of_its_own(
    shell: Shell, url: str, http: aiohttp.ClientSession, coding: str, name: str
) -> None:
    path = url + (f"events-{shell.days[0]}.jsonl" if name == "day" else name)
    async with http.get(path) as answer:
        plain, plain_etag = await answer.read(), answer.headers["ETag"]
        assert "Content-Encoding" not in answer.headers
        assert answer.headers["Vary"] == "Accept-Encoding"
    for _ in ("made", "kept"):
        async with http.get(path, headers=accepting(coding)) as answer:
            body = await answer.read()
            assert DECODE[coding](body) == plain
            assert len(body) < len(plain)
            digest = base64.b64encode(hashlib.sha256(body).digest()).decode()
            assert answer.headers["Content-Encoding"] == coding
            assert answer.headers["Vary"] == "Accept-Encoding"
            assert answer.headers["ETag"] == f'{plain_etag[:-1]}-{coding}"'
            assert answer.headers["Repr-Digest"] == f"sha-256=:{digest}:"
            assert answer.headers["Content-Length"] == str(len(body))
        async with http.head(path, headers=accepting(coding)) as head:
            assert {**head.headers, "Date": ""} == {**answer.headers, "Date": ""}
    assert len(kept(shell)) == 1


async def test_conditions_are_of_the_representation_that_is_sent(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    path = f"{url}events-{shell.days[0]}.jsonl"
    async with http.get(path, headers=accepting("gzip")) as whole:
        body, etag = await whole.read(), whole.headers["ETag"]
    async with http.get(path) as whole:
        plain_body, plain = await whole.read(), whole.headers["ETag"]
    for headers, status, says, sent in (
        (accepting("gzip", If_None_Match=etag), 304, etag, b""),
        (accepting("gzip", If_None_Match=plain), 304, plain, b""),
        (accepting("identity", If_None_Match=etag), 200, plain, plain_body),
        (accepting("zstd, gzip;q=0.5", If_None_Match=plain), 304, plain, b""),
        (accepting("gzip", If_Match=etag), 200, etag, body),
        (accepting("gzip", If_Match='"x"'), 412, etag, b""),
        (accepting("gzip", Range="bytes=5-9"), 206, plain, plain_body[5:10]),
        (accepting("gzip", Range="bytes=5-9", If_Range=etag), 206, etag, body[5:10]),
        (accepting("gzip", Range="bytes=5-", If_Range=etag), 206, etag, body[5:]),
        (accepting("gzip", Range="bytes=5-9", If_Range=plain), 206, plain, plain_body[5:10]),
        (accepting("zstd", Range="bytes=5-9", If_Range=etag), 200, plain, plain_body),
        (accepting("identity", Range="bytes=5-9", If_Range=etag), 200, plain, plain_body),
    ):
        async with http.get(path, headers=headers) as answer:
            found = (answer.status, answer.headers["ETag"], await answer.read())
            assert found == (status, says, sent), headers
            assert answer.headers["Vary"] == "Accept-Encoding"


async def test_that_it_is_unchanged_can_be_said_without_making_it(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    path = f"{url}events-{shell.days[0]}.jsonl"
    digest = hashlib.sha256(shell.body(shell.days[0])).hexdigest()
    headers = accepting("gzip", If_None_Match=f'"{digest}-gzip"')
    async with http.get(path, headers=headers) as answer:
        assert answer.status == 304
    assert kept(shell) == []


async def test_a_body_that_was_replaced_is_not_sent_from_what_was_kept(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    day = shell.days[2]
    path = f"{url}events-{day}.jsonl"
    async with http.get(path, headers=accepting("gzip")) as answer:
        before = answer.headers["ETag"]
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 77, at)
    shell.archive.write_index(at)
    await shell.synced()

    async with http.get(path, headers=accepting("gzip", If_None_Match=before)) as answer:
        assert answer.status == 200
        assert gzip.decompress(await answer.read()) == shell.body(day)


async def test_many_who_ask_at_once_have_it_made_once(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    async def ask() -> bytes:
        async with http.get(f"{url}events-{shell.days[0]}.jsonl", headers=accepting("zstd")) as got:
            return await got.read()

    bodies = set(await asyncio.gather(*(ask() for _ in range(30))))

    assert [zstd.decompress(body) for body in bodies] == [shell.body(shell.days[0])]
    assert len(kept(shell)) == 1


@pytest.mark.parametrize("trouble", ["a file", "a symlink", "a dangling symlink"])
async def test_without_a_place_to_keep_them_plain_bytes_are_sent(
    shell: Shell, url: str, http: aiohttp.ClientSession, tmp_path: Path, trouble: str
) -> None:
    match trouble:
        case "a file":
            shell.data.encoded.write_bytes(b"")
        case "a symlink":
            (tmp_path / "elsewhere").mkdir()
            shell.data.encoded.symlink_to(tmp_path / "elsewhere")
        case _:
            shell.data.encoded.symlink_to(tmp_path / "nowhere")
    for day in shell.days[:2]:
        async with http.get(f"{url}events-{day}.jsonl", headers=accepting("gzip")) as answer:
            assert answer.status == 200
            assert await answer.read() == shell.body(day)
            assert answer.headers["Vary"] == "Accept-Encoding"
    assert not list(tmp_path.glob("elsewhere/*"))


async def test_what_was_thrown_away_is_made_again(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    for _ in range(2):
        path = f"{url}events-{shell.days[0]}.jsonl"
        async with http.get(path, headers=accepting("gzip")) as answer:
            assert gzip.decompress(await answer.read()) == shell.body(shell.days[0])
        (file,) = shell.data.encoded.iterdir()
        file.unlink()


@pytest.fixture
def site(tmp_path: Path) -> Site:
    return make_site(DataDir(tmp_path), now=lambda: datetime.now(UTC), config=bounded(10**6))


@pytest.fixture
def bodies(site: Site) -> EncodedBodies:
    return EncodedBodies(site)


def some_body(number: int) -> bytes:
    return b"".join(b"%d %d\n" % (number, line * line) for line in range(2000))


def bounded(size: int, min_free: int = 0) -> Config:
    server = msgspec.structs.replace(ServerConfig(), encoded_size=size)
    return Config(server=server, storage=StorageConfig(min_free=min_free))


def plain(source: Path, sha256: str, size: int = 9999) -> Representation:
    at = datetime(2026, 3, 6, tzinfo=UTC)
    return Representation(io.BytesIO(), source, size, sha256, sha256, at, {})


async def ask(cache: EncodedBodies, body: bytes) -> bytes | None:
    sha256 = hashlib.sha256(body).hexdigest()
    with tempfile.NamedTemporaryFile() as source:
        source.write(body)
        source.flush()
        found = await cache.open(plain(Path(source.name), sha256, len(body)), "gzip")
    if found is None:
        return None
    with found.file as file:
        encoded = file.read()
    assert (found.size, found.sha256) == (len(encoded), hashlib.sha256(encoded).hexdigest())
    return encoded


async def test_what_was_used_longest_ago_makes_room(
    bodies: EncodedBodies, site: Site, tmp_path: Path
) -> None:
    one = len(gzip.compress(some_body(0)))
    site.config = bounded(one * 5)
    for number in range(4):
        assert await ask(bodies, some_body(number))
    for path in (tmp_path / "encoded").iterdir():
        os.utime(path, (0, time.time() - 1000))
    assert await ask(bodies, some_body(0))
    for number in range(4, 7):
        assert await ask(bodies, some_body(number))

    left = {path.name.split(".")[0] for path in (tmp_path / "encoded").iterdir()}
    sizes = sum(path.stat().st_size for path in (tmp_path / "encoded").iterdir())
    assert sizes <= one * 5
    assert hashlib.sha256(some_body(0)).hexdigest() in left
    assert not left & {hashlib.sha256(some_body(number)).hexdigest() for number in (1, 2, 3)}


async def test_another_process_finds_what_is_kept(
    bodies: EncodedBodies, site: Site, tmp_path: Path
) -> None:
    made = await ask(bodies, some_body(1))
    (file,) = (tmp_path / "encoded").iterdir()
    os.utime(file, (1, 1))
    (tmp_path / "encoded" / "stranger").write_bytes(b"")
    other = EncodedBodies(site)

    assert await ask(other, some_body(1)) == made
    assert file.stat().st_mtime > time.time() - 100


async def test_neither_a_full_disk_nor_a_body_of_another_digest_is_a_failure(
    bodies: EncodedBodies, site: Site, tmp_path: Path
) -> None:
    forged = hashlib.sha256(b"another").hexdigest()
    another = tmp_path / "another"
    another.write_bytes(some_body(1))
    assert await bodies.open(plain(another, forged), "gzip") is None
    gone = tmp_path / "gone"
    assert await bodies.open(plain(gone, forged), "gzip") is None
    assert list((tmp_path / "encoded").iterdir()) == []
    site.config = bounded(10**6, min_free=2**60)
    assert await ask(bodies, some_body(2)) is None
    # for a while nothing more is tried on such a disk
    site.config = bounded(10**6)
    assert await ask(bodies, some_body(3)) is None
    assert list((tmp_path / "encoded").iterdir()) == []


async def test_what_is_not_worth_it_or_not_wanted_is_not_made(
    bodies: EncodedBodies, site: Site, tmp_path: Path
) -> None:
    assert await ask(bodies, b"") is None
    assert await ask(bodies, b"short\n") is None
    site.config = bounded(0)
    assert await ask(bodies, some_body(1)) is None
    assert not (tmp_path / "encoded").exists()
