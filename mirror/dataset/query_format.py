"""Answers as text: CSV, JSON, Markdown; values of any type of DuckDB's as each format has them."""

import base64
import csv
import io
import struct
from collections.abc import Callable, Iterator, Sequence
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from itertools import islice
from typing import Any

import msgspec

from mirror.dataset.query import Result
from mirror.reading.sinks import disarm

Write = Callable[[str], object]
Show = Callable[[str], str]
"""What is done to strings before they are written: escaped, where it is a terminal that reads."""

_LINES_AT_ONCE = 1000
_MARKDOWN = str.maketrans({"|": "\\|", "\\": "\\\\", "\n": " ", "\r": " ", "<": "&lt;", "`": "\\`"})


def as_is(text: str) -> str:
    """Show a string as it is, where a program reads it."""
    return text


def write_csv(result: Result, write: Write, show: Show) -> None:
    """Write a header and a line a row; a string that a spreadsheet would run is led by a quote."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")

    def cell(value: object) -> str:
        text = plain(value)
        return show(disarm(text) if isinstance(value, str) else text)

    writer.writerow(list(map(cell, result.columns)))
    while rows := list(islice(result.rows, _LINES_AT_ONCE)):
        writer.writerows([list(map(cell, row)) for row in rows])
        write(out.getvalue())
        out.seek(0)
        out.truncate()
    write(out.getvalue())


def write_json(result: Result, write: Write, show: Show) -> None:
    """Write one array of objects: numbers as numbers, moments in ISO 8601, null as null."""
    encoder = msgspec.json.Encoder(decimal_format="number")
    names = _distinct(result.columns)
    before = "[\n"
    for row in result.rows:
        values = dict(zip(names, map(_json_value, row), strict=True))
        text = encoder.encode(values).decode()
        write(before + (text if show is as_is else _escaped(text)))
        before = ",\n"
    write("[]\n" if before == "[\n" else "\n]\n")


def write_markdown(result: Result, write: Write, show: Show) -> None:
    """Write a table of GitHub's Markdown."""

    def line(cells: Iterator[str] | Sequence[str]) -> None:
        write("| " + " | ".join(show(cell.translate(_MARKDOWN)) for cell in cells) + " |\n")

    line(result.columns)
    line(["---"] * len(result.columns))
    for row in result.rows:
        line(list(map(plain, row)))


def plain(value: object) -> str:
    """Return a value as text: ISO 8601, nothing for null, JSON for what is nested."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, datetime | date | time):
        return value.isoformat()
    if isinstance(value, list | tuple | dict):
        encoder = msgspec.json.Encoder(decimal_format="number")
        return encoder.encode(_json_value(value)).decode()
    if isinstance(value, bytes | bytearray):
        return base64.b64encode(value).decode()
    return str(value)


def _json_value(value: Any) -> Any:
    """Return a value as JSON has it."""
    if value is None or isinstance(value, bool | int | float | str | Decimal):
        return value
    if isinstance(value, datetime | date | time | bytes | bytearray):
        return plain(value)
    if isinstance(value, timedelta):
        return str(value)
    if isinstance(value, dict):
        return {str(key): _json_value(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return list(map(_json_value, value))
    return str(value)


def _escaped(text: str) -> str:
    """Return JSON with what a terminal would obey escaped as JSON escapes it."""
    return "".join(
        one if one.isprintable() else "".join(f"\\u{unit:04x}" for unit in _utf16(one))
        for one in text
    )


def _utf16(character: str) -> Sequence[int]:
    units = character.encode("utf-16-be", "surrogatepass")
    return struct.unpack(f">{len(units) // 2}H", units)


def _distinct(names: Sequence[str]) -> list[str]:
    """Return the names, those that come twice told apart: an object has each key once."""
    taken: set[str] = set()
    distinct: list[str] = []
    for name in names:
        candidate, number = name, 1
        while candidate in taken:
            number += 1
            candidate = f"{name}_{number}"
        taken.add(candidate)
        distinct.append(candidate)
    return distinct
