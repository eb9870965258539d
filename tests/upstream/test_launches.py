"""The made-up days: exact, sorted, reproducible, and in the format of their era."""

import json
import os
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.upstream.launches import daily_count, make_day

FIRST = date(2018, 11, 3)
DAYS = st.dates(FIRST, date(2027, 1, 1))
ISO = "%Y-%m-%dT%H:%M:00+00:00"


def events(day: date, count: int = 1000, seed: int = 0) -> list[dict[str, object]]:
    return [json.loads(line) for line in make_day(day, count, seed=seed).splitlines()]


@settings(max_examples=50)
@given(DAYS, st.integers(0, 200), st.integers(0, 1))
def test_a_day_is_exact_sorted_and_reproducible(day, count, seed):
    body = make_day(day, count, seed=seed)
    assert body == make_day(day, count, seed=seed)
    assert body.count(b"\n") == count
    assert body.endswith(b"\n") or count == 0
    stamps = [json.loads(line)["timestamp"] for line in body.splitlines()]
    assert stamps == sorted(stamps)
    assert all(datetime.strptime(stamp, ISO).replace(tzinfo=UTC) for stamp in stamps)
    strays = [stamp for stamp in stamps if not stamp.startswith(day.isoformat())]
    assert len(strays) == (day == date(2019, 2, 22) and count > 0)


def test_seed_and_day_make_a_difference():
    assert make_day(FIRST, 50) != make_day(FIRST, 50, seed=1)
    assert make_day(FIRST, 50)[30:] != make_day(FIRST + timedelta(1), 50)[30:]


ERAS = [
    (date(2018, 11, 3), {1}, "timestamp schema version provider spec status"),
    (date(2019, 4, 2), {2}, "timestamp schema version provider spec status"),
    (date(2019, 6, 11), {2}, "timestamp schema version provider spec status"),
    (date(2019, 6, 13), {3}, "timestamp schema version provider spec status origin"),
    (date(2020, 6, 19), {4}, "timestamp schema version provider spec ref status origin"),
    (
        date(2021, 7, 2),
        {5},
        "timestamp schema version provider spec ref status build_token origin",
    ),
    (
        date(2022, 10, 1),
        {5},
        "build_token origin provider ref schema spec status timestamp version",
    ),
    (
        date(2026, 3, 2),
        {6},
        "build_token origin provider ref request_origin schema spec status timestamp version",
    ),
]


@pytest.mark.parametrize(("day", "versions", "keys"), ERAS)
def test_version_fields_and_their_order_follow_the_era(day, versions, keys):
    found = events(day)
    assert {event["version"] for event in found} == versions
    orders = {" ".join(key for key in event if key != "python_logger") for event in found}
    assert orders == {keys}
    assert {event["schema"] for event in found} == {"binderhub.jupyter.org/launch"}
    assert {event["status"] for event in found} == {"success"}
    assert all(isinstance(event.get("build_token", False), bool) for event in found)


@pytest.mark.parametrize(
    ("day", "moment", "old", "new"),
    [(date(2019, 6, 12), "20:03", 2, 3), (date(2020, 6, 18), "16:36", 3, 4)],
)
def test_a_version_that_changes_within_a_day_mixes_for_an_hour(day, moment, old, new):
    found = events(day, 8_000)
    before = {e["version"] for e in found if str(e["timestamp"])[11:16] < moment}
    after = [e["version"] for e in found if str(e["timestamp"])[11:16] >= moment]
    assert before == {old}
    assert set(after) == {old, new}
    assert set(after[-100:]) == {new}


@pytest.mark.parametrize(
    ("day", "providers"),
    [
        (date(2019, 1, 5), "Git GitHub GitLab"),
        (date(2019, 4, 2), "Gist Git GitHub GitLab"),
        (date(2019, 7, 1), "Gist Git GitHub GitLab Zenodo"),
        (date(2020, 3, 1), "Dataverse Figshare Gist Git GitHub GitLab Hydroshare Zenodo"),
        (date(2024, 8, 1), "CKAN Dataverse Figshare Gist Git GitHub GitLab Hydroshare Zenodo"),
    ],
)
def test_providers_grow_and_github_dominates(day, providers):
    found = Counter(event["provider"] for event in events(day, 8_000))
    assert " ".join(sorted(map(str, found))) == providers
    assert found["GitHub"] > 7_000


def test_specs_are_as_odd_as_the_real_ones():
    specs = {str(event["spec"]) for event in events(date(2024, 8, 1), 8_000)}
    assert {"Qiskit/qiskit-tutorial/master", "QISKit/qiskit-tutorial/master"} <= specs
    assert any("%3Anot-a-real-password%40" in spec for spec in specs)
    assert any("%2F" in spec and not spec.startswith("http") for spec in specs)
    assert any(spec.startswith("10.5281/zenodo.") for spec in specs)
    assert any("/feature/" in spec for spec in specs)
    assert not any("@" in spec or "://" in spec for spec in specs)


@pytest.mark.parametrize("day", [date(2018, 11, 25), date(2019, 1, 28), date(2019, 2, 22)])
def test_on_three_days_gists_carry_the_provider_github(day):
    found = events(day, 8_000)
    assert not any(event["provider"] == "Gist" for event in found)
    assert any(str(event["spec"]).split("/")[0] == "demo-user" for event in found)


def test_identical_lines_and_stray_fields_occur():
    found = make_day(date(2023, 5, 3), 8_000).splitlines()
    assert len(set(found)) < len(found)
    assert 0 < sum(b'"python_logger": null' in line for line in found) < 50


@pytest.mark.parametrize(
    ("day", "expected"),
    [
        (FIRST, 185),
        (date(2019, 8, 1), 215),
        (date(2020, 8, 1), 266),
        (date(2022, 1, 1), 287),
        (date(2026, 4, 1), 320),
    ],
)
def test_a_line_is_as_long_as_a_real_one(day, expected):
    assert len(make_day(day, 5000)) / 5000 == pytest.approx(expected, rel=0.04)


@settings(max_examples=50)
@given(DAYS, st.integers(0, 200), st.lists(st.integers(-60, 2000), min_size=2, max_size=6))
def test_a_day_read_early_grows_to_the_whole_day(day, count, minutes):
    midnight = datetime(day.year, day.month, day.day, tzinfo=UTC)
    whole = make_day(day, count)
    before: Counter[bytes] = Counter()
    for minute in sorted(minutes):
        body = make_day(day, count, until=midnight + timedelta(minutes=minute))
        lines = Counter(body.splitlines())
        assert before <= lines <= Counter(whole.splitlines())
        before = lines
    assert make_day(day, count, until=midnight + timedelta(hours=28)) == whole
    assert make_day(day, count, until=midnight) == b"" or day == date(2019, 2, 22)


def test_late_events_land_in_the_middle_of_the_file():
    noon = datetime(2021, 8, 3, 12, tzinfo=UTC)
    early = make_day(noon.date(), 2000, until=noon)
    later = make_day(noon.date(), 2000, until=noon + timedelta(hours=2))
    assert len(later) > len(early)
    assert not later.startswith(early)


def test_a_weekend_is_quiet_and_an_outage_shows():
    counts = [daily_count(date(2021, 8, 2) + timedelta(i), 1000) for i in range(7)]
    assert min(counts[:5]) > 1.3 * max(counts[5:])
    assert len(set(counts)) == 7
    assert daily_count(date(2025, 1, 14), 1000) == daily_count(date(2025, 1, 16), 1000) == 0
    assert daily_count(date(2025, 1, 15), 10_000) > 0


@pytest.mark.skipif("MIRROR_REAL_DATA" not in os.environ, reason="no real data here")
def test_real_lines_have_the_keys_of_made_up_ones():
    path = Path(os.environ["MIRROR_REAL_DATA"], "lines.jsonl")
    for row in map(json.loads, path.read_text().splitlines()):
        real = json.loads(row["line"])
        made_up = events(date.fromisoformat(real["timestamp"][:10]), 2000)
        assert list(real) in [list(event) for event in made_up]
