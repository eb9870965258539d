"""Counts the findings of published files; runs in workers.

It is apart from `mirror.sync.inspect` because a worker imports it: without asyncio and logs that
takes 0.1 s and 10 MB less of each.
"""

from collections.abc import Sequence

from mirror.archive.ports import OpenBody
from mirror.errors import MirrorError
from mirror.events.findings import Kinds, count_findings, remember_kinds
from mirror.model import Findings, Record


def count_days(open_body: OpenBody, records: Sequence[Record]) -> list[Findings | str]:
    """Return the findings of each day on record, or why there are none."""
    # what lines count as is remembered from one day to the next
    kinds = remember_kinds()
    return [_count(open_body, record, kinds) for record in records]


def _count(open_body: OpenBody, record: Record, kinds: Kinds) -> Findings | str:
    try:
        with open_body(record.name) as (file, mtime_ns):
            findings = count_findings(file, record.date, kinds)
            size = file.tell()
        with open_body(record.name) as (_, mtime_ns_after):
            pass
    except MirrorError as error:
        return error.line()
    if (size, mtime_ns, mtime_ns_after) != (record.size, record.mtime_ns, record.mtime_ns):
        return "its size or time is not the one on record"
    return findings
