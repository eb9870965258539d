"""What is held: the manifest and its journal, bytes to records and back. Pure.

JSON Lines: a header that names the format and its version, then a record a held day, ascending. The
journal has the same lines in the order of events. Where both speak of a day there are candidates,
and the published file itself decides which one is true.
"""

from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress
from datetime import date, datetime

import msgspec
from msgspec import Struct, field

from mirror.errors import BAD_JSON, ConfigError
from mirror.model import Record
from mirror.text import shown

FORMAT = "binder-mirror manifest"
VERSION = 1
_BLOCK_BYTES = 64 * 1024


class Inventory(Struct):
    """What is held, as manifest and directory agree on it."""

    records: dict[date, Record] = field(default_factory=dict)
    """The days whose file is the one on record, by size and time."""
    unverified: dict[date, tuple[Record, ...]] = field(default_factory=dict)
    """Files there without a record that fits, with the records that claim the day."""
    missing: dict[date, Record] = field(default_factory=dict)
    """Days on record whose file is gone."""
    wrong_kind: dict[date, str] = field(default_factory=dict)
    """Days at whose path something other than a file stands, and what."""
    unknown_files: tuple[str, ...] = ()
    """Names in archive/ that do not belong there."""
    unreadable_lines: int = 0
    """Lines of the manifest that could not be read."""
    is_clean: bool = True
    """Whether the manifest says it all, without journal or correction."""

    def take_up(self, record: Record) -> None:
        """Hold a day by this record from now on."""
        self.records[record.date] = record
        self.unverified.pop(record.date, None)
        self.missing.pop(record.date, None)
        self.is_clean = False

    def doubt(self, day: date) -> None:
        """Take a day off whose file is rotten or gone; what is there stays for now.

        When the day is published again, the rotten file goes to quarantine. Nothing is kept of this
        until the manifest is written: a repair that is killed begins anew with all it knew.
        """
        record = self.records.pop(day, None) or self.missing.pop(day, None)
        self.unverified[day] = (record,) if record is not None else ()
        self.is_clean = False

    def claimed(self) -> dict[date, Record]:
        """Return the latest claim of each day whose file is not proved."""
        return {day: claims[-1] for day, claims in self.unverified.items() if claims}


class Version(Struct, frozen=True):
    """One predecessor in history."""

    date: date
    sha256: str
    """Of the body, not of its gzip."""
    size: int
    """Bytes of the body."""
    lines: int
    kept_at: datetime
    was_final: bool
    """Whether the day was final when it was replaced."""
    fetched_at: datetime
    last_modified: datetime | None = None
    packed_size: int = 0
    """Bytes on disk."""


class _Header(Struct, frozen=True):
    format: str
    version: int


Candidates = Mapping[date, tuple[Record, ...]]
"""What is claimed of each day, oldest claim first."""

_header_decoder = msgspec.json.Decoder(_Header)
_record_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()


def render_manifest(records: Iterable[Record]) -> bytes:
    """Return the whole manifest."""
    rows = sorted(records, key=lambda record: record.date)
    return _encoder.encode_lines([_Header(FORMAT, VERSION), *rows])


def render_journal_line(record: Record) -> bytes:
    """Return the journal's line for a day published."""
    return _encoder.encode(record) + b"\n"


def parse_manifest(body: bytes) -> tuple[dict[date, Record], int]:
    """Return the records and the number of lines that could not be read.

    A line that cannot be read costs its day's record only: the file is then proved anew.

    Raises:
        ConfigError: the manifest was written by a later version of this software.
    """
    head, _, rest = body.partition(b"\n")
    try:
        header = _header_decoder.decode(head)
    except BAD_JSON:
        return {}, len(body.splitlines())
    if header.format != FORMAT or header.version > VERSION:
        raise ConfigError(
            f"manifest.jsonl is a {shown(header.format, 40)} of format {header.version}; "
            f"this version knows the {FORMAT} up to format {VERSION}",
            hint="upgrade binder-mirror, or move manifest.jsonl away to have it rebuilt",
        )
    known: dict[date, Record] = {}
    unreadable = 0
    for block in _blocks(rest):
        try:
            records = _record_decoder.decode_lines(block)
        except BAD_JSON:
            records = _decode_each(block)
            unreadable += len(list(filter(None, block.split(b"\n")))) - len(records)
        known |= {record.date: record for record in records}
    return known, unreadable


def _blocks(body: bytes) -> Iterator[bytes]:
    """Cut into some lines at a time: one decode holds the interpreter to its end."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _BLOCK_BYTES) + 1 or len(body)
        yield body[start:end]
        start = end


def _decode_each(body: bytes) -> list[Record]:
    """Return the records of the lines that can be read."""
    records: list[Record] = []
    for line in filter(None, body.split(b"\n")):
        with suppress(*BAD_JSON):
            records.append(_record_decoder.decode(line))
    return records


def replay_journal(records: Mapping[date, Record], journal: bytes) -> Candidates:
    """Return what manifest and journal together claim of each day.

    A torn last line, as a kill leaves it, is passed over.
    """
    candidates = {day: (record,) for day, record in records.items()}
    for record in _decode_each(journal):
        candidates[record.date] = (*candidates.get(record.date, ()), record)
    return candidates


def match_record(candidates: Iterable[Record], *, size: int, mtime_ns: int) -> Record | None:
    """Return the latest claim that agrees with the file on disk; None if it must be read."""
    fitting = [one for one in candidates if (one.size, one.mtime_ns) == (size, mtime_ns)]
    return fitting[-1] if fitting else None
