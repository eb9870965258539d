"""The status page and its twin for programs, as they are served."""

import asyncio
import gzip
import html
import re
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from mirror.archive.listings import Refusal, parse_index
from mirror.errors import ExitCode
from mirror.events.findings import MAX_KEY_LENGTH
from mirror.model import Findings, Flag, IndexState, Problem, ProblemKind
from mirror.store.aside import Quarantined
from mirror.text import masked, shown
from tests.command import ROOT, Shell
from tests.web.copies import Copy, poll_report, seasonal_counts
from tests.web.serving import serving

NOW = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
TODAY = NOW.date()
MINUTE = timedelta(minutes=1)
EIGHT_YEARS_ON = date(2027, 1, 19)
"""The 3,000th day of the archive."""
HOSTILE = (
    "\"'><script>alert(1)</script><img src=x onerror=alert(1)>\u202e\x1b[31m\n&" + "x" * 10_000
)


@pytest.fixture
async def http() -> AsyncIterator[aiohttp.ClientSession]:
    headers = {"Accept-Encoding": "identity"}
    async with aiohttp.ClientSession(auto_decompress=False, headers=headers) as session:
        yield session


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    return Copy(tmp_path / "data", seasonal_counts(400, TODAY), now=NOW)


async def page_of(copy: Copy, http: aiohttp.ClientSession, *, now: datetime = NOW) -> str:
    async with serving(copy.write(), now=now) as url, http.get(f"{url}status") as answer:
        assert answer.status == 200
        return await answer.text()


def text_of(page: str) -> str:
    return html.unescape(re.sub(r"\s+", " ", re.sub("<[^>]*>", "", page)))


async def test_it_is_served_whole_and_strict(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{url}status") as answer:
        page = await answer.text()
        policy = answer.headers["Content-Security-Policy"]
    assert "In step with upstream as of " in text_of(page)
    assert 'class="sentence good"' in page
    assert f"{shell.days[0]} to {shell.days[-1]}" in text_of(page)
    assert policy.startswith("default-src 'none'; style-src 'self'; script-src 'self'; ")
    assert "unsafe" not in policy
    assert not re.search(r"<script(?! src=)|\sstyle=|<style|\son\w+=|https?://(?!127)", page)
    links = re.findall(r'(?:href|src)="([^"#]+)"', page)
    assert len(links) >= 6
    for link in links:
        # of whatever a proxy puts before our paths, nothing is known here
        assert not link.startswith("/")
        if not link.startswith("data:"):
            async with http.get(url + link) as served:
                assert served.status == 200, link
                assert served.headers["X-Content-Type-Options"] == "nosniff"


async def test_a_reload_of_what_has_not_changed_costs_nothing(
    url: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{url}status") as answer:
        tag = answer.headers["ETag"]
    async with http.get(f"{url}status", headers={"If-None-Match": tag}) as again:
        # the minute may have turned between the two
        assert (again.status, await again.read()) == (304, b"") or again.headers["ETag"] != tag
    async with http.get(f"{url}status", headers={"If-None-Match": 'W/"another"'}) as other:
        assert other.status == 200


async def test_it_is_compressed_for_those_who_take_it(
    url: str, http: aiohttp.ClientSession
) -> None:
    headers = {"Accept-Encoding": "gzip"}
    async with http.get(f"{url}status", headers=headers) as answer:
        assert answer.headers["Content-Encoding"] == "gzip"
        assert answer.headers["Vary"] == "Accept-Encoding"
        assert b"</html>" in gzip.decompress(await answer.read())
    async with http.get(f"{url}status", headers={"Accept-Encoding": "identity"}) as plain:
        assert "Content-Encoding" not in plain.headers


async def test_a_change_shows(shell: Shell, url: str, http: aiohttp.ClientSession) -> None:
    async def polls() -> int:
        async with http.get(f"{url}status") as answer:
            return (await answer.text()).count("</span> complete")

    assert await polls() == 1
    await shell.synced()
    async with asyncio.timeout(30):
        while await polls() != 2:
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    ("polls", "sentence"),
    [
        ([(90,), (60,), (30,)], "In step with upstream since 2026-03-06 14:00 UTC, as of "),
        ([(60, "a: failed"), (30,)], "In step with upstream as of 2026-03-06 15:00 UTC."),
        ([(90,), (60, "a: failed"), (30, "b: x")], "Incomplete since 2026-03-06 14:30 UTC, as of "),
        ([(90,), (60, "a: x"), (30, "b: x")], "15:00 UTC: 1 problem at the last poll."),
    ],
)
async def test_the_sentence_says_since_when(copy, http, polls, sentence) -> None:
    copy.polls = [poll_report(NOW - back * MINUTE, *problems) for back, *problems in polls]
    assert sentence in text_of(await page_of(copy, http))


async def test_what_was_before_the_polls_at_hand_is_not_claimed(copy, http) -> None:
    copy.polls = [poll_report(NOW - back * MINUTE) for back in range(250, 0, -1)]
    assert "In step with upstream since before " in text_of(await page_of(copy, http))


async def test_an_unusable_upstream_is_said_in_the_sentence(copy, http) -> None:
    unusable = {"exit_code": ExitCode.UPSTREAM_UNUSABLE, "index_state": IndexState.UNUSABLE}
    problem = Problem(ProblemKind.UPSTREAM_UNUSABLE, "upstream answered 503 Service Unavailable")
    copy.polls = [
        poll_report(NOW - 90 * MINUTE),
        *(poll_report(NOW - back * MINUTE, problem, **unusable) for back in (60, 30)),
    ]
    page = await page_of(copy, http)
    assert "Upstream is unusable since 2026-03-06 14:30 UTC" in text_of(page)
    assert 'class="sentence failing"' in page
    assert "check upstream.url" in page


async def test_a_daemon_that_does_not_ask_is_not_in_step(copy, http) -> None:
    page = await page_of(copy, http, now=NOW + timedelta(hours=20))
    assert "Upstream has not been asked since 2026-03-06 15:00 UTC." in text_of(page)
    assert 'class="sentence failing"' in page


async def test_nothing_polled_yet(tmp_path, http) -> None:
    copy = Copy(tmp_path / "data", {}, now=NOW)
    copy.polls = []
    page = await page_of(copy, http)
    assert "Nothing has been polled yet" in text_of(page)
    assert "No day is held yet." in text_of(page)
    assert "Last polls" not in page


def refused(day: date, at: datetime, reason: str = "it has 2 lines where 3 are listed"):
    return Quarantined(day, "ab" * 32, 100, reason, at, f"{day}.abab.jsonl")


async def test_only_a_body_refused_since_the_day_was_confirmed_is_marked(copy, http) -> None:
    settled, troubled = TODAY - timedelta(20), TODAY - timedelta(10)
    copy.quarantined = [
        refused(settled, datetime(settled.year, settled.month, settled.day, tzinfo=UTC)),
        refused(troubled, NOW),
    ]
    page = await page_of(copy, http)
    told = dict(re.findall(r'aria-label="(\d{4}): ([^"]*)"', page))
    assert "1 in quarantine" in told["2026"]
    assert f"{copy.counts[troubled]:,} in quarantine" in page


async def test_problems_say_what_to_do(copy, http) -> None:
    text = "mismatch: it has 2 lines where 3 are listed"
    problem = Problem(ProblemKind.MISMATCH, text, date(2026, 3, 1))
    copy.polls = [poll_report(NOW - 30 * MINUTE, problem)]
    text = text_of(await page_of(copy, http))
    assert (
        "2026-03-01: mismatch: it has 2 lines where 3 are listed The next poll, the daemon's or "
        in text
    )


async def test_days_still_to_be_counted_are_shown(copy, http) -> None:
    assert "Pending" not in await page_of(copy, http)
    copy.findings[next(iter(copy.counts))] = Findings(version=1)
    page = await page_of(copy, http)
    assert '<dt>Pending</dt><dd>1 day</dd><dd class="soft">still to be counted</dd>' in page


async def test_days_that_were_restored_are_shown(copy, http) -> None:
    assert "Flagged" not in await page_of(copy, http)
    first, second, *_ = copy.counts
    copy.flags = {first: (Flag.RESTORED,), second: (Flag.ADOPTED, Flag.RESTORED)}
    assert "<dt>Flagged</dt><dd>adopted 1, restored 2</dd>" in await page_of(copy, http)


async def test_what_is_upstreams_is_shown_and_does_nothing(copy, http) -> None:
    day = TODAY - timedelta(40)
    secret = "https%3A%2F%2Fme:hunter2%40git.example%2Frepo/main"
    key = shown(HOSTILE, MAX_KEY_LENGTH)
    copy.findings[day] = Findings(
        versions={key: 10**6}, providers={key: 10**6}, origins={key: 10**6}
    )
    copy.quarantined = [refused(day, NOW, HOSTILE)]
    copy.polls = [
        poll_report(
            NOW - 30 * MINUTE,
            Problem(ProblemKind.INDEX_LINE, HOSTILE),
            Problem(ProblemKind.OTHER, secret, day),
            warnings=(Problem(ProblemKind.OTHER, "git://u:hunter2@host/x"),),
        )
    ]
    copy.upstream = copy.upstream.__class__(
        url="https://user:hunter2@archive.example/", refused=(Refusal(1, HOSTILE, HOSTILE),)
    )
    page = await page_of(copy, http)
    assert "<script>alert" not in page
    assert "<img" not in page
    assert "hunter2" not in page
    assert not set(page) & {"\u202e", "\x1b"}
    assert "x" * 500 not in page
    assert "&lt;script&gt;alert(1)" in page


async def test_eight_years_are_a_small_page(tmp_path, http) -> None:
    copy = Copy(tmp_path / "data", seasonal_counts(3000, EIGHT_YEARS_ON), now=NOW)
    page = await page_of(copy, http)
    # two fifths of it are the days' links
    assert len(page) < 270_000
    assert len(gzip.compress(page.encode())) < 40_000


async def test_the_real_archive_is_told_day_by_day(tmp_path, real_data, http) -> None:
    body = (real_data / "index-2021-07-26.jsonl").read_bytes()
    index = parse_index(body, name_template="events-{date}.jsonl", today=TODAY)
    counts = {entry.date: entry.count for entry in index.entries}
    page = await page_of(Copy(tmp_path / "data", counts, now=NOW), http)
    assert len(counts) == 997
    for year in (2018, 2019, 2020, 2021):
        some = [count for day, count in counts.items() if day.year == year]
        assert f"{sum(some):,} events, {len(some)} days" in text_of(page)
    assert ">91,762</a>" in page
    assert "The fullest day is 2021-05-31 with 91,762." in text_of(page)


async def test_a_copy_that_lacks_every_day_is_no_large_page(tmp_path, http) -> None:
    copy = Copy(tmp_path / "data", seasonal_counts(3000, TODAY), now=NOW)
    copy.counts = {TODAY: 1}
    page = await page_of(copy, http)
    assert "2,985 listed days not held" in text_of(page)
    assert len(page) < 300_000


@pytest.mark.parametrize(
    ("accepted", "is_packed"),
    [("gzip;q=0, br", False), ("br, gzip;q=0.5", True), ("GZIP", True), ("xgzip", False)],
)
async def test_what_is_refused_is_not_sent(url, http, accepted, is_packed) -> None:
    async with http.get(f"{url}status", headers={"Accept-Encoding": accepted}) as answer:
        assert ("Content-Encoding" in answer.headers) == is_packed


@pytest.mark.parametrize(
    ("text", "safe"),
    [
        ("https://me:pw@host/x", "https://***@host/x"),
        ("https%3A%2F%2Fme:p%40w%40host%2Fx/main", "https%3A%2F%2F***@host%2Fx/main"),
        ("https%3a%2f%2fme:pw@host%2fx", "https%3a%2f%2f***@host%2fx"),
        ("ssh://git@host/x and mail@host", "ssh://***@host/x and mail@host"),
        ("https://host/a@b", "https://host/a@b"),
        ("no address", "no address"),
    ],
)
def test_users_and_passwords_are_masked(text, safe) -> None:
    assert masked(text) == safe


async def test_the_status_for_programs_has_the_documented_keys(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{url}status.json") as answer:
        facts = await answer.json()
        text = await answer.text()
    assert (facts["held"], facts["missing_days"], facts["progress"]) == (6, [], None)
    assert (facts["is_ready"], facts["problems"], facts["advice"]) == (True, [], [])
    assert facts["sentence"].startswith("In step with upstream as of ")
    assert str(shell.data.root) not in text
    guide = (ROOT / "docs/reference.md").read_text().partition("\n## /status.json")[2]
    tables = guide.partition("\n## ")[0].split("\nA poll, ")
    status, poll = (set(re.findall(r"`(\w+)`", " ".join(_first_cells(one)))) for one in tables)
    assert status == facts.keys()
    assert poll == facts["last_poll"].keys()
    async with http.get(f"{url}status") as answer:
        page = text_of(await answer.text())
    assert facts["found"].keys() == {"serious", "warning", "note"}
    assert f"{facts['found']['serious']} serious" in page


def _first_cells(table: str) -> list[str]:
    return re.findall(r"^\| (`.*?`) \|", table, re.MULTILINE)


async def test_each_problem_has_its_advice_for_programs(copy, http) -> None:
    refused = Problem(ProblemKind.INDEX_LINE, "index line 3 refused: in quarantine")
    copy.polls = [
        poll_report(NOW - 30 * MINUTE, Problem(ProblemKind.OTHER, "no", date(2026, 3, 1)), refused)
    ]
    async with serving(copy.write(), now=NOW) as url, http.get(f"{url}status.json") as answer:
        facts = await answer.json()
    first, second = facts["problems"]
    assert (first["kind"], first["day"], first["text"]) == ("other", "2026-03-01", "no")
    assert (second["kind"], second["day"]) == ("index-line", None)
    assert second["advice"].startswith("Nothing held is lost.")
    assert facts["advice"] == [first["advice"], second["advice"]]
    assert facts["last_poll"]["problems"] == facts["problems"]
