"""The journal in groups: durable before the rename, with few flushes, and none that is believed
after it failed."""

import asyncio
import errno
import hashlib
import os
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from types import FrameType

import pytest
from msgspec.structs import replace

from mirror.archive.listings import parse_sums, render_sums
from mirror.archive.ports import Listing
from mirror.errors import StorageError
from mirror.model import Findings
from mirror.store.disk import GroupWork
from mirror.store.inventory import load_inventory
from mirror.store.journal import Journal
from mirror.store.layout import DataDir, make_folders
from tests.making import record
from tests.store.destinations import NOW, LocalLook
from tests.store.test_destination import DAY, NEW, OLD, name_of, put, record_of

DAYS = [DAY + timedelta(days=n) for n in range(64)]


@pytest.fixture
def look(tmp_path: Path) -> LocalLook:
    return LocalLook(tmp_path)


@contextmanager
def flushing(before: Callable[[str], None]) -> Iterator[None]:
    """Have a function called with the name of each file that is about to be flushed."""
    real = os.fsync

    def fsync(descriptor: int) -> None:
        before(Path(f"/proc/self/fd/{descriptor}").readlink().name)
        real(descriptor)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "fsync", fsync)
        yield


@pytest.fixture
def flushed() -> Iterator[Counter[str]]:
    """How often a file of a name was flushed."""
    counts: Counter[str] = Counter()
    lock = threading.Lock()

    def count(name: str) -> None:
        with lock:
            counts[name] += 1
        time.sleep(0.002)  # as a disk takes it: others come to wait

    with flushing(count):
        yield counts


async def test_bodies_published_together_share_the_flush_of_their_records(
    look: LocalLook, flushed: Counter[str]
) -> None:
    with look.opened() as destination:
        await asyncio.gather(*(put(destination, NEW, day) for day in DAYS))

    assert flushed["manifest.journal.jsonl"] <= len(DAYS) / 2
    assert flushed["data"] == 1, "the journal's own name, once"
    assert set(look.recorded()) == set(DAYS)


async def test_findings_are_noted_without_a_flush_and_proofs_with_one(
    look: LocalLook, flushed: Counter[str]
) -> None:
    with look.opened() as destination:
        held = [await put(destination, NEW, day) for day in DAYS]
        flushed.clear()
        for record in held:
            await destination.note(replace(record, findings=Findings(versions={"5": 1})))
        assert flushed == {}
        await destination.note(replace(held[0], checked_at=NOW + timedelta(hours=1)))
        assert flushed == {"manifest.journal.jsonl": 1}
        destination.inventory.doubt(DAYS[1])
        await destination.note(held[1])
        assert flushed == {"manifest.journal.jsonl": 2}

    assert all(record.findings for day, record in look.recorded().items() if day not in DAYS[:2])


async def test_changed_days_leave_the_checksums_together(
    look: LocalLook, flushed: Counter[str]
) -> None:
    with look.opened() as destination:
        held = [await put(destination, OLD, day) for day in DAYS]
        destination.write(Listing.SUMS, render_sums(held))
        flushed.clear()
        await asyncio.gather(*(put(destination, NEW, day) for day in DAYS))

    assert look.published()[Listing.SUMS] == b""
    rewrites = sum(count for name, count in flushed.items() if name.startswith(Listing.SUMS))
    assert 1 <= rewrites <= len(DAYS) / 2


async def test_where_no_day_is_left_the_checksums_speak_of_the_style(look: LocalLook) -> None:
    style = b"body { color: black }\n"
    with look.opened() as destination:
        held = [await put(destination, OLD, day) for day in DAYS[:2]]
        destination.write(Listing.STYLE, style)
        destination.write(Listing.SUMS, render_sums(held))
        await put(destination, NEW, DAYS[0])
        assert parse_sums(look.published()[Listing.SUMS]) == {held[1].name: held[1].sha256}

        await put(destination, NEW, DAYS[1])

    # to `sha256sum -c` a list without a line is an error
    digest = hashlib.sha256(style).hexdigest()
    assert look.published()[Listing.SUMS] == f"{digest}  static/archive.css\n".encode()
    assert look.unfinished() == []


@pytest.mark.parametrize("name", [Listing.STYLE, Listing.SUMS])
async def test_something_else_in_a_listings_place_keeps_no_body_from_being_published(
    look: LocalLook, name: Listing
) -> None:
    with look.opened() as destination:
        held = await put(destination, OLD)
        destination.write(Listing.STYLE, b"")
        destination.write(Listing.SUMS, render_sums([held]))
        (look.data.archive / name).unlink()
        (look.data.archive / name).symlink_to("/dev/null")

        await put(destination, NEW)

    assert look.published()[name_of(DAY)] == NEW
    assert (look.data.archive / name).is_symlink()


async def test_nothing_is_renamed_after_a_flush_of_the_journal_that_failed(
    look: LocalLook,
) -> None:
    fails = iter([True])

    def fail(name: str) -> None:
        # the kernel tells it once, and the next flush says that all is well
        if name == look.data.journal.name and next(fails, False):
            raise OSError(errno.EIO, os.strerror(errno.EIO))

    with look.opened() as destination:
        with flushing(fail):
            ended = await asyncio.gather(
                *(put(destination, NEW, day) for day in DAYS), return_exceptions=True
            )
        assert {str(one).rpartition(": ")[2] for one in ended} == {"Input/output error"}
        assert all(isinstance(one, StorageError) for one in ended)
        assert look.published() == {}

    assert look.recorded() == {}


async def test_a_body_of_the_same_size_and_date_is_told_from_the_one_it_replaces(
    look: LocalLook,
) -> None:
    other = OLD.replace(b"old", b"new")
    with look.opened() as destination:
        old = await put(destination, OLD)
        new = await put(destination, other)
        again = await put(destination, OLD)

    assert old.mtime_ns < new.mtime_ns < again.mtime_ns
    assert load_inventory(look.data).records == {DAY: again}
    # a claim for a body that never came
    with look.opened() as destination:
        async with destination.stage(name_of(DAY), lambda chunk: iter([chunk])) as staged:
            await staged.write([other])
            for path in look.data.staging.glob("events-*"):
                path.unlink()
            with pytest.raises(StorageError):
                await staged.publish(record_of(other), predecessor=None)
    assert load_inventory(look.data).records == {DAY: again}


def test_who_comes_while_the_work_is_done_waits_for_the_next() -> None:
    begun, go_on = threading.Event(), threading.Event()
    batches: list[list[int]] = []

    def work(items: object) -> None:
        assert isinstance(items, list)
        batches.append(list(items))
        begun.set()
        assert go_on.wait(30)

    together = GroupWork[int](work)
    first = threading.Thread(target=together, args=(1,))
    first.start()
    assert begun.wait(30)
    later = [threading.Thread(target=together, args=(n,)) for n in (2, 3, 4)]
    for thread in later:
        thread.start()
    while len(together._waiting) < 3:
        time.sleep(0.001)
    go_on.set()
    for thread in (first, *later):
        thread.join(30)

    assert [sorted(batch) for batch in batches] == [[1], [2, 3, 4]]


def test_what_failed_once_is_told_to_all_who_wait_and_come_later() -> None:
    def work(items: object) -> None:
        raise OSError(errno.EIO, "no")

    together = GroupWork[int](work)
    for item in range(3):
        with pytest.raises(OSError, match="no"):
            together(item)


def test_a_line_taken_out_does_not_come_back_with_one_that_read_the_list_before(
    tmp_path: Path,
) -> None:
    data = DataDir(tmp_path)
    make_folders(data)
    held = [record(DAY), record(DAY + timedelta(days=1))]
    data.sums.write_bytes(render_sums(held))
    journal = Journal(data)
    has_read, goes_on = threading.Event(), threading.Event()

    def pause(frame: FrameType, event: str, _argument: object) -> None:
        if event == "return" and frame.f_code is parse_sums.__code__:
            has_read.set()
            goes_on.wait(0.5)

    def read_slowly() -> None:
        sys.setprofile(pause)
        journal.listed()
        sys.setprofile(None)

    reader = threading.Thread(target=read_slowly)
    reader.start()
    has_read.wait()
    journal.announce(replace(held[0], sha256="e" * 64))
    goes_on.set()
    reader.join()
    journal.announce(replace(held[1], sha256="f" * 64))

    listed = parse_sums(data.sums.read_bytes())
    assert not listed.keys() & {one.name for one in held}
