"""Reads what a client accepts and which bytes it asks for: `Accept-Encoding` and `Range`. Pure."""

import re
from collections.abc import Sequence

_ELEMENT = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?"
)
_ALIASES = {"x-gzip": "gzip"}
_IMPLIED = 0.001
"""The weight of plain bytes where none is given: acceptable, but any coding named is better."""
# at most 18 digits, so that no number is huge
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


def choose_coding(accepted: str | None, offered: Sequence[str]) -> str | None:
    """Return the coding that the client prefers (RFC 9110, 12.5.3); None for the plain bytes.

    A client that refuses everything gets the plain bytes too, for there is nothing else.

    Args:
        accepted: the `Accept-Encoding` header, several of them joined by commas.
        offered: the codings there are, the best one first, which wins where weights are equal.
    """
    if not accepted:
        return None
    weights = _parse_weights(accepted)
    others = weights.get("*", 0.0)
    plain = weights.get("identity", weights.get("*", _IMPLIED))
    best = max(offered, key=lambda coding: weights.get(coding, others), default=None)
    if best is None:
        return None
    weight = weights.get(best, others)
    return best if weight > 0 and weight >= plain else None


def _parse_weights(accepted: str) -> dict[str, float]:
    """Return the weight of each coding named; invalid elements are ignored."""
    weights: dict[str, float] = {}
    for element in accepted.split(","):
        if match := _ELEMENT.fullmatch(element):
            weight = min(1.0, float(match[2])) if match[2] else 1.0
            coding = match[1].lower()
            weights[_ALIASES.get(coding, coding)] = weight
    return weights


def parse_range(text: str, size: int) -> range | None:
    """Return the bytes asked for of a body of `size` (RFC 9110, 14.1 and 14.2).

    Returns:
        An empty range if there are no such bytes. None if the header is to be ignored and the
        whole is the answer: another unit, not a range, the last byte before the first, or several
        ranges, which a server need not honour.
    """
    match = _RANGE.fullmatch(text)
    if match is None or match[1] == match[2] == "":
        return None
    if not match[1]:
        return range(max(0, size - int(match[2])), size)
    start = int(match[1])
    if not match[2]:
        return range(start, size)
    last = int(match[2])
    return range(start, min(last + 1, size)) if start <= last else None
