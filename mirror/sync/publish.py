"""What is published beside the daily files: checksums, page and index; then the manifest."""

import asyncio
from collections.abc import Callable
from datetime import datetime
from importlib import resources
from pathlib import Path

from mirror.archive.index import parse_index
from mirror.archive.listings import entries_of, local_index, render_page
from mirror.archive.sums import render_sums
from mirror.archive.upstream import Upstream
from mirror.errors import IndexUnusableError
from mirror.model import ParsedIndex, Problem
from mirror.store.destination import LocalStore
from mirror.store.disk import kind_of, read_file, write_durably
from mirror.store.inventory import save_upstream
from mirror.sync.survey import digest_of

_STYLE = resources.files("mirror.sync").joinpath("archive.css").read_bytes()
"""How the page looks, wherever `archive/` is served from."""


class Publisher:
    """Makes the listings say what is held, and keeps what upstream said.

    Args:
        store: the data directory.
        upstream: what is on disk of upstream.
        now: the clock, aware UTC.
    """

    def __init__(
        self, store: LocalStore, upstream: Upstream, *, now: Callable[[], datetime]
    ) -> None:
        self._store = store
        self._saved = upstream
        self._now = now

    async def publish(self, upstream: Upstream) -> tuple[Problem, ...]:
        """Write SHA256SUMS, page and index, metadata, then the inventory: each where it differs.

        Args:
            upstream: what is known of upstream by now.

        Returns:
            A problem for each listing at whose path something other than a file stands.

        Raises:
            StorageError: the disk refused.
            WrongKindError: something other than a file stands where one of the inventory belongs.
        """
        return await asyncio.to_thread(self._publish, upstream)

    def are_listings_there(self) -> bool:
        """Return whether there is a file at the path of each listing."""
        data = self._store.data
        listings = (data.sums, data.page, data.style, data.index, data.datapackage, data.croissant)
        return all(kind_of(path) == "file" for path in listings)

    async def publish_index(self, upstream: Upstream) -> None:
        """Write page and index alone, where files are gone or not yet proved.

        SHA256SUMS and the inventory stay: they are what such files are proved by.
        """
        await asyncio.to_thread(lambda: self._store.save_listings(self._index_and_page(upstream)))

    async def remember(self, upstream: Upstream, index_body: bytes | None) -> None:
        """Keep what upstream said, and its index where it is a new one."""
        data = self._store.data
        if index_body is not None:
            self._store.unsettle()
            await asyncio.to_thread(
                write_durably, data.upstream_index, index_body, staging=data.staging
            )
        await asyncio.to_thread(self._save, upstream)

    def index_body(self, upstream: Upstream) -> bytes | None:
        """Return the body of the index accepted last, if it is at hand as it was."""
        if upstream.index is None:
            return None
        body = read_file(self._store.data.upstream_index)
        return body if body is not None and digest_of(body) == upstream.index.sha256 else None

    def _publish(self, upstream: Upstream) -> tuple[Problem, ...]:
        sums = {self._store.data.sums: render_sums(self._store.records.values())}
        listings = sums | self._index_and_page(upstream) | self._metadata()
        in_the_way = self._store.save_listings(listings)
        self._store.save_manifest_if_changed()
        self._save(upstream)
        return in_the_way

    def _index_and_page(self, upstream: Upstream) -> dict[Path, bytes]:
        data, records = self._store.data, self._store.records
        body = self.index_body(upstream)
        return {
            data.style: _STYLE,
            data.page: render_page(entries_of(records.values())),
            data.index: local_index(records, self._parsed(upstream, body), body),
        }

    def _metadata(self) -> dict[Path, bytes]:
        # only where something was published: a quiet poll is not to pay for it
        from mirror.archive.metadata import render_croissant, render_datapackage  # noqa: PLC0415

        data, records = self._store.data, self._store.records.values()
        return {
            data.datapackage: render_datapackage(records),
            data.croissant: render_croissant(records),
        }

    def _parsed(self, upstream: Upstream, body: bytes | None) -> ParsedIndex | None:
        """Return the index accepted last, if every line of it was accepted."""
        if body is None or upstream.index is None or not upstream.index.whole:
            return None
        template, today = self._store.data.days.name_template, self._now().date()
        try:
            return parse_index(body, name_template=template, today=today)
        except IndexUnusableError:
            return None

    def _save(self, upstream: Upstream) -> None:
        if upstream != self._saved:
            save_upstream(self._store.data, upstream)
            self._saved = upstream
