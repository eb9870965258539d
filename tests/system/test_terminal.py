"""What a sync looks like on a terminal, frame by frame, beside the frames kept in `frames/`.

What depends on the moment (times, sizes, rates) is made alike before they are compared. With
MIRROR_FRAMES set they are written anew: look at them.
"""

import asyncio
import os
import re
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tests.command import Shell
from tests.terminal import Terminal, on_terminal
from tests.upstream.faults import Delay, Status
from tests.upstream.wire import Exchange

FRAMES = Path(__file__).parent / "frames"
ALIKE = (
    (r"\d\d:\d\d:\d\dZ", "12:34:56Z"),
    (r"\d{4}-\d\d-\d\d", "2026-01-31"),
    (r"[━╸╺]+", "━━━━━━━━"),
    (r"[\d.]+ [kM]B", "12.3 MB"),
    (r"[\d.]+/12.3 MB", "12.3/12.3 MB"),
    (r"\b\d:\d\d:\d\d", "0:00:12"),
    (r"[\d.]+ s\b", "12 s"),
)
LINE = b'{"timestamp": "2024-01-01T00:00:00+00:00", "schema": "?", "version": 1}\n'


@dataclass
class Trickle:
    """Sends the body little by little, and the rest at once when `opened` is set."""

    opened: asyncio.Event = field(default_factory=asyncio.Event)

    async def __call__(self, exchange: Exchange, /) -> None:
        body = exchange.reply.body
        await exchange.send_head(exchange.reply, length=len(body))
        while body and not self.opened.is_set():
            await exchange.send_body(body[:65536])
            body = body[65536:]
            await asyncio.sleep(0.1)
        await exchange.send_body(body)


class Recording:
    """The frames of one state, as they are seen and as they are kept."""

    def __init__(self, path: Path, columns: int) -> None:
        self._path = path
        self._columns = columns
        self._frames: list[str] = []

    def add(self, frame: str) -> None:
        for pattern, text in ALIKE:
            frame = re.sub(pattern, text, frame)
        self._frames.append(frame)

    def check(self) -> None:
        seen = f"\n{'-' * self._columns}\n".join(self._frames) + "\n"
        if os.environ.get("MIRROR_FRAMES"):
            self._path.parent.mkdir(exist_ok=True)
            self._path.write_text(seen)
        assert seen == self._path.read_text()


@pytest.fixture(params=[40, 60, 110])
def columns(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.fixture
def recording(request: pytest.FixtureRequest, columns: int) -> Recording:
    state = request.function.__name__.rpartition("_")[2]
    return Recording(FRAMES / f"{state}-{columns}.txt", columns)


@pytest.fixture
def large(shell: Shell) -> Trickle:
    """The newest day is large and comes slowly; all are of one size, whatever the date is."""
    at = shell.archive["index.jsonl"].last_modified
    for day in shell.days:
        shell.archive.put_day(day, LINE * (500_000 if day == shell.days[-1] else 40), at)
    shell.archive.write_index(at)
    shell.set(http__retries="4", http__max_backoff="10m")
    trickle = Trickle()
    shell.server.fail(f"events-{shell.days[-1]}.jsonl", trickle)
    return trickle


MOVING = r"[\d.]+/[\d.]+ MB.* \d:[\d:]+"


async def end(terminal: Terminal, large: Trickle) -> tuple[int, str]:
    """Have the large day come at once; return how the command ends."""
    large.opened.set()
    return await terminal.ended(), terminal.frame


async def test_a_sync_that_is_fine(
    shell: Shell, large: Trickle, recording: Recording, columns: int
) -> None:
    async with on_terminal(shell, "sync", columns=columns) as terminal:
        recording.add(await terminal.seen("5 of 6 days.*" + MOVING))
        code, last = await end(terminal, large)

    recording.add(last)
    recording.check()
    assert code == 0


async def test_a_sync_with_a_day_that_is_failing(
    shell: Shell, large: Trickle, recording: Recording, columns: int
) -> None:
    shell.server.fail(f"events-{shell.days[2]}.jsonl", Status(404))

    async with on_terminal(shell, "sync", columns=columns) as terminal:
        recording.add(await terminal.seen("file.failed.*4 of 6 days, 1 failed.*" + MOVING))
        code, last = await end(terminal, large)

    recording.add(last)
    recording.check()
    assert code == 3


async def test_a_sync_with_a_day_that_is_retrying(
    shell: Shell, large: Trickle, recording: Recording, columns: int
) -> None:
    shell.server.fail(f"events-{shell.days[2]}.jsonl", Status(503, retry_after=300))

    async with on_terminal(shell, "sync", columns=columns) as terminal:
        recording.add(await terminal.seen("4 of 6 days.*" + MOVING + ".*again in"))

    recording.check()


async def test_a_sync_of_which_the_network_is_silent(
    shell: Shell, recording: Recording, columns: int
) -> None:
    shell.set(http__retries="4", http__max_backoff="1s")
    shell.server.fail("index.jsonl", Status(503, retry_after=1))
    shell.server.fail("index.jsonl", Delay(600))

    async with on_terminal(shell, "sync", columns=columns) as terminal:
        recording.add(await terminal.seen("try 2 of 5 in"))
        # of the 5 s for an answer; those for a connection are over
        recording.add(await terminal.seen("try 2 of 5, [45] s left"))

    recording.check()


async def test_a_sync_that_is_interrupted(
    shell: Shell, large: Trickle, recording: Recording, columns: int
) -> None:
    async with on_terminal(shell, "sync", columns=columns) as terminal:
        recording.add(await terminal.seen("5 of 6 days.*" + MOVING))
        terminal.press(b"\x03")
        code = await terminal.ended()
        recording.add(terminal.frame)

    recording.check()
    assert code == 130
    assert not large.opened.is_set()
