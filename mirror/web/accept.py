"""Parses `Accept-Encoding` and chooses the content coding (RFC 9110, 12.5.3). Pure."""

import re
from collections.abc import Sequence

_ELEMENT = re.compile(
    r"\s*([!#$%&'*+.^_`|~0-9A-Za-z-]+)\s*(?:;\s*q\s*=\s*([01](?:\.\d{0,3})?)\s*)?"
)
_ALIASES = {"x-gzip": "gzip"}
_IMPLIED = 0.001
"""What plain bytes weigh where nothing is said of them: fine, but anything named is better."""


def choose_coding(accepted: str | None, offered: Sequence[str]) -> str | None:
    """Return the coding that the client likes best; None for the plain bytes.

    Plain bytes are what a client gets who refuses everything, for there is nothing else to give.

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
    """Return the weight of each coding named; what is no element of the list is passed over."""
    weights: dict[str, float] = {}
    for element in accepted.split(","):
        if match := _ELEMENT.fullmatch(element):
            weight = min(1.0, float(match[2])) if match[2] else 1.0
            coding = match[1].lower()
            weights[_ALIASES.get(coding, coding)] = weight
    return weights
