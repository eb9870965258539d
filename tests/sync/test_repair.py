"""Repair and restore: where a body comes from, what is said of it, and what is on record then."""

import os
from collections.abc import Iterator
from datetime import date, timedelta

import pytest
import structlog
from msgspec.structs import replace
from structlog.testing import capture_logs

from mirror.archive.manifest import render_manifest
from mirror.archive.ports import Observer, PollEvent, ignore
from mirror.errors import StorageError
from mirror.model import Damage, DamageKind, Flag, Outcome, Plan, Reason, Repair
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day


@pytest.fixture(autouse=True)
def fresh_logs() -> Iterator[None]:
    """Let loggers that were used before be captured too."""
    yield
    structlog.reset_defaults()


async def repair(world: World, *found: Damage, observer: Observer = ignore) -> Repair:
    """Do as `verify --repair` does, with what it finds or what is given."""
    damage = found or verify(world.data, today=world.clock().date()).damage
    assert damage
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        return await mirror.repair(damage, observer)


async def restore(world: World, day: date) -> None:
    """Do as `restore` does, with the oldest version that is kept of a day."""
    version = world.predecessors(day)[0]
    async with open_mirror(world.config, world.data, now=world.clock) as mirror:
        await mirror.restore(version)


async def keep_in_history(world: World, day: date) -> bytes:
    """Have the body of a day in history, and the same one published again."""
    body = world.body(day)
    assert body is not None
    for lines in (7, body):
        world.archive.put_day(day, lines, world.clock.advance(minutes=1))
        world.archive.write_index(world.clock())
        assert (await world.sync()).exit_code == 0
    assert world.body(day) == body
    return body


def spoil(world: World, *days: date) -> None:
    """Change a byte of published files; their sizes stay."""
    for day in days:
        path = world.data.archive / day_name(day)
        path.write_bytes(path.read_bytes().replace(b"GitHub", b"GitLab", 1))


def damaged(day: date, kind: DamageKind) -> Damage:
    return Damage(day_name(day), kind, "found by a verification", day)


class TestRepair:
    async def test_each_day_comes_from_the_best_source_there_is_and_that_is_said(
        self, world: World
    ) -> None:
        await world.sync()
        proved, fetched, kept, lost = (world.day(back) for back in (2, 3, 4, 5))
        before = await keep_in_history(world, kept)
        records = world.records()
        spoil(world, fetched, kept, lost)
        for day in (kept, lost):
            world.archive.remove(day_name(day))
        wrong = records | {proved: replace(records[proved], sha256="0" * 64)}
        world.data.manifest.write_bytes(render_manifest(wrong.values()))

        with capture_logs() as logs:
            found = await repair(world)

        assert found.sources == {proved: "the file", fetched: "upstream", kept: "history"}
        assert found.changes == ()
        assert world.body(fetched) == world.archive[day_name(fetched)].body
        assert world.body(kept) == before
        assert world.body(lost) is None
        (aside,) = world.quarantined(lost)
        assert aside.reason == "it was published, and is rotten"
        told = {one["event"]: one for one in logs if one["log_level"] in ("info", "error")}
        assert told == {
            "file.repaired": {
                "event": "file.repaired",
                "log_level": "info",
                "file": day_name(kept),
                "source": "history",
            },
            "file.lost": {
                "event": "file.lost",
                "log_level": "error",
                "file": day_name(lost),
                "sha256": records[lost].sha256,
            },
        }
        world.assert_sound()

    async def test_what_upstream_has_changed_by_then_is_said_too(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        old = world.records()[day]
        spoil(world, day)
        world.archive.put_day(day, make_day(day, old.lines, seed=1), world.clock())

        found = await repair(world)

        assert found.sources == {day: "upstream"}
        (change,) = found.changes
        assert (change.day, change.sha256_before) == (day, old.sha256)

    async def test_the_plan_is_shown_before_anything_is_fetched_newest_day_first(
        self, world: World
    ) -> None:
        await world.sync()
        days = [world.day(back) for back in (1, 2, 3)]
        before = [world.records()[day] for day in days]
        spoil(world, *days)
        seen: list[PollEvent] = []

        await repair(world, observer=seen.append)

        (plan,) = (one for one in seen if isinstance(one, Plan))
        assert [(due.date, due.name, due.reason) for due in plan.due] == [
            (day, day_name(day), Reason.DAMAGED) for day in days
        ]
        assert [due.expected for due in plan.due] == [record.lines for record in before]
        assert (plan.listed, plan.estimated_bytes) == (10, sum(record.size for record in before))
        ended = [seen.index(one) for one in seen if isinstance(one, Outcome)]
        assert len(ended) == 3
        assert seen.index(plan) < min(ended)

    async def test_a_body_that_the_index_contradicts_is_not_taken_for_the_one_lost(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(3)
        before = await keep_in_history(world, day)
        world.server.style.hide_meta = True
        world.archive.put_day(day, 9, world.clock())
        spoil(world, day)

        assert (await repair(world)).sources == {day: "history"}

        assert world.body(day) == before
        world.assert_sound()

    async def test_a_file_that_cannot_be_read_is_not_taken_for_upstreams(
        self, world: World
    ) -> None:
        await world.sync()
        kept, lost = world.day(3), world.day(4)
        before = await keep_in_history(world, kept)
        for day in (kept, lost):
            world.server.fail(day_name(day), faults.Status(404), times=None)
        unreadable = [damaged(day, DamageKind.UNREADABLE) for day in (kept, lost)]

        assert (await repair(world, *unreadable)).sources == {kept: "history"}

        assert (world.body(kept), world.body(lost)) == (before, None)
        assert day_name(lost) not in world.data.index.read_text()
        world.assert_sound()

    async def test_a_file_that_is_gone_comes_back_and_others_are_not_asked_for(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(3)
        (world.data.archive / day_name(day)).unlink()
        world.forget()

        assert (await repair(world)).sources == {day: "upstream"}

        assert world.names_asked() == [day_name(day)]
        world.assert_sound()
        world.assert_identical()

    async def test_what_stands_in_a_files_place_is_left_for_a_person(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        path = world.data.archive / day_name(day)
        path.unlink()
        path.mkdir()
        world.forget()

        assert (await repair(world, damaged(day, DamageKind.WRONG_KIND))).sources == {}

        assert path.is_dir()
        assert world.names_asked() == []

    async def test_a_file_nobody_knows_is_left_where_it_is(self, world: World) -> None:
        await world.sync()
        day = world.day(300)
        path = world.data.archive / day_name(day)
        path.write_bytes(make_day(day, 5))

        assert (await repair(world, damaged(day, DamageKind.UNRECORDED))).sources == {}

        assert path.read_bytes() == make_day(day, 5)
        assert world.quarantined(day) == []
        assert day not in world.records()


class TestRestore:
    async def test_the_record_says_when_it_came_first_and_that_it_was_put_back(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(3)
        first = world.records()[day]
        world.archive.put_day(day, 7, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        second = world.records()[day]
        world.clock.advance(hours=1)

        await restore(world, day)

        path = world.data.archive / day_name(day)
        assert world.records()[day] == replace(
            first,
            checked_at=world.clock(),
            index_count=7,
            mtime_ns=path.stat().st_mtime_ns,
            etag=None,
            flags=(Flag.RESTORED,),
            findings=None,
        )
        assert first.last_modified is not None
        kept = {one.sha256 for one in world.predecessors(day)}
        assert kept == {first.sha256, second.sha256}
        world.assert_sound()

    async def test_it_is_left_alone_until_the_index_says_something_new(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        old = world.body(day)
        world.archive.put_day(day, 8, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        await restore(world, day)
        world.forget()

        assert (await world.sync()).exit_code == 0

        assert world.names_asked() == ["index.jsonl"]
        assert world.body(day) == old
        world.archive.put_day(day, 9, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        assert world.records()[day].lines == 9

    @pytest.mark.parametrize("loss", ["altered", "cut", "upstream's body", "gone"])
    @pytest.mark.parametrize("mends", ["a poll", "a repair"])
    async def test_it_is_put_back_again_where_it_rots_or_is_lost(
        self, world: World, loss: str, mends: str
    ) -> None:
        await world.sync()
        day = world.day(3)
        old = world.body(day) or b""
        world.archive.put_day(day, 8, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        upstreams = world.body(day) or b""
        await restore(world, day)
        record, changes = world.records()[day], world.data.final_changes.read_bytes()
        world.clock.advance(hours=1)
        path = world.data.archive / day_name(day)
        bodies = {"altered": b"x" * len(old), "cut": old[:-9], "upstream's body": upstreams}
        path.unlink()
        if loss != "gone":
            path.write_bytes(bodies[loss])

        if mends == "a repair":
            assert (await repair(world)).sources == {day: "history"}
        else:
            report = await world.sync()
            assert (report.exit_code, report.warnings, report.outcomes) == (0, (), {"adopted": 1})

        assert world.body(day) == old
        now = replace(world.records()[day], findings=None)
        assert now == replace(record, mtime_ns=path.stat().st_mtime_ns)
        assert world.data.final_changes.read_bytes() == changes
        world.assert_sound()
        world.archive.put_day(day, 9, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        assert world.records()[day].lines == 9

    async def test_where_history_has_it_no_more_upstreams_body_is_taken(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        world.archive.put_day(day, 8, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        await world.sync()
        await restore(world, day)
        for kept in world.data.history.glob("*.gz"):
            kept.unlink()
        (world.data.archive / day_name(day)).unlink()

        assert (await world.sync()).exit_code == 0

        assert world.records()[day].lines == 8

    async def test_one_that_has_only_lost_its_time_stays_as_it_is(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        await keep_in_history(world, day)
        await restore(world, day)
        path = world.data.archive / day_name(day)
        os.utime(path, (1, 1))
        inode = path.stat().st_ino

        assert (await world.sync()).exit_code == 0

        assert path.stat().st_ino == inode
        assert world.quarantined(day) == []
        assert world.records()[day].flags == (Flag.RESTORED,)

    async def test_what_was_due_before_is_due_after_it(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        await keep_in_history(world, day)
        world.archive.claims[day] = 999
        world.archive.write_index(world.clock.advance(hours=1))
        assert (await world.sync()).exit_code == 3

        await restore(world, day)

        assert (await world.sync()).exit_code == 3
        del world.archive.claims[day]
        world.archive.put_day(day, 9, world.clock.advance(hours=1))
        world.archive.write_index(world.clock())
        assert (await world.sync()).exit_code == 0
        assert world.records()[day].lines == 9

    async def test_a_day_that_is_not_held_is_put_back_as_the_index_lists_it(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(3)
        lines = (await keep_in_history(world, day)).count(b"\n")
        (world.data.archive / day_name(day)).unlink()

        await restore(world, day)

        record = world.records()[day]
        assert (record.index_count, record.lines) == (lines, lines)
        assert len(world.predecessors(day)) == 2
        world.forget()
        assert (await world.sync()).exit_code == 0
        assert world.names_asked() == ["index.jsonl"]

    async def test_the_one_that_is_published_is_not_its_own_predecessor(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        await keep_in_history(world, day)
        before = world.predecessors(day)

        await restore(world, day)

        assert world.predecessors(day) == before

    async def test_one_that_is_damaged_is_named_with_what_to_do(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        await keep_in_history(world, day)
        version = world.predecessors(day)[0]
        for path in world.data.history.glob("*.gz"):
            path.write_bytes(b"")

        with pytest.raises(StorageError) as caught:
            await restore(world, day)

        assert caught.value.line() == (
            f"the version {version.sha256[:12]} of {day} is damaged in history "
            "(restore another one: see `binder-mirror history`)"
        )
        assert world.clock() - version.kept_at < timedelta(hours=1)
