"""Parses `Range`: the part of a body that a client asks for (RFC 9110, 14.1 and 14.2). Pure."""

import re

# digits without an end would make numbers without an end
_RANGE = re.compile(r"\s*bytes\s*=\s*(\d{0,18})\s*-\s*(\d{0,18})\s*", re.IGNORECASE | re.ASCII)


def parse_range(text: str, size: int) -> range | None:
    """Return the bytes asked for of a body of `size`.

    Returns:
        An empty range where there are no such bytes; None where there is nothing to keep to, and
        the whole is the answer: another unit, no range at all, the last byte before the first, or
        several ranges, which a server need not keep to.
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
