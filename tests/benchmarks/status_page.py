"""The status page of 3,000 days: its size, the time to make it, and what a reload costs.

    python -m tests.benchmarks.status_page            # exit 1 if a bound is missed

Everything is local. Times are the least of some rounds, and those of the making are the
processor's, so that what else runs on the machine counts as little as may be.
"""

import asyncio
import gzip
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, date, datetime
from pathlib import Path

import aiohttp

from mirror.events.findings import merge
from mirror.events.series import sum_months
from mirror.status.snapshot import load_snapshot
from mirror.web.status_page import render_page
from tests.web.copies import Copy, seasonal_counts
from tests.web.serving import make_site, serving

_DAYS = 3000
_LAST = date(2027, 1, 19)
_NOW = datetime(2027, 1, 19, 15, 12, tzinfo=UTC)
_ROUNDS = 20
_MAX_BYTES = 270_000
_MAX_S = 0.1
_ASSETS = {"status.css": "static/status.css", "status.js": "static/status.js"}


async def main() -> int:
    """Measure, print, and return the exit code."""
    with tempfile.TemporaryDirectory() as folder:
        copy = Copy(Path(folder) / "data", seasonal_counts(_DAYS, _LAST), now=_NOW)
        data = copy.write()
        view = load_snapshot(data)
        site = make_site(data, now=lambda: _NOW)

        def make() -> bytes:
            page = render_page(site, view, _ASSETS)
            return page.before + page.after

        def sum_up() -> None:
            months = sum_months(view.inventory.records.values())
            merge(one.findings for one in months.values() if one.findings is not None)

        judged_s = _least_cpu(lambda: site.status(view))
        summed_s = _least_cpu(sum_up)
        made_s = _least_cpu(make)
        size, packed = len(make()), len(gzip.compress(make()))
        async with serving(data, now=_NOW) as url:
            served = await _serve(f"{url}status")
    print(f"{_DAYS:,} days: {size / 1000:.0f} kB, {packed / 1000:.0f} kB compressed")
    whole_s = summed_s + made_s
    print(f"made in {whole_s * 1000:.0f} ms: months {summed_s * 1000:.0f}, ", end="")
    print(f"status and page {made_s * 1000:.0f}, the status {judged_s * 1000:.0f} of it")
    print(", ".join(f"{name} {took * 1000:.1f} ms" for name, took in served.items()))
    return int(size > _MAX_BYTES or whole_s > _MAX_S)


def _least_cpu(work: Callable[[], object]) -> float:
    taken = []
    for _ in range(_ROUNDS):
        started = time.process_time()
        work()
        taken.append(time.process_time() - started)
    return min(taken)


async def _serve(url: str) -> dict[str, float]:
    """Return the time of the first answer, of the next, compressed, and of one that is known."""
    plain, packed = {"Accept-Encoding": "identity"}, {"Accept-Encoding": "gzip"}
    async with aiohttp.ClientSession(auto_decompress=False) as http:
        first, tag = await _ask(http, url, plain)
        times = {"first answer": first}
        for name, headers in (
            ("again", plain),
            ("compressed", packed),
            ("unchanged", {"If-None-Match": tag}),
        ):
            asked = [await _ask(http, url, headers) for _ in range(_ROUNDS)]
            times[name] = min(took for took, _ in asked)
    return times


async def _ask(http: aiohttp.ClientSession, url: str, headers: dict[str, str]) -> tuple[float, str]:
    started = time.perf_counter()
    async with http.get(url, headers=headers) as answer:
        await answer.read()
        return time.perf_counter() - started, answer.headers["ETag"]


if __name__ == "__main__":
    sys.exit(asyncio.run(main()))
