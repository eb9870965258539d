"""Bodies that are moved into quarantine leave the place where they were."""

import hashlib
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror.store.aside import list_quarantined, quarantine, remove_quarantined
from mirror.store.layout import DataDir
from tests.mirrors import DAYS, make_mirror
from tests.upstream.archive import day_name

NOW = datetime(2024, 3, 4, 12, tzinfo=UTC)


def test_a_body_that_is_in_quarantine_already_leaves_its_place_all_the_same(
    tmp_path: Path,
) -> None:
    # as a poll leaves it that fails after the quarantine and before it publishes
    data = make_mirror(tmp_path / "data", {DAYS[0]: b"{}\n"})
    published = data.archive / day_name(DAYS[0])
    copy = data.staging / published.name
    copy.hardlink_to(published)
    quarantine(data, copy, DAYS[0], reason="first", at=NOW)

    copy.hardlink_to(published)
    quarantine(data, copy, DAYS[0], reason="again", at=NOW)
    assert not copy.exists()

    quarantine(data, published, DAYS[0], reason="at last", at=NOW)
    assert not published.exists()
    (kept,) = list_quarantined(data)
    assert (data.quarantine / kept.file).read_bytes() == b"{}\n"


def test_a_body_whose_reason_is_lost_is_listed_by_its_name_and_size(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {})
    sha256 = "a1" * 8
    (data.quarantine / f"{DAYS[0]}.{sha256}.jsonl").write_bytes(b"{}\n{}\n")

    os.utime(data.quarantine / f"{DAYS[0]}.{sha256}.jsonl", (1_700_000_000, 1_700_000_000))

    (one,) = list_quarantined(data)

    assert (one.date, one.sha256, one.size) == (DAYS[0], sha256, 6)
    assert (one.file, one.was_published) == (f"{DAYS[0]}.{sha256}.jsonl", False)
    assert one.at == datetime.fromtimestamp(1_700_000_000, UTC)
    assert one.reason == f"{one.file}.reason.json is lost"


def test_a_reason_without_its_body_is_listed_too(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {DAYS[0]: b"{}\n"})
    quarantine(data, data.archive / day_name(DAYS[0]), DAYS[0], reason="x", at=NOW)
    (known,) = list_quarantined(data)
    (data.quarantine / known.file).unlink()

    assert list_quarantined(data) == [known]
    remove_quarantined(data, [known])
    assert list(data.quarantine.iterdir()) == []


def test_what_is_none_of_ours_is_passed_over(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {})
    for name in ("notes.jsonl", "2024-13-45." + "a" * 16 + ".jsonl", "x.reason.json"):
        (data.quarantine / name).write_bytes(b"{}\n")
    # a reason that is torn, of a body that is gone
    (data.quarantine / f"{DAYS[0]}.{'b' * 16}.jsonl.reason.json").write_bytes(b'{"date')

    assert list_quarantined(data) == []
    assert list_quarantined(DataDir(tmp_path / "nothing")) == []


def put_aside(data: DataDir, body: bytes, minutes: int = 0, reason: str = "x") -> str:
    """Refuse a body of a time; return its name in quarantine."""
    staged = data.staging / "refused"
    staged.write_bytes(body)
    quarantine(data, staged, DAYS[0], reason=reason, at=NOW + timedelta(minutes=minutes))
    return f"{DAYS[0]}.{hashlib.sha256(body).hexdigest()[:16]}.jsonl"


def put_large(data: DataDir, number: int, size: int) -> str:
    """Have a body in quarantine from before, of a size and without its reason; return its name."""
    path = data.quarantine / f"{DAYS[0]}.{number:016x}.jsonl"
    path.touch()
    os.truncate(path, size)
    when = (NOW - timedelta(days=1)).timestamp() + number
    os.utime(path, (when, when))
    return path.name


def names(data: DataDir) -> set[str]:
    return {one.file for one in list_quarantined(data)}


def test_a_body_is_named_by_day_and_digest_and_its_reason_is_bounded(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {})
    name = put_aside(data, b"{}\n", reason="\x1b" + "r" * 1000)

    (one,) = list_quarantined(data)

    assert (one.file, one.at, one.size) == (name, NOW, 3)
    assert {path.name for path in data.quarantine.iterdir()} == {name, f"{name}.reason.json"}
    assert one.reason.startswith(r"\x1brrr")
    assert 500 <= len(one.reason) <= 503


def test_those_refused_long_ago_leave_until_there_are_fifty(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {})
    before = [put_large(data, number, 1) for number in range(60)]

    name = put_aside(data, b"{}\n")

    assert names(data) == {*before[11:], name}


def test_those_refused_long_ago_leave_until_they_fit_in_the_room(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {})
    before = [put_large(data, number, 128 * 1024**2) for number in range(4)]
    assert names(data) == set(before)
    whole = put_aside(data, b"")
    assert names(data) == {*before, whole}, "just so much has room"

    name = put_aside(data, b"{}\n", 1)

    assert names(data) == {*before[1:], whole, name}
    put_large(data, 9, 600 * 1024**2)
    assert names(data) > {*before[1:]}
    last = put_aside(data, b"{}\n{}\n", 2)
    assert names(data) == {whole, name, last}


def test_the_one_that_just_came_stays_though_it_is_dated_before_the_others(
    tmp_path: Path,
) -> None:
    data = make_mirror(tmp_path / "data", {})
    for number in range(55):
        put_aside(data, b"%d" % number, number)

    name = put_aside(data, b"{}\n", -60)

    assert name in names(data)
    assert len(names(data)) == 50
