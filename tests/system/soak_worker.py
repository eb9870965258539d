"""A daemon's jobs in a process of its own: a job for each line of input, an answer to each.

The answer is a line of JSON: the exit code of the poll, what the process has in memory and open.
At the end of the input comes the text of the metrics.
"""

import asyncio
import gc
import json
import os
import sys
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mirror.config.loading import load_config
from mirror.daemon.jobs import Jobs
from mirror.daemon.schedule import JobKind, Schedule
from mirror.daemon.service import tune_process
from mirror.logs import configure_logs
from mirror.store.layout import DataDir
from mirror.sync.wiring import open_mirror
from mirror.web.site import Site


async def main() -> None:
    config = load_config(None, os.environ)
    configure_logs(config.log)
    data = DataDir(Path(config.storage.data_dir))
    site = Site(config, data, timedelta(minutes=30), lambda: datetime.now(UTC))
    schedule = Schedule(config.schedule)
    jobs = Jobs(site, schedule, lambda current: open_mirror(current, data))
    gc.collect()
    gc.freeze()
    while line := (await asyncio.to_thread(sys.stdin.readline)).strip():
        jobs.last_poll = None
        await jobs.run(JobKind(line))
        report = jobs.last_poll
        answer = {
            "exit_code": report.exit_code if report is not None else None,
            "problems": [one.line() for one in report.problems] if report is not None else (),
            "rss_bytes": _rss_bytes(),
            "descriptors": _descriptors(),
        }
        print(json.dumps(answer), flush=True)
    body, _ = site.metrics.render(
        site.status(await site.snapshots.snapshot()),
        interval=timedelta(seconds=config.schedule.interval),
        free_bytes=data.free_bytes(),
        now=site.now(),
    )
    print(body.decode(), flush=True)


def _rss_bytes() -> int:
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


def _descriptors() -> int:
    """Count what is open, but for the folder that tells it."""
    count = 0
    for link in Path("/proc/self/fd").iterdir():
        with suppress(OSError):
            count += not str(link.readlink()).startswith("/proc/")
    return count


if __name__ == "__main__":
    tune_process()
    asyncio.run(main())
