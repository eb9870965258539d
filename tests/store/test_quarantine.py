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
