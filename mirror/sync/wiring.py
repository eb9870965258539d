"""Settings to working parts: the only place that names concrete classes together."""

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import ExitStack, asynccontextmanager
from datetime import datetime
from typing import TYPE_CHECKING

from mirror.archive.plan import PollRange
from mirror.archive.ports import Observer
from mirror.archive.upstream import ETags, Upstream
from mirror.clock import utc_now
from mirror.config.settings import Config
from mirror.model import Damage, PollReport, Traffic
from mirror.store.destination import LocalStore, open_store
from mirror.store.history import Version
from mirror.store.inventory import load_upstream
from mirror.store.layout import DataDir
from mirror.sync.adopt import Adopter
from mirror.sync.fetch import Fetcher
from mirror.sync.poll import Poll
from mirror.sync.publish import Publisher
from mirror.sync.repair import repair, restore
from mirror.sync.source import HttpSource

if TYPE_CHECKING:
    from mirror.sync.inspect import Inspected


class Mirror:
    """A data directory held for writing and a session with upstream. Made by `open_mirror`."""

    def __init__(
        self,
        config: Config,
        store: LocalStore,
        source: HttpSource,
        *,
        now: Callable[[], datetime],
        rng: random.Random,
    ) -> None:
        self.config = config
        self.store = store
        self.source = source
        self._now = now
        self._rng = rng

    @property
    def traffic(self) -> Traffic:
        """What was asked of upstream so far."""
        return self.source.traffic

    async def poll(
        self,
        observer: Observer,
        asked: PollRange | None = None,
        *,
        inspect_s: float = float("inf"),
    ) -> PollReport:
        """Make one pass; see `mirror.sync.poll`."""
        poll = Poll(
            source=self.source,
            store=self.store,
            upstream=self._upstream(),
            config=self.config,
            asked=asked or PollRange(),
            observer=observer,
            now=self._now,
            rng=self._rng,
        )
        return await poll.run(inspect_s=inspect_s)

    async def inspect(self, observer: Observer, *, limit_s: float) -> "Inspected":
        """Count what is in the days that are pending; see `mirror.sync.inspect`."""
        from mirror.sync.inspect import Inspected, inspect_pending  # noqa: PLC0415 - seldom wanted

        if not self.config.storage.findings:
            return Inspected()
        upstream = self._upstream()
        publisher = self._publisher(upstream)
        return await inspect_pending(
            self.store, lambda: publisher.publish(upstream), observer, limit_s=limit_s
        )

    async def repair(self, damage: Sequence[Damage], observer: Observer) -> None:
        """Put right what a verification found, as far as it can be; see `mirror.sync.repair`."""
        upstream = self._upstream()
        adopter = Adopter(
            self.source,
            self.store,
            self.config,
            now=self._now,
            etags_are_opaque=upstream.etags is ETags.OPAQUE,
        )
        fetcher = Fetcher(
            source=self.source,
            destination=self.store,
            observer=observer,
            config=self.config,
            upstream=upstream,
            now=self._now,
            rng=self._rng,
        )
        await repair(
            damage,
            store=self.store,
            adopter=adopter,
            fetcher=fetcher,
            publisher=self._publisher(upstream),
            upstream=upstream,
            now=self._now,
        )

    async def restore(self, version: Version) -> None:
        """Publish a predecessor again; see `mirror.sync.repair`."""
        upstream = self._upstream()
        await restore(
            self.store, version, index_count=upstream.accepted.get(version.date), now=self._now
        )
        await self._publisher(upstream).publish(upstream)

    def _upstream(self) -> Upstream:
        return load_upstream(self.store.data, self.config.upstream.url)

    def _publisher(self, upstream: Upstream) -> Publisher:
        return Publisher(self.store, upstream, now=self._now)


@asynccontextmanager
async def open_mirror(
    config: Config,
    data: DataDir,
    *,
    now: Callable[[], datetime] = utc_now,
    rng: random.Random | None = None,
) -> AsyncIterator[Mirror]:
    """Hold a data directory for writing and open a session with upstream.

    Raises:
        ConfigError, LockedError, StorageError: the data directory cannot be held.
    """
    # each use of the same mirror must draw another jitter: seeded by the system
    rng = rng if rng is not None else random.Random()  # noqa: S311
    opening = open_store(
        data.with_settings(config), now=now, history_versions=config.storage.history_versions
    )
    with ExitStack() as stack:
        # looks at every file there is: off the loop, on which a daemon serves
        store = await asyncio.to_thread(stack.enter_context, opening)
        async with HttpSource(config.upstream.url, config.http, now=now) as source:
            yield Mirror(config, store, source, now=now, rng=rng)
