"""Every digest offered must be right, each over the bytes that it is of: DESIGN 5, digests."""

import base64
import gzip
import hashlib
from dataclasses import replace

import pytest

from mirror.archive.upstream import ETags
from mirror.model import Flag
from tests.conftest import World
from tests.sync.answers import Header
from tests.upstream import faults
from tests.upstream.archive import StoredObject, day_name
from tests.upstream.launches import make_day
from tests.upstream.wire import Exchange

OTHER = b"another body"


def b64(algorithm: str, body: bytes) -> str:
    digest = hashlib.new(algorithm, body, usedforsecurity=False).digest()
    return base64.b64encode(digest).decode()


def wrong_digests() -> dict[str, dict[str, str]]:
    md5, sha256 = b64("md5", OTHER), b64("sha256", OTHER)
    return {
        "x-goog-hash": {"x-goog-hash": f"crc32c=AAAAAA==,md5={md5}"},
        "content-md5": {"content-md5": md5},
        "repr-digest": {"repr-digest": f"sha-256=:{sha256}:"},
        "repr-digest md5": {"repr-digest": f"md5=:{md5}:"},
        "content-digest": {"content-digest": f"sha-512=:AAAA:, sha-256=:{sha256}:"},
    }


@pytest.mark.parametrize("headers", wrong_digests().values(), ids=wrong_digests().keys())
async def test_a_body_that_is_not_its_digests_is_refused_for_good(
    world: World, headers: dict[str, str]
) -> None:
    day = world.day(3)
    world.server.style.etag = "none"
    world.server.fail(day_name(day), Header(headers), times=None)

    codes = []
    for _ in range(3):
        codes.append((await world.sync()).exit_code)
        world.clock.advance(hours=6)

    assert codes == [3, 3, 3], "a wrong digest is no matter of time"
    assert world.body(day) is None
    (refused,) = world.quarantined(day)
    assert next(iter(headers)) in refused.reason
    assert len(world.records()) == 9
    world.assert_sound()
    world.server.calm()
    assert (await world.sync()).exit_code == 0


@pytest.mark.parametrize("name", [*wrong_digests(), "etag"])
async def test_a_byte_flipped_on_the_way_is_got_past(world: World, name: str) -> None:
    """The body is wrong, the digest right, the count unchanged: only the digest can tell."""
    day = world.day(3)
    body = world.archive[day_name(day)].body
    right = {
        "x-goog-hash": {"x-goog-hash": f"md5={b64('md5', body)}"},
        "content-md5": {"content-md5": b64("md5", body)},
        "repr-digest": {"repr-digest": f"sha-256=:{b64('sha256', body)}:"},
        "repr-digest md5": {"repr-digest": f"md5=:{b64('md5', body)}:"},
        "content-digest": {"content-digest": f"sha-256=:{b64('sha256', body)}:"},
        "etag": {"etag": f'"{hashlib.md5(body).hexdigest()}"'},
    }[name]

    async def flipped(exchange: Exchange) -> None:
        exchange.reply = exchange.reply.having(
            **{key.replace("-", "_"): value for key, value in right.items()}
        )
        await faults.Corrupt(at=7, mask=2)(exchange)

    world.server.style.etag = "none"
    world.server.fail(day_name(day), flipped)

    report = await world.sync()

    assert report.exit_code == 0
    assert [one.headers.get("cache-control") for one in world.asked_for(day)] == [None, "no-cache"]
    world.assert_identical()


@pytest.mark.parametrize("style", ["md5", "opaque", "weak", "none"])
@pytest.mark.parametrize("hide_meta", [True, False])
async def test_every_kind_of_etag_will_do(world: World, style, hide_meta: bool) -> None:
    world.server.style.etag = style
    world.server.style.hide_meta = hide_meta
    world.archive.publish(world.clock())

    assert (await world.sync()).exit_code == 0

    assert world.server.count() == 12
    world.assert_identical()
    world.forget()
    quiet = await world.sync()
    today = day_name(world.day(0))
    assert quiet.exit_code == 0
    assert [(one.name, one.status) for one in world.server.requests] == [
        ("index.jsonl", 304),
        (today, 304),
    ]
    # a change is noticed with any of them
    world.archive.publish(world.clock.advance(hours=2))
    assert (await world.sync()).exit_code == 0
    world.assert_identical()


async def test_the_buckets_own_digests_are_checked_over_the_stored_bytes(world: World) -> None:
    world.server.style.goog_hash = True

    assert (await world.sync()).exit_code == 0

    assert world.server.count() == 11
    assert all(record.generation for record in world.records().values())
    world.assert_identical()


@pytest.mark.parametrize("served", ["plain", "gzipped"])
@pytest.mark.parametrize("goog_hash", [True, False])
async def test_a_day_stored_as_gzip_is_published_plain(
    world: World, served: str, *, goog_hash: bool
) -> None:
    world.server.style.goog_hash = goog_hash
    day = world.day(3)
    plain = world.archive[day_name(day)]
    stored = replace(plain, body=gzip.compress(plain.body), encoding="gzip", etag="")
    world.archive.objects[day_name(day)] = stored
    if served == "gzipped":

        async def as_stored(exchange: Exchange) -> None:
            reply = exchange.reply.having(body=stored.body, content_encoding="gzip")
            await exchange.send(reply)

        world.server.fail(day_name(day), as_stored, times=None)

    codes = []
    for _ in range(2):
        codes.append((await world.sync()).exit_code)
        world.clock.advance(hours=6)

    # where nothing says that it is stored as gzip, its ETag alone contradicts until it has stood
    assert codes == ([0, 0] if goog_hash or served == "gzipped" else [3, 0])
    assert world.body(day) == plain.body
    world.assert_sound()


class TestETagsThatAreNoDigests:
    """Strong and 32 hex digits long, and yet not the body's MD5."""

    @staticmethod
    def invent(stored: StoredObject) -> StoredObject:
        return replace(stored, etag=hashlib.md5(stored.etag.encode()).hexdigest())

    async def test_where_none_ever_matched_they_are_opaque(self, world: World) -> None:
        for name, stored in world.archive.objects.items():
            world.archive.objects[name] = self.invent(stored)
        world.configure("http", concurrency=1)

        report = await world.sync()

        assert report.exit_code == 0
        assert world.upstream().etags is ETags.OPAQUE
        # a few bodies were asked for twice, and the index; the rest is believed
        assert world.server.count() < 22
        world.assert_identical()
        world.forget()
        await world.sync()
        assert [(one.name, one.status) for one in world.server.requests] == [("index.jsonl", 304)]

    async def test_what_is_known_of_them_is_kept(self, world: World) -> None:
        for name, stored in world.archive.objects.items():
            world.archive.objects[name] = self.invent(stored)
        await world.sync()
        day = world.day(2)
        changed = world.archive.put_day(day, 77, world.clock.advance(hours=1))
        world.archive.objects[day_name(day)] = self.invent(changed)
        world.archive.write_index(world.clock())
        world.forget()

        assert (await world.sync()).exit_code == 0

        assert len(world.asked_for(day)) == 1

    async def test_where_others_matched_the_body_is_on_trial(self, world: World) -> None:
        await world.sync()
        assert world.upstream().etags is ETags.DIGESTS
        day = world.day(2)
        changed = world.archive.put_day(day, 77, world.clock.advance(hours=1))
        world.archive.objects[day_name(day)] = self.invent(changed)
        world.archive.write_index(world.clock())

        assert (await world.sync()).exit_code == 3

        assert "etag" in world.quarantined(day)[0].reason
        world.clock.advance(hours=6)
        taken = await world.sync()
        assert taken.exit_code == 0
        assert world.records()[day].flags == (Flag.DISPUTED,)
        world.forget()
        await world.sync()
        assert world.names_asked() == ["index.jsonl"]

    async def test_a_wrong_etag_beside_another_wrong_digest_is_no_trial(self, world: World) -> None:
        day = world.day(2)
        headers = {"etag": f'"{"0" * 32}"', "content-md5": b64("md5", OTHER)}
        world.server.fail(day_name(day), Header(headers), times=None)
        for _ in range(3):
            assert (await world.sync()).exit_code == 3
            world.clock.advance(hours=6)


async def test_a_digest_that_cannot_be_read_is_as_if_not_offered(world: World) -> None:
    headers = {
        "content-md5": "!!!",
        "repr-digest": "sha-256=:####:, sha-256, md5=::",
        "x-goog-hash": "md5=,crc32c",
        "etag": '"unterminated',
        "x-goog-meta-events-count": "many",
        "x-goog-generation": "-1",
        "last-modified": "yesterday",
    }
    world.server.fail("events-*", Header(headers), times=None)

    assert (await world.sync()).exit_code == 0

    world.assert_identical()


async def test_a_same_count_rewrite_of_an_open_day_is_found_by_its_etag(world: World) -> None:
    today = world.day(0)
    world.archive.put_day(today, make_day(today, 20), world.clock())
    world.archive.write_index(world.clock())
    await world.sync()
    world.archive.put_day(today, make_day(today, 20, seed=1), world.clock.advance(hours=1))

    assert (await world.sync()).exit_code == 0

    assert world.body(today) == make_day(today, 20, seed=1)
