"""Poll after poll against an upstream that fails in every way, while its archive goes on.

`make soak` makes 500 polls and reports the slope of memory; a plain run makes a short slice.
"""

import asyncio
import json
import random
import statistics
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import pytest

from mirror.errors import Failure
from tests.command import ROOT, Shell, long_final_days, open_shell
from tests.samples import read_samples
from tests.upstream.bodies import (
    Bomb,
    Changing,
    Corrupt,
    CutChunked,
    Encoded,
    Endless,
    Unsized,
    WrongLength,
)
from tests.upstream.faults import (
    Cut,
    Delay,
    Drip,
    Fault,
    Hangup,
    Redirect,
    Reset,
    SignIn,
    Stall,
    Status,
)

FAULTS: Sequence[Fault] = (
    Hangup(),
    Reset(at=0),
    Reset(),
    Cut(at=0.01),
    Cut(at=0.99),
    Stall(),
    Drip(size=2000, interval=0.01),
    Delay(0.05),
    Status(403),
    Status(404),
    Status(429, retry_after=0),
    Status(500),
    Status(503, retry_after=1),
    Redirect("{path}"),
    Redirect("http://elsewhere.invalid/{path}"),
    SignIn(),
    Corrupt(),
    Corrupt(at=0),
    WrongLength(-10),
    WrongLength(10),
    Changing(b'{"version": 1}\n' * 2000),
    Unsized(),
    CutChunked(),
    Endless(),
    Encoded(),
    Encoded(cut=5),
    Bomb(50_000_000),
)
PATIENCE_S = 120
BROKEN = {Failure.CONNECTION, Failure.CUT, Failure.NOT_HTTP}
SEEN_AS: Mapping[type, set[Failure]] = {
    Hangup: BROKEN,
    Reset: BROKEN,
    Cut: BROKEN,
    CutChunked: BROKEN,
    Stall: {Failure.TIMEOUT},
    Status: {Failure.HTTP_4XX, Failure.HTTP_429, Failure.HTTP_5XX},
    Redirect: {Failure.REDIRECT},
    SignIn: {Failure.PAGE, Failure.INDEX},
    Corrupt: {Failure.DIGEST},
    WrongLength: {Failure.CUT, Failure.NOT_HTTP, Failure.DIGEST},
    Changing: {Failure.DIGEST, Failure.COUNT},
    Unsized: {Failure.DIGEST, Failure.COUNT, Failure.CUT, Failure.INDEX},
    Endless: {Failure.TOO_LARGE},
    Encoded: {Failure.ENCODING},
    Bomb: {Failure.TOO_LARGE, Failure.ENCODING},
}
"""By which words a fault may be told; Drip and Delay are slow, and no failure."""
_OFTEN = 10
"""A single fault may fall on a HEAD, where it does nothing, or on a request that is made again."""


class Soak:
    """A worker on one side, a failing upstream that lives on the other."""

    def __init__(self, shell: Shell, worker: asyncio.subprocess.Process) -> None:
        self.shell = shell
        self.worker = worker
        self.rng = random.Random(20260504)
        self.answers: list[dict[str, object]] = []
        self.injected: Counter[type] = Counter()

    async def do(self, job: str) -> dict[str, object]:
        """Have a job done."""
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.write(f"{job}\n".encode())
        line = await asyncio.wait_for(self.worker.stdout.readline(), PATIENCE_S)
        answer: dict[str, object] = json.loads(line)
        self.answers.append(answer)
        self.injected.update(type(one.fault) for one in self.shell.server.requests if one.fault)
        # of hundreds of polls the list of requests alone would be most of our own memory
        self.shell.server.requests.clear()
        return answer

    async def metrics(self) -> str:
        """End the worker and return its metrics."""
        assert self.worker.stdin is not None
        assert self.worker.stdout is not None
        self.worker.stdin.close()
        text = await asyncio.wait_for(self.worker.stdout.read(), PATIENCE_S)
        assert await self.worker.wait() == 0
        return text.decode()

    def live(self) -> None:
        """Let upstream's archive go on: a day anew, and the index after it."""
        archive = self.shell.archive
        at = archive["index.jsonl"].last_modified + timedelta(seconds=1)
        day = self.rng.choice(list(archive.days()))
        archive.put_day(day, self.rng.randrange(1, 120), at)
        archive.write_index(at)


async def soak(tmp_path: Path, polls: int) -> tuple[Soak, str]:
    """Poll so often under faults, then without, until all is in step; return the metrics too."""
    async with open_shell(tmp_path / "data", long_final_days(30)) as shell:
        shell.set(http__retries="2", http__read_timeout="0.3", http__backoff="0.01")
        shell.set(http__max_backoff="0.05", http__max_file_size="1MiB", log__level="error")
        worker = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            "tests.system.soak_worker",
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            env=shell.environ,
            cwd=ROOT,
        )
        running = Soak(shell, worker)
        try:
            for number in range(polls):
                shell.server.chaos(running.rng, FAULTS, rate=0.3)
                running.live()
                await running.do(("poll", "poll", "recheck", "poll", "verify")[number % 5])
            shell.server.calm()
            for _ in range(3):
                last = await running.do("poll")
            assert last["exit_code"] == 0, last
            shell.assert_complete()
            text = await running.metrics()
        finally:
            if worker.returncode is None:
                worker.kill()
                await worker.wait()
    return running, text


def assert_every_fault_was_seen(running: Soak, text: str) -> None:
    """Each kind of fault that came often is in the metrics, under a word of its own."""
    samples = read_samples(text)
    for kind, words in SEEN_AS.items():
        if running.injected[kind] >= _OFTEN:
            counted = sum(
                samples["binder_mirror_download_failures_total", word.value] for word in words
            )
            assert counted, (kind, running.injected)
    assert samples["binder_mirror_download_failures_total", Failure.OTHER] == 0
    assert samples["binder_mirror_retries_total",] > 0


def slope(values: Sequence[float]) -> float:
    """Return the growth a step of the line that fits best."""
    return statistics.linear_regression(range(len(values)), values).slope


async def test_a_short_slice_ends_identical(tmp_path: Path) -> None:
    running, text = await soak(tmp_path, 15)

    assert {answer["exit_code"] for answer in running.answers} - {0, 3, 4, None} == set()
    assert_every_fault_was_seen(running, text)


@pytest.mark.slow
async def test_500_polls_leave_nothing_behind(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    running, text = await soak(tmp_path, 500)

    assert running.injected.keys() >= SEEN_AS.keys()
    assert_every_fault_was_seen(running, text)
    settled = running.answers[250:]  # by then the allocator has its fill
    growth = slope([float(str(answer["rss_bytes"])) for answer in settled])
    rss = [int(str(answer["rss_bytes"])) for answer in settled]
    descriptors = [int(str(answer["descriptors"])) for answer in settled]
    codes = [answer["exit_code"] for answer in running.answers]
    with capsys.disabled():
        tally = {str(code): codes.count(code) for code in dict.fromkeys(codes)}
        print(f"\n500 polls: exit codes {tally}")
        print(f"memory {rss[0] / 1e6:.1f} to {rss[-1] / 1e6:.1f} MB, {growth:,.0f} bytes a poll")
        print(f"descriptors {min(descriptors)} to {max(descriptors)}")
        print("\n".join(line for line in text.splitlines() if not line.startswith("#")))
    assert growth < 5_000
    assert descriptors[-1] <= descriptors[0]
