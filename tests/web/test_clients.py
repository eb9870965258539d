"""Programs that read the archive today run unchanged against a mirror."""

import asyncio
import json
import sys

from playwright.async_api import Browser

from tests.command import Shell
from tests.upstream.server import ArchiveServer
from tests.web.browsers import needs_chromium

DASK = """
import json, sys
import dask
import dask.bag
dask.config.set(scheduler="synchronous")
entries = dask.bag.read_text(sys.argv[1] + "index.jsonl").map(json.loads)
urls = [sys.argv[1] + entry["name"] for entry in entries.compute()]
counts = entries.map(lambda entry: int(entry["count"]))
print(dask.bag.read_text(urls).count().compute(), counts.sum().compute())
"""


async def test_dask_reads_index_and_days(shell: Shell, url: str) -> None:
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DASK, url, stdout=asyncio.subprocess.PIPE
    )
    out, _ = await asyncio.wait_for(process.communicate(), 60)

    lines = sum(shell.body(day).count(b"\n") for day in shell.days)
    assert out.split() == [b"%d" % lines] * 2


@needs_chromium
async def test_a_page_of_another_origin_may_read_it(
    shell: Shell, url: str, server_elsewhere: ArchiveServer, browser: Browser
) -> None:
    script = """async (url) => {
        const answer = await fetch(url, {headers: {"X-Asks-First": "1"}});
        return [answer.status, answer.headers.get("x-goog-meta-events-count"),
                (await answer.text()).length];
    }"""
    day = shell.days[0]
    page = await browser.new_page()
    await page.goto(server_elsewhere.url)
    found = await page.evaluate(script, f"{url}events-{day}.jsonl")

    body = shell.body(day)
    assert found == [200, str(body.count(b"\n")), len(body.decode())]


def test_the_index_has_no_blank_line(shell: Shell) -> None:
    for line in shell.data.index.read_text().splitlines():
        assert json.loads(line)["name"].startswith("events-")
