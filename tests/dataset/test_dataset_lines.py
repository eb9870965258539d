"""What repeats is looked into once for the data set: the rows are those of each line by itself."""

import io
import json
import random
from datetime import date
from pathlib import Path

import duckdb
import pytest

from mirror.dataset.build import keep_in_step
from mirror.dataset.rows import MonthReader
from mirror.events.repeats import KNOWN_BYTES, RepeatDecoder
from tests.mirrors import make_mirror, of_all_eras
from tests.upstream.launches import make_day

DAY = date(2024, 1, 5)
ODD = [
    b"not json",
    b"",
    b"{}",
    b'{"timestamp": "2024-01-05T10:00:00+00:00", "version": 5}\n',
    b"[]",
]


def rows_of(root: Path, bodies: dict[date, bytes]) -> tuple[list[tuple], tuple[str, ...]]:
    """Return the rows of a data set of these bodies in their order, and its odd lines."""
    data = make_mirror(root, bodies)
    report = keep_in_step(data)
    found = [
        row
        for path in sorted(data.dataset.glob("*/*/launches.parquet"))
        for row in duckdb.sql(f"FROM read_parquet('{path}', hive_partitioning = false)").fetchall()
    ]
    assert len(found) == report.rows
    return found, report.odd_lines


def part(body: bytes) -> object:
    """Return the parts of a body's lines; None where they are decoded line by line."""
    return RepeatDecoder(str, str).decode(body)


def spoil(body: bytes) -> bytes:
    """Return the same events in lines that are parted nowhere."""
    return b"".join(map(spoil_line, body.splitlines(keepends=True)))


def spoil_line(line: bytes) -> bytes:
    try:
        event = json.loads(line)
    except ValueError:
        return line
    end = b"\n" if line.endswith(b"\n") else b""
    spoilt = json.dumps(event, separators=(" , ", " : ")).encode() + end
    assert part(spoilt) is None
    return spoilt


def repeat(body: bytes) -> bytes:
    """Return a body whose lines come several times, out of order."""
    lines = body.splitlines(keepends=True) * 5
    random.Random(5).shuffle(lines)
    return b"".join(lines)


def with_logger_field(body: bytes) -> bytes:
    """Return a body with the field that upstream's logger let slip through, in some lines."""
    lines = body.splitlines(keepends=True)
    lines[::3] = [line.replace(b"}\n", b', "python_logger": null}\n') for line in lines[::3]]
    return b"".join(lines)


def with_odd_lines(body: bytes) -> bytes:
    lines = body.splitlines()
    for place, odd in enumerate(ODD * (len(lines) > 0)):
        lines.insert(7 * place + 3, odd)
    return b"\n".join(lines) + b"\n"


def without_last_newline(body: bytes) -> bytes:
    return body.removesuffix(b"\n")


CHANGES = [bytes, repeat, with_logger_field, with_odd_lines, without_last_newline]


@pytest.mark.parametrize("change", CHANGES, ids=lambda change: change.__name__)
def test_rows_are_the_same_whether_lines_can_be_parted_or_not(tmp_path: Path, change):
    bodies = {day: change(body) for day, body in of_all_eras().items()}
    parted = rows_of(tmp_path / "parted", bodies)
    spoilt = rows_of(tmp_path / "spoilt", {day: spoil(body) for day, body in bodies.items()})
    assert parted == spoilt
    assert len(parted[0]) > 2000
    assert bool(parted[1]) == (change is with_odd_lines)


def test_days_of_all_eras_can_be_parted():
    # or the test above would compare one way with itself
    assert all(part(body) for body in of_all_eras().values() if body)


@pytest.mark.parametrize(
    "stamp",
    ["2024-01-05T24:00:00+00:00", "2024-02-30T10:00:00+00:00", "2024-01-05T10:00:00.00000"],
)
def test_a_timestamp_that_only_looks_like_one_costs_none_of_its_neighbours(
    tmp_path: Path, stamp: str
):
    lines = make_day(DAY, 3).splitlines(keepends=True)
    good = json.loads(lines[1])["timestamp"].encode()
    bodies = {DAY: lines[0] + lines[1].replace(good, stamp.encode()) + lines[2]}
    parted = rows_of(tmp_path / "parted", bodies)
    assert parted == rows_of(tmp_path / "spoilt", {DAY: spoil(bodies[DAY])})


def test_a_second_timestamp_in_a_line_holds(tmp_path: Path):
    lines = make_day(date(2020, 1, 5), 3).splitlines(keepends=True)
    later = b', "time\\u0073tamp": "2020-01-05T23:59:00+00:00"}\n'
    body = b"".join(line.replace(b"}\n", later) for line in lines)
    found, odd = rows_of(tmp_path, {date(2020, 1, 5): body})
    assert [row[0].strftime("%H:%M") for row in found] == ["23:59"] * 3
    assert odd == ()


def test_what_is_remembered_of_lines_is_bounded():
    # each launch comes twice, but so much later that it is long forgotten
    spec = b"x" * 100_000
    line = make_day(date(2020, 1, 5), 1)
    cut = line.index(b'"spec": "') + len(b'"spec": "')
    count = 2 * KNOWN_BYTES // len(spec)
    body = b"".join(line[:cut] + b"%d" % i + spec + line[cut:] for i in [*range(count)] * 2)
    launches, moments, lines = io.BytesIO(), io.BytesIO(), io.BytesIO()
    reader = MonthReader(launches, moments, lines)
    read = reader.read(date(2020, 1, 5), "", io.BytesIO(body))
    assert (read.rows, reader.line_count, read.odd) == (2 * count, 2 * count, 0)
    numbers = [int(line.split(b",")[1]) for line in lines.getvalue().splitlines()]
    assert len(launches.getvalue().splitlines()) == max(numbers) == 2 * count
    assert len(set(moments.getvalue().splitlines())) == 1
