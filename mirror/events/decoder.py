"""Decodes the lines of a daily file: each is a launch, an odd line, or blank. Pure.

`decode_line` defines what a line is, for all who read daily files: those who count findings
(`mirror.events.findings`), who give launches to programs (`mirror.reading`) and who make tables of
them (`mirror.dataset.rows`). A block of lines in which all are launches goes through one typed
decoder, which is fast; any other block goes line by line, so that an odd line is reported with its
number and costs no other line. Launches that repeat have a faster way yet: `mirror.events.repeats`.
"""

import io
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Any, BinaryIO, TypeAlias

import msgspec
from msgspec import Struct

from mirror.errors import BAD_JSON
from mirror.events.launch import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA, Launch
from mirror.text import shown

BLOCK_BYTES = 64 * 1024
"""Lines decoded at a time: small enough that the processor's cache holds text and objects."""
MAX_LINE_BYTES = 1024 * 1024  # a longer line is no event, and not kept in memory
_SHOWN_BYTES = 200
_MAX_WATCHED_LINES = 200_000
"""Looked at for a launch, twice as many as a day has ever had: odd ones take time."""


class Oddity(StrEnum):
    """Why a line is not a launch."""

    UNKNOWN_SCHEMA = "unknown-schema"  # an event of another kind
    UNKNOWN_VERSION = "unknown-version"  # a launch whose fields may mean something else
    BAD_FIELDS = "bad-fields"  # timestamp, provider or spec is missing or of the wrong type
    NOT_AN_OBJECT = "not-an-object"  # not one JSON object in UTF-8, or too long to be an event


class OddLine(Struct, frozen=True, gc=False):
    """A line that is not a launch this version of the software knows."""

    line: int  # its number in the file, from 1
    kind: Oddity
    reason: str  # what is wrong, in a few words that are fit to show
    data: bytes  # the line as it stands, without its newline; of one that is too long the beginning
    file: str = ""  # the daily file it stands in


Decoded: TypeAlias = Sequence[Launch | OddLine]

launch_decoder = msgspec.json.Decoder(Launch)
"""Does not ask for UTC, nor for UTF-8 in what it passes over: that is for its callers to do."""
_AnyEvent: Any = msgspec.defstruct("_AnyEvent", [(name, Any, None) for name in FIELD_TYPES])
"""An event whose fields may be of any type; None stands for a null and for a missing field."""
_event_decoder = msgspec.json.Decoder(_AnyEvent)


def decode_line(line: bytes, number: int = 0, file: str = "") -> Launch | OddLine | None:
    """Return what a line, with or without its newline, is; None for a blank one.

    Number and file are where it stands: an odd line says so.
    """
    launches = decode_launches(line)
    if launches is not None:
        return launches[0]
    line = line.removesuffix(b"\n")
    if len(line) > MAX_LINE_BYTES:
        reason = f"a line of more than {MAX_LINE_BYTES:,} bytes"
        return OddLine(number, Oddity.NOT_AN_OBJECT, reason, line[:_SHOWN_BYTES], file)
    if not line.strip(b" \t\r"):
        return None
    try:
        line.decode()
        event = _event_decoder.decode(line)
    except BAD_JSON:
        return OddLine(number, Oddity.NOT_AN_OBJECT, "not one JSON object", line, file)
    made = _make_launch(event)
    return made if isinstance(made, Launch) else OddLine(number, *made, line, file)


def decode_launches(block: bytes) -> list[Launch] | None:
    """Return the launches of a block in which each line is one; None for any other."""
    if len(block) > MAX_LINE_BYTES:
        # it may be one line that is too long, which the decoder would not mind
        return None
    try:
        # the decoder does not look into fields that it passes over
        if not block.isascii():
            block.decode()
        # by line and not the block as a whole, for that would not ask for one object a line
        launches = list(map(launch_decoder.decode, io.BytesIO(block)))
    except BAD_JSON:
        return None
    elsewhere = [launch for launch in launches if launch.timestamp.tzinfo is not UTC]
    return launches if launches and not elsewhere else None


def _make_launch(event: Any) -> Launch | tuple[Oddity, str]:
    """Return the launch, or what keeps the event from being one."""
    version, timestamp = event.version, _read_timestamp(event.timestamp)
    if event.schema != LAUNCH_SCHEMA:
        return Oddity.UNKNOWN_SCHEMA, f"schema {_describe(event.schema)}"
    # some programs write a whole number as 5.0; True is 1 to Python, but not to us
    if type(version) not in (int, float) or version not in FIELDS:
        return Oddity.UNKNOWN_VERSION, f"version {_describe(version)}"
    if timestamp is None:
        return Oddity.BAD_FIELDS, f"timestamp {_describe(event.timestamp)}"
    for name in ("provider", "spec"):
        value = getattr(event, name)
        if not isinstance(value, str):
            # without the value: a spec may hold a password
            return Oddity.BAD_FIELDS, f"{name} {'missing' if value is None else 'not a string'}"
    fields: dict[str, Any] = {name: getattr(event, name) for name in FIELD_TYPES}
    fitting = {name: one for name, one in fields.items() if type(one) is FIELD_TYPES[name]}
    return msgspec.convert(fitting | {"timestamp": timestamp, "version": int(version)}, Launch)


def _read_timestamp(text: object) -> datetime | None:
    """Return a timestamp in UTC; one without an offset is in UTC, says the documentation."""
    try:
        moment = msgspec.convert(text, datetime) if isinstance(text, str) else None
        return moment and (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except (msgspec.ValidationError, OverflowError):
        return None


def _describe(value: object) -> str:
    if value is None:
        return "missing"
    try:
        return shown(msgspec.json.encode(value)[:_SHOWN_BYTES])
    except (ValueError, RecursionError):
        return type(value).__name__


def read_blocks(file: BinaryIO, note: Callable[[bytes], object] = len) -> Iterator[bytes]:
    """Yield a daily file to its end in blocks of whole lines, the last one with a newline too.

    Of a line longer than `MAX_LINE_BYTES` the end may be dropped: it comes out too long all the
    same, and takes no more memory than that. `note` is given each piece as it is read, what is
    dropped too.
    """
    rest = b""
    while chunk := file.read(BLOCK_BYTES):
        note(chunk)
        end = chunk.rfind(b"\n") + 1
        if not end:
            rest += chunk[: MAX_LINE_BYTES + 1 - len(rest)]
            continue
        start = chunk.find(b"\n") if len(rest) > MAX_LINE_BYTES else 0
        # without another copy of the chunk
        yield b"".join((rest, memoryview(chunk)[start:end]))
        rest = chunk[end:]
    if rest:
        yield rest + b"\n"


def decode_blocks(
    blocks: Iterable[bytes],
    file: str = "",
    decode: Callable[[bytes], Sequence[Any] | None] = decode_launches,
) -> Iterator[tuple[bytes, Sequence[Any], bool]]:
    """Yield each block of a daily file with what its lines hold, and whether one of them is odd.

    Blank lines are nothing at all, and count only for the numbers of the lines after them. Odd
    lines bear the file's name. Where `decode` gives no item a line, a block goes line by line.
    """
    next_line = 1
    for block in blocks:
        launches = decode(block)
        if launches is not None:
            # one launch a line, so there is no need to count the newlines
            next_line += len(launches)
            yield block, launches, False
            continue
        lines = io.BytesIO(block).readlines()
        found = (decode_line(line, number, file) for number, line in enumerate(lines, next_line))
        decoded = [one for one in found if one is not None]
        next_line += len(lines)
        yield block, decoded, any(isinstance(one, OddLine) for one in decoded)


def pair_lines(block: bytes, decoded: Decoded) -> Iterator[tuple[bytes, Launch | OddLine]]:
    """Yield each line of a block that is not blank, without its newline, with what it holds."""
    lines = block.split(b"\n")
    there = [line for line in lines if len(line) > MAX_LINE_BYTES or line.strip(b" \t\r")]
    return zip(there, decoded, strict=True)


class LaunchWatch:
    """Watches a body pass by for the first launch of its day; stands where what it passes stood.

    It tells a daily file from what some hosts send, with 200, for every name: an error, a page or
    some other file.
    """

    def __init__(self, day: date, feed: Callable[[bytes], Iterator[bytes]]) -> None:
        self._day = day
        self._feed = feed
        self._rest = b""
        self._lines = 0
        self._found = False

    def __call__(self, chunk: bytes) -> Iterator[bytes]:
        """Pass a piece of the body on."""
        for piece in self._feed(chunk):
            self._look(piece)
            yield piece

    def finish(self) -> bool:
        """Return whether there was one, once the body has come to its end."""
        self._look(b"\n")
        return self._found

    def _look(self, piece: bytes) -> None:
        is_long = len(self._rest) > MAX_LINE_BYTES and b"\n" not in piece
        if self._found or is_long or self._lines > _MAX_WATCHED_LINES:
            return
        whole, newline, rest = (self._rest + piece).rpartition(b"\n")
        self._rest = rest[: MAX_LINE_BYTES + 1]
        self._lines += whole.count(b"\n")
        blocks = decode_blocks(read_blocks(io.BytesIO(whole + newline)))
        launches = (one for _, decoded, _ in blocks for one in decoded if isinstance(one, Launch))
        self._found = any(launch.timestamp.date() == self._day for launch in launches)
