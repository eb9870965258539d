"""`report` by its outside, over data directories in which only the inventory can be read."""

import json
import subprocess
from collections import Counter
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from mirror.events.findings import FINDINGS_VERSION
from mirror.events.spec import parse_spec
from mirror.model import IndexState, Record
from tests.command import COMMAND, Shell, plain_environment
from tests.making import days
from tests.report.inventories import findings, frozen, held, make_data_dir, poll, polled
from tests.report.test_dips import real_counts, season


class Said(NamedTuple):
    """What a command came to."""

    code: int
    out: str
    err: str


def run(*arguments: str, home: Path, **environ: str) -> Said:
    done = subprocess.run(
        [*COMMAND, "report", *arguments],
        capture_output=True,
        check=False,
        env=plain_environment(home) | environ,
        timeout=60,
    )
    return Said(done.returncode, done.stdout.decode(), done.stderr.decode())


def known_gaps() -> dict[date, Record]:
    """Make the days of an archive with the known gaps."""
    counts = season("2022-01-01", "2025-12-31")
    counts |= dict(
        zip(days("2025-01-09", "2025-01-16"), (5216, 3489, 865, 799, 1310, 0, 28, 0), strict=True)
    )
    records = held(counts)
    for name, first, last in (
        ("gke.mybinder.org", "2022-10-20", "2022-11-23"),
        ("gesis.mybinder.org", "2023-04-01", "2023-04-30"),
        ("ovh.mybinder.org", "2024-08-05", "2024-09-01"),
    ):
        for one in days(first, last):
            known = records[one].findings
            assert known is not None
            origins = {host: count for host, count in known.origins.items() if host != name}
            lines = sum(origins.values())
            records[one] = replace(
                records[one], lines=lines, index_count=lines, findings=findings(lines, origins)
            )
    return records


@pytest.fixture
def gaps(tmp_path: Path) -> Path:
    data = make_data_dir(tmp_path / "data", known_gaps().values())
    polled(data, frozen(date(2025, 6, 17), date(2025, 10, 14), every=timedelta(hours=6)))
    begun = datetime(2025, 10, 18, tzinfo=UTC)
    polled(data, (poll(begun + timedelta(days=n), IndexState.SHRUNK) for n in range(122)))
    polled(data, [poll(begun + timedelta(days=122), IndexState.FRESH)])
    return data.root


def test_each_known_gap_is_named_with_its_dates(gaps: Path) -> None:
    said = run("--data-dir", str(gaps), "--json", home=gaps)

    facts = json.loads(said.out)
    assert (said.code, said.err) == (0, "")
    assert [
        (one["kind"], one["first"], one["last"], one["days"]) for one in facts["anomalies"]
    ] == [
        ("few", "2022-10-20", "2022-11-23", 35),
        ("silent", "2022-10-20", "2022-11-23", 35),
        ("silent", "2023-04-01", "2023-04-30", 30),
        ("silent", "2024-08-05", "2024-09-01", 28),
        ("few", "2025-01-09", "2025-01-16", 8),
        ("empty", "2025-01-14", "2025-01-14", 1),
        ("empty", "2025-01-16", "2025-01-16", 1),
        ("index-frozen", "2025-06-17", "2025-10-14", 120),
        ("index-shrunk", "2025-10-18", "2026-02-16", 122),
    ]
    assert facts["found"] == {"serious": 4, "warning": 5, "note": 0}
    assert facts["days"] == len(known_gaps())
    assert facts["events"] == sum(one.lines for one in known_gaps().values())


def test_the_text_tells_the_same_and_draws_it(gaps: Path) -> None:
    said = run("--data-dir", str(gaps), home=gaps, PYTHONIOENCODING="utf-8")

    assert said.code == 0
    assert "\x1b" not in said.out
    assert "Found: 4 serious, 5 warnings\n" in said.out
    assert "  2025-01-09 to 2025-01-16 (8 days)  few\n" in said.out
    assert "[▄▃▁▁▁▁▁▁]" in said.out
    assert max(map(len, said.out.splitlines())) <= 100


def test_plots_are_of_plain_characters_where_the_output_knows_no_others(gaps: Path) -> None:
    said = run("--data-dir", str(gaps), home=gaps, PYTHONIOENCODING="ascii", PYTHONUTF8="0")

    assert said.out.isascii()
    assert "[=-......]" in said.out


def test_a_window_bounds_what_is_told_but_not_what_it_is_judged_by(gaps: Path) -> None:
    facts = json.loads(run("--data-dir", str(gaps), "--quarter", "2025q1", "--json", home=gaps).out)

    assert (facts["first"], facts["last"], facts["days"]) == ("2025-01-01", "2025-03-31", 90)
    assert [one["kind"] for one in facts["anomalies"]] == ["few", "empty", "empty"]
    assert facts["period"] == "week"
    assert sum(one["events"] for one in facts["periods"]) == facts["events"]
    last = facts["quarters"][-1]
    assert (last["start"], last["days"], last["events"]) == ("2025-01-01", 90, facts["events"])
    assert last["to_quarter_before"] < 1
    assert last["to_year_before"] < 1


def test_a_window_without_a_day_is_told_so(gaps: Path) -> None:
    said = run("--data-dir", str(gaps), "--since", "2030-01-01", home=gaps)

    assert said == (0, "No day of the window is held.\nNothing odd was found.\n", "")


def test_the_real_index_gives_a_report_without_an_alarm(real_data: Path, tmp_path: Path) -> None:
    data = make_data_dir(tmp_path / "data", held(real_counts(real_data)).values())

    said = run("--data-dir", str(data.root), home=tmp_path)

    assert said.out.startswith("997 days held, 2018-11-03 to 2021-07-26: 19,284,997 events, ")
    assert "\nNothing odd was found.\n" in said.out


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--quarter", "2026Q5"], "'2026Q5' is not a quarter like 2026Q3"),
        (["--quarter", "0000Q1"], "'0000Q1' is not a quarter like 2026Q3"),
        (["--since", "2026-02-30"], "'2026-02-30' is not a date like 2024-01-31"),
        (["--since", "2026-02-02", "--until", "2026-02-01"], "--since 2026-02-02 is after --until"),
        (
            ["--quarter", "2026Q3", "--until", "2026-09-01"],
            "--quarter names the days already",
        ),
    ],
)
def test_a_window_that_makes_no_sense_is_refused(
    tmp_path: Path, arguments: list[str], line: str
) -> None:
    (tmp_path / "data" / "archive").mkdir(parents=True)
    said = run("--data-dir", str(tmp_path / "data"), *arguments, home=tmp_path)

    assert (said.code, said.out) == (2, "")
    assert line in said.err
    assert said.err.count("\n") == 1


def test_where_there_is_no_mirror_there_is_no_report(tmp_path: Path) -> None:
    said = run("--data-dir", str(tmp_path / "data"), home=tmp_path)

    assert (said.code, said.out) == (2, "")
    assert "there is no mirror in" in said.err


def test_days_to_be_counted_or_counted_again_are_pending(tmp_path: Path) -> None:
    records = held(season("2026-07-01", "2026-07-20"))
    for one in days("2026-07-01", "2026-07-15"):
        known = records[one].findings
        assert known is not None
        records[one] = replace(records[one], findings=replace(known, version=FINDINGS_VERSION))
    records[date(2026, 7, 20)] = replace(records[date(2026, 7, 20)], findings=None)
    data = make_data_dir(tmp_path / "data", records.values())
    arguments = ("--data-dir", str(data.root), "--json")

    facts = json.loads(run(*arguments, home=tmp_path).out)
    off = json.loads(run(*arguments, home=tmp_path, BINDER_MIRROR_STORAGE__FINDINGS="false").out)

    assert facts["pending_findings"] == 5
    assert [one["inspected"] for one in facts["periods"]] == [1] * 19 + [0]
    assert off["pending_findings"] == 0


async def test_the_repositories_are_counted_from_the_files(shell: Shell, tmp_path: Path) -> None:
    await shell.synced()
    launches = [
        json.loads(line) for one in shell.days for line in shell.body(one).decode().splitlines()
    ]
    true = Counter(parse_spec(one["provider"], one["spec"]).key for one in launches)

    done = await shell.run("report", "--top", "1000", "--json")

    ranking = done.json["repositories"]
    assert {one["name"]: one["launches"] for one in ranking["top"]} == true
    assert (ranking["launches"], ranking["repositories"]) == (len(launches), len(true))
    assert "not-a-real-password" not in done.out


async def test_a_page_is_written_whole_or_printed(shell: Shell, tmp_path: Path) -> None:
    await shell.synced()
    path = tmp_path / "report.html"

    written = await shell.run("report", "--html", path)
    printed = await shell.run("report", "--html", "-", "--top", "0")

    assert (written.code, written.out, written.said) == (0, "", [])
    assert path.read_text("utf-8").endswith("</html>\n")
    assert "Repositories launched most" in path.read_text("utf-8")
    assert printed.out.startswith("<!DOCTYPE html>")
    assert printed.out.endswith("</html>\n")
    assert "Repositories launched most" not in printed.out
    assert "not-a-real-password" not in path.read_text("utf-8")


async def test_a_page_that_cannot_be_written_is_refused(shell: Shell, tmp_path: Path) -> None:
    await shell.synced()

    nowhere = await shell.run("report", "--html", tmp_path / "no" / "report.html")
    both = await shell.run("report", "--html", "-", "--json")

    assert "No such file or directory" in nowhere.refused(5)
    assert "ask for one of them" in both.refused(2)


@pytest.mark.parametrize(
    ("fail_on", "code"), [((), 0), (("--fail-on", "serious"), 3), (("--fail-on", "warning"), 3)]
)
@pytest.mark.parametrize("form", [(), ("--json",), ("--html", "-"), ("--html", "FILE")])
def test_it_fails_on_what_it_is_told_to(
    gaps: Path, tmp_path: Path, fail_on: tuple[str, ...], code: int, form: tuple[str, ...]
) -> None:
    page = tmp_path / "page.html"
    form = tuple(str(page) if one == "FILE" else one for one in form)

    said = run("--data-dir", str(gaps), "--top", "0", *fail_on, *form, home=gaps)

    assert (said.code, said.err) == (code, "")
    assert "2025-01-09" in (said.out or page.read_text())


def test_what_is_less_severe_or_outside_the_window_is_no_failure(gaps: Path) -> None:
    # the index stood still: a warning
    window = ("--data-dir", str(gaps), "--since", "2025-07-01", "--until", "2025-09-30")

    assert run(*window, "--fail-on", "warning", home=gaps).code == 3
    assert run(*window, "--fail-on", "serious", home=gaps).code == 0
    assert run(*window, "--fail-on", "note", home=gaps).code == 2


def test_the_real_index_fails_where_a_known_gap_is_in_it(real_data: Path, tmp_path: Path) -> None:
    counts = real_counts(real_data)
    gap = zip(days("2020-02-05", "2020-02-12"), (5216, 3489, 865, 799, 1310, 0, 28, 0), strict=True)
    whole = make_data_dir(tmp_path / "whole", held(counts).values())
    torn = make_data_dir(tmp_path / "torn", held(counts | dict(gap)).values())

    calm, found = (
        run("--data-dir", str(data.root), "--fail-on", "serious", home=tmp_path)
        for data in (whole, torn)
    )

    assert (calm.code, found.code) == (0, 3)
    assert "2020-02-05 to 2020-02-12" in found.out
