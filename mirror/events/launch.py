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

_V1 = ("timestamp", "schema", "version", "provider", "spec", "status")
_V3 = (*_V1, "origin")
_V4 = (*_V3, "ref")
_V5 = (*_V4, "build_token")
_V6 = (*_V5, "request_origin")
FIELDS: dict[int, tuple[str, ...]] = {1: _V1, 2: _V1, 3: _V3, 4: _V4, 5: _V5, 6: _V6}
"""The fields that a launch of each known version has."""

FIELD_TYPES: dict[str, type] = {
    "timestamp": str,
    "schema": str,
    "version": int,
    "provider": str,
    "spec": str,
    "status": str,
    "origin": str,
    "ref": str,
    "build_token": bool,
    "request_origin": str,
}

PROVIDERS = (
    "GitHub",
    "GitLab",
    "Git",
    "Gist",
    "Zenodo",
    "Figshare",
    "Dataverse",
    "Hydroshare",
    "CKAN",
)

ORIGINS_SINCE = date(2019, 6, 12)
"""The first day with an `origin` in its launches, from that evening on."""
ORIGIN_BEFORE = "mybinder.org"
"""What a missing `origin` means on the days before `ORIGINS_SINCE`."""


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
    status: str | None = None
    """"success"; upstream records no other, so far."""
    origin: str | None = None
    """The BinderHub that launched it: "gke.mybinder.org"; since version 3."""
    ref: str | None = None
    """What the reference resolved to, a commit for one; since version 4."""
    build_token: bool | None = None
    """Whether the request carried a build token; since version 5."""
    request_origin: str | None = None
    """The site that the request came from, "same-origin", or "" where it named none; since
    version 6."""


class ColumnType(StrEnum):
    """The type of a column; each format has its own name for it."""

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
