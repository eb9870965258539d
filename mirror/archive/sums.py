"""`SHA256SUMS`, as coreutils' `sha256sum` writes and checks it. Pure.

https://www.gnu.org/software/coreutils/manual/html_node/md5sum-invocation.html
"""

import re
from collections.abc import Iterable

from mirror.model import Record

_LINE = re.compile(rb"([0-9a-f]{64}) [ *]([^\\/\n]+)")


def render_sums(records: Iterable[Record]) -> bytes:
    """Return one `digest  name` line a held day, ascending by date."""
    return b"".join(
        f"{record.sha256}  {record.name}\n".encode()
        for record in sorted(records, key=lambda record: record.date)
    )


def parse_sums(body: bytes) -> dict[str, str]:
    """Return digest by name; lines that are none of `sha256sum`'s are passed over."""
    matches = map(_LINE.fullmatch, body.split(b"\n"))
    return {m[2].decode("utf-8", "replace"): m[1].decode() for m in matches if m is not None}
