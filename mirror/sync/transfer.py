"""One transfer: a file asked for, and its body taken in, up to the evidence for a judgement.

It is a value in and a value out, so that it can be made here or by a worker process
(`mirror.sync.crew`). What to make of it is for whoever asked (`mirror.sync.fetch`).
"""

import os
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, aclosing, asynccontextmanager
from datetime import date
from functools import partial
from typing import TypeAlias

from msgspec import Struct

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence, Intake
from mirror.archive.ports import Ask, Destination, Stage, Staged
from mirror.config.settings import Config
from mirror.events.decoder import LaunchWatch
from mirror.model import Due
from mirror.sync.source import HttpSource

_WORKERS_FROM_BYTES = 256 * 1024**2
"""From here on the start of a process (0.3 s) is little beside what it takes off this one, which
takes in 300 MB in a second."""


class Transfer(Struct, frozen=True):
    """What is asked for."""

    name: str
    ask: Ask
    max_bytes: int  # the cap for the decoded body
    day: date | None = None  # of which the body must have a launch; None where that is not in doubt


class Arrival(Struct, frozen=True):
    """What came."""

    status: int  # 200, 404, or a 304 that answers the question
    meta: ReplyMeta
    evidence: Evidence | None = None  # of a body, complete and staged; there is one with status 200
    has_launch: bool = True  # whether it has a launch of the day that was given
    staged: Staged | None = None


Progress = Callable[[int], None]  # told how many bytes more were kept
Carry: TypeAlias = Callable[[Transfer, Progress], AbstractAsyncContextManager[Arrival]]
"""Makes a transfer; its body is gone at the end, unless it was published or quarantined.

Raises UpstreamError where it fails, StorageError where the disk does.
"""


@asynccontextmanager
async def carry(
    source: HttpSource, stage: Stage, transfer: Transfer, progress: Progress
) -> AsyncIterator[Arrival]:
    """Make a transfer in this process; see `Carry`."""
    async with source.open(transfer.name, transfer.ask) as reply:
        if reply.status != 200:
            yield Arrival(reply.status, reply.meta)
            return
        intake = Intake(reply.meta, max_bytes=transfer.max_bytes)
        watch = LaunchWatch(transfer.day, intake.feed) if transfer.day is not None else None
        async with stage(transfer.name, watch or intake.feed) as staged:
            async with aclosing(reply.blocks(lambda: intake.kept_bytes)) as blocks:
                async for block in blocks:
                    before = intake.kept_bytes
                    await staged.write(block)
                    if gain := intake.kept_bytes - before:
                        progress(gain)
            evidence = intake.finish()
            has_launch = watch is None or watch.finish()
            yield Arrival(reply.status, reply.meta, evidence, has_launch, staged)


@asynccontextmanager
async def open_carrier(
    source: HttpSource, destination: Destination, config: Config, due: Sequence[Due]
) -> AsyncIterator[Carry]:
    """Have what is due carried: by this process, or by workers where it is much.

    What is asked about may be unchanged, and counts for nothing; and what is held to a rate needs
    no second core.
    """
    size = sum(one.estimated_bytes for one in due if not one.conditional)
    workers = min(config.sync.workers or len(os.sched_getaffinity(0)), config.http.concurrency)
    if size < _WORKERS_FROM_BYTES or workers == 1 or config.http.rate_limit:
        yield partial(carry, source, destination.stage)
        return
    # where little is due, as most of the time, nobody pays for its import
    from mirror.sync.crew import open_crew  # noqa: PLC0415

    async with open_crew(source, destination, config, workers) as carry_apart:
        yield carry_apart
