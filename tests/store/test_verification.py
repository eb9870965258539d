"""What a verification finds: each kind of damage by its name, its day and how far it is off."""

import os
import shutil
from collections.abc import Callable
from datetime import date
from pathlib import Path

import pytest

from mirror.archive.listings import entries_of, render_index, render_sums
from mirror.archive.metadata import render_croissant, render_datapackage
from mirror.model import Damage, DamageKind
from mirror.store.inventory import load_inventory
from mirror.store.layout import DataDir
from mirror.store.verification import VerifyReport, verify
from tests.mirrors import DAYS, NOW, make_mirror, publish, three_days
from tests.upstream.archive import day_name

FIRST, SECOND, THIRD = DAYS
BODIES = three_days()


@pytest.fixture
def data(tmp_path: Path) -> DataDir:
    """Three days, and listings that say so."""
    data = make_mirror(tmp_path / "data", BODIES)
    held = load_inventory(data).records.values()
    data.sums.write_bytes(render_sums(held))
    data.datapackage.write_bytes(render_datapackage(held))
    data.croissant.write_bytes(render_croissant(held))
    data.index.write_bytes(render_index(entries_of(held)))
    return data


def file_of(data: DataDir, day: date) -> Path:
    return data.archive / day_name(day)


def checked(data: DataDir) -> VerifyReport:
    return verify(data, today=NOW.date())


def found(data: DataDir) -> list[tuple[str, DamageKind, date | None]]:
    return [(one.name, one.kind, one.day) for one in checked(data).damage]


def test_a_sound_copy_is_read_to_its_last_byte(data: DataDir) -> None:
    steps: list[tuple[int, int]] = []

    report = verify(data, today=NOW.date(), progress=lambda *step: steps.append(step))

    size = sum(map(len, BODIES.values()))
    assert report == VerifyReport(checked=3, checked_bytes=size, held=3, damage=())
    assert (sum(files for files, _ in steps), sum(read for _, read in steps)) == (3, size)


def test_only_the_days_chosen_are_read_and_the_others_are_held_all_the_same(
    data: DataDir,
) -> None:
    report = verify(data, choose=lambda held: held[1:2], today=NOW.date())

    assert (report.checked, report.checked_bytes) == (1, len(BODIES[SECOND]))
    assert (report.held, report.damage) == (3, ())


def test_a_flipped_bit_is_found_though_size_and_time_are_right(data: DataDir) -> None:
    path = file_of(data, SECOND)
    when = path.stat().st_mtime_ns
    path.write_bytes(bytes([BODIES[SECOND][0] ^ 1]) + BODIES[SECOND][1:])
    os.utime(path, ns=(when, when))

    report = checked(data)

    what = "has not its recorded SHA-256"
    assert report.damage == (Damage(path.name, DamageKind.ALTERED, what, SECOND),)
    assert (report.checked, report.held) == (3, 3)


@pytest.mark.parametrize(("by", "kind"), [(-1, DamageKind.TRUNCATED), (1, DamageKind.OVERLONG)])
def test_a_byte_too_few_or_too_many_is_told_with_both_sizes(
    data: DataDir, by: int, kind: DamageKind
) -> None:
    size = len(BODIES[FIRST])
    os.truncate(file_of(data, FIRST), size + by)

    report = checked(data)

    what = f"has {size + by:,} bytes, recorded are {size:,}"
    assert report.damage == (Damage(day_name(FIRST), kind, what, FIRST),)
    assert (report.checked, report.held) == (2, 3)


def test_what_is_gone_or_of_a_wrong_kind_is_named_with_its_day(data: DataDir) -> None:
    file_of(data, FIRST).unlink()
    file_of(data, SECOND).unlink()
    file_of(data, SECOND).mkdir()

    assert found(data)[:2] == [
        (day_name(FIRST), DamageKind.MISSING, FIRST),
        (day_name(SECOND), DamageKind.WRONG_KIND, SECOND),
    ]
    assert checked(data).damage[1].detail == "a directory, not a file"


def test_a_file_of_which_there_is_no_record_is_damage(data: DataDir) -> None:
    publish(data, date(2024, 2, 29), b"{}\n")

    assert found(data) == [("events-2024-02-29.jsonl", DamageKind.UNRECORDED, date(2024, 2, 29))]


def test_a_stranger_in_the_archive_is_damage(data: DataDir) -> None:
    (data.archive / "notes\x1b.txt").write_bytes(b"")

    ((name, kind, day),) = found(data)

    assert (kind, day) == (DamageKind.STRANGER, None)
    assert "notes" in name
    assert "\x1b" not in name


@pytest.mark.parametrize("listing", ["SHA256SUMS", "datapackage.json", "croissant.json"])
def test_a_listing_that_says_something_else_is_damage(data: DataDir, listing: str) -> None:
    with (data.archive / listing).open("ab") as file:
        file.write(b"\n")

    assert found(data) == [(listing, DamageKind.WRONG_LISTING, None)]


@pytest.mark.parametrize(
    "body",
    [b"", b"<html>", b'{"name": "events-2024-03-01.jsonl", "date": "2024-03-01", "count": "1"}\n'],
)
def test_an_index_that_does_not_list_what_is_held_is_damage(data: DataDir, body: bytes) -> None:
    data.index.write_bytes(body)

    assert found(data) == [("index.jsonl", DamageKind.WRONG_LISTING, None)]


@pytest.mark.parametrize("is_upstreams", [True, False])
@pytest.mark.parametrize(
    "respell",
    [
        lambda body: b"\xef\xbb\xbf" + body,
        lambda body: body.replace(b"\n", b"\r\n"),
        lambda body: b"".join(reversed(body.splitlines(keepends=True))),
    ],
)
def test_an_index_is_as_upstream_writes_it_or_as_we_do(
    data: DataDir, respell: Callable[[bytes], bytes], is_upstreams: bool
) -> None:
    body = respell(data.index.read_bytes())
    data.index.write_bytes(body)
    if is_upstreams:
        (data.root / "upstream-index.jsonl").write_bytes(body)

    damage = [] if is_upstreams else [("index.jsonl", DamageKind.WRONG_LISTING, None)]
    assert found(data) == damage


def test_an_index_with_a_bad_line_beside_the_good_ones_is_damage(data: DataDir) -> None:
    with data.index.open("ab") as file:
        file.write(b"no entry\n")

    assert found(data) == [("index.jsonl", DamageKind.WRONG_LISTING, None)]


def test_listings_of_an_interrupted_poll_are_told_as_such(data: DataDir) -> None:
    data.sums.unlink()
    data.journal.touch()

    (one,) = checked(data).damage

    assert (one.name, one.kind) == ("SHA256SUMS", DamageKind.WRONG_LISTING)
    assert "interrupted poll" in one.detail


def test_a_listing_of_a_wrong_kind_is_not_followed(data: DataDir) -> None:
    data.sums.rename(data.root / "elsewhere")
    data.sums.symlink_to(data.root / "elsewhere")

    assert found(data) == [("SHA256SUMS", DamageKind.WRONG_KIND, None)]


def test_an_archive_without_a_day_and_an_index_is_sound(tmp_path: Path) -> None:
    assert checked(make_mirror(tmp_path / "empty", {})) == VerifyReport(0, 0, 0, ())


def test_a_copy_that_lost_its_times_is_sound_and_gets_them_back(
    data: DataDir, tmp_path: Path
) -> None:
    shutil.copytree(data.root, tmp_path / "copy", copy_function=shutil.copyfile)
    copy = DataDir(tmp_path / "copy")
    assert load_inventory(copy).records == {}

    report = checked(copy)

    assert (report.checked, report.held, report.damage, report.undated) == (3, 3, (), 0)
    assert load_inventory(copy).records == load_inventory(data).records


def test_times_that_may_not_be_given_back_are_counted(data: DataDir) -> None:
    # of a file with another name, the time is another's too
    os.link(file_of(data, FIRST), data.root / "another")
    os.utime(file_of(data, FIRST), ns=(1, 1))

    report = checked(data)

    assert (report.held, report.damage, report.undated) == (3, (), 1)
    assert file_of(data, FIRST).stat().st_mtime_ns == 1
