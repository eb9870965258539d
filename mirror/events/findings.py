"""Counts what a day's lines contain while the body passes. Pure; reports and never judges.

Lines that differ in their timestamp alone count as the same, and a day has few others: so a block
of events that have it in its place is parted there, and what repeats is looked into once. A block
with anything else in it is gone through line by line, which defines what is counted. The two agree
on every input.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from datetime import date

import msgspec

from mirror.events.kinds import BY_KEY, MAX_KEY_LENGTH, Kind, Kinds, find_kind
from mirror.events.lines import BAD_JSON, MAX_LINE_BYTES, BlockCutter, halve
from mirror.events.stamps import Parted, part
from mirror.model import Findings
from mirror.text import shown

FINDINGS_VERSION = 2
"""Goes up whenever lines count otherwise than before; findings of a lower version are outdated."""
MAX_KEYS = 32
"""Distinct values of a field counted by name; the strings are upstream's, so they are bounded."""
MAX_KINDS = 256
"""Kinds of events kept apart before they are summed up."""
OTHERS = "…"


class Inspector:
    """Fed the decoded body in any division, gives the day's findings.

    Args:
        day: the day that the file is of.
        kinds: what is remembered of lines; those of other days may be of use.
    """

    def __init__(self, day: date, kinds: Kinds | None = None) -> None:
        self._day = day.isoformat()
        self._kinds = kinds or Kinds()
        self._blocks = BlockCutter()
        self._last_timestamp = ""
        self._kinds_seen: Counter[Kind] = Counter()
        self._counts: dict[str, Counter[str]] = {name: Counter() for name in BY_KEY}
        self._tally: Counter[str] = Counter()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the body."""
        for block in self._blocks.feed(chunk):
            self._take_block(block)

    def finish(self) -> Findings:
        """Return what was found, an unfinished last line included."""
        self._take_block(self._blocks.finish())
        self._sum_up()
        return _findings(self._counts, self._tally, FINDINGS_VERSION)

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
        """Count a block of events that are of this day and in order; False for any other."""
        # of a block so long each line may be too long
        parted = part(block) if len(block) <= MAX_LINE_BYTES else None
        if parted is None or not self._is_in_order(parted):
            return False
        kinds = self._kinds.count(parted)
        if kinds is None:
            return False
        self._last_timestamp = parted.frame.timestamp(parted.stamps[-1])
        self._take_kinds(kinds)
        return True

    def _is_in_order(self, parted: Parted) -> bool:
        # sorting what is sorted costs one comparison a line; first and last then bound all of them
        first, last = (parted.frame.timestamp(parted.stamps[at]) for at in (0, -1))
        return (
            first >= self._last_timestamp
            and first.startswith(self._day)
            and last.startswith(self._day)
            and sorted(parted.stamps) == parted.stamps
        )

    def _take_line(self, line: bytes) -> None:
        try:
            event = msgspec.json.decode(line) if len(line) <= MAX_LINE_BYTES else None
        except BAD_JSON:
            event = None
        if not isinstance(event, dict):
            self._tally["not_objects"] += 1
            return
        self._take_timestamp(event.get("timestamp"))
        self._take_kinds({find_kind(event): 1})

    def _take_timestamp(self, timestamp: object) -> None:
        if not isinstance(timestamp, str):
            return
        self._tally["other_day"] += not timestamp.startswith(self._day)
        self._tally["disordered"] += timestamp < self._last_timestamp
        self._last_timestamp = timestamp

    def _take_kinds(self, kinds: Mapping[Kind, int]) -> None:
        for kind, count in kinds.items():
            self._kinds_seen[kind] += count
        if len(self._kinds_seen) > MAX_KINDS:
            self._sum_up()

    def _sum_up(self) -> None:
        for kind, count in self._kinds_seen.items():
            for name, key in zip(BY_KEY, kind.keys, strict=True):
                self._count(name, key, count)
            for fault in kind.faults:
                self._tally[fault] += count
        self._kinds_seen.clear()

    def _count(self, name: str, value: str | None, count: int) -> None:
        if value is None:
            return
        counter = self._counts[name]
        key = value if value in counter else shown(value, MAX_KEY_LENGTH)
        counter[key if key in counter or len(counter) < MAX_KEYS else OTHERS] += count


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
    version = FINDINGS_VERSION
    for one in findings:
        version = min(version, one.version)
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
    return _findings(totals, tally, version)


def _bounded(counter: Mapping[str, int]) -> Counter[str]:
    """Return the `MAX_KEYS` most frequent values, the rest counted together."""
    ranked = sorted(counter.items(), key=lambda item: (item[0] == OTHERS, -item[1], item[0]))
    bounded = Counter(dict(ranked[:MAX_KEYS]))
    if rest := sum(count for _, count in ranked[MAX_KEYS:]):
        bounded[OTHERS] = rest
    return bounded


def _findings(
    counts: Mapping[str, Counter[str]], tally: Mapping[str, int], version: int
) -> Findings:
    mappings = {name: dict(sorted(counter.items())) for name, counter in counts.items()}
    return msgspec.convert(mappings | dict(tally) | {"version": version}, Findings)
