"""Counts what a day's lines contain. Pure; reports and never judges.

What a line is, `mirror.events.decoder` says: launches are counted by their fields, and deviating
ones and odd lines by what is wrong with them. Launches that repeat are looked into once.
"""

import io
from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from datetime import UTC, date, datetime, time, timedelta
from functools import lru_cache
from operator import attrgetter, gt
from typing import Annotated, Any, BinaryIO, get_args, get_origin, get_type_hints

import msgspec
from msgspec import Struct
from msgspec.structs import astuple

from mirror.events.decoder import Oddity, OddLine, decode_line, read_blocks
from mirror.events.launch import FIELDS, ORIGIN_BEFORE, ORIGINS_SINCE, Launch
from mirror.events.repeats import RepeatDecoder
from mirror.events.spec import PROVIDERS
from mirror.model import Findings, Record
from mirror.text import shown

FINDINGS_VERSION = 2
"""Goes up whenever lines count otherwise than before; findings of a lower version are outdated."""
MAX_KEYS = 32
"""Distinct values of a field counted by name; the strings are upstream's, so they are bounded."""
MAX_KEY_LENGTH = 64
MAX_KINDS = 256  # kinds of launches kept apart before they are summed up
OTHERS = "…"
_KEPT = slice(MAX_KEY_LENGTH + 1)
"""Of a value: one character more than is shown, so that it shows that there is more."""

ODDITIES: dict[str, str] = {
    name: get_args(hint)[1]
    for name, hint in get_type_hints(Findings, include_extras=True).items()
    if get_origin(hint) is Annotated
}
"""What is odd about the lines that a number of the findings counts, by the number's name."""
_TALLIES = {kind: kind.replace("-", "_") for kind in Oddity} | {Oddity.NOT_AN_OBJECT: "not_objects"}


class Kind(Struct, frozen=True, eq=False):
    """What a launch counts as, but for its timestamp; compared by identity, which is fast."""

    keys: tuple[tuple[str, str], ...]
    """Mappings of the findings that it is counted in, and under which key."""
    tallies: tuple[str, ...]  # numbers of the findings that it is counted in


Kinds = RepeatDecoder[float, Kind]
"""Remembers the kinds of launches that repeat, within a day and from day to day."""


# without the first four fields, which every launch has
_GET_FIELDS = {version: attrgetter(*fields[4:]) for version, fields in FIELDS.items()}


def remember_kinds() -> Kinds:
    """Return a memory without content; never to be shared between threads."""
    return RepeatDecoder(datetime.timestamp, _find_kind)


def _find_kind(launch: Launch) -> Kind:
    return _make_kind(
        launch.version,
        launch.provider[_KEPT],
        launch.origin and launch.origin[_KEPT],
        launch.status and launch.status[_KEPT],
        None in _GET_FIELDS[launch.version](launch),
    )


@lru_cache(maxsize=4 * MAX_KINDS)
def _make_kind(
    version: int, provider: str, origin: str | None, status: str | None, is_lacking: bool
) -> Kind:
    """Return a kind: the same for the same arguments, as long as it is remembered."""
    fields = (
        ("versions", str(version)),
        ("providers", provider),
        ("origins", origin),
        ("statuses", status),
    )
    keys = tuple((name, shown(one, MAX_KEY_LENGTH)) for name, one in fields if one is not None)
    tallies: tuple[str, ...] = () if provider in PROVIDERS else ("unknown_provider",)
    tallies += ("missing_fields",) if is_lacking else ()
    return Kind(keys, (*tallies, "deviating") if tallies else ())


def count_findings(file: BinaryIO, day: date, kinds: Kinds | None = None) -> Findings:
    """Return what a day's body, decoded, contains; `kinds` remembers launches of other days."""
    counts = _Counts(day, kinds or remember_kinds())
    for block in read_blocks(file):
        counts.take_block(block)
    return counts.findings()


class _Counts:
    """What has been counted of a day so far."""

    def __init__(self, day: date, kinds: Kinds) -> None:
        self._begin = datetime.combine(day, time(), UTC).timestamp()
        self._end = self._begin + timedelta(days=1).total_seconds()
        self._kinds = kinds
        self._last_moment = float("-inf")
        self._kinds_seen: Counter[Kind] = Counter()
        self._counts: dict[str, Counter[str]] = {}
        self._tally: Counter[str] = Counter()

    def findings(self) -> Findings:
        self._sum_up()
        mappings = {name: _ordered(counts) for name, counts in self._counts.items()}
        return msgspec.convert(mappings | self._tally | {"version": FINDINGS_VERSION}, Findings)

    def take_block(self, block: bytes) -> None:
        launches = self._kinds.decode(block)
        self._take_launches(*(self._decode_lines(block) if launches is None else launches))

    def _decode_lines(self, block: bytes) -> tuple[list[float], list[Kind]]:
        """Return timestamp and kind of each launch, line by line; odd lines are counted."""
        moments: list[float] = []
        kinds: list[Kind] = []
        for one in map(decode_line, io.BytesIO(block)):
            if isinstance(one, Launch):
                moments.append(one.timestamp.timestamp())
                kinds.append(_find_kind(one))
            elif isinstance(one, OddLine):
                self._count("odd", shown(one.reason, MAX_KEY_LENGTH), 1)
                self._tally[_TALLIES[one.kind]] += 1
        return moments, kinds

    def _take_launches(self, moments: list[float], kinds: list[Kind]) -> None:
        if not moments:
            return
        # sorting what is sorted costs next to nothing
        ordered = sorted(moments)
        if moments != ordered or moments[0] < self._last_moment:
            self._tally["disordered"] += sum(map(gt, (self._last_moment, *moments), moments))
        self._last_moment = moments[-1]
        if ordered[0] < self._begin or ordered[-1] >= self._end:
            self._tally["other_day"] += sum(not self._begin <= one < self._end for one in moments)
        self._kinds_seen.update(kinds)
        if len(self._kinds_seen) > MAX_KINDS:
            self._sum_up()

    def _sum_up(self) -> None:
        for kind, count in self._kinds_seen.items():
            for name, key in kind.keys:
                self._count(name, key, count)
            for name in kind.tallies:
                self._tally[name] += count
        self._kinds_seen.clear()

    def _count(self, name: str, key: str, count: int) -> None:
        counter = self._counts.setdefault(name, Counter())
        counter[key if key in counter or len(counter) < MAX_KEYS else OTHERS] += count


def origins_of(day: date, findings: Findings) -> Mapping[str, int]:
    """Return a day's launches by origin, also of a day before `ORIGINS_SINCE`."""
    origins = findings.origins
    nameless = sum(findings.providers.values()) - sum(origins.values())
    if day >= ORIGINS_SINCE or not nameless:
        return origins
    return {**origins, ORIGIN_BEFORE: origins.get(ORIGIN_BEFORE, 0) + nameless}


def is_pending(record: Record) -> bool:
    """Return whether a day's body is still to be counted, or again, by a later version."""
    return record.findings is None or record.findings.version < FINDINGS_VERSION


def merge(findings: Iterable[Findings]) -> Findings:
    """Return the sums over many days, of each mapping the `MAX_KEYS` most frequent names alone."""
    return add_up(findings, _bounded)


def add_up(
    findings: Iterable[Findings], keep: Callable[[dict[str, int]], dict[str, int]] = dict
) -> Findings:
    """Return the sums over many days, with every name, or with what is kept of each mapping."""
    some = (Findings(version=FINDINGS_VERSION), *findings)
    columns = zip(*map(astuple, some), strict=True)
    fields: dict[str, Any] = dict(zip(some[0].__struct_fields__, columns, strict=True))
    versions = fields.pop("version")
    for name, values in fields.items():
        is_number = isinstance(values[0], int)
        fields[name] = sum(values) if is_number else _ordered(keep(add_names(values)))
    return Findings(**fields, version=min(versions))


def _ordered(counts: Mapping[str, int]) -> dict[str, int]:
    return dict(sorted(counts.items()))


def add_names(counts: Iterable[Mapping[str, int]]) -> dict[str, int]:
    """Return the sums by name."""
    # plain dictionaries: Counter.update takes three times as long for a handful of names
    sums: dict[str, int] = {}
    for named in counts:
        for name, count in named.items():
            sums[name] = sums.get(name, 0) + count
    return sums


def _bounded(counts: Mapping[str, int]) -> dict[str, int]:
    """Return the most frequent values by name, the rest counted together."""
    ranked = sorted(counts.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    rest = sum(count for _, count in ranked[MAX_KEYS:])
    return dict(ranked[:MAX_KEYS]) | ({OTHERS: rest} if rest else {})
