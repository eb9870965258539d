"""Bodies that are moved into quarantine leave the place where they were."""

from datetime import UTC, datetime
from pathlib import Path

from mirror.store.aside import list_quarantined, quarantine
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

    (one,) = list_quarantined(data)

    assert (one.date, one.sha256, one.size) == (DAYS[0], sha256, 6)
    assert not one.was_published


def test_a_reason_without_its_body_is_listed_too(tmp_path: Path) -> None:
    data = make_mirror(tmp_path / "data", {DAYS[0]: b"{}\n"})
    quarantine(data, data.archive / day_name(DAYS[0]), DAYS[0], reason="x", at=NOW)
    (known,) = list_quarantined(data)
    (data.quarantine / known.file).unlink()

    assert list_quarantined(data) == [known]
