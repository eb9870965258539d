"""The test upstream's publisher: what it writes, when, and the incidents it can replay."""

import hashlib
import json
import re
from datetime import UTC, date, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.upstream.archive import StoredObject, UpstreamArchive, day_name

FIRST = date(2021, 8, 2)
LAST = date(2021, 8, 6)
NOON = datetime(2021, 8, 6, 12, tzinfo=UTC)


@pytest.fixture
def archive() -> UpstreamArchive:
    return UpstreamArchive.with_days(FIRST, LAST, now=NOON)


def index(archive: UpstreamArchive) -> list[dict[str, object]]:
    return [json.loads(line) for line in archive["index.jsonl"].body.split(b"\n")]


def lines_of(archive: UpstreamArchive, day: date) -> int:
    return archive[day_name(day)].body.count(b"\n")


def test_the_index_lists_all_days_ascending_with_their_counts(archive):
    entries = index(archive)
    assert [list(entry) for entry in entries] == [["name", "date", "count"]] * 5
    days = [FIRST + timedelta(i) for i in range(5)]
    assert entries == [
        {"name": f"events-{day}.jsonl", "date": str(day), "count": str(lines_of(archive, day))}
        for day in days
    ]
    assert archive["index.jsonl"].body.startswith(
        b'{"name": "events-2021-08-02.jsonl", "date": "2021-08-02", "count": "'
    )
    assert not archive["index.jsonl"].body.endswith(b"\n")


def test_the_page_lists_the_same_newest_first(archive):
    page = archive["index.html"].body.decode()
    assert re.findall(r"<th>(.*?)</th>", page) == ["Date", "Filename", "Number of Events"]
    links = re.findall(r'<a href="(events-.*?)">', page)
    assert links == [entry["name"] for entry in reversed(index(archive))]
    assert 'href="static/bootstrap-4.1.3.min.css"' in page
    assert archive["index.html"].content_type == "text/html"


def test_a_stored_day_tells_its_count_date_and_digest(archive):
    stored = archive["events-2021-08-04.jsonl"]
    assert stored.meta == {
        "events-count": str(stored.body.count(b"\n")),
        "events-date": "2021-08-04",
    }
    assert stored.etag == hashlib.md5(stored.body).hexdigest()
    assert stored.last_modified == datetime(2021, 8, 5, 4, tzinfo=UTC)
    assert archive["events-2021-08-06.jsonl"].last_modified == NOON


def test_the_same_call_makes_the_same_archive(archive):
    assert UpstreamArchive.with_days(FIRST, LAST, now=NOON) == archive
    other = UpstreamArchive.with_days(FIRST, LAST, now=NOON, seed=1)
    assert other["events-2021-08-02.jsonl"] != archive["events-2021-08-02.jsonl"]


def test_without_a_moment_all_days_are_final():
    archive = UpstreamArchive.with_days(FIRST, LAST, events_per_day=50)
    assert archive["index.jsonl"].last_modified == datetime(2021, 8, 7, 7, tzinfo=UTC)
    before = dict(archive.objects)
    archive.rebuild(LAST, datetime(2021, 9, 1, tzinfo=UTC))
    assert archive[day_name(LAST)].body == before[day_name(LAST)].body


def test_today_grows_and_yesterday_is_rebuilt_until_five(archive):
    bodies = []
    for hours in range(0, 30, 2):
        now = NOON + timedelta(hours=hours)
        yesterday = archive[day_name(now.date() - timedelta(1))]
        archive.publish(now)
        bodies.append(archive[day_name(LAST)].body)
        rebuilt = archive[day_name(now.date() - timedelta(1))].last_modified == now
        assert rebuilt == (now.hour < 5)
        assert rebuilt or archive[day_name(now.date() - timedelta(1))] is yesterday
        assert archive["index.jsonl"].last_modified == now
    sizes = [len(body) for body in bodies]
    assert sizes == sorted(sizes)
    # The last rebuild of a day is at 04:00; nothing changes after it.
    assert bodies[8] == bodies[-1] == UpstreamArchive.with_days(FIRST, LAST)[day_name(LAST)].body


def test_a_file_right_after_midnight_is_empty(archive):
    archive.publish(datetime(2021, 8, 7, tzinfo=UTC))
    assert archive["events-2021-08-07.jsonl"].body == b""
    assert index(archive)[-1]["count"] == "0"


def test_a_frozen_index_stays_while_data_goes_on(archive):
    before = archive["index.jsonl"], archive["index.html"]
    archive.index_frozen = True
    archive.publish(datetime(2021, 8, 7, 12, tzinfo=UTC))
    assert (archive["index.jsonl"], archive["index.html"]) == before
    assert lines_of(archive, date(2021, 8, 7)) > 0


def test_a_shrunk_index_is_its_newest_line_and_the_page_is_complete(archive):
    archive.index_shrunk = True
    archive.write_index(NOON)
    assert [entry["date"] for entry in index(archive)] == ["2021-08-06"]
    assert archive["index.html"].body.count(b"<tr>") == 5


@pytest.mark.parametrize("final_newline", [False, True])
@pytest.mark.parametrize("as_ints", [False, True])
def test_the_index_ends_and_counts_as_told(archive, final_newline, as_ints):
    archive.final_newline, archive.counts_as_ints = final_newline, as_ints
    archive.write_index(NOON)
    body = archive["index.jsonl"].body
    assert body.endswith(b"}\n" if final_newline else b"}")
    counts = [json.loads(line)["count"] for line in body.splitlines()]
    assert {type(count) for count in counts} == {int if as_ints else str}


def test_an_index_may_claim_other_counts(archive):
    archive.claims[FIRST] = 7
    archive.write_index(NOON)
    assert index(archive)[0]["count"] == "7"
    assert b"<td>7</td>" in archive["index.html"].body


def test_an_index_may_hold_any_lines(archive):
    archive.write_index(NOON, lines=["{", ""])
    assert archive["index.jsonl"].body == b"{\n"
    archive.write_index(NOON, lines=[])
    assert archive["index.jsonl"].body == b""


def test_objects_come_and_go(archive):
    archive.put("events-2099-99-99.jsonl", b"x", NOON)
    assert archive["events-2099-99-99.jsonl"].last_modified == NOON
    archive.put_day(FIRST, b"a\nb\n", NOON)
    archive.put_day(FIRST + timedelta(1), 12, NOON)
    archive.remove(day_name(LAST))
    archive.write_index(NOON)
    assert [entry["count"] for entry in index(archive)][:2] == ["2", "12"]
    assert len(index(archive)) == 4
    with pytest.raises(KeyError):
        archive.remove(day_name(LAST))


def test_a_version_once_stored_is_kept_by_who_holds_it(archive):
    old = archive["index.jsonl"]
    archive.publish(NOON + timedelta(hours=2))
    assert archive["index.jsonl"] is not old
    assert old.generation < archive["index.jsonl"].generation


def test_an_etag_may_be_given():
    assert StoredObject(b"", NOON, etag="abc").etag == "abc"
    assert StoredObject(b"", NOON).etag == "d41d8cd98f00b204e9800998ecf8427e"


@settings(max_examples=30)
@given(st.integers(0, 8 * 365 * 24))
def test_a_round_leaves_index_and_data_in_step(hours):
    now = datetime(2018, 11, 4, tzinfo=UTC) + timedelta(hours=hours)
    archive = UpstreamArchive(events_per_day=30)
    archive.publish(now)
    for entry in index(archive):
        day = date.fromisoformat(str(entry["date"]))
        assert str(lines_of(archive, day)) == entry["count"]
    assert len(archive.days()) == (2 if now.hour < 5 else 1)
