"""What every destination keeps to: `mirror.archive.ports.Destination`, seen from outside."""

import asyncio
import gc
import hashlib
import pickle
import threading
from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.archive.listings import render_sums
from mirror.archive.ports import Destination, Listing, State
from mirror.errors import StorageError
from mirror.model import Record
from tests.store.destinations import LOOKS, NOW, Look

DAY = date(2024, 5, 10)
OLD, NEW = b'{"old": 1}\n{"old": 2}\n', b'{"new": 1}\n'


@pytest.fixture(params=LOOKS)
def look(request: pytest.FixtureRequest, tmp_path: Path) -> Look:
    return LOOKS[request.param](tmp_path)


@pytest.fixture
def destination(look: Look) -> Iterator[Destination]:
    with look.opened() as destination:
        yield destination


def plain(chunk: bytes) -> Iterator[bytes]:
    yield chunk


def name_of(day: date) -> str:
    return f"events-{day}.jsonl"


def record_of(body: bytes, day: date = DAY, **more: object) -> Record:
    record = Record(
        date=day,
        name=name_of(day),
        size=len(body),
        sha256=hashlib.sha256(body).hexdigest(),
        lines=body.count(b"\n"),
        mtime_ns=0,
        fetched_at=NOW,
        checked_at=NOW,
        last_modified=NOW - timedelta(days=3),
    )
    return replace(record, **more)


async def put(
    destination: Destination,
    body: bytes,
    day: date = DAY,
    *,
    predecessor: Record | None = None,
    **more: object,
) -> Record:
    """Stage and publish a body."""
    async with destination.stage(name_of(day), plain) as staged:
        await staged.write([body])
        record = record_of(body, day, **more)
        return await staged.publish(record, predecessor=predecessor)


async def test_a_published_body_is_visible_whole_and_on_record(
    destination: Destination, look: Look
) -> None:
    record = await put(destination, NEW)

    assert look.published() == {name_of(DAY): NEW}
    assert look.recorded() == {DAY: record}
    assert look.unfinished() == []


@pytest.mark.parametrize(
    "blocks", [[[NEW]], [[NEW[:3], NEW[3:]]], [[NEW[:1]], [], [b"", NEW[1:]]], []]
)
async def test_blocks_and_chunks_come_out_in_order(
    destination: Destination, look: Look, blocks: list[list[bytes]]
) -> None:
    body = b"".join(map(b"".join, blocks))
    async with destination.stage(name_of(DAY), plain) as staged:
        for block in blocks:
            await staged.write(block)
        await staged.publish(record_of(body), predecessor=None)

    assert look.published() == {name_of(DAY): body}


async def test_what_the_transform_makes_is_kept_not_what_came(
    destination: Destination, look: Look
) -> None:
    threads: set[int] = set()

    def doubling(chunk: bytes) -> Iterator[bytes]:
        threads.add(threading.get_ident())
        yield chunk
        yield chunk

    async with destination.stage(name_of(DAY), doubling) as staged:
        await staged.write([b"a", b"b"])
        await staged.publish(record_of(b"aabb"), predecessor=None)

    assert look.published() == {name_of(DAY): b"aabb"}
    assert threading.get_ident() not in threads


async def test_nothing_is_visible_before_it_is_published(
    destination: Destination, look: Look
) -> None:
    old = await put(destination, OLD)
    async with destination.stage(name_of(DAY), plain) as staged:
        await staged.write([NEW])

        assert look.published() == {name_of(DAY): OLD}
        assert look.recorded() == {DAY: old}


async def test_what_is_not_published_is_gone_on_exit(destination: Destination, look: Look) -> None:
    async with destination.stage(name_of(DAY), plain) as staged:
        await staged.write([NEW])

    assert look.published() == {}
    assert look.unfinished() == []


async def test_an_error_in_the_transform_goes_through_and_leaves_nothing(
    destination: Destination, look: Look
) -> None:
    def failing(chunk: bytes) -> Iterator[bytes]:
        yield chunk
        raise ValueError("no more of this")

    with pytest.raises(ValueError, match="no more of this"):
        async with destination.stage(name_of(DAY), failing) as staged:
            await staged.write([NEW])

    assert look.unfinished() == []


async def test_a_task_cancelled_in_mid_write_leaves_nothing(
    destination: Destination, look: Look
) -> None:
    writing, go_on = threading.Event(), threading.Event()

    def slow(chunk: bytes) -> Iterator[bytes]:
        writing.set()
        go_on.wait(10)
        yield chunk

    async def body() -> None:
        async with destination.stage(name_of(DAY), slow) as staged:
            await staged.write([NEW])

    task = asyncio.create_task(body())
    await asyncio.to_thread(writing.wait, 10)
    task.cancel()
    await asyncio.sleep(0.01)
    # the file is not closed under the thread that writes it
    assert not task.done()
    go_on.set()
    with pytest.raises(asyncio.CancelledError):
        await task

    assert look.published() == {}
    assert look.unfinished() == []


async def test_a_task_cancelled_at_any_step_leaves_nothing_or_all(
    destination: Destination, look: Look
) -> None:
    for steps in range(12):
        task = asyncio.create_task(put(destination, NEW, DAY + timedelta(days=steps)))
        for _ in range(steps):
            await asyncio.sleep(0)
        task.cancel()
        await asyncio.wait({task})
        gc.collect()

    assert look.unfinished() == []
    assert set(look.published().values()) <= {NEW}
    assert {name_of(day) for day in look.recorded()} == set(look.published())


async def test_bodies_of_one_name_do_not_meet_before_they_are_published(
    destination: Destination, look: Look
) -> None:
    async with (
        destination.stage(name_of(DAY), plain) as one,
        destination.stage(name_of(DAY), plain) as other,
    ):
        await one.write([OLD])
        await other.write([NEW])
        await other.publish(record_of(NEW), predecessor=None)

        assert look.published() == {name_of(DAY): NEW}

    assert look.published() == {name_of(DAY): NEW}


async def test_many_bodies_at_once_are_each_themselves(
    destination: Destination, look: Look
) -> None:
    bodies = {DAY + timedelta(days=n): b'{"n": %d}\n' % n * (n + 1) for n in range(20)}

    await asyncio.gather(*(put(destination, body, day) for day, body in bodies.items()))

    assert look.published() == {name_of(day): body for day, body in bodies.items()}
    assert {day: record.lines for day, record in look.recorded().items()} == {
        day: body.count(b"\n") for day, body in bodies.items()
    }


async def test_a_predecessor_goes_to_history_whole(destination: Destination, look: Look) -> None:
    old = await put(destination, OLD)

    await put(destination, NEW, predecessor=old)

    assert look.published() == {name_of(DAY): NEW}
    assert look.predecessors() == {DAY: [OLD]}


async def test_a_body_that_nobody_asked_to_keep_is_replaced(
    destination: Destination, look: Look
) -> None:
    await put(destination, OLD)

    await put(destination, NEW)

    assert look.published() == {name_of(DAY): NEW}
    assert look.predecessors() == {}


async def test_the_same_predecessor_twice_is_kept_once(
    destination: Destination, look: Look
) -> None:
    old = await put(destination, OLD)
    new = await put(destination, NEW, predecessor=old)
    old = await put(destination, OLD, predecessor=new)
    await put(destination, NEW, predecessor=old)

    assert {day: sorted(bodies) for day, bodies in look.predecessors().items()} == {
        DAY: sorted([OLD, NEW])
    }


async def test_a_refused_body_is_kept_aside_with_its_reason(
    destination: Destination, look: Look
) -> None:
    old = await put(destination, OLD)
    async with destination.stage(name_of(DAY), plain) as staged:
        await staged.write([NEW])
        await staged.quarantine(DAY, "behind:\n\x1b[31m 1 of 2")

    assert look.refused() == [(NEW, r"behind:\n\x1b[31m 1 of 2")]
    assert look.published() == {name_of(DAY): OLD}
    assert look.recorded() == {DAY: old}
    assert look.unfinished() == []


async def test_quarantine_is_bounded_and_keeps_the_latest(
    destination: Destination, look: Look
) -> None:
    for n in range(60):
        body = b'{"n": %d}\n' % n
        async with destination.stage(name_of(DAY), plain) as staged:
            await staged.write([body])
            await staged.quarantine(DAY, f"reason {n}")

    refused = look.refused()
    assert len(refused) == 50
    assert (b'{"n": 59}\n', "reason 59") in refused


async def test_a_note_changes_the_record_and_not_the_body(
    destination: Destination, look: Look
) -> None:
    record = await put(destination, NEW)
    noted = replace(record, checked_at=NOW + timedelta(hours=1), index_count=7)

    await destination.note(noted)

    assert look.published() == {name_of(DAY): NEW}
    assert look.recorded() == {DAY: noted}


@pytest.mark.parametrize("size", [0, 1, 262_144, 1_500_000])
async def test_bodies_of_any_size_survive_the_process(look: Look, size: int) -> None:
    body = bytes(size)
    with look.opened() as destination:
        record = await put(destination, body)

    with look.opened():
        assert look.published()[name_of(DAY)] == body
        assert look.recorded() == {DAY: record}


async def test_a_body_without_a_date_of_upstreams_has_one_of_its_own(
    destination: Destination, look: Look
) -> None:
    record = await put(destination, NEW, last_modified=None)

    assert record.mtime_ns > 0
    assert look.recorded() == {DAY: record}


@pytest.mark.parametrize("year", [1, 1901, 1970, 9999])
async def test_any_date_that_upstream_gives_can_be_recorded(
    destination: Destination, look: Look, year: int
) -> None:
    record = await put(destination, NEW, last_modified=NOW.replace(year=year))

    assert look.recorded() == {DAY: record}


async def test_listings_and_state_are_read_as_they_were_written(
    destination: Destination, look: Look
) -> None:
    names = [*Listing, *State]
    assert [destination.read(name) for name in names] == [None] * len(names)
    assert not any(map(destination.has, Listing))
    for name in names:
        destination.write(name, b"first")
        destination.write(name, name.encode())

    assert [destination.read(name) for name in names] == [name.encode() for name in names]
    assert all(map(destination.has, Listing))
    assert look.published() == {name.value: name.encode() for name in Listing}


async def test_a_body_that_the_checksums_vouch_for_is_sound_whatever_its_record_says(
    destination: Destination, look: Look
) -> None:
    old = await put(destination, OLD)
    destination.write(Listing.SUMS, render_sums([old]))
    wrong = replace(old, sha256="0" * 64)

    await put(destination, NEW, predecessor=wrong)

    assert look.refused() == []
    assert look.predecessors() == {DAY: [OLD]}


async def test_the_checksums_say_nothing_wrong_of_a_body_that_changes(
    destination: Destination, look: Look
) -> None:
    days = [DAY + timedelta(days=n) for n in range(4)]
    held = [await put(destination, OLD, day) for day in days]
    sums = render_sums(held)
    destination.write(Listing.SUMS, sums)

    await put(destination, OLD, days[0])
    assert look.published()[Listing.SUMS] == sums
    await put(destination, NEW, days[1])
    assert look.published()[Listing.SUMS] == render_sums([held[0], *held[2:]])
    await asyncio.gather(*(put(destination, NEW, day) for day in days[2:]))
    assert look.published()[Listing.SUMS] == render_sums(held[:1])

    # written anew, and looked at anew
    new = render_sums(destination.inventory.records.values())
    destination.write(Listing.SUMS, new)
    await put(destination, OLD, days[3])
    assert look.published()[Listing.SUMS] == b"".join(new.splitlines(keepends=True)[:3])


async def test_a_body_is_opened_by_its_name_with_the_time_on_record(
    destination: Destination,
) -> None:
    record = await put(destination, NEW)

    opener = pickle.loads(pickle.dumps(destination.opener))
    for open_body in (destination.opener, opener):
        with open_body(record.name) as (file, mtime_ns):
            assert (file.read(), mtime_ns) == (NEW, record.mtime_ns)
        with pytest.raises(StorageError), open_body(name_of(DAY + timedelta(days=1))):
            pass


async def test_a_predecessor_is_read_by_its_digest(destination: Destination) -> None:
    old = await put(destination, OLD)
    assert list(destination.read_version(DAY, old.sha256)) == []

    await put(destination, NEW, predecessor=old)

    assert b"".join(destination.read_version(DAY, old.sha256)) == OLD
    assert list(destination.read_version(DAY + timedelta(days=1), old.sha256)) == []


async def test_a_rotten_body_leaves_for_quarantine_and_is_no_longer_held(
    destination: Destination, look: Look
) -> None:
    record = await put(destination, NEW)
    destination.inventory.doubt(DAY)
    assert destination.inventory.claimed() == {DAY: record}

    destination.retire(DAY, "it is rotten")
    destination.save_manifest()

    assert look.refused() == [(NEW, "it is rotten")]
    assert look.published() == {}
    assert look.recorded() == {}


async def test_a_doubted_body_that_is_replaced_is_kept_aside(
    destination: Destination, look: Look
) -> None:
    await put(destination, OLD)
    destination.inventory.doubt(DAY)

    await put(destination, NEW)

    assert [body for body, _ in look.refused()] == [OLD]
    assert look.published() == {name_of(DAY): NEW}


async def test_what_is_settled_is_so_for_the_next_process_too(look: Look) -> None:
    with look.opened() as destination:
        record = await put(destination, NEW)
        assert not destination.inventory.is_clean
        destination.save_manifest()
        assert destination.inventory.is_clean
    with look.opened() as destination:
        assert destination.inventory.is_clean
        destination.unsettle()
    with look.opened() as destination:
        assert not destination.inventory.is_clean
        assert destination.inventory.records == {DAY: record}
