"""Pieces of HTML that several parts of the status page are made of. Pure."""

import re

_TIME = re.compile(r"\b([0-9]{4}-[0-9]{2}-[0-9]{2})(?: ([0-9]{2}:[0-9]{2}) UTC)?\b")


def with_times(text: str) -> str:
    """Return escaped text with its dates and moments marked up: machines read them, none breaks."""
    return _TIME.sub(_time, text)


def _time(match: re.Match[str]) -> str:
    day, minute = match.groups()
    at = f"{day}T{minute}Z" if minute else day
    return f'<time datetime="{at}">{match[0]}</time>'
