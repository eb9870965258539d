"""The journal as its one writer keeps it: records durable before the rename that they speak of.

Threads that publish at the same time share the work: one writes the lines of all that wait, and
flushes them once. Before any of them renames, the lines of `SHA256SUMS` that are about to be wrong
are taken out of it, in one rewrite: at every moment it says nothing but the truth. They come back
with the listings, at the end of the poll; the journal being there, also after a kill.
"""

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from datetime import date

from msgspec import Struct

from mirror.archive.listings import parse_sums, render_digests
from mirror.archive.manifest import render_journal_line
from mirror.archive.ports import Listing
from mirror.errors import WrongKindError
from mirror.model import Record
from mirror.store import disk
from mirror.store.inventory import save_manifest
from mirror.store.layout import DataDir


class _Entry(Struct, frozen=True):
    record: Record
    is_durable: bool  # whether it is worth a flush
    is_replacing: bool  # whether the body at the record's path is about to be another


class Journal:
    """The journal of a data directory, held for writing."""

    def __init__(self, data: DataDir) -> None:
        self._data = data
        self._write = disk.GroupWork(self._write_together)
        self._listed: Mapping[str, str] | None = None
        self._sums = threading.RLock()
        """Held while the list is read or changed: no thread may bring an older one back."""
        self._is_named = False
        """Whether the journal's name is durable: it may be new, or left by a process killed."""

    def announce(self, record: Record) -> None:
        """Make the record of a body durable that is about to be renamed into its place."""
        self._write(_Entry(record, is_durable=True, is_replacing=True))

    def note(self, record: Record, *, durably: bool) -> None:
        """Add the record of a body that stays."""
        self._write(_Entry(record, is_durable=durably, is_replacing=False))

    def unsettle(self) -> None:
        """Have a journal: with one, the manifest does not say it all. Durable with its folder."""
        disk.append_line(self._data.journal, b"\n", staging=self._data.staging)

    def settle(self, records: Mapping[date, Record]) -> None:
        """Write the manifest whole and end the journal."""
        save_manifest(self._data, records)
        self._is_named = False

    def listed(self) -> Mapping[str, str]:
        """Return what `SHA256SUMS` says: digest by name."""
        with self._sums:
            if self._listed is None:
                # where something other than a file stands, there are no lines
                self._listed = parse_sums(disk.read_if_file(self._data.sums) or b"")
            return self._listed

    def forget_sums(self) -> None:
        """Look anew what `SHA256SUMS` lists."""
        with self._sums:
            self._listed = None

    def _write_together(self, entries: Sequence[_Entry]) -> None:
        is_durable = any(entry.is_durable for entry in entries)
        lines = b"".join(render_journal_line(entry.record) for entry in entries)
        staging = self._data.staging
        disk.append_line(self._data.journal, lines, staging=staging, durably=is_durable)
        if is_durable and not self._is_named:
            with disk.storage_errors(self._data.root):
                disk.sync_folder(self._data.root)
            self._is_named = True
        self._withdraw([entry.record for entry in entries if entry.is_replacing])

    def _withdraw(self, records: Sequence[Record]) -> None:
        """Take from `SHA256SUMS` what it says of files that are about to be others."""
        with self._sums:
            listed = self.listed()
            wrong = {one.name for one in records if listed.get(one.name, one.sha256) != one.sha256}
            if wrong:
                left = {name: digest for name, digest in listed.items() if name not in wrong}
                style = self._data.archive / Listing.STYLE
                if not left and disk.kind_of(style) == "file":
                    # to `sha256sum -c` a list without a line is an error
                    left = {Listing.STYLE: disk.digest_of(style)}
                with suppress(WrongKindError):
                    disk.write_durably(
                        self._data.sums, render_digests(left), staging=self._data.staging
                    )
                self._listed = left
