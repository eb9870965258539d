"""Launches, typed: lines of a daily file decoded, and the columns of every table made of them.

Lines go through one typed decode; a block in which all are launches is done with that, and of any
other the odd lines are looked into, so that a line that is no launch is told with its number and
costs no other. A launch has the fields that every
version has, with their types; what came with a later version and is not there, or is null, is None.
No field is `required` in the schema, so a line that lacks one of the first six is no crime of
upstream's, but nothing can be counted by it: it is reported like any other odd line. Fields that
are not known are passed over, and of two equal keys the later one holds, as with every reader of
JSON.

The meaning of the fields: https://archive.analytics.mybinder.org/ and BinderHub's event schema,
https://github.com/jupyterhub/binderhub/tree/main/binderhub/event-schemas.
"""

import io
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime
from enum import StrEnum
from typing import Annotated, Any, Literal, TypeAlias

import msgspec
from msgspec import Meta, Struct
from msgspec.structs import replace

from mirror.events.lines import BAD_JSON, MAX_LINE_BYTES, BlockCutter, halve
from mirror.events.schema import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA
from mirror.text import shown

_SHOWN_BYTES = 200

ORIGIN_BEFORE_V3 = "mybinder.org"
"""What a missing `origin` means on the days before `ORIGINS_SINCE`."""
ORIGINS_SINCE = date(2019, 6, 12)


class Launch(Struct, frozen=True, gc=False):
    """One launch, as one line of a daily file records it."""

    timestamp: Annotated[datetime, Meta(tz=True)]
    """When, rounded down to the minute; aware, UTC."""
    schema: Literal["binderhub.jupyter.org/launch"]
    version: Annotated[int, Meta(ge=1, le=max(FIELDS))]
    """The version of the schema; each added fields, see `COLUMNS`."""
    provider: str
    """What kind of place the repository lives in: "GitHub", "Zenodo", ..."""
    spec: str
    """Repository and reference as the provider writes them, still percent-encoded; of a Git
    repository it may hold a password. `mirror.events.spec.parse_spec` takes it apart."""
    status: str
    """"success"; upstream records no other, so far."""
    origin: str | None = None
    """The BinderHub that launched it: "gke.mybinder.org"; since version 3."""
    ref: str | None = None
    """What the reference resolved to, a commit for one; since version 4."""
    build_token: bool | None = None
    """Whether the request carried a build token; since version 5."""
    request_origin: str | None = None
    """The site that the request came from, "same-origin", or "" where none was told; since
    version 6."""


class Oddity(StrEnum):
    """Why a line is not given as a launch."""

    UNKNOWN_SCHEMA = "unknown-schema"
    """An event of another kind."""
    UNKNOWN_VERSION = "unknown-version"
    """A launch of a version whose fields may mean something else."""
    BAD_FIELDS = "bad-fields"
    """A known version, but a field is missing or of the wrong type."""
    NOT_AN_OBJECT = "not-an-object"
    """Not one JSON object in UTF-8, or too long to be an event."""


class OddLine(Struct, frozen=True, gc=False):
    """A line that is not a launch this version of the software knows."""

    line: int
    """Its number in the file, from 1."""
    kind: Oddity
    reason: str
    """What is wrong, in a few words that are fit to show."""
    data: bytes
    """The line as it stands, without its newline; of one that is too long the beginning."""
    file: str = ""
    """The daily file it stands in."""


Decoded: TypeAlias = Sequence[Launch | OddLine]


class ColumnType(StrEnum):
    """The type of a column, to be said in each format's own words."""

    TIMESTAMP = "timestamp"
    """Microseconds, UTC."""
    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"


class Column(Struct, frozen=True):
    """One column of a table of launches."""

    name: str
    type: ColumnType
    since: int
    """The first version of the schema that has it; null in rows of earlier ones."""
    doc: str


_DOCS = {
    "timestamp": "When the launch was, in UTC, rounded down to the minute.",
    "schema": "The kind of event.",
    "version": "The version of the schema of this kind of event.",
    "provider": "What kind of place the repository lives in.",
    "spec": "Repository and reference as the provider writes them, percent-encoded.",
    "status": "Whether the launch succeeded; only successes are recorded.",
    "origin": "The BinderHub that launched it.",
    "ref": "What the reference resolved to, a commit for one.",
    "build_token": "Whether the request carried a build token.",
    "request_origin": 'The site that the request came from, "same-origin", or empty.',
}
_TYPES = {str: ColumnType.STRING, int: ColumnType.INTEGER, bool: ColumnType.BOOLEAN}


def _make_column(name: str) -> Column:
    kind = ColumnType.TIMESTAMP if name == "timestamp" else _TYPES[FIELD_TYPES[name]]
    since = min(version for version, fields in FIELDS.items() if name in fields)
    return Column(name, kind, since, _DOCS[name])


COLUMNS = tuple(_make_column(name) for name in Launch.__struct_fields__)
"""The columns over all versions, in the order in which every format has them."""

_decoder = msgspec.json.Decoder(Launch)


class LaunchDecoder:
    """Fed a body in any division, gives its launches and odd lines in order.

    Blank lines are nothing at all, and count only for the numbers of the lines after them.

    Args:
        file: the name of the daily file, for what is told of odd lines.
    """

    def __init__(self, file: str = "") -> None:
        self._file = file
        self._blocks = BlockCutter()
        self._next_line = 1
        self.odd_lines = 0
        """How many there have been so far."""

    def feed(self, chunk: bytes) -> Iterator[Decoded]:
        """Take the next bytes of the body; yields what each block of lines holds."""
        for block in self._blocks.feed(chunk):
            yield self.decode(block)

    def finish(self) -> Decoded:
        """Return what the unfinished last line holds."""
        return self.decode(self._blocks.finish())

    def decode(self, block: bytes) -> Decoded:
        """Take the next lines of the body, whole; return what they hold."""
        uniform = _decode_uniform(block)
        if uniform is not None:
            # one launch a line, so there is no need to count the newlines
            self._next_line += len(uniform)
            return uniform
        decoded = _decode_odd(block, self._next_line)
        self._next_line += block.count(b"\n")
        for number, one in enumerate(decoded):
            if isinstance(one, OddLine):
                decoded[number] = replace(one, file=self._file)
                self.odd_lines += 1
        return decoded


def pair_lines(block: bytes, decoded: Decoded) -> Iterator[tuple[bytes, Launch | OddLine]]:
    """Yield each line of a block that is not blank, without its newline, with what it holds."""
    lines = block.split(b"\n")
    there = [line for line in lines if len(line) > MAX_LINE_BYTES or line.strip(b" \t\r")]
    return zip(there, decoded, strict=True)


def _decode_uniform(block: bytes) -> list[Launch] | None:
    """Return the launches of a block in which each line is one; None for any other."""
    if len(block) > MAX_LINE_BYTES:
        # it may be one line that is too long, which the decoder would not mind
        return None
    try:
        # by line and not the block as a whole, for that would not ask for one object a line
        launches = list(map(_decoder.decode, io.BytesIO(block)))
    except BAD_JSON:
        return None
    elsewhere = [launch for launch in launches if launch.timestamp.tzinfo is not UTC]
    return launches if launches and not elsewhere else None


def _decode_odd(block: bytes, first_line: int) -> list[Launch | OddLine]:
    halves = halve(block)
    if halves is None:
        return _decode_line(block.removesuffix(b"\n"), first_line)
    decoded: list[Launch | OddLine] = []
    for half in halves:
        uniform = _decode_uniform(half)
        decoded += _decode_odd(half, first_line) if uniform is None else uniform
        first_line += half.count(b"\n")
    return decoded


def _decode_line(line: bytes, number: int) -> list[Launch | OddLine]:
    if len(line) > MAX_LINE_BYTES:
        reason = f"a line of more than {MAX_LINE_BYTES:,} bytes"
        return [OddLine(number, Oddity.NOT_AN_OBJECT, reason, line[:_SHOWN_BYTES])]
    if not line.strip(b" \t\r"):
        return []
    try:
        event = msgspec.json.decode(line)
    except BAD_JSON:
        event = None
    if not isinstance(event, dict):
        return [OddLine(number, Oddity.NOT_AN_OBJECT, "not one JSON object", line)]
    made = _make_launch(event)
    return [made if isinstance(made, Launch) else OddLine(number, *made, line)]


def _make_launch(event: dict[str, Any]) -> Launch | tuple[Oddity, str]:
    """Return the launch, or what keeps the event from being one."""
    schema, version = event.get("schema"), event.get("version")
    if schema != LAUNCH_SCHEMA:
        return Oddity.UNKNOWN_SCHEMA, f"schema {_value(schema)}"
    # some programs write a whole number as 5.0; True is 1 to Python, but not to us
    if type(version) not in (int, float) or version not in FIELDS:
        return Oddity.UNKNOWN_VERSION, f"version {_value(version)}"
    event["version"] = int(version)
    try:
        event["timestamp"] = _moment(event.get("timestamp"))
        return msgspec.convert(event, Launch)
    except msgspec.ValidationError as error:
        return Oddity.BAD_FIELDS, shown(str(error))


def _moment(text: object) -> datetime:
    """Return a timestamp in UTC; one without an offset is in UTC, says the documentation."""
    moment = msgspec.convert(text, datetime) if isinstance(text, str) else None
    try:
        if moment is not None:
            return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
    except OverflowError:
        pass
    raise msgspec.ValidationError(f"no moment as timestamp: {_value(text)}")


def _value(value: object) -> str:
    if value is None:
        return "missing"
    try:
        return shown(msgspec.json.encode(value)[:_SHOWN_BYTES])
    except (ValueError, RecursionError):
        return type(value).__name__
