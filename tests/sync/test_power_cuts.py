"""Whenever the power is cut, and whatever upstream does until the next run: nothing is lost.

A plain run takes a sample of the moments; `-m ""` takes them all.
"""

import hashlib
import random
from collections.abc import Awaitable, Callable
from datetime import timedelta

import pytest

from mirror.archive.listings import parse_sums
from mirror.store.aside import read_version
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.power import Image, restore, watched
from tests.upstream.archive import day_name

SAMPLE = 15
ROTTEN = b"rotten\n"
SHRINKING, GROWING, SAME = 6, 5, 4
"""The days that change, by how far they lie back; `SAME` keeps its size and its date."""


def digest_of(body: bytes) -> str:
    return hashlib.sha256(body).hexdigest()


def assert_checksums_hold(image: Image) -> None:
    """`sha256sum -c SHA256SUMS` finds nothing wrong."""
    if "archive/SHA256SUMS" in image:
        for name, digest in parse_sums(image["archive/SHA256SUMS"].body).items():
            body = image[f"archive/{name}"].body
            assert body == ROTTEN or digest_of(body) == digest, name


def move_on(world: World, events: int, *days: int) -> None:
    """Have upstream change days that are long final."""
    at = world.clock() - timedelta(minutes=1)
    for back in days:
        world.archive.put_day(world.day(back), events + back, at)
    world.archive.write_index(at)


async def assert_nothing_is_lost(world: World, image: Image) -> None:
    """What was published is so, or in history, once upstream's days have shrunk and been polled."""
    assert_checksums_hold(image)
    restore(image, world.data.root)
    there = {
        digest_of(content.body): (day, name)
        for name, content in image.items()
        if name.startswith("archive/events-")
        and content.body != ROTTEN
        and (day := world.data.days.day_of(name.removeprefix("archive/"))) is not None
    }

    report = await world.sync()

    assert report.exit_code == 0, report
    world.assert_sound()
    world.assert_identical()
    kept = {
        version.sha256
        for day, _ in there.values()
        for version in world.predecessors(day)
        if digest_of(b"".join(read_version(world.data, day, version.sha256))) == version.sha256
    }
    published = {digest_of(body) for body in world.published().values()}
    for digest, (_, name) in there.items():
        assert digest in kept | published, name
    # settled: nothing is left over for the next one
    world.forget()
    assert (await world.sync()).exit_code == 0
    assert set(world.names_asked()) == {"index.jsonl"}


async def cut_everywhere(
    world: World, run: Callable[[], Awaitable[object]], *, share: int | None = SAMPLE
) -> None:
    """Let something run, and go on from what a power cut at any moment of it leaves."""
    with watched(world.data.root) as cuts:
        await run()
    images = {str(sorted(image.items())): image for image in cuts.images}
    chosen = list(images.values())
    if share is not None and len(chosen) > share:
        chosen = random.Random(0).sample(chosen, share)
    move_on(world, 3, SHRINKING, GROWING, SAME, 3)
    for image in chosen:
        await assert_nothing_is_lost(world, image)


SHARES = [SAMPLE, pytest.param(None, marks=pytest.mark.slow)]


async def change(world: World) -> None:
    """Poll once, then have upstream change days, and add one that is final at once."""
    await world.sync()
    world.clock.advance(days=1)
    at = world.clock() - timedelta(minutes=1)
    world.archive.put_day(world.day(GROWING), 99, at)
    world.archive.put_day(world.day(SHRINKING), 20, at)
    world.archive.put_day(world.day(1), 30, at)
    name = day_name(world.day(SAME))
    same = world.archive[name]
    body = same.body.replace(b"GitHub", b"GitLab")
    world.archive.put(name, body, same.last_modified, meta=same.meta)
    world.archive.claims[world.day(SAME)] = same.body.count(b"\n") + 1
    world.archive.write_index(at)
    world.archive.claims.clear()


@pytest.mark.parametrize("share", SHARES)
async def test_a_first_poll_cut_off_anywhere(world: World, share: int | None) -> None:
    await cut_everywhere(world, world.sync, share=share)


@pytest.mark.parametrize("share", SHARES)
async def test_a_poll_that_replaces_final_days_cut_off_anywhere(
    world: World, share: int | None
) -> None:
    await change(world)
    await cut_everywhere(world, world.sync, share=share)


@pytest.mark.parametrize("share", SHARES)
async def test_an_adoption_cut_off_anywhere(world: World, share: int | None) -> None:
    await world.sync()
    world.data.manifest.unlink()
    await cut_everywhere(world, world.sync, share=share)


@pytest.mark.parametrize("share", SHARES)
async def test_a_repair_cut_off_anywhere(world: World, share: int | None) -> None:
    await world.sync()
    for back in (SHRINKING, GROWING):
        (world.data.archive / day_name(world.day(back))).write_bytes(ROTTEN)

    async def repair() -> None:
        damage = verify(world.data, today=world.clock().date()).damage
        async with open_mirror(world.config, world.data, now=world.clock) as mirror:
            await mirror.repair(damage)

    await cut_everywhere(world, repair, share=share)
