"""What the local disk adds to the contract: journal before rename, and claims a file can refute."""

import asyncio
import gzip
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.archive.manifest import render_journal_line
from mirror.archive.ports import Listing
from mirror.archive.upstream import Upstream
from mirror.errors import LockedError, WrongKindError
from mirror.store.aside import list_quarantined, list_versions, quarantine, remove_versions
from mirror.store.destination import open_store
from mirror.store.inventory import load_inventory
from mirror.sync.publish import publish
from tests.store.destinations import NOW, LocalLook
from tests.store.test_destination import DAY, NEW, OLD, name_of, plain, put, record_of


@pytest.fixture
def look(tmp_path: Path) -> LocalLook:
    return LocalLook(tmp_path)


async def test_a_claim_whose_file_never_came_is_refuted_by_the_file_still_there(
    look: LocalLook,
) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
    claim = record_of(NEW, mtime_ns=old.mtime_ns)
    with look.data.journal.open("ab") as journal:
        journal.write(render_journal_line(claim))

    assert look.recorded() == {DAY: old}


async def test_a_rename_that_fails_leaves_the_old_body_and_its_record(look: LocalLook) -> None:
    same_size = OLD.replace(b"old", b"new")
    with look.opened() as destination:
        old = await put(destination, OLD)
        async with destination.stage(name_of(DAY), plain) as staged:
            await staged.write([same_size])
            # the staged file vanishes: the journal is written, the rename fails
            for path in look.data.staging.iterdir():
                path.unlink()
            with pytest.raises(Exception, match="No such file"):
                await staged.publish(record_of(same_size), predecessor=None)

    assert look.published()[name_of(DAY)] == OLD
    inventory = load_inventory(look.data)
    # same size and same time: without care the claim would be taken for the truth
    assert inventory.records.get(DAY) in (None, old)
    assert inventory.records or old in inventory.unverified[DAY]


async def test_a_file_altered_behind_our_back_is_no_longer_on_record(look: LocalLook) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
    (look.data.archive / name_of(DAY)).write_bytes(NEW)

    inventory = load_inventory(look.data)

    assert inventory.records == {}
    assert inventory.unverified == {DAY: (old,)}


async def test_something_else_in_the_way_costs_that_day_and_stays(look: LocalLook) -> None:
    with look.opened() as destination:
        os.mkfifo(look.data.archive / name_of(DAY))

        with pytest.raises(WrongKindError, match="is a FIFO, not a file"):
            await put(destination, NEW)
        await put(destination, NEW, DAY + timedelta(days=1))

    assert look.unfinished() == []
    assert set(look.recorded()) == {DAY + timedelta(days=1)}


async def test_an_unproven_file_goes_to_quarantine_when_it_is_replaced(look: LocalLook) -> None:
    with look.opened():
        (look.data.archive / name_of(DAY)).write_bytes(b"rotten")
    with look.opened() as destination:
        await put(destination, NEW)

    assert [body for body, _ in look.refused()] == [b"rotten"]
    assert look.published()[name_of(DAY)] == NEW


async def test_a_rotten_predecessor_goes_to_quarantine_and_never_to_history(
    look: LocalLook,
) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        path = look.data.archive / name_of(DAY)
        rotten = OLD.replace(b"old", b"rot")
        path.write_bytes(rotten)
        os.utime(path, ns=(old.mtime_ns, old.mtime_ns))

        await put(destination, NEW, predecessor=old)

    assert look.predecessors() == {}
    assert [body for body, _ in look.refused()] == [rotten]
    assert look.published()[name_of(DAY)] == NEW


async def test_a_predecessor_is_logged_with_what_is_known_of_it(look: LocalLook) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        await put(destination, NEW, predecessor=old)

    (version,) = list_versions(look.data, DAY)
    assert (version.sha256, version.lines, version.size) == (old.sha256, old.lines, old.size)
    assert (version.was_final, version.kept_at) == (True, NOW)
    assert list_versions(look.data, DAY + timedelta(days=1)) == []


async def test_a_rotten_body_is_noticed_though_history_has_it_from_before(look: LocalLook) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        new = await put(destination, NEW, predecessor=old)
        old = await put(destination, OLD, predecessor=new)
        path = look.data.archive / name_of(DAY)
        path.write_bytes(rotten := OLD.replace(b"old", b"rot"))
        os.utime(path, ns=(old.mtime_ns, old.mtime_ns))

        await put(destination, NEW, predecessor=old)

    assert [body for body, _ in look.refused()] == [rotten]
    assert sorted(look.predecessors()[DAY]) == sorted([OLD, NEW])


async def test_what_a_cancelled_task_published_is_on_the_books(look: LocalLook) -> None:
    with open_store(look.data, now=lambda: NOW) as store:
        for n in range(20):
            day = DAY + timedelta(days=n)
            task = asyncio.create_task(put(store, NEW, day))
            while name_of(day) not in look.published():
                await asyncio.sleep(0)
            task.cancel()
            await asyncio.wait({task})

            assert day in store.inventory.records


async def test_a_task_cancelled_again_and_again_waits_for_the_thread_that_writes(
    look: LocalLook,
) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow(chunk: bytes) -> Iterator[bytes]:
        writing.set()
        go_on.wait(10)
        yield chunk

    with look.opened() as destination:

        async def body() -> None:
            async with destination.stage(name_of(DAY), slow) as staged:
                await staged.write([NEW])

        task = asyncio.create_task(body())
        await asyncio.to_thread(writing.wait, 10)
        for _ in range(3):
            task.cancel()
            await asyncio.sleep(0.01)
            assert not task.done()
        go_on.set()
        with pytest.raises(asyncio.CancelledError):
            await task

        assert look.unfinished() == []


async def test_one_directory_has_one_writer(look: LocalLook) -> None:
    with look.opened(), pytest.raises(LockedError, match=f"process {os.getpid()}"):  # noqa: SIM117
        with open_store(look.data, now=lambda: NOW):
            pass
    with look.opened():
        pass


async def test_the_journal_after_a_torn_line_is_read_on(look: LocalLook) -> None:
    with look.opened() as destination:
        first = await put(destination, OLD)
        whole = look.data.journal.read_bytes()
        look.data.journal.write_bytes(whole + whole[:40])
        second = await put(destination, NEW, DAY + timedelta(days=1))

    assert look.recorded() == {first.date: first, second.date: second}


@pytest.mark.parametrize("kind", ["symlink", "file"])
async def test_a_folder_that_is_none_costs_its_listing_alone(look: LocalLook, kind: str) -> None:
    style = look.data.archive / Listing.STYLE
    elsewhere = look.data.root / "elsewhere"
    elsewhere.mkdir(parents=True)
    with look.opened() as destination:
        if kind == "symlink":
            style.parent.symlink_to(elsewhere)
        else:
            style.parent.write_bytes(b"")
        (problem,) = publish(destination, Upstream(""))
        assert f"static is a {kind}, not a directory" in problem.text
        assert b"<html" in look.published()["index.html"]
        style.parent.unlink()
        assert publish(destination, Upstream("")) == ()

    assert b"table" in style.read_bytes()
    assert list(elsewhere.iterdir()) == []


async def test_what_a_broken_process_left_unfinished_is_swept(look: LocalLook) -> None:
    with look.opened() as destination:
        stage = destination.stage(name_of(DAY), plain)
        staged = await stage.__aenter__()
        await staged.write([NEW])
        leftover = look.unfinished()
        assert len(leftover) == 1
        # as a kill leaves it: a copy that no exit takes away
        path = look.data.staging / leftover[0]
        (look.data.staging / "killed").hardlink_to(path)
        await stage.__aexit__(None, None, None)
    assert look.unfinished() == ["killed"]

    with look.opened():
        assert look.unfinished() == []
        assert look.published() == {}


FOREIGN = {
    "empty": b"",
    "torn": gzip.compress(OLD)[:-9],
    "another body": gzip.compress(NEW),
    "no gzip": OLD,
}


def place_of(look: LocalLook, body: bytes) -> Path:
    """Return where a body of the day is in history."""
    return look.data.history / f"{DAY}.{hashlib.sha256(body).hexdigest()}.jsonl.gz"


@pytest.mark.parametrize("kind", FOREIGN)
async def test_a_torn_or_foreign_file_is_not_taken_for_a_predecessor(
    look: LocalLook, kind: str
) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        place_of(look, OLD).write_bytes(FOREIGN[kind])

        await put(destination, NEW, predecessor=old)

    assert look.predecessors() == {DAY: [OLD]}
    assert look.published()[name_of(DAY)] == NEW


def make_link(path: Path) -> None:
    path.symlink_to("/dev/zero")


@pytest.mark.parametrize("make", [make_link, os.mkfifo, Path.mkdir])
async def test_something_else_at_a_predecessors_place_keeps_the_body_published(
    look: LocalLook, make: Callable[[Path], object]
) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        make(place_of(look, OLD))

        with pytest.raises(WrongKindError, match="not a file"):
            await put(destination, NEW, predecessor=old)

    assert look.published()[name_of(DAY)] == OLD
    assert look.predecessors() == {}


@pytest.mark.parametrize("make", [make_link, os.mkfifo, Path.mkdir])
async def test_something_else_in_the_logs_place_costs_the_line_alone(
    look: LocalLook, make: Callable[[Path], object]
) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        make(look.data.history / "log.jsonl")
        make(look.data.history / f"{DAY}.{'0' * 64}.jsonl.gz")
        make(look.data.history / f"2024-13-45.{'0' * 64}.jsonl.gz")

        await put(destination, NEW, predecessor=old)

    assert look.predecessors() == {DAY: [OLD]}
    assert [one.was_final for one in list_versions(look.data, DAY)] == [True]


async def test_what_was_published_once_is_not_dropped_from_quarantine(look: LocalLook) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        rotten = OLD.replace(b"old", b"rot")
        (look.data.archive / name_of(DAY)).write_bytes(rotten)
        os.utime(look.data.archive / name_of(DAY), ns=(old.mtime_ns, old.mtime_ns))
        await put(destination, NEW, predecessor=old)
        for number in range(60):
            body = look.data.staging / "refused"
            body.write_bytes(b"%d" % number)
            at = NOW + timedelta(minutes=number + 1)
            quarantine(look.data, body, DAY, reason="refused", at=at)

    bodies = [body for body, _ in look.refused()]
    assert rotten in bodies
    assert len(bodies) == 51


async def test_a_rotten_body_that_was_published_is_not_dropped_with_the_refused(
    look: LocalLook,
) -> None:
    with look.opened() as destination:
        await put(destination, OLD)
        await put(destination, NEW, DAY + timedelta(days=1))
        destination.inventory.doubt(DAY)
        destination.save_manifest()
        destination.retire(DAY, "it is rotten")
        assert not destination.inventory.is_clean
        destination.save_manifest()

    assert load_inventory(look.data).missing == {}
    (one,) = list_quarantined(look.data)
    assert (one.reason, one.was_published) == ("it is rotten", True)


async def test_a_predecessor_whose_line_is_lost_counts_as_of_a_final_day(look: LocalLook) -> None:
    with look.opened() as destination:
        old = await put(destination, OLD)
        await put(destination, NEW, predecessor=old)
    (look.data.history / "log.jsonl").unlink()

    (version,) = list_versions(look.data)
    assert (version.date, version.sha256, version.was_final) == (DAY, old.sha256, True)
    assert (version.size, version.lines) == (0, 0)

    remove_versions(look.data, [version])
    assert list_versions(look.data) == []


async def test_the_same_body_gives_the_same_file_in_history_wherever_it_is_kept(
    look: LocalLook, tmp_path: Path
) -> None:
    packed = []
    for one in (look, LocalLook(tmp_path / "elsewhere")):
        with one.opened() as destination:
            old = await put(destination, OLD)
            await put(destination, NEW, predecessor=old)
        (path,) = one.data.history.glob("*.gz")
        packed.append(path.read_bytes())

    assert packed[0] == packed[1]
    assert gzip.decompress(packed[0]) == OLD
    # neither a name nor a time in its head
    assert packed[0][3:8] == bytes(5)
