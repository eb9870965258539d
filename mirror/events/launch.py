"""What a launch is: its fields version by version, their types, and the columns of every table.

A launch is read from a line by `mirror.events.decoder`, and has the fields of every version. Two
rules decide on a field that is not as it should be:

- Schema, version, timestamp, provider and spec must be there and of their type, or the line is no
  launch. Version 5.0 is 5.
- Any other field is None where it is missing, null or of another type. The launch is *deviating* if
  its version has that field, or if its provider is a new one: it is read, and counted.

A field of a later version in a line of an earlier one is read where it is of its type, and is
nothing where it is not: such a line has all that its version promises. Fields that no version has
are nothing at all, and of two equal keys the later one holds, as with every reader of JSON.

The meaning of the fields: https://archive.analytics.mybinder.org/ and BinderHub's event schema,
https://github.com/jupyterhub/binderhub/tree/main/binderhub/event-schemas. A provider may be new
without a new version; the schema requires no field, but each version's files have all of its own.
"""

from datetime import date, datetime
from enum import StrEnum
from typing import Annotated, Literal

from msgspec import Meta, Struct

LAUNCH_SCHEMA = "binderhub.jupyter.org/launch"


class ColumnType(StrEnum):
    """The type of a column; each format has its own name for it."""

    TIMESTAMP = "timestamp"  # microseconds, UTC
    STRING = "string"
    INTEGER = "integer"
    BOOLEAN = "boolean"


class Column(Struct, frozen=True):
    """One field of a launch: a column of a table of launches."""

    name: str
    type: ColumnType
    since: int  # the first version of the schema that has it; null in rows of earlier ones
    doc: str


_TIMESTAMP, _TEXT, _INTEGER, _BOOLEAN = ColumnType
COLUMNS = (
    Column("timestamp", _TIMESTAMP, 1, "When the launch was, in UTC, rounded down to the minute."),
    Column("schema", _TEXT, 1, "The kind of event."),
    Column("version", _INTEGER, 1, "The version of the schema of this kind of event."),
    Column("provider", _TEXT, 1, "What kind of place the repository lives in."),
    Column(
        "spec", _TEXT, 1, "Repository and reference as the provider writes them, percent-encoded."
    ),
    Column("status", _TEXT, 1, "Whether the launch succeeded; only successes are recorded."),
    Column("origin", _TEXT, 3, "The BinderHub that launched it."),
    Column("ref", _TEXT, 4, "What the reference resolved to, a commit for one."),
    Column("build_token", _BOOLEAN, 5, "Whether the request carried a build token."),
    Column(
        "request_origin", _TEXT, 6, 'The site that the request came from, "same-origin", or empty.'
    ),
)
"""The fields over all versions, in the order in which every format has them."""

FIELDS = {
    version: tuple(one.name for one in COLUMNS if one.since <= version)
    for version in range(1, max(one.since for one in COLUMNS) + 1)
}
"""The fields that a launch of each known version has."""

_JSON_TYPES = {_TIMESTAMP: str, _TEXT: str, _INTEGER: int, _BOOLEAN: bool}
FIELD_TYPES: dict[str, type] = {one.name: _JSON_TYPES[one.type] for one in COLUMNS}
"""The type of each field in JSON."""

ORIGINS_SINCE = date(2019, 6, 12)
"""The first day with an `origin` in its launches, from that evening on."""
ORIGIN_BEFORE = "mybinder.org"  # what a missing `origin` means on the days before `ORIGINS_SINCE`


class Launch(Struct, frozen=True, gc=False):
    """One launch, as one line of a daily file records it; `COLUMNS` says what each field means."""

    timestamp: Annotated[datetime, Meta(tz=True)]
    schema: Literal["binderhub.jupyter.org/launch"]
    version: Annotated[int, Meta(ge=1, le=max(FIELDS))]
    provider: str  # "GitHub", "Zenodo",
    spec: str
    """Still percent-encoded; of a Git repository it may hold a password.
    `mirror.events.spec.parse_spec` takes it apart."""
    status: str | None = None  # "success"; upstream records no other, so far
    origin: str | None = None  # "gke.mybinder.org", for one
    ref: str | None = None
    build_token: bool | None = None
    request_origin: str | None = None
