"""The listings made from the records: SHA256SUMS, local index and page. Pure.

They name exactly what is held. The index is upstream's own bytes where everything is in step, so
that a complete mirror is identical to its upstream, byte for byte.
"""

import re
from collections.abc import Iterable, Mapping
from datetime import date
from html import escape

from mirror.archive.index import render_index
from mirror.model import IndexEntry, ParsedIndex, Record

_SUM = re.compile(rb"([0-9a-f]{64}) [ *]([^\\/\n]+)")
_PAGE = """\
<!DOCTYPE html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>Binder events archive (mirror)</title>
<link rel="icon" href="data:,">
<link rel="stylesheet" href="static/archive.css">
</head>
<body>
<h1>Binder events archive</h1>
<p>A verified mirror. See also <a href="index.jsonl">index.jsonl</a> and
<a href="SHA256SUMS">SHA256SUMS</a>.</p>
<table>
<thead><tr><th>Date</th><th>Filename</th><th>Number of Events</th></tr></thead>
<tbody>
{rows}</tbody>
</table>
</body>
</html>
"""


def local_index(
    records: Mapping[date, Record], upstream: ParsedIndex | None, upstream_body: bytes | None
) -> bytes:
    """Return the index to publish.

    Args:
        records: what is held.
        upstream: upstream's index as parsed, where it was accepted without exception.
        upstream_body: the bytes it was parsed from.
    """
    held = entries_of(records.values())
    if upstream is not None and upstream_body is not None:
        whole = not upstream.refused_lines and not upstream.conflicts
        if whole and upstream.entries == held:
            return upstream_body
    return render_index(held)


def entries_of(records: Iterable[Record]) -> tuple[IndexEntry, ...]:
    """Return the index entries of held days, ascending; the count is that of the held body."""
    rows = sorted(records, key=lambda record: record.date)
    return tuple(IndexEntry(record.date, record.name, record.lines) for record in rows)


def render_page(entries: Iterable[IndexEntry]) -> bytes:
    """Return `index.html`: the table Date, Filename, Number of Events, newest first."""
    rows = "".join(
        f'<tr><td>{entry.date}</td><td><a href="{escape(entry.name)}">{escape(entry.name)}</a></td>'
        f"<td>{entry.count}</td></tr>\n"
        for entry in sorted(entries, key=lambda entry: entry.date, reverse=True)
    )
    return _PAGE.format(rows=rows).encode()


def render_sums(records: Iterable[Record]) -> bytes:
    """Return `SHA256SUMS`: one `digest  name` line a held day, ascending, for `sha256sum -c`."""
    return b"".join(
        f"{record.sha256}  {record.name}\n".encode()
        for record in sorted(records, key=lambda record: record.date)
    )


def parse_sums(body: bytes) -> dict[str, str]:
    """Return digest by name; lines that are none of `sha256sum`'s are passed over."""
    matches = map(_SUM.fullmatch, body.split(b"\n"))
    return {m[2].decode("utf-8", "replace"): m[1].decode() for m in matches if m is not None}
