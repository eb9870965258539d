"""What is published beside the daily files: checksums, page and index; then the manifest."""

import asyncio
import hashlib
from collections.abc import Callable, Mapping
from contextlib import suppress
from datetime import datetime
from importlib import resources

from mirror.archive.listings import (
    entries_of,
    local_index,
    parse_index,
    render_page,
    render_sums,
)
from mirror.archive.ports import Destination, Listing, State
from mirror.archive.upstream import IndexFacts, Upstream, render_upstream
from mirror.errors import IndexUnusableError, WrongKindError
from mirror.model import Problem, ProblemKind
from mirror.sync.survey import Index

_STYLE = resources.files("mirror.sync").joinpath("archive.css").read_bytes()
"""How the page looks, wherever `archive/` is served from."""


class Publisher:
    """Makes the listings say what is held, and keeps what upstream said.

    Args:
        destination: where the copy is kept.
        upstream: what is kept of upstream there.
        now: the clock, aware UTC.
    """

    def __init__(
        self, destination: Destination, upstream: Upstream, *, now: Callable[[], datetime]
    ) -> None:
        self._destination = destination
        self._saved = upstream
        self._now = now
        self._index: Index | None = None
        """Upstream's index as it was parsed last."""

    async def publish(self, upstream: Upstream) -> tuple[Problem, ...]:
        """Write SHA256SUMS, page and index, metadata, then the inventory: each where it differs.

        Args:
            upstream: what is known of upstream by now.

        Returns:
            A problem for each listing at whose path something other than a file stands.
        """
        return await asyncio.to_thread(self._publish, upstream)

    def are_listings_there(self) -> bool:
        """Return whether every listing is there."""
        return all(map(self._destination.has, Listing))

    async def publish_index(self, upstream: Upstream) -> None:
        """Write page and index alone, where files are gone or not yet proved.

        SHA256SUMS and the inventory stay: they are what such files are proved by.
        """
        await asyncio.to_thread(lambda: self._write(self._index_and_page(upstream)))

    async def remember(self, upstream: Upstream, index: Index | None = None) -> None:
        """Keep what upstream said, and its index where it is a new one."""
        if index is not None:
            self._index = index
            self._destination.unsettle()
            await asyncio.to_thread(self._destination.write, State.UPSTREAM_INDEX, index.body)
        await asyncio.to_thread(self._save, upstream)

    def index_body(self, upstream: Upstream) -> bytes | None:
        """Return the body of the index accepted last, if it is at hand as it was."""
        if upstream.index is None:
            return None
        body = self._destination.read(State.UPSTREAM_INDEX)
        return body if body is not None and _is_of(body, upstream.index) else None

    def _publish(self, upstream: Upstream) -> tuple[Problem, ...]:
        # only where something was published: a quiet poll does not pay for its import
        from mirror.archive.metadata import render_croissant, render_datapackage  # noqa: PLC0415

        records = self._destination.inventory.records.values()
        in_the_way = self._write(
            {Listing.SUMS: render_sums(records)}
            | self._index_and_page(upstream)
            | {
                Listing.DATAPACKAGE: render_datapackage(records),
                Listing.CROISSANT: render_croissant(records),
            }
        )
        self._destination.save_manifest()
        self._save(upstream)
        return in_the_way

    def _write(self, listings: Mapping[Listing, bytes]) -> tuple[Problem, ...]:
        """Write listings in order, where they differ; something in the way costs that one alone."""
        in_the_way: list[Problem] = []
        for name, content in listings.items():
            try:
                if self._destination.read(name) != content:
                    self._destination.write(name, content)
            except WrongKindError as error:
                in_the_way.append(Problem(ProblemKind.IN_THE_WAY, str(error)))
        return tuple(in_the_way)

    def _index_and_page(self, upstream: Upstream) -> dict[Listing, bytes]:
        records = self._destination.inventory.records
        index = self._whole_index(upstream)
        parsed, body = (index.parsed, index.body) if index is not None else (None, None)
        return {
            Listing.STYLE: _STYLE,
            Listing.PAGE: render_page(entries_of(records.values())),
            Listing.INDEX: local_index(records, parsed, body),
        }

    def _whole_index(self, upstream: Upstream) -> Index | None:
        """Return the index accepted last, if every line of it was accepted."""
        if upstream.index is None or not upstream.index.whole:
            return None
        if self._index is None or not _is_of(self._index.body, upstream.index):
            self._index = None
            template, today = self._destination.days.name_template, self._now().date()
            # with a clock set back, or another template, it may be unusable by now
            with suppress(IndexUnusableError):
                if (body := self.index_body(upstream)) is not None:
                    parsed = parse_index(body, name_template=template, today=today)
                    self._index = Index(body, parsed)
        return self._index

    def _save(self, upstream: Upstream) -> None:
        if upstream != self._saved:
            self._destination.write(State.UPSTREAM, render_upstream(upstream))
            self._saved = upstream


def _is_of(body: bytes, index: IndexFacts) -> bool:
    return hashlib.sha256(body).hexdigest() == index.sha256
