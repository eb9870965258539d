"""What is in history: listed and read by day and digest, whatever else lies there."""

import os
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.archive.ports import Destination
from mirror.model import ChangeKind, FinalChange
from mirror.store.aside import list_versions, load_changes, read_version, remove_versions
from tests.store.destinations import NOW, LocalLook
from tests.store.test_destination import DAY, NEW, OLD, name_of, put, record_of

DAYS = [DAY + timedelta(days=n) for n in range(4)]
SHA256 = record_of(OLD).sha256


@pytest.fixture
async def look(tmp_path: Path) -> LocalLook:
    """A predecessor of each of four days."""
    look = LocalLook(tmp_path)
    with look.opened() as destination:
        for day in DAYS:
            old = await put(destination, OLD, day)
            await put(destination, NEW, day, predecessor=old)
    return look


def test_each_day_has_its_own(look: LocalLook) -> None:
    assert [one.date for one in list_versions(look.data)] == DAYS
    for day in DAYS:
        assert [one.date for one in list_versions(look.data, day)] == [day]
        (path,) = look.data.history.glob(f"{day}.*")
        assert list_versions(look.data, day)[0].packed_size == path.stat().st_size


def test_what_is_none_of_ours_is_passed_over_wherever_it_lies(look: LocalLook) -> None:
    # a directory is read in an order of its own: so many that some come before ours
    for number in range(20):
        (look.data.history / f"note {number}").touch()
        (look.data.history / f"2024-13-{number:02}.{'0' * 64}.jsonl.gz").touch()
        (look.data.history / f"2024-05-{number + 1:02}.{'1' * 64}.jsonl.gz").mkdir()

    assert [one.date for one in list_versions(look.data)] == DAYS


def test_one_without_its_line_is_as_old_as_its_file(look: LocalLook) -> None:
    (look.data.history / "log.jsonl").unlink()
    (path,) = look.data.history.glob(f"{DAY}.*")
    os.utime(path, (1_700_000_000, 1_700_000_000))

    (one,) = list_versions(look.data, DAY)

    when = datetime.fromtimestamp(1_700_000_000, UTC)
    assert (one.kept_at, one.fetched_at) == (when, when)


def test_what_is_gone_already_can_be_removed(look: LocalLook) -> None:
    (one,) = list_versions(look.data, DAY)
    for _ in range(2):
        remove_versions(look.data, [one])

    assert [version.date for version in list_versions(look.data)] == DAYS[1:]


async def test_a_change_is_on_record_before_its_body_is_seen(look: LocalLook) -> None:
    change = FinalChange(DAY, ChangeKind.SHRUNK, NOW, 2, 1, "0" * 64, "1" * 64)
    backup = look.data.root / "backup"
    with look.opened() as destination:
        await publish_changed(destination, OLD, change)
        backup.hardlink_to(look.data.final_changes)
        before = backup.read_bytes()
        await publish_changed(destination, NEW, replace(change, lines_after=0))

    assert load_changes(look.data) == (change,)
    assert backup.read_bytes() == before, "a copy of the file is not ours to write to"
    assert look.data.final_changes.read_bytes().startswith(before)


async def publish_changed(destination: Destination, body: bytes, change: FinalChange) -> None:
    async with destination.stage(name_of(DAY), lambda chunk: iter([chunk])) as staged:
        await staged.write([body])
        await staged.publish(record_of(body), predecessor=None, change=change)


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize(
    "make", [make_link, os.mkfifo, Path.mkdir, lambda path: path.write_bytes(b"no gzip")]
)
def test_what_is_no_predecessor_any_more_is_read_as_nothing(
    look: LocalLook, make: Callable[[Path], object]
) -> None:
    (path,) = look.data.history.glob(f"{DAY}.*")
    path.unlink()
    make(path)

    assert list(read_version(look.data, DAY, SHA256)) == []
    assert b"".join(read_version(look.data, DAYS[1], SHA256)) == OLD


@pytest.mark.parametrize("make", [make_link, os.mkfifo, Path.mkdir])
def test_something_else_in_the_place_of_the_changes_is_no_change(
    look: LocalLook, make: Callable[[Path], object]
) -> None:
    make(look.data.final_changes)

    assert load_changes(look.data) == ()
