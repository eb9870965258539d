"""Settings to working parts: the only place that names concrete classes together."""

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import UTC, datetime
from random import Random
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.manifest import Inventory, Version
from mirror.archive.plan import PollRange
from mirror.archive.ports import Observer, State, Traffic, ignore
from mirror.archive.upstream import Upstream, parse_upstream
from mirror.config.settings import Config
from mirror.logs import get_logger
from mirror.model import Damage, IndexState, Plan, PollReport, Problem, Repair
from mirror.store.destination import open_store
from mirror.store.disk import read_file
from mirror.store.inventory import load_inventory, load_upstream, mask_credentials
from mirror.store.layout import DataDir
from mirror.sync.fetch import Context
from mirror.sync.poll import Poll, bound, plan_poll, range_warnings, switch_warnings
from mirror.sync.publish import index_body
from mirror.sync.recovery import repair, restore
from mirror.sync.source import open_source
from mirror.sync.survey import Surveyor

if TYPE_CHECKING:
    from mirror.sync.inspect import Inspected


class Preview(Struct, frozen=True):
    """What a poll would do."""

    plan: Plan
    unverified: int  # files without a record: proved first, fetched only if that fails
    index_state: IndexState
    warnings: tuple[Problem, ...]  # what speaks against upstream's index


async def preview(
    config: Config,
    data: DataDir,
    asked: PollRange,
    observer: Observer = ignore,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> Preview:
    """Return what a poll would do now, by the index that is there; nothing is written."""
    there = await asyncio.to_thread(data.archive.is_dir)
    inventory = load_inventory(data) if there else Inventory()
    async with open_source(config.upstream.url, config.http, now=now) as source:
        rng = Random()  # noqa: S311 - jitter
        surveyor = Surveyor(source, config, now, rng, data.identity(), observer)
        known = load_upstream(data, config.upstream.url)
        switch = switch_warnings(read_file(data.upstream), known)
        kept = read_file(data.root / State.UPSTREAM_INDEX)
        survey = await surveyor.survey(known, index_body(kept, known, data.days))
    _, asked = bound(survey.upstream, asked, data.days)
    plan = plan_poll(survey, inventory, config, asked, now=now())
    warnings = switch + survey.problems + survey.warnings + range_warnings(asked)
    return Preview(plan, len(inventory.unverified), survey.upstream.state, warnings)


class Mirror:
    """A destination held for writing and a session with upstream. Made by `open_mirror`."""

    def __init__(self, context: Context) -> None:
        self._context = context

    @property
    def traffic(self) -> Traffic:
        """What was asked of upstream so far."""
        return self._context.source.traffic

    async def poll(
        self,
        asked: PollRange | None = None,
        observer: Observer = ignore,
        *,
        inspect_s: float = float("inf"),
    ) -> PollReport:
        """Make one pass; see `mirror.sync.poll`."""
        context = replace(self._context, observer=observer)
        bounds = bound(self._upstream(), asked or PollRange(), context.destination.days)
        return await Poll(context, *bounds).run(inspect_s=inspect_s)

    async def inspect(self, observer: Observer = ignore, *, limit_s: float) -> "Inspected":
        """Count what is in the days that are pending; see `mirror.sync.inspect`."""
        from mirror.sync.inspect import Inspected, inspect_pending  # noqa: PLC0415 - seldom wanted

        context, upstream = self._context, self._upstream()
        if not context.config.storage.findings:
            return Inspected()
        return await inspect_pending(context.destination, upstream, observer, limit_s=limit_s)

    async def repair(self, damage: Sequence[Damage], observer: Observer = ignore) -> Repair:
        """Put right what a verification found, as far as it can be; see `mirror.sync.recovery`."""
        return await repair(damage, replace(self._context, observer=observer), self._upstream())

    async def restore(self, version: Version) -> None:
        """Publish a predecessor again; see `mirror.sync.recovery`."""
        await restore(version, self._context, self._upstream())

    def _upstream(self) -> Upstream:
        body = self._context.destination.read(State.UPSTREAM)
        if body and not parse_upstream(body, "").url:
            get_logger().warning("state.lost", file=State.UPSTREAM.value)
        return parse_upstream(body, self._context.config.upstream.url)


@asynccontextmanager
async def open_mirror(
    config: Config,
    data: DataDir,
    *,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
    rng: Random | None = None,
) -> AsyncIterator[Mirror]:
    """Hold a data directory for writing, as `open_store` does, and a session with upstream."""
    # each use of the same mirror must draw another jitter: seeded by the system
    rng = rng if rng is not None else Random()  # noqa: S311
    opening = open_store(
        data.with_settings(config), now=now, history_versions=config.storage.history_versions
    )
    with ExitStack() as stack:
        # looks at every file there is: off the loop, on which a daemon serves
        store = await asyncio.to_thread(stack.enter_context, opening)
        if "@" in config.upstream.url:
            await asyncio.to_thread(mask_credentials, data)
        async with open_source(config.upstream.url, config.http, now=now) as source:
            yield Mirror(Context(source, store, config, ignore, now, rng))
