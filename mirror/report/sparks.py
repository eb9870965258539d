"""Small plots of characters, for a terminal. Pure."""

from collections.abc import Sequence
from itertools import pairwise

BLOCKS = " ▁▂▃▄▅▆▇█"
ASCII = " .:-=+*#@"
"""The same in characters that any terminal has."""


def render_spark(values: Sequence[float | None], top: float = 0, ramp: str = BLOCKS) -> str:
    """Return one character for each value; a space for None.

    Args:
        values: what is drawn; zero is the lowest mark, so that it is told from nothing.
        top: the value of the highest mark; 0 for the greatest of them.
        ramp: characters from empty to full.
    """
    highest = top or max((one for one in values if one is not None), default=0) or 1
    return "".join(" " if one is None else _mark(one, highest, ramp) for one in values)


def _mark(value: float, highest: float, ramp: str) -> str:
    steps = len(ramp) - 1
    return ramp[max(1, min(steps, round(value / highest * steps)))]


def render_columns(
    values: Sequence[float | None], height: int, top: float, ramp: str = BLOCKS
) -> list[str]:
    """Return a bar for each value, in lines from the top one down.

    Args:
        values: what is drawn; None leaves its column empty.
        height: lines, at least one.
        top: the value of a full column.
        ramp: characters from empty to full.
    """
    steps = len(ramp) - 1
    filled = [0 if one is None else max(1, round(one / top * height * steps)) for one in values]
    return [
        "".join(ramp[max(0, min(steps, one - row * steps))] for one in filled)
        for row in reversed(range(height))
    ]


def squeeze(values: Sequence[float | None], width: int) -> list[float | None]:
    """Return at most `width` values: the means of as many stretches of them, in order."""
    if len(values) <= width:
        return list(values)
    bounds = [len(values) * number // width for number in range(width + 1)]
    stretches = (values[a:b] for a, b in pairwise(bounds))
    return [_mean([one for one in stretch if one is not None]) for stretch in stretches]


def _mean(values: Sequence[float]) -> float | None:
    return sum(values) / len(values) if values else None
