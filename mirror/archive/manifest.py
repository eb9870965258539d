"""What is held: the manifest and its journal, bytes to records and back. Pure.

JSON Lines: a header that names the format and its version, then a record a held day, ascending. The
journal has the same lines in the order of events. Where both speak of a day there are candidates,
and the published file itself decides which one is true.

Each line has a checksum (`mirror.archive.sealed`), and stands for itself: without the right one it
is not believed, and costs its own day's record alone. The order of lines means nothing; of two of
one day in the manifest, which no version writes, the later counts. Version 1 had no checksums: its
lines are believed under its own header, and so are those of a journal beside it; whoever writes
next writes all of it in the present format.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import date

import msgspec
from msgspec import Struct, field

from mirror.archive.plan import is_plausible
from mirror.archive.sealed import is_one_byte_off, is_sealed, is_unsealed, seal
from mirror.errors import BAD_JSON, ConfigError, decode_or_none
from mirror.model import Moment, Record
from mirror.text import shown

FORMAT = "binder-mirror manifest"
VERSION = 2
_BLOCK_BYTES = 64 * 1024


Claims = dict[date, tuple[Record, ...]]  # what is claimed of each day, oldest claim first


class Inventory(Struct):
    """What is held, as manifest and directory agree on it."""

    claims: Claims = field(default_factory=dict)
    """What manifest and journal said when they were read. Which claim is true is decided by a
    file's size and time (`match_record`)."""
    records: dict[date, Record] = field(default_factory=dict)
    """The days whose file is the one on record, by size and time."""
    unverified: dict[date, tuple[Record, ...]] = field(default_factory=dict)
    """Files there without a record that fits, with the records that claim the day."""
    missing: dict[date, Record] = field(default_factory=dict)  # days on record whose file is gone
    wrong_kind: dict[date, str] = field(default_factory=dict)
    """Days at whose path something other than a file stands, and what."""
    unknown_files: tuple[str, ...] = ()  # names in archive/ that do not belong there
    unreadable_lines: int = 0
    """Lines of the manifest that are not believed: torn, rotten, or with a name not their day's."""
    is_clean: bool = True  # whether the manifest says it all, without journal or correction

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

    def last_known(self, day: date) -> Record | None:
        """Return the record of a day's body published last, be it held, in doubt or gone."""
        claims = self.unverified.get(day) or (None,)
        return self.records.get(day) or self.missing.get(day) or claims[-1]

    def claimed(self) -> dict[date, Record]:
        """Return the latest claim of each day whose file is not proved."""
        return {day: claims[-1] for day, claims in self.unverified.items() if claims}


class Version(Struct, frozen=True):
    """One predecessor in history."""

    date: date
    sha256: str  # of the body, not of its gzip
    size: int  # bytes of the body
    lines: int
    kept_at: Moment
    was_final: bool  # whether the day was final when it was replaced
    fetched_at: Moment
    last_modified: Moment | None = None
    packed_size: int = 0  # bytes on disk


class _Header(Struct, frozen=True):
    format: str
    version: int


_header_decoder = msgspec.json.Decoder(_Header)
_record_decoder = msgspec.json.Decoder(Record)
_encoder = msgspec.json.Encoder()
_HEADER = seal(_encoder.encode(_Header(FORMAT, VERSION)))
_HEADER_1 = _encoder.encode(_Header(FORMAT, 1))

NameOf = Callable[[date], str]  # what a day's file is called


def render_manifest(records: Iterable[Record]) -> bytes:
    """Return the whole manifest."""
    rows = sorted(records, key=lambda record: record.date)
    return b"".join([_HEADER, b"\n", *map(render_journal_line, rows)])


def render_journal_line(record: Record) -> bytes:
    """Return the line for a day published, as journal and manifest have it."""
    return seal(_encoder.encode(record)) + b"\n"


def read_claims(manifest: bytes, journal: bytes | None, name_of: NameOf) -> Inventory:
    """Return what manifest and journal claim, before it is compared with the directory.

    A file whose record is not believed is proved anew. A torn last line of the journal, as a kill
    leaves it, is passed over. A ConfigError says that a later version wrote the manifest.
    """
    head, _, rest = manifest.partition(b"\n")
    has_checksums = head != _HEADER_1
    if head not in (_HEADER, _HEADER_1):
        require_known_format(head)
        # a damaged header costs nothing but itself: every line stands for itself
        rest = manifest
    claims: Claims = {}
    unreadable = 0
    for block in _blocks(rest):
        lines = list(filter(None, block.split(b"\n")))
        records = _read(lines, name_of, has_checksums=has_checksums)
        unreadable += len(lines) - len(records)
        claims |= {record.date: (record,) for record in records}
    for record in _read((journal or b"").split(b"\n"), name_of, has_checksums=has_checksums):
        claims[record.date] = (*claims.get(record.date, ()), record)
    is_clean = journal is None and has_checksums and not unreadable
    return Inventory(claims, unreadable_lines=unreadable, is_clean=is_clean)


def require_known_format(head: bytes) -> None:
    """Raise a ConfigError if a manifest's first line is of another format, and not ours damaged."""
    if is_one_byte_off(head, _HEADER) or is_one_byte_off(head, _HEADER_1):
        return
    header = decode_or_none(_header_decoder, head)
    if header is not None and (header.format != FORMAT or header.version > VERSION):
        raise ConfigError(
            f"manifest.jsonl is a {shown(header.format, 40)} of format {header.version}; "
            f"this version knows the {FORMAT} up to format {VERSION}",
            hint="upgrade binder-mirror, or move manifest.jsonl away to have it rebuilt",
        )


def _blocks(body: bytes) -> Iterator[bytes]:
    """Cut into some lines at a time: one decode holds the interpreter to its end."""
    start = 0
    while start < len(body):
        end = body.find(b"\n", start + _BLOCK_BYTES) + 1 or len(body)
        yield body[start:end]
        start = end


def _read(lines: Sequence[bytes], name_of: NameOf, *, has_checksums: bool) -> list[Record]:
    """Return the records of the lines that can be believed."""
    right = [one for one in lines if is_sealed(one) or (not has_checksums and is_unsealed(one))]
    try:
        records = _record_decoder.decode_lines(b"\n".join(right))
    except BAD_JSON:
        decoded = (decode_or_none(_record_decoder, line) for line in right)
        records = [one for one in decoded if one is not None]
    return [one for one in records if one.name == name_of(one.date) and is_plausible(one.date)]


def match_record(candidates: Iterable[Record], *, size: int, mtime_ns: int) -> Record | None:
    """Return the latest claim that agrees with the file on disk; None if it must be read."""
    fitting = [one for one in candidates if (one.size, one.mtime_ns) == (size, mtime_ns)]
    return fitting[-1] if fitting else None
