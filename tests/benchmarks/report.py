"""Figures from samples: medians, ratios within a round, tables, bounds."""

from collections.abc import Iterable
from dataclasses import dataclass, field
from math import isnan
from statistics import median

from tests.benchmarks.arena import Sample


@dataclass(frozen=True, slots=True)
class Bound:
    """A demand of the issue, and what was measured for it."""

    demand: str
    measured: float
    is_met: bool

    def __str__(self) -> str:
        return f"{'ok    ' if self.is_met else 'MISSED'} {self.demand}: {self.measured:.3g}"


@dataclass(slots=True)
class Result:
    """What a scenario found."""

    title: str
    header: list[str]
    rows: list[list[str]] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    bounds: list[Bound] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    total_bytes: int = 0  # of what each sample fetched, where that is one size

    def demand_at_least(self, demand: str, measured: float, limit: float) -> None:
        """Note a demand for `limit` or more."""
        self._demand(f"{demand}, at least {limit:g}", measured, is_met=measured >= limit)

    def demand_at_most(self, demand: str, measured: float, limit: float) -> None:
        """Note a demand for `limit` or less."""
        self._demand(f"{demand}, at most {limit:g}", measured, is_met=measured <= limit)

    def render(self) -> str:
        """Return the result as text for a person."""
        lines = [f"== {self.title} ==", *_render_table([self.header, *self.rows])]
        lines += [f"   {note}" for note in self.notes]
        lines += [f"   {bound}" for bound in self.bounds]
        return "\n".join(lines)

    def _demand(self, demand: str, measured: float, *, is_met: bool) -> None:
        # not a number: the other one took no part
        if not isnan(measured):
            self.bounds.append(Bound(demand, measured, is_met))


class Series:
    """The samples of one scenario, in the order in which they were taken."""

    def __init__(self) -> None:
        self.samples: list[Sample] = []

    def select(self, contestant: str, case: str = "") -> list[Sample]:
        """Return a contestant's samples of a case, one a round."""
        return [s for s in self.samples if (s.contestant, s.case) == (contestant, case)]

    def median(self, contestant: str, attribute: str, case: str = "") -> float:
        """Return the median of an attribute."""
        return median(_read(sample, attribute) for sample in self.select(contestant, case))

    def speed_ratio(self, contestant: str, other: str, attribute: str, case: str = "") -> float:
        """Return how many times as fast as another it is: the median of the rounds' ratios.

        NaN where one of them took no part.
        """
        pairs = list(zip(self.select(contestant, case), self.select(other, case), strict=False))
        ratios = [_read(theirs, attribute) / _read(ours, attribute) for ours, theirs in pairs]
        return median(ratios) if ratios else float("nan")

    def median_difference(self, contestant: str, cases: tuple[str, str], attribute: str) -> float:
        """Return the median of the rounds' differences between two cases."""
        first, second = (self.select(contestant, case) for case in cases)
        return median(
            _read(one, attribute) - _read(two, attribute)
            for one, two in zip(first, second, strict=True)
        )


def _read(sample: Sample, attribute: str) -> float:
    value: float = getattr(sample, attribute)
    return value


def format_row(name: str, values: Iterable[tuple[float, str]]) -> list[str]:
    """Return the cells of a row: values in their formats, a dash for none."""
    cells = ["-" if isnan(value) else f"{value:{spec}}" for value, spec in values]
    return [name, *cells]


def _render_table(rows: list[list[str]]) -> list[str]:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join([row[0].ljust(widths[0]), *map(str.rjust, row[1:], widths[1:])]) for row in rows
    ]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]
