"""Text for people: made fit to show, and durations and sizes as they are written. Pure.

Upstream's text may hold anything, and terminals obey control characters.
"""

import re
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from decimal import Decimal

_DURATION_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400, "w": 604800}
_DECIMAL_UNITS = {"B": 1, "kB": 10**3, "KB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_BINARY_UNITS = {"TiB": 1024**4, "GiB": 1024**3, "MiB": 1024**2, "KiB": 1024}
_AGES = (("day", 86400), ("hour", 3600), ("minute", 60))
FORMULA_PATTERN = r"^[-=+@\t\r]"
"""How a cell begins that a spreadsheet would run; Python and SQL read the pattern alike."""
_CREDENTIALS = re.compile(r"(//|%2f%2f)(?:(?!/|%2f|\s).)*(?:@|%40)", re.IGNORECASE)
_QUANTITY = re.compile(r"([0-9]+(?:\.[0-9]+)?(?:e[+-][0-9]+)?)\s*([A-Za-z]*)")
"""With an exponent as Python writes it of the smallest and largest numbers."""


def shown(text: str | bytes, limit: int = 80) -> str:
    r"""Return `text` on one line with everything unprintable escaped, cut to `limit` characters.

    Control characters, line and bidirectional separators and undecodable bytes come out as `\xNN`,
    `\uNNNN` escapes: nothing that a terminal, a log or a page would act on is left.
    """
    if isinstance(text, bytes):
        # one character more than is shown, for four bytes each at most, shows that there is more
        text = text[: limit * 4 + 4].decode("utf-8", "backslashreplace")
    if len(text) <= limit and text.isprintable():
        return text
    head = text[:limit]
    # str.isprintable is false for Cc, Cf (bidi controls), Cs (lone surrogates), Zl, Zp
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    if len(text) > limit or len(safe) > limit:
        return safe[: limit - 1] + "…"
    return safe


def masked(url: str) -> str:
    """Return a URL, or any text with URLs in it, with users and passwords hidden.

    In the path of a Git launch the repository's URL is percent-encoded.
    """
    return _CREDENTIALS.sub(r"\1***@", url)


def printable(text: str) -> str:
    """Return a line that may be upstream's fit to show: escaped, bounded, credentials masked."""
    return shown(masked(text), 400)


def disarm(text: str) -> str:
    """Return a string as a cell of CSV that no spreadsheet takes for a formula.

    An apostrophe leads it then (https://owasp.org/www-community/attacks/CSV_Injection).
    """
    return f"'{text}" if re.match(FORMULA_PATTERN, text) else text


def plural(count: int, noun: str) -> str:
    """Return `count` and `noun`, in the plural where it is not one: "1 day", "2,901 days"."""
    if count != 1:
        noun = re.sub("([^aeiou])y$", r"\1ie", noun) + ("es" if noun.endswith("ch") else "s")
    return f"{count:,} {noun}"


def human_bytes(size: float) -> str:
    """Return a size in decimal units with three digits: "1.73 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        # from here on three digits are rounded to four
        if size < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"


def parse_duration(value: str | float) -> float:
    """Return seconds from "1s", "30m", "14d", "0.05" or a number; ValueError says what is right."""
    message = 'must be a duration like "30s", "5m", "2h", "14d" or a number of seconds'
    return _parse(value, _DURATION_UNITS, "s", message)


def parse_size(value: str | float) -> int:
    """Return bytes from "20MiB", "1.5GB" or a number; ValueError says what is right."""
    message = 'must be a size like "20MiB", "1GB" or bytes'
    return round(_parse(value, _DECIMAL_UNITS | _BINARY_UNITS, "B", message))


def format_duration(seconds: float) -> str:
    """Return a duration in the largest unit that keeps it whole: 1800 as "30m"."""
    for unit in ("d", "h", "m"):
        if seconds and seconds % _DURATION_UNITS[unit] == 0:
            return f"{seconds / _DURATION_UNITS[unit]:.0f}{unit}"
    # exact and without an exponent, so that it can be read again
    return f"{Decimal(str(seconds)).normalize():f}s"


def format_size(size: int) -> str:
    """Return a size in the largest binary unit that keeps it whole: 67108864 as "64MiB"."""
    for unit, factor in _BINARY_UNITS.items():
        if size and size % factor == 0:
            return f"{size // factor}{unit}"
    return str(size)


def _parse(value: str | float, units: Mapping[str, float], default: str, message: str) -> float:
    match = _QUANTITY.fullmatch(str(value).strip())
    factor = units.get(match[2] or default) if match else None
    # beyond a century or an exabyte nothing is meant
    if match is None or factor is None or (number := float(match[1]) * factor) > 1e18:
        raise ValueError(message)
    return number


def counts_text(counts: Mapping[str, int]) -> str:
    """Return each name with its count, where there is one: "published 3, unchanged 1,200"."""
    return ", ".join(f"{name} {count:,}" for name, count in counts.items() if count)


def utc_minute(at: datetime | None) -> str:
    """Return a moment to the minute: "2026-03-06 15:30 UTC"; "never" where there is none."""
    if at is None:
        return "never"
    # at the ends of time there is no such moment in UTC
    with suppress(OverflowError):
        at = at.astimezone(UTC)
    return f"{at:%Y-%m-%d %H:%M} UTC"


def ago(at: datetime, *, now: datetime) -> str:
    """Return how long ago a moment was: "2 hours ago", "just now" within the last minute."""
    seconds = int((now - at).total_seconds())
    for unit, size in _AGES:
        if seconds >= size:
            return f"{plural(seconds // size, unit)} ago"
    return "just now" if seconds >= 0 else "in the future"
