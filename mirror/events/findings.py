"""Counts what a day's lines contain while the body passes. Pure; reports and never judges.

Blocks of whole lines go through one typed decode in which every line must be just what its version
promises: nearly all of the archive is, and this is the fast way. A block with anything else in it
is gone through line by line, which defines what is counted. The two agree on every input.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from operator import attrgetter
from typing import Any, Literal

import msgspec

from mirror.core.text import shown
from mirror.events.lines import MAX_LINE_BYTES, BlockCutter, halve, holds_one_object_a_line
from mirror.events.schema import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA, PROVIDERS, STATUSES
from mirror.model import Findings

MAX_KEYS = 32
"""Distinct values of a field counted by name; the strings are upstream's, so they are bounded."""
MAX_KEY_LENGTH = 64
OTHERS = "…"

_get_timestamp: Callable[[Any], str] = attrgetter("timestamp")
_GETTERS: dict[bool, Callable[[Any], tuple[str, ...]]] = {
    False: attrgetter("provider", "status"),
    True: attrgetter("provider", "status", "origin"),
}
"""What is counted by value; with the origin, where the version has it."""
_STRAY: tuple[str, Any, None] = ("python_logger", None, None)
"""A field that some lines of the archive have and no version of the schema: always null."""


def _make_decoder(version: int) -> msgspec.json.Decoder[Any]:
    """Return a decoder that takes events of this version, with all of its fields, and no others."""
    narrowed: dict[str, Any] = {
        "schema": Literal[LAUNCH_SCHEMA],
        "version": Literal[version],
        "provider": Literal[PROVIDERS],
        "status": Literal[STATUSES],
    }
    fields = [(name, narrowed.get(name, FIELD_TYPES[name])) for name in FIELDS[version]]
    # an unknown field is no fault, but leaves the fast way: line by line it is seen as it stands
    launch = msgspec.defstruct(
        f"LaunchV{version}", [*fields, _STRAY], gc=False, forbid_unknown_fields=True
    )
    return msgspec.json.Decoder(launch)


_DECODERS = {version: _make_decoder(version) for version in FIELDS}


class Inspector:
    """Fed the decoded body in any division, gives the day's findings.

    Args:
        day: the day that the file is of.
    """

    def __init__(self, day: date) -> None:
        self._day = day.isoformat()
        self._blocks = BlockCutter()
        self._version = next(iter(FIELDS))
        self._last_timestamp = ""
        self._counts: dict[str, Counter[str]] = {
            name: Counter() for name in ("versions", "providers", "origins", "statuses")
        }
        self._tally: Counter[str] = Counter()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        for block in self._blocks.feed(chunk):
            self._take_block(block)

    def finish(self) -> Findings:
        """Return what was found, an unfinished last line included."""
        self._take_block(self._blocks.finish())
        return _findings(self._counts, self._tally)

    def _take_block(self, block: bytes) -> None:
        """Count a block of whole lines: at once where it is uniform, else half by half."""
        if not block or self._take_uniform(block):
            return
        halves = halve(block)
        if halves:
            for half in halves:
                self._take_block(half)
        elif len(line := block.removesuffix(b"\n")) > MAX_LINE_BYTES or line.strip(b" \t\r"):
            self._take_line(line)

    def _take_uniform(self, block: bytes) -> bool:
        """Count a block in which each line is a whole event of one version; False for any other."""
        if len(block) > MAX_LINE_BYTES:
            # it may be one line that is too long, which the decoder would not mind
            return False
        try:
            events = _DECODERS[self._version].decode_lines(block)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            return False
        if not events or not holds_one_object_a_line(block, len(events)):
            return False
        timestamps = list(map(_get_timestamp, events))
        if not self._in_order(timestamps):
            return False
        self._last_timestamp = timestamps[-1]
        self._count("versions", {str(self._version): len(events)})
        has_origin = "origin" in FIELDS[self._version]
        # one count of what goes together is cheaper than one of each
        for values, count in Counter(map(_GETTERS[has_origin], events)).items():
            self._count("providers", {values[0]: count})
            self._count("statuses", {values[1]: count})
            if has_origin:
                self._count("origins", {values[2]: count})
        return True

    def _in_order(self, timestamps: list[str]) -> bool:
        # sorting what is sorted costs one comparison a line; first and last then bound all of them
        return (
            timestamps[0] >= self._last_timestamp
            and timestamps[0].startswith(self._day)
            and timestamps[-1].startswith(self._day)
            and sorted(timestamps) == timestamps
        )

    def _take_line(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line) if len(line) <= MAX_LINE_BYTES else None
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            event = None
        if not isinstance(event, dict):
            self._tally["not_objects"] += 1
            return
        self._take_timestamp(event.get("timestamp"))
        for name, field in (
            ("providers", "provider"),
            ("statuses", "status"),
            ("origins", "origin"),
        ):
            if field in event:
                self._count(name, {_key(event[field]): 1})
        self._take_version(event)

    def _take_timestamp(self, timestamp: object) -> None:
        if not isinstance(timestamp, str):
            return
        self._tally["other_day"] += not timestamp.startswith(self._day)
        self._tally["disordered"] += timestamp < self._last_timestamp
        self._last_timestamp = timestamp

    def _take_version(self, event: dict[str, Any]) -> None:
        version = event.get("version")
        if "version" in event:
            self._count("versions", {_key(version): 1})
        if event.get("schema") != LAUNCH_SCHEMA:
            self._tally["unknown_schema"] += 1
            return
        if type(version) is not int or version not in FIELDS:
            self._tally["unknown_version"] += 1
            return
        self._version = version
        self._tally["unknown_provider"] += event.get("provider") not in PROVIDERS
        fields = FIELDS[version]
        self._tally["missing_fields"] += any(
            type(event.get(field)) is not FIELD_TYPES[field] for field in fields
        )

    def _count(self, name: str, values: dict[str, int]) -> None:
        counter = self._counts[name]
        for value, count in values.items():
            key = value if value in counter else shown(value, MAX_KEY_LENGTH)
            counter[key if key in counter or len(counter) < MAX_KEYS else OTHERS] += count


def _key(value: object) -> str:
    """Return a value of any JSON type as the key it is counted under."""
    if isinstance(value, str):
        return value
    return msgspec.json.encode(value)[: MAX_KEY_LENGTH * 4].decode(errors="replace")


def merge(findings: Iterable[Findings]) -> Findings:
    """Return the sums over many days, the mappings bounded as a day's are."""
    total = add_up(findings)
    return msgspec.structs.replace(
        total,
        **{
            name: dict(sorted(_bounded(value).items()))
            for name in total.__struct_fields__
            if isinstance(value := getattr(total, name), dict)
        },
    )


def add_up(findings: Iterable[Findings]) -> Findings:
    """Return the sums over many days, with every name."""
    totals: dict[str, Counter[str]] = {}
    tally: Counter[str] = Counter()
    for one in findings:
        for name in one.__struct_fields__:
            value = getattr(one, name)
            if type(value) is int:
                tally[name] += value
            elif value:
                into = totals.get(name)
                if into is None:
                    into = totals[name] = Counter()
                # by hand: Counter.update takes three times as long for a few keys
                for key, count in value.items():
                    into[key] += count
    return _findings(totals, tally)


def _bounded(counter: Mapping[str, int]) -> Counter[str]:
    """Return the `MAX_KEYS` most frequent values, the rest counted together."""
    ranked = sorted(counter.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    bounded = Counter(dict(ranked[:MAX_KEYS]))
    if rest := sum(count for _, count in ranked[MAX_KEYS:]):
        bounded[OTHERS] = rest
    return bounded


def _findings(counts: Mapping[str, Counter[str]], tally: Mapping[str, int]) -> Findings:
    mappings = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
    return msgspec.convert(mappings | dict(tally), Findings)
