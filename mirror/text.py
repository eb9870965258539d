"""Text made fit to show: upstream's may hold anything, and terminals obey control characters."""


def shown(text: str | bytes, limit: int = 80) -> str:
    r"""Return `text` on one line with everything unprintable escaped, cut to `limit` characters.

    Control characters, line and bidirectional separators and undecodable bytes come out as `\xNN`,
    `\uNNNN` escapes: nothing that a terminal, a log or a page would act on is left.
    """
    if isinstance(text, bytes):
        # one character more than is shown, for four bytes each at most, tells that there is more
        text = text[: limit * 4 + 4].decode("utf-8", "backslashreplace")
    head = text[:limit]
    # str.isprintable is false for Cc, Cf (bidi controls), Cs (lone surrogates), Zl, Zp
    safe = "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in head)
    if len(text) > limit or len(safe) > limit:
        return safe[: limit - 1] + "…"
    return safe


def plural(count: int, noun: str) -> str:
    """Return `count` and `noun`, with an s where it is not one: "1 day", "2,901 days"."""
    return f"{count:,} {noun}" + ("" if count == 1 else "s")


def human_bytes(size: float) -> str:
    """Return a size in decimal units with three digits: "1.73 MB"."""
    for unit in ("B", "kB", "MB", "GB"):
        # from here on three digits are rounded to four
        if size < 999.5:
            return f"{size:.0f} B" if unit == "B" else f"{size:.3g} {unit}"
        size /= 1000
    return f"{size:.3g} TB"
