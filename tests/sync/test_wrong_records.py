"""A record that is wrong costs itself: the file that it speaks of is heard, and stays."""

from datetime import date, timedelta

import pytest
from msgspec.structs import replace

from mirror.archive.manifest import render_manifest
from mirror.model import Flag, Record
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.upstream.archive import day_name

BACK = 5


def put_record(world: World, record: Record) -> None:
    """Have the manifest say something else, under a right checksum, as a faulty program would."""
    records = world.records() | {record.date: record}
    world.data.manifest.write_bytes(render_manifest(records.values()))


async def repair(world: World) -> None:
    """Do as `verify --repair` does."""
    damage = verify(world.data, today=world.clock().date()).damage
    assert damage
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        await mirror.repair(damage)


@pytest.fixture
async def wrong(world: World) -> date:
    """A day held, with a digest on record that is not its body's."""
    await world.sync()
    record = world.records()[world.day(BACK)]
    put_record(world, replace(record, sha256="0" * 64))
    world.forget()
    return record.date


async def test_what_the_checksums_vouch_for_stays_though_upstream_is_gone(
    world: World, wrong: date
) -> None:
    body = world.body(wrong)
    del world.archive.objects[day_name(wrong)]

    await repair(world)

    assert world.body(wrong) == body
    assert world.quarantined(wrong) == []
    world.assert_sound()


async def test_what_upstream_proves_stays_and_is_not_fetched(world: World, wrong: date) -> None:
    body = world.body(wrong)
    # a poll has written the checksums by the wrong record
    world.data.sums.unlink()
    await world.sync()
    assert "0" * 64 in world.data.sums.read_text()
    world.forget()

    await repair(world)

    assert world.body(wrong) == body
    assert world.quarantined(wrong) == []
    assert [one.method for one in world.server.requests] == ["HEAD"]
    assert Flag.ADOPTED in world.records()[wrong].flags
    world.assert_sound()


async def test_a_body_that_nothing_speaks_for_goes_to_quarantine(world: World) -> None:
    await world.sync()
    day = world.day(BACK)
    path = world.data.archive / day_name(day)
    path.write_bytes(path.read_bytes().replace(b"GitHub", b"GitLab"))
    rotten = path.read_bytes()

    await repair(world)

    (kept,) = world.quarantined(day)
    assert (world.data.quarantine / kept.file).read_bytes() == rotten
    world.assert_sound()
    world.assert_identical()


async def test_a_final_day_with_a_wrong_record_goes_to_history_when_it_is_replaced(
    world: World, wrong: date
) -> None:
    body = world.body(wrong)
    at = world.clock() - timedelta(minutes=1)
    world.archive.put_day(wrong, 7, at)
    world.archive.write_index(at)

    await world.sync()

    assert world.quarantined(wrong) == []
    (version,) = world.predecessors(wrong)
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        await mirror.restore(version)
    assert world.body(wrong) == body


@pytest.mark.parametrize("field", ["name", "date"])
async def test_a_record_of_another_name_is_none(world: World, field: str) -> None:
    await world.sync()
    first, second = sorted(world.records().values(), key=lambda one: one.date)[:2]
    put_record(world, replace(first, **{field: getattr(second, field)}))
    before = world.published()
    world.forget()

    report = await world.sync()

    assert report.exit_code == 0
    assert [one.name for one in world.server.requests if one.method == "GET"] == ["index.jsonl"]
    assert world.published() == before
    world.assert_sound()


async def test_each_flipped_byte_of_the_books_is_noticed_and_healed_without_a_fetch(
    world: World,
) -> None:
    await world.sync()
    before, books = world.published(), (world.data.manifest, world.data.upstream)
    whole = {path: path.read_bytes() for path in books}
    places = [(path, place) for path in books for place in range(0, len(whole[path]), 71)]
    assert len(places) > 70
    for path, place in places:
        flipped = bytearray(whole[path])
        flipped[place] ^= 1 << place % 8
        path.write_bytes(flipped)
        world.forget()

        report = await world.sync()

        assert report.exit_code == 0
        asked = [one for one in world.server.requests if one.name.startswith("events-")]
        # proved by what they are, never fetched again; and here never more than two lines at once
        assert all(one.method == "HEAD" for one in asked)
        assert len(asked) <= 2
        assert world.published() == before
        world.assert_sound()
