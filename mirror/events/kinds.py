"""What an event counts as, but for its timestamp; remembered for lines that repeat. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping
from operator import attrgetter
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias, Union

import msgspec

from mirror.events.lines import BAD_JSON
from mirror.events.schema import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA, PROVIDERS
from mirror.events.stamps import Frame, Parted
from mirror.text import shown

MAX_KEY_LENGTH = 64
"""Of a value that is counted by name; the strings are upstream's, so they are bounded."""
KNOWN_BYTES = 8 * 1024 * 1024
"""What is remembered of lines, at most, but for the block at hand."""
BY_KEY = {
    "versions": "version",
    "providers": "provider",
    "origins": "origin",
    "statuses": "status",
}
"""The fields that are counted by value, by where they are counted."""

_STRAY: tuple[str, Any, None] = ("python_logger", None, None)
"""A field that some lines of the archive have and no version of the schema: always null."""
_Keys: TypeAlias = tuple[str | None, str | None, str | None, str | None]


class Kind(NamedTuple):
    """What an event counts as, but for its timestamp."""

    keys: _Keys
    """What it is counted under in `BY_KEY`; None where the event has no such field."""
    faults: tuple[str, ...]
    """The tallies that it is counted in."""


class _Unlike(Exception):  # noqa: N818 - no error: such lines are looked at one by one
    """A line may be no whole event."""


class _Known(dict[bytes, Kind]):
    """What lines that are parted in one frame count as, by their rest; looked into once."""

    def __init__(self, frame: Frame, kinds: "Kinds") -> None:
        super().__init__()
        self._frame = frame
        self._kinds = kinds

    def __missing__(self, rest: bytes) -> Kind:
        kind = _look_into(self._frame.without_timestamp(rest))
        if kind is None:
            raise _Unlike
        self[rest] = kind = self._kinds.keep(kind, len(rest))
        return kind


class Kinds:
    """Remembers what the lines seen before count as, for one day or for many."""

    def __init__(self) -> None:
        self._known: dict[Frame, _Known] = {}
        self._kept: dict[Kind, Kind] = {}
        self._bytes = 0

    def count(self, parted: Parted) -> Counter[Kind] | None:
        """Return how many lines are of each kind; None where a line may be no whole event."""
        if self._bytes > KNOWN_BYTES:
            self._known.clear()
            self._kept.clear()
            self._bytes = 0
        known = self._known.get(parted.frame)
        if known is None:
            known = self._known[parted.frame] = _Known(parted.frame, self)
        try:
            return Counter(map(known.__getitem__, parted.rests))
        except _Unlike:
            return None

    def keep(self, kind: Kind, size_bytes: int) -> Kind:
        """Return the one object for all kinds equal to this one: it counts faster."""
        self._bytes += size_bytes
        return self._kept.setdefault(kind, kind)


def _make_type(version: int) -> type[msgspec.Struct]:
    """Return a type of events with all of this version's fields but the timestamp, no others."""
    narrowed: dict[str, Any] = {
        "schema": Literal[LAUNCH_SCHEMA],
        "provider": Literal[PROVIDERS],
        "origin": Annotated[str, msgspec.Meta(max_length=MAX_KEY_LENGTH)],
        "status": Annotated[str, msgspec.Meta(max_length=MAX_KEY_LENGTH)],
    }
    fields = [
        (name, narrowed.get(name, FIELD_TYPES[name]))
        for name in FIELDS[version]
        if name not in ("timestamp", "version")
    ]
    return msgspec.defstruct(
        f"LaunchV{version}",
        [*fields, _STRAY],
        # what is counted can be asked of each version
        namespace={"version": str(version)}
        | ({} if "origin" in FIELDS[version] else {"origin": None}),
        tag_field="version",
        tag=version,
        gc=False,
        forbid_unknown_fields=True,
    )


_whole_decoder: msgspec.json.Decoder[Any] = msgspec.json.Decoder(
    Union[tuple(map(_make_type, FIELDS))]  # noqa: UP007 - of types that are made here
)
_get_keys: Callable[[Any], _Keys] = attrgetter(*BY_KEY.values())


def _look_into(event_without_timestamp: bytes) -> Kind | None:
    """Return what such an event counts as once it has one; None for anything else."""
    try:
        return Kind(_get_keys(_whole_decoder.decode(event_without_timestamp)), ())
    except BAD_JSON:
        return _look_closer(event_without_timestamp)


def _look_closer(event_without_timestamp: bytes) -> Kind | None:
    try:
        event = msgspec.json.decode(event_without_timestamp)
    except BAD_JSON:
        return None
    if not isinstance(event, dict) or not event or "timestamp" in event:
        return None
    return find_kind(event | {"timestamp": ""})


def find_kind(event: Mapping[str, Any]) -> Kind:
    """Return what an event counts as; its timestamp, for being there and being a string."""
    version, provider, origin, status = (
        _key(event[field]) if field in event else None for field in BY_KEY.values()
    )
    return Kind((version, provider, origin, status), _faults(event))


def _faults(event: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the tallies that an event is counted in."""
    version = event.get("version")
    if event.get("schema") != LAUNCH_SCHEMA:
        return ("unknown_schema",)
    if type(version) is not int or version not in FIELDS:
        return ("unknown_version",)
    unknown = event.get("provider") not in PROVIDERS
    missing = any(type(event.get(field)) is not FIELD_TYPES[field] for field in FIELDS[version])
    return ("unknown_provider",) * unknown + ("missing_fields",) * missing


def _key(value: object) -> str:
    """Return a value of any JSON type as the key it is counted under."""
    if not isinstance(value, str):
        value = msgspec.json.encode(value)[: MAX_KEY_LENGTH * 4].decode(errors="replace")
    return shown(value, MAX_KEY_LENGTH)
