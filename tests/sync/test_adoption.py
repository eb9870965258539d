"""Files that are there without a record: proved by upstream, not fetched again; never by count."""

import asyncio
import hashlib
import os
import shutil
from datetime import date

import pytest

from mirror.archive.upstream import ETags
from mirror.model import Flag
from tests.conftest import World
from tests.upstream import faults
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

ALL_LOST = ["manifest.jsonl", "manifest.journal.jsonl", "upstream.json", "upstream-index.jsonl"]


def lose(world: World, *names: str) -> None:
    """Lose inventory of the mirror's; its archive stays."""
    for name in names:
        (world.data.root / name).unlink(missing_ok=True)
    world.forget()


def copy_by_hand(world: World) -> None:
    """Fill archive/ as rclone or wget would have."""
    world.data.archive.mkdir(parents=True)
    for name, stored in world.archive.objects.items():
        if name.startswith("events-"):
            (world.data.archive / name).write_bytes(stored.body)


def bodies_fetched(world: World) -> list[str]:
    return [
        one.name
        for one in world.server.requests
        if one.status == 200 and one.method == "GET" and one.name.startswith("events-")
    ]


def tamper(world: World, day: date) -> bytes:
    """Change a byte of a published file, its lines and times as they were."""
    path = world.data.archive / day_name(day)
    stats = path.stat()
    body = bytearray(path.read_bytes())
    body[10] ^= 1
    path.write_bytes(body)
    os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns + 10**9))
    return bytes(body)


class TestLostManifest:
    @pytest.mark.parametrize("names", [ALL_LOST[:1], ALL_LOST], ids=["manifest", "all inventory"])
    @pytest.mark.parametrize("style", ["md5", "weak", "opaque", "none"])
    async def test_no_body_is_fetched_again(self, world: World, names, style) -> None:
        world.server.style.etag = style
        await world.sync()
        lose(world, *names)

        report = await world.sync()

        assert report.exit_code == 0
        assert report.held == 10
        assert bodies_fetched(world) == []
        assert all(Flag.ADOPTED in record.flags for record in world.records().values())
        assert all(record.findings for record in world.records().values())
        world.assert_identical()
        world.assert_sound()
        world.forget()
        assert (await world.sync()).exit_code == 0
        assert world.names_asked() == ["index.jsonl"]

    async def test_an_etag_that_is_its_md5_is_the_proof(self, world: World) -> None:
        await world.sync()
        lose(world, *ALL_LOST)
        world.data.sums.unlink()

        await world.sync()

        days = [one for one in world.server.requests if one.name.startswith("events-")]
        assert [(one.method, one.status) for one in days] == [("HEAD", 200)] * 10
        # who is told an ETag may echo it
        assert not any("if-none-match" in one.headers for one in days)
        world.assert_identical()

    async def test_a_digest_in_the_headers_is_the_proof(self, world: World) -> None:
        world.server.style.etag = "opaque"
        world.server.style.goog_hash = True
        await world.sync()
        lose(world, *ALL_LOST)
        world.data.sums.unlink()

        report = await world.sync()

        assert report.exit_code == 0
        days = [one for one in world.server.requests if one.name.startswith("events-")]
        assert [(one.method, one.status) for one in days] == [("HEAD", 200)] * 10
        world.assert_identical()

    async def test_a_count_alone_is_no_proof(self, world: World) -> None:
        world.server.style.etag = "opaque"
        await world.sync()
        lose(world, *ALL_LOST)
        world.data.sums.unlink()

        report = await world.sync()

        assert report.exit_code == 0
        assert len(bodies_fetched(world)) == 10
        world.assert_identical()

    async def test_a_damaged_line_of_the_manifest_costs_that_proof_alone(
        self, world: World
    ) -> None:
        await world.sync()
        lines = world.data.manifest.read_bytes().splitlines(keepends=True)
        lines[4] = lines[4][:20] + b"\n"
        world.data.manifest.write_bytes(b"".join(lines))
        world.forget()

        report = await world.sync()

        assert report.exit_code == 0
        index, day = world.server.requests
        assert (index.method, index.status) == ("GET", 304)
        assert (day.method, day.status) == ("HEAD", 200)
        world.assert_sound()

    async def test_a_day_upstream_has_dropped_stays_held(self, world: World) -> None:
        await world.sync()
        day = world.day(5)
        body = world.body(day)
        world.archive.remove(day_name(day))
        world.archive.write_index(world.clock.advance(hours=1))
        await world.sync()
        world.clock.advance(days=8)
        world.archive.write_index(world.clock())
        await world.sync()
        lose(world, *ALL_LOST)

        report = await world.sync()

        assert report.exit_code == 0
        assert world.records().keys() >= {day}
        assert world.body(day) == body
        assert day_name(day) in world.data.index.read_text()
        world.assert_sound()

    async def test_a_final_day_rewritten_meanwhile_leaves_its_predecessor_in_history(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(5)
        old = world.records()[day]
        world.archive.put_day(
            day, make_day(day, old.lines - 5, seed=1), world.clock.advance(hours=1)
        )
        world.archive.write_index(world.clock())
        lose(world, *ALL_LOST)

        report = await world.sync()

        assert report.exit_code == 0
        assert bodies_fetched(world) == [day_name(day)]
        assert [one.sha256 for one in world.predecessors(day)] == [old.sha256]
        world.assert_identical()

    async def test_a_rewrite_with_the_same_count_is_not_passed_over(self, world: World) -> None:
        await world.sync()
        day = world.day(5)
        old = world.records()[day]
        world.archive.put_day(day, make_day(day, old.lines, seed=1), world.clock.advance(hours=1))
        lose(world, *ALL_LOST)

        report = await world.sync()

        assert report.exit_code == 0
        assert [one.sha256 for one in world.predecessors(day)] == [old.sha256]
        world.assert_identical()

    async def test_an_upstream_that_fails_meanwhile_does_no_harm(self, world: World) -> None:
        world.server.style.etag = "opaque"
        await world.sync()
        lose(world, *ALL_LOST)
        world.configure("http", max_backoff=0, retries=0, concurrency=1)
        for back in range(1, 5):
            world.server.fail(day_name(world.day(back)), faults.Status(500))

        report = await world.sync()

        assert report.exit_code == 0
        assert bodies_fetched(world) == []

    @pytest.mark.parametrize("names", [ALL_LOST, []], ids=["lost manifest", "touched"])
    async def test_an_interrupted_adoption_leaves_the_proofs_for_the_next(
        self, world: World, names
    ) -> None:
        world.server.style.etag = "opaque"
        await world.sync()
        lose(world, *names)
        for path in world.data.archive.glob("events-*"):
            os.utime(path)
        (world.data.archive / day_name(world.day(300))).write_bytes(b"")
        gate = faults.Gate()
        world.server.fail("events-*", gate, times=None)
        poll = asyncio.create_task(world.sync())
        await gate.reached.wait()
        poll.cancel()
        with pytest.raises(asyncio.CancelledError):
            await poll
        gate.opened.set()
        world.server.calm()
        world.forget()

        report = await world.sync()

        assert (report.exit_code, report.held) == (0, 10)
        assert bodies_fetched(world) == []


class TestFilesOfOtherTools:
    async def test_they_are_proved_not_fetched(self, world: World) -> None:
        copy_by_hand(world)

        report = await world.sync()

        assert (report.exit_code, report.held) == (0, 10)
        assert bodies_fetched(world) == []
        assert world.status().flagged == {"adopted": 10}
        world.assert_identical()
        world.assert_sound()

    async def test_a_tampered_one_is_fetched_and_kept_aside(self, world: World) -> None:
        copy_by_hand(world)
        day = world.day(3)
        rotten = tamper(world, day)

        report = await world.sync()

        assert report.exit_code == 0
        assert bodies_fetched(world) == [day_name(day)]
        world.assert_identical()
        (aside,) = world.quarantined(day)
        assert (world.data.quarantine / aside.file).read_bytes() == rotten

    async def test_a_tampered_one_that_cannot_be_fetched_is_not_held(self, world: World) -> None:
        copy_by_hand(world)
        day = world.day(3)
        tamper(world, day)
        world.server.fail(day_name(day), faults.Status(500), times=None)

        report = await world.sync()

        assert (report.exit_code, report.held) == (3, 9)
        assert day_name(day) not in world.data.index.read_text()
        assert day_name(day) not in world.data.sums.read_text()

    async def test_a_forged_sha256sums_without_the_count_proves_nothing_current(
        self, world: World
    ) -> None:
        world.server.style.etag = "opaque"
        copy_by_hand(world)
        day = world.day(3)
        body = make_day(day, 5)
        path = world.data.archive / day_name(day)
        path.write_bytes(body)
        digest = hashlib.sha256(body).hexdigest()
        world.data.sums.write_text(f"{digest}  {day_name(day)}\n")

        report = await world.sync()

        assert report.exit_code == 0
        assert day_name(day) in bodies_fetched(world)
        world.assert_identical()

    async def test_strangers_in_the_archive_are_left_alone(self, world: World) -> None:
        copy_by_hand(world)
        (world.data.archive / "notes.txt").write_text("mine")
        (world.data.archive / "events-2024-02-30.jsonl").write_text("no day")

        assert (await world.sync()).exit_code == 0

        assert (world.data.archive / "notes.txt").read_text() == "mine"
        assert "notes" not in world.data.sums.read_text()

    async def test_a_day_upstream_never_had_is_not_held(self, world: World) -> None:
        copy_by_hand(world)
        day = world.day(300)
        (world.data.archive / day_name(day)).write_bytes(make_day(day, 5))

        report = await world.sync()

        assert (report.exit_code, report.held) == (0, 10)
        assert day_name(day) not in world.data.index.read_text()

    async def test_an_open_day_ahead_of_its_index_is_adopted(self, world: World) -> None:
        today = world.day(0)
        world.archive.put_day(today, make_day(today, 20), world.clock())
        world.archive.claims[today] = 15
        world.archive.write_index(world.clock())
        copy_by_hand(world)

        report = await world.sync()

        assert report.exit_code == 0
        assert bodies_fetched(world) == []
        assert world.records()[today].flags == (Flag.ADOPTED, Flag.AHEAD)


class TestChangedOnDisk:
    async def test_touched_times_cost_a_read_and_no_request(self, world: World) -> None:
        await world.sync()
        for path in world.data.archive.glob("events-*"):
            os.utime(path)
        world.forget()

        report = await world.sync()

        assert (report.exit_code, report.held) == (0, 10)
        assert world.names_asked() == ["index.jsonl"]
        world.assert_sound()
        world.forget()
        assert (await world.sync()).exit_code == 0

    async def test_a_copied_data_directory_is_as_good(self, world: World, tmp_path) -> None:
        await world.sync()
        shutil.copytree(world.data.archive, tmp_path / "copy", copy_function=shutil.copyfile)
        shutil.rmtree(world.data.archive)
        shutil.copytree(tmp_path / "copy", world.data.archive, copy_function=shutil.copyfile)
        world.forget()

        assert (await world.sync()).exit_code == 0
        assert world.names_asked() == ["index.jsonl"]

    async def test_a_tampered_file_is_fetched_and_kept_aside(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        rotten = tamper(world, day)
        world.forget()

        report = await world.sync()

        assert report.exit_code == 0
        assert bodies_fetched(world) == [day_name(day)]
        (aside,) = world.quarantined(day)
        assert (world.data.quarantine / aside.file).read_bytes() == rotten
        assert world.predecessors(day) == [], "what is rotten is no predecessor"
        world.assert_identical()

    async def test_a_missing_file_is_fetched_again(self, world: World) -> None:
        await world.sync()
        day = world.day(3)
        (world.data.archive / day_name(day)).unlink()

        assert (await world.sync()).exit_code == 0
        world.assert_identical()

    async def test_a_missing_file_that_cannot_be_fetched_leaves_the_listings(
        self, world: World
    ) -> None:
        await world.sync()
        day = world.day(3)
        (world.data.archive / day_name(day)).unlink()
        world.server.fail(day_name(day), faults.Status(404), times=None)

        report = await world.sync()

        assert (report.exit_code, report.held) == (3, 9)
        assert day_name(day) not in world.data.index.read_text()
        assert day_name(day) not in world.data.sums.read_text()

    async def test_changed_bytes_under_opaque_etags_are_never_taken_for_good(
        self, world: World
    ) -> None:
        world.server.style.etag = "opaque"
        await world.sync()
        assert world.upstream().etags is ETags.UNKNOWN
        day = world.day(3)
        tamper(world, day)

        assert (await world.sync()).exit_code == 0
        world.assert_identical()
