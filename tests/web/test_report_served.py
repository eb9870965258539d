"""The report, served: the page that `report --html` writes, made once a state of the copy."""

import gzip
import re
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest

from mirror.store.polls import append_poll
from tests.web.copies import Copy, poll_report, seasonal_counts
from tests.web.serving import make_site, serving

NOW = datetime(2026, 3, 6, 15, 30, tzinfo=UTC)
GAP = date(2026, 1, 15)


@pytest.fixture
def copy(tmp_path: Path) -> Copy:
    """A mirror with one gap."""
    copy = Copy(tmp_path / "data", seasonal_counts(120, NOW.date()), now=NOW)
    del copy.counts[GAP]
    return copy


async def test_it_is_whole_and_strict_and_leads_back(
    copy: Copy, http: aiohttp.ClientSession
) -> None:
    async with serving(copy.write(), now=NOW) as url:
        async with http.get(f"{url}report") as answer:
            page = await answer.text()
            headers = answer.headers
        assert "no file, and upstream lists none" in page
        assert headers["Content-Type"] == "text/html; charset=utf-8"
        assert headers["Content-Security-Policy"] == "frame-ancestors 'none'"
        assert "default-src 'none'; style-src 'sha256-" in page
        assert "unsafe" not in page
        assert re.findall(r'<a href="([^"]*)"', page) == ["./", "status"]
        async with http.get(f"{url}report", headers={"Accept-Encoding": "gzip"}) as packed:
            assert gzip.decompress(await packed.read()).decode() == page
            assert packed.headers["ETag"] == headers["ETag"]
        async with http.get(f"{url}report", headers={"If-None-Match": headers["ETag"]}) as again:
            assert again.status == 304


async def test_the_status_page_says_how_much_is_odd_and_how_severe(
    copy: Copy, http: aiohttp.ClientSession
) -> None:
    async with serving(copy.write(), now=NOW) as url:
        async with http.get(f"{url}status") as answer:
            page = await answer.text()
        async with http.get(f"{url}report") as answer:
            report = await answer.text()
    (serious,) = re.findall(r"<dt>Gaps and anomalies</dt><dd>(\d+) serious</dd>", page)
    warnings, notes = re.findall(r'(\d+) warnings?, (\d+) notes?: <a href="report">', page)[0]
    assert int(serious) >= 1
    for heading, number in (("Serious", serious), ("Warnings", warnings)):
        assert f"<dt>{heading}</dt><dd>{number}</dd>" in report
    assert report.count('<span class="kind">') == int(serious) + int(warnings) + int(notes)


async def test_without_a_day_there_is_nothing_odd(tmp_path, http) -> None:
    copy = Copy(tmp_path / "data", {}, now=NOW)
    async with serving(copy.write(), now=NOW) as url:
        async with http.get(f"{url}status") as answer:
            assert "Gaps and anomalies" not in await answer.text()
        async with http.get(f"{url}report") as answer:
            assert "Nothing odd was found." in await answer.text()


async def test_it_is_made_once_for_each_state_of_the_copy(copy: Copy) -> None:
    site = make_site(copy.write(), now=lambda: NOW)
    first = await site.snapshots.snapshot(fresh=True)
    assert site.report(first) is site.report(first)
    append_poll(copy.data, poll_report(NOW + timedelta(minutes=30)))
    second = await site.snapshots.snapshot(fresh=True)
    assert site.report(second) is not site.report(first)
