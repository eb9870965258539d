"""A pass from end to end: a real server, a real disk, the plain cases."""

import asyncio
import hashlib
from datetime import timedelta

import pytest

from mirror.archive.plan import PollRange
from mirror.archive.ports import PollEvent
from mirror.errors import IndexUnusableError
from mirror.model import IndexState, Plan
from mirror.sync.wiring import preview
from tests.conftest import World


async def test_a_first_sync_asks_once_for_each_file_and_is_identical(world: World) -> None:
    report = await world.sync()

    assert report.exit_code == 0
    assert report.held == report.listed == 10
    assert len(world.server.requests) == 11
    world.assert_identical()


async def test_sha256sums_checks_without_our_software(world: World) -> None:
    await world.sync()

    command = ("sha256sum", "--quiet", "--strict", "-c", "SHA256SUMS")
    process = await asyncio.create_subprocess_exec(*command, cwd=world.data.archive)
    assert await process.wait() == 0
    assert world.data.sums.read_bytes().count(b"\n") == 10


async def test_a_quiet_poll_is_one_request_and_touches_no_file(world: World) -> None:
    await world.sync()
    world.forget()
    before = {path: path.stat() for path in world.data.archive.iterdir()}
    manifest = world.data.manifest.stat()

    report = await world.sync()

    assert report.exit_code == 0
    assert [(r.name, r.status) for r in world.server.requests] == [("index.jsonl", 304)]
    assert {path: path.stat() for path in world.data.archive.iterdir()} == before
    assert world.data.manifest.stat() == manifest


async def test_only_new_and_changed_days_are_fetched(world: World) -> None:
    await world.sync()
    day = (world.clock() - timedelta(days=4)).date()
    changed = world.archive.put_day(day, 75, world.clock.advance(hours=1))
    world.archive.publish(world.clock())
    world.forget()

    report = await world.sync()

    today = f"events-{world.clock().date()}.jsonl"
    assert sorted(world.names_asked(200)) == sorted(["index.jsonl", f"events-{day}.jsonl", today])
    assert report.outcomes == {"published": 2}
    assert hashlib.sha256(changed.body).hexdigest() in world.data.sums.read_text()
    world.assert_identical()


def die(event: PollEvent) -> None:
    """End a poll, as a kill does, before anything is published."""
    if isinstance(event, Plan):
        raise RuntimeError("killed")  # noqa: TRY004 - what a kill is played by


async def test_listings_that_a_kill_left_behind_are_put_right_by_a_quiet_poll(
    world: World,
) -> None:
    await world.sync()
    world.archive.final_newline = True
    world.archive.write_index(world.clock.advance(hours=1))
    with pytest.raises(RuntimeError, match="killed"):
        await world.sync(observer=die)
    world.forget()

    report = await world.sync()

    assert [(r.name, r.status) for r in world.server.requests] == [("index.jsonl", 304)]
    assert report.exit_code == 0
    world.assert_identical()


async def test_an_index_of_other_names_is_asked_for_whole_by_a_dry_run_too(world: World) -> None:
    await world.sync()
    world.configure("upstream", name_template="other-{date}.jsonl")

    assert (await world.sync()).index_state is IndexState.UNUSABLE
    with pytest.raises(IndexUnusableError):
        await preview(world.config, world.data, PollRange(), now=world.clock)
