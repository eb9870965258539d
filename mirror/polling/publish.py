"""What is published beside the daily files: checksums, page, index, and the books behind them."""

import asyncio
from collections.abc import Callable
from datetime import datetime

from mirror.core.index import parse_index
from mirror.core.listings import entries_of, local_index, render_page
from mirror.core.sums import render_sums
from mirror.core.upstream import Upstream
from mirror.edges.books import save_upstream
from mirror.edges.disk import read_file, write_durably
from mirror.edges.store import LocalStore
from mirror.errors import IndexUnusableError
from mirror.model import ParsedIndex
from mirror.polling.survey import digest_of


class Publisher:
    """Makes the listings say what is held, and keeps what upstream said.

    Args:
        store: the data directory.
        upstream: what is on disk of upstream.
        name_template: what a daily file is called.
        now: the clock, aware UTC.
    """

    def __init__(
        self,
        store: LocalStore,
        upstream: Upstream,
        *,
        name_template: str,
        now: Callable[[], datetime],
    ) -> None:
        self._store = store
        self._saved = upstream
        self._name_template = name_template
        self._now = now

    async def publish(self, upstream: Upstream) -> None:
        """Write SHA256SUMS, then page and index, then the books: each where it differs.

        Args:
            upstream: what is known of upstream by now.

        Raises:
            StorageError: the disk refused.
            WrongKindError: something other than a file stands in the way.
        """
        await asyncio.to_thread(self._publish, upstream)

    async def remember(self, upstream: Upstream, index_body: bytes | None) -> None:
        """Keep what upstream said, and its index where it is a new one."""
        data = self._store.data
        if index_body is not None:
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

    def _publish(self, upstream: Upstream) -> None:
        data, records = self._store.data, self._store.records
        body = self.index_body(upstream)
        self._store.save_listings(
            {
                data.sums: render_sums(records.values()),
                data.page: render_page(entries_of(records.values())),
                data.index: local_index(records, self._parsed(upstream, body), body),
            }
        )
        self._store.save_books()
        self._save(upstream)

    def _parsed(self, upstream: Upstream, body: bytes | None) -> ParsedIndex | None:
        """Return the index accepted last, if every line of it was accepted."""
        if body is None or upstream.index is None or not upstream.index.whole:
            return None
        today = self._now().date()
        try:
            return parse_index(body, name_template=self._name_template, today=today)
        except IndexUnusableError:
            return None

    def _save(self, upstream: Upstream) -> None:
        if upstream != self._saved:
            save_upstream(self._store.data, upstream)
            self._saved = upstream
