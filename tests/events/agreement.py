"""What all who read daily files must agree on: findings, the reading API and the data set's rows.

The reading API's launches and odd lines are taken, and the findings and rows that they should give
are made from them in the plainest way.
"""

import io
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, date, datetime, timedelta
from itertools import pairwise

from mirror.dataset.rows import MonthReader, describe_spec
from mirror.events.decoder import Oddity, OddLine, decode_blocks, read_blocks
from mirror.events.findings import FINDINGS_VERSION, MAX_KEY_LENGTH, MAX_KEYS, Kinds, count_findings
from mirror.events.launch import FIELDS, Launch
from mirror.events.spec import PROVIDERS
from mirror.model import Findings
from mirror.text import shown

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


class Chunks(io.BytesIO):
    """A file of which no more is read at once than given chunks."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        super().__init__()
        self._chunks = (chunk for chunk in chunks if chunk)
        self._rest = b""

    def read(self, size: int | None = -1, /) -> bytes:
        chunk = self._rest or next(self._chunks, b"")
        end = len(chunk) if size is None or size < 0 else size
        self._rest = chunk[end:]
        return chunk[:end]

    def readline(self, size: int | None = -1, /) -> bytes:
        self._rest = self._rest or next(self._chunks, b"")
        end = self._rest.find(b"\n") + 1 or len(self._rest)
        return self.read(end if size is None or size < 0 else min(size, end))


def decode(*chunks: bytes) -> list[Launch | OddLine]:
    """Return what a body holds, as the reading API gives it."""
    return [one for _, decoded, _ in decode_blocks(read_blocks(Chunks(chunks))) for one in decoded]


def require_agreement(chunks: Sequence[bytes], day: date, kinds: Kinds | None = None) -> None:
    """Fail where findings or rows are not those of the launches that the reading API gives."""
    decoded = decode(*chunks)
    launches = [one for one in decoded if isinstance(one, Launch)]
    odd = [one for one in decoded if isinstance(one, OddLine)]
    findings = count_findings(Chunks(chunks), day, kinds)
    _require_counts(findings, launches, odd, day)
    rows, reports = _read_rows(chunks, day)
    assert rows == [_make_row(launch) for launch in launches]
    assert reports == [(one.line, one.kind, one.reason) for one in odd]


def _require_counts(
    findings: Findings, launches: Sequence[Launch], odd: Sequence[OddLine], day: date
) -> None:
    kinds = Counter(one.kind for one in odd)
    moments = [launch.timestamp for launch in launches]
    lacking = [
        any(getattr(launch, field) is None for field in FIELDS[launch.version])
        for launch in launches
    ]
    new = [launch.provider not in PROVIDERS for launch in launches]
    expected = {
        "not_objects": kinds[Oddity.NOT_AN_OBJECT],
        "unknown_schema": kinds[Oddity.UNKNOWN_SCHEMA],
        "unknown_version": kinds[Oddity.UNKNOWN_VERSION],
        "bad_fields": kinds[Oddity.BAD_FIELDS],
        "deviating": sum(map(max, lacking, new)),
        "missing_fields": sum(lacking),
        "unknown_provider": sum(new),
        "other_day": sum(moment.date() != day for moment in moments),
        "disordered": sum(later < one for one, later in pairwise(moments)),
        "version": FINDINGS_VERSION,
    }
    assert {name: getattr(findings, name) for name in expected} == expected
    for name, values in {
        "versions": [str(launch.version) for launch in launches],
        "providers": [launch.provider for launch in launches],
        "origins": [launch.origin for launch in launches if launch.origin is not None],
        "statuses": [launch.status for launch in launches if launch.status is not None],
        "odd": [one.reason for one in odd],
    }.items():
        counts = Counter(shown(value, MAX_KEY_LENGTH) for value in values)
        found = getattr(findings, name)
        assert sum(found.values()) == len(values)
        assert len(counts) > MAX_KEYS or found == counts


def _read_rows(chunks: Sequence[bytes], day: date) -> tuple[list[dict], list[tuple]]:
    """Return rows, put together as DuckDB does it, and odd lines of a body."""
    launches, moments, lines = io.BytesIO(), io.BytesIO(), io.BytesIO()
    reader = MonthReader(launches, moments, lines)
    read = reader.read(day, "", Chunks(chunks))
    made = [json.loads(line) for line in launches.getvalue().splitlines()]
    times = [line.split(b",") for line in moments.getvalue().splitlines()]
    assert {int(one) for one, _ in times} <= {day.day}
    rows = []
    for moment, launch in _split(lines.getvalue()):
        timestamp = _EPOCH + timedelta(microseconds=int(times[moment - 1][1]))
        row = made[launch - 1]
        rows.append(row | {"launch": row["launch"] | {"timestamp": timestamp}})
    body = b"".join(chunks)
    assert read.rows == len(rows)
    assert reader.line_count == body.count(b"\n") + (not body.endswith(b"\n") and body != b"")
    assert read.odd == len(read.reported_lines)
    return rows, [(one.line, one.kind, one.reason) for one in read.reported_lines]


def _split(numbers: bytes) -> Iterator[tuple[int, int]]:
    for line in numbers.splitlines():
        if line != b",":
            moment, launch = line.split(b",")
            yield int(moment), int(launch)


def _make_row(launch: Launch) -> dict:
    fields = {name: getattr(launch, name) for name in launch.__struct_fields__}
    repository, ref, masked = describe_spec(launch.provider, launch.spec)
    if masked is not None:
        fields["spec"] = masked
    return {"launch": fields, "repository": repository, "requested_ref": ref}
