"""Files that have lost their recorded time are proved by their digest, and read once for it."""

import hashlib
import os
import shutil
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
from msgspec.structs import replace

from mirror.archive.listings import render_sums
from mirror.archive.manifest import render_manifest
from mirror.model import Flag
from mirror.store.inventory import load_inventory
from mirror.store.layout import DataDir, writer_lock
from mirror.store.proof import load_proved, open_proved, prove
from tests.mirrors import DAYS, make_mirror, three_days
from tests.upstream.archive import day_name
from tests.upstream.launches import make_day

FIRST, SECOND, THIRD = DAYS
BODIES = three_days()


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    data = make_mirror(tmp_path / "data", BODIES)
    data.sums.write_bytes(render_sums(load_inventory(data).records.values()))
    return data


@pytest.fixture
def bare(data: DataDir, tmp_path: Path) -> DataDir:
    """A copy of `archive/` alone."""
    shutil.copytree(data.archive, tmp_path / "bare" / "archive")
    return DataDir(tmp_path / "bare")


def test_a_file_that_is_proved_gets_its_recorded_time_back(data: DataDir) -> None:
    path = data.archive / day_name(SECOND)
    recorded = load_inventory(data).records
    os.utime(path, ns=(1, 1))

    inventory = load_proved(data)

    assert set(inventory.records) == set(DAYS)
    assert inventory.unverified == {}
    assert path.stat().st_mtime_ns == recorded[SECOND].mtime_ns
    assert data.proofs == {}
    assert load_inventory(data).records == recorded


def test_while_a_writer_is_at_work_the_time_is_left_and_the_proof_kept(data: DataDir) -> None:
    path = data.archive / day_name(SECOND)
    os.utime(path, ns=(7, 7))

    with writer_lock(data):
        inventory = load_proved(data)

        assert inventory.records[SECOND].mtime_ns == 7
        assert path.stat().st_mtime_ns == 7
        # it is not read again as long as it stays as it is: what it holds could not tell
        assert data.proofs.keys() == {path}
        kept = data.proofs[path].evidence
        assert load_proved(data).records[SECOND].mtime_ns == 7
        assert data.proofs[path].evidence is kept

        path.write_bytes(bytes(len(BODIES[SECOND])))
        assert SECOND not in load_proved(data).records


def test_an_altered_file_is_not_proved(data: DataDir) -> None:
    (data.archive / day_name(SECOND)).write_bytes(bytes(len(BODIES[SECOND])))
    (data.archive / day_name(THIRD)).write_bytes(b"{}\n")

    inventory = load_proved(data)

    assert set(inventory.records) == {FIRST}
    assert set(inventory.unverified) == {SECOND, THIRD}


def test_where_archive_alone_was_copied_sha256sums_speaks_for_its_days(bare: DataDir) -> None:
    os.utime(bare.archive / day_name(FIRST), ns=(1, 1_700_000_000_750_000_000))
    inventory = load_proved(bare)

    assert set(inventory.records) == set(DAYS)
    one = inventory.records[FIRST]
    when = datetime.fromtimestamp(1_700_000_000, UTC)
    assert (one.size, one.lines) == (len(BODIES[FIRST]), BODIES[FIRST].count(b"\n"))
    assert (one.fetched_at, one.checked_at, one.flags) == (when, when, (Flag.ADOPTED,))
    assert one.name == day_name(FIRST)


def test_without_sha256sums_such_days_are_not_held(bare: DataDir) -> None:
    assert load_proved(bare, by_sums=False).records == {}


def test_a_day_of_sha256sums_whose_file_is_gone_or_altered_is_not_held(bare: DataDir) -> None:
    (bare.archive / day_name(FIRST)).unlink()
    (bare.archive / day_name(SECOND)).write_bytes(b"{}\n")
    listed = bare.sums.read_bytes()
    bare.sums.write_bytes(b"0" * 64 + b"  notes.txt\n" + listed)

    inventory = load_proved(bare)

    assert set(inventory.records) == {THIRD}
    assert set(inventory.missing) == {FIRST}
    assert inventory.missing[FIRST].name == day_name(FIRST)
    assert inventory.missing[FIRST].sha256 == hashlib.sha256(BODIES[FIRST]).hexdigest()
    assert [one.name for one in inventory.unverified[SECOND]] == [day_name(SECOND)]


def test_a_reader_opens_the_body_of_a_claim_that_is_proved_and_no_other(data: DataDir) -> None:
    path, held = data.archive / day_name(FIRST), load_inventory(data).records
    os.utime(path, ns=(1, 1))
    os.link(path, data.root / "another")

    opened = open_proved(data, path, (held[SECOND], held[FIRST]))

    assert opened is not None
    file, record = opened
    with file:
        assert file.read() == BODIES[FIRST]
    assert (record.sha256, record.mtime_ns) == (held[FIRST].sha256, 1)
    assert open_proved(data, path, (held[SECOND],)) is None


def test_a_reader_opens_a_day_that_sha256sums_alone_speaks_of(bare: DataDir) -> None:
    claim = load_proved(bare).records[FIRST]
    path = bare.archive / day_name(FIRST)
    os.utime(path, ns=(5, 5))

    # the file was given another time since: what is on record of it is its digest
    opened = open_proved(bare, path, (claim,))

    assert opened is not None
    with opened[0] as file:
        assert file.read() == BODIES[FIRST]


def test_a_day_once_proved_by_sha256sums_is_opened_without_a_claim(bare: DataDir) -> None:
    path = bare.archive / day_name(FIRST)
    assert open_proved(bare, path, ()) is None
    held = load_proved(bare).records[FIRST]

    opened = open_proved(bare, path, ())

    assert opened is not None
    with opened[0] as file:
        assert (file.read(), opened[1]) == (BODIES[FIRST], held)
    # it is another file by now
    path.write_bytes(BODIES[SECOND])
    assert open_proved(bare, path, ()) is None


def test_sha256sums_speaks_only_where_there_is_no_record(data: DataDir) -> None:
    records = load_inventory(data).records
    stray = date(2024, 2, 29)
    body = make_day(stray, 3)
    (data.archive / day_name(stray)).write_bytes(body)
    (data.archive / day_name(FIRST)).unlink()
    (data.archive / day_name(SECOND)).write_bytes(b"altered\n")
    bodies = {FIRST: b"x", SECOND: b"altered\n", THIRD: b"y", stray: body}
    data.sums.write_bytes(
        b"".join(
            f"{hashlib.sha256(one).hexdigest()}  {day_name(day)}\n".encode()
            for day, one in bodies.items()
        )
    )

    inventory = load_proved(data)

    assert set(inventory.records) == {THIRD, stray}
    assert inventory.records[THIRD] == records[THIRD]
    assert inventory.missing == {FIRST: records[FIRST]}
    assert inventory.unverified == {SECOND: (records[SECOND],)}


@pytest.mark.parametrize("instead", [None, Path.mkdir, os.mkfifo], ids=["gone", "folder", "FIFO"])
def test_a_file_that_goes_while_it_is_proved_is_not_held(
    data: DataDir, instead: Callable[[Path], object] | None
) -> None:
    path = data.archive / day_name(FIRST)
    os.utime(path, ns=(1, 1))
    inventory = load_inventory(data)
    path.unlink()
    if instead:
        instead(path)

    prove(data, inventory)

    assert set(inventory.records) == {SECOND, THIRD}


def test_a_time_that_no_file_can_have_is_not_given_back(data: DataDir) -> None:
    held = load_inventory(data).records
    wrong = [replace(one, mtime_ns=2**100) for one in held.values()]
    data.manifest.write_bytes(render_manifest(wrong))

    inventory = load_proved(data)

    assert {day: one.mtime_ns for day, one in inventory.records.items()} == {
        day: one.mtime_ns for day, one in held.items()
    }
    assert data.proofs.keys() == {data.archive / day_name(day) for day in DAYS}
