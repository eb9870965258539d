"""Content findings: what each line counts as, and the fast way the same as line by line."""

import json
import tracemalloc
from datetime import date
from functools import partial
from itertools import pairwise

import msgspec
import pytest

from mirror.events.decoder import MAX_LINE_BYTES
from mirror.events.findings import (
    FINDINGS_VERSION,
    MAX_KEY_LENGTH,
    MAX_KEYS,
    OTHERS,
    Kinds,
    add_up,
    count_findings,
    merge,
    origins_of,
    remember_kinds,
)
from mirror.events.repeats import KNOWN_BYTES
from mirror.model import Findings
from tests.events.agreement import Chunks
from tests.making import day
from tests.upstream.launches import make_day

DAY = day("2021-08-03")
EVENT = {
    "timestamp": "2021-08-03T10:00:00+00:00",
    "schema": "binderhub.jupyter.org/launch",
    "version": 5,
    "provider": "GitHub",
    "spec": "user/repo/ref",
    "ref": "0123",
    "status": "success",
    "build_token": False,
    "origin": "gke.mybinder.org",
}
counted = partial(Findings, version=FINDINGS_VERSION)
GOOD = counted(
    versions={"5": 1},
    providers={"GitHub": 1},
    origins={"gke.mybinder.org": 1},
    statuses={"success": 1},
)


def find(*chunks: bytes, one: date = DAY, kinds: Kinds | None = None) -> Findings:
    return count_findings(Chunks(chunks), one, kinds)


def event(**changes: object) -> bytes:
    return json.dumps(EVENT | changes).encode() + b"\n"


def lacking(*fields: str) -> bytes:
    return json.dumps({k: v for k, v in EVENT.items() if k not in fields}).encode() + b"\n"


def findings(good: Findings = GOOD, **changes: object) -> Findings:
    fields = {name: getattr(good, name) for name in good.__struct_fields__}
    return Findings(**(fields | changes))


NO_EVENT = counted(odd={"not one JSON object": 1}, not_objects=1)
TOO_LONG = counted(odd={"a line of more than 1,048,576 bytes": 1}, not_objects=1)
LINES = {
    "a good event": (event(), GOOD),
    "without a newline": (event()[:-1], GOOD),
    "with CRLF": (event()[:-1] + b"\r\n", GOOD),
    "blank lines": (b"\n \n\t\r\n", counted()),
    "an unknown field": (event(python_logger=None), GOOD),
    "another order": (json.dumps(EVENT, sort_keys=True).encode(), GOOD),
    "a status of failure": (event(status="failure"), findings(statuses={"failure": 1})),
    "an unknown status": (event(status="odd"), findings(statuses={"odd": 1})),
    "an unknown provider": (
        event(provider="Forge"),
        findings(providers={"Forge": 1}, unknown_provider=1, deviating=1),
    ),
    "a provider of another case": (
        event(provider="github"),
        findings(providers={"github": 1}, unknown_provider=1, deviating=1),
    ),
    "a provider that is a list": (
        event(provider=["a", 1]),
        counted(odd={"provider not a string": 1}, bad_fields=1),
    ),
    "no provider": (
        lacking("provider"),
        counted(odd={"provider missing": 1}, bad_fields=1),
    ),
    "an unknown version": (event(version=7), counted(odd={"version 7": 1}, unknown_version=1)),
    "version 0": (event(version=0), counted(odd={"version 0": 1}, unknown_version=1)),
    "version 5.0": (event(version=5.0), GOOD),
    "version true": (event(version=True), counted(odd={"version true": 1}, unknown_version=1)),
    "version as text": (event(version="5"), counted(odd={'version "5"': 1}, unknown_version=1)),
    "version null": (event(version=None), counted(odd={"version missing": 1}, unknown_version=1)),
    "a version of 30 digits": (
        event(version=10**30),
        counted(odd={"version 1" + "0" * 30: 1}, unknown_version=1),
    ),
    "no version": (lacking("version"), counted(odd={"version missing": 1}, unknown_version=1)),
    "an unknown schema": (
        event(schema="x"),
        counted(odd={'schema "x"': 1}, unknown_schema=1),
    ),
    "an unknown schema and version": (
        event(schema="x", version=9, provider="Forge"),
        counted(odd={'schema "x"': 1}, unknown_schema=1),
    ),
    "no schema": (lacking("schema"), counted(odd={"schema missing": 1}, unknown_schema=1)),
    "an event of another day": (
        event(timestamp="2021-08-04T00:00:00+00:00"),
        findings(other_day=1),
    ),
    "a timestamp that is none": (
        event(timestamp="soon"),
        counted(odd={'timestamp "soon"': 1}, bad_fields=1),
    ),
    "a timestamp that is a number": (
        event(timestamp=1627984800),
        counted(odd={"timestamp 1627984800": 1}, bad_fields=1),
    ),
    "no timestamp": (lacking("timestamp"), counted(odd={"timestamp missing": 1}, bad_fields=1)),
    "no spec": (lacking("spec"), counted(odd={"spec missing": 1}, bad_fields=1)),
    "no ref": (lacking("ref"), findings(missing_fields=1, deviating=1)),
    "a null": (event(ref=None), findings(missing_fields=1, deviating=1)),
    "two fields missing": (
        lacking("ref", "build_token"),
        findings(missing_fields=1, deviating=1),
    ),
    "no status": (lacking("status"), findings(statuses={}, missing_fields=1, deviating=1)),
    "a status of another type": (
        event(status=5),
        findings(statuses={}, missing_fields=1, deviating=1),
    ),
    "a new provider and no ref": (
        event(provider="Forge", ref=None),
        findings(providers={"Forge": 1}, unknown_provider=1, missing_fields=1, deviating=1),
    ),
    "no origin": (lacking("origin"), findings(origins={}, missing_fields=1, deviating=1)),
    "a build_token of 0": (event(build_token=0), findings(missing_fields=1, deviating=1)),
    "version 1 without origin": (
        lacking("ref", "origin", "build_token").replace(b": 5", b": 1"),
        findings(versions={"1": 1}, origins={}),
    ),
    "version 1 with origin": (event(version=1), findings(versions={"1": 1})),
    "version 6 without request_origin": (
        event(version=6),
        findings(versions={"6": 1}, missing_fields=1, deviating=1),
    ),
    "version 6": (event(version=6, request_origin=""), findings(versions={"6": 1})),
    "an empty object": (
        b"{}\n",
        counted(odd={"schema missing": 1}, unknown_schema=1),
    ),
    "an array": (b"[{}]\n", NO_EVENT),
    "a number": (b"5\n", NO_EVENT),
    "null": (b"null\n", NO_EVENT),
    "garbage": (b"\x1b[2J\xff\n", NO_EVENT),
    "half an event": (event()[:50], NO_EVENT),
    "two events on a line": (event()[:-1] + event(), NO_EVENT),
    "two events on a line and one on two": (
        event()[:-1] + event().replace(b", ", b",\n", 1),
        counted(odd={"not one JSON object": 2}, not_objects=2),
    ),
    "two events and a blank on a line": (event()[:-1] + b" " + event(), NO_EVENT),
    "an event on two lines": (
        event().replace(b", ", b",\n", 1),
        counted(odd={"not one JSON object": 2}, not_objects=2),
    ),
    "100,000 brackets": (b'{"provider":' + b"[" * 100_000, NO_EVENT),
    "a number out of range": (event().replace(b": 5", b": 1e999"), NO_EVENT),
    "a number of 5,000 digits": (event().replace(b": 5", b": " + b"5" * 5000), NO_EVENT),
    "half a surrogate pair": (event().replace(b"user/", rb"\ud800"), NO_EVENT),
    "other white space": (b"\x0b\n", NO_EVENT),
    "a letter": (b"X\n", NO_EVENT),
    "a byte order mark": (b"\xef\xbb\xbf" + event(), NO_EVENT),
}


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_a_line_is_counted_for_what_it_is(line, expected):
    assert find(line) == expected
    assert find(*(line[i : i + 1] for i in range(min(len(line), 600))), line[600:]) == (expected)


@pytest.mark.parametrize(("line", "expected"), LINES.values(), ids=LINES)
def test_three_lines_count_three_times(line, expected):
    line = line.removesuffix(b"\n") + b"\n"
    assert find(line * 3) == merge([expected] * 3)


def test_the_empty_body_has_no_findings():
    assert find() == find(b"") == counted()


@pytest.mark.parametrize(
    ("hours", "disordered"),
    [("10 11 12", 0), ("10 10 10", 0), ("11 10 12", 1), ("12 11 10", 2), ("10 12 11 13", 1)],
)
def test_a_line_earlier_than_the_one_before_is_out_of_order(hours, disordered):
    stamps = [f"2021-08-03T{hour}:00:00+00:00" for hour in hours.split()]
    lines = [event(timestamp=stamp) for stamp in stamps]
    assert find(b"".join(lines)).disordered == find(*lines).disordered == disordered


def test_order_is_kept_over_lines_of_no_timestamp_and_over_blocks():
    late, early = event(timestamp="2021-08-03T12:00:00"), event(timestamp="2021-08-03T11:00:00")
    assert find(late, b"garbage\n", lacking("timestamp"), early).disordered == 1
    assert find(event(timestamp="2021-08-03T13:00:00"), late + late, early + late).disordered == 2


def test_a_block_with_events_of_another_day_first_or_last_counts_them():
    before = event(timestamp="2021-08-02T23:59:00+00:00")
    after = event(timestamp="2021-08-04T00:01:00+00:00")
    assert find(before + event() * 3 + after).other_day == 2


@pytest.mark.parametrize(
    "one", ["2018-12-01", "2019-06-12", "2020-06-18", "2022-11-01", "2026-04-01"]
)
@pytest.mark.parametrize("size", [1000, 65536, 262144, 10**7])
def test_a_real_days_launches_are_all_accounted_for(one, size):
    body = make_day(day(one), 1500)
    chunks = [body[i : i + size] for i in range(0, len(body), size)]
    found = find(*chunks, one=day(one))
    assert sum(found.versions.values()) == sum(found.providers.values()) == 1500
    assert found.statuses == {"success": 1500}
    assert (found.not_objects, found.unknown_schema, found.unknown_version) == (0, 0, 0)
    assert (found.disordered, found.other_day, found.missing_fields) == (0, 0, 0)


def test_the_real_day_with_an_event_of_the_day_before_shows_it():
    one = day("2019-02-22")
    assert find(make_day(one, 500), one=one).other_day == 1


@pytest.mark.parametrize(
    "good",
    [event(), json.dumps(EVENT, sort_keys=True).encode() + b"\n"],
    ids=["schema", "alphabet"],
)
@pytest.mark.parametrize(
    ("before", "after"),
    [
        (b'+00:00", ', b'+00:00"}{'),
        (b'+00:00", ', b'+00:00"; '),
        (b'+00:00", ', b'+00:00"'),
        (b'+00:00", ', b'+00:00" '),
        (b'+00:00", "schema"', b'+00:00", , "schema"'),
        (b', "timestamp"', b'"timestamp"'),
        (b', "timestamp"', b' "timestamp"'),
        (b', "timestamp"', b'; "timestamp"'),
        (b', "timestamp"', b'}{"timestamp"'),
        (b'"timestamp": "2', b'"timestamp"; "2'),
        (b'{"timestamp": "', b'["timestamp": "'),
    ],
)
def test_a_line_spoilt_beside_its_timestamp_is_no_event(good, before, after):
    spoilt = good.replace(before, after, 1)
    expected = 3 * (spoilt != good)
    assert find(good + spoilt * 3 + good).not_objects == expected
    assert find(spoilt + good + spoilt * 2).not_objects == expected


# bounds


def test_any_number_of_kinds_is_counted():
    lines = [event(status=f"{number % 700}", spec=f"{number}") for number in range(1400)]
    found = find(b"".join(lines))
    assert sum(found.statuses.values()) == 1400
    assert len(found.statuses) == MAX_KEYS + 1


def test_what_is_remembered_of_lines_is_bounded():
    kinds = remember_kinds()
    tracemalloc.start()
    try:
        for number in range(12):
            lines = (event(spec=f"{number}/{part}" + "x" * 100_000) for part in range(30))
            assert count_findings(Chunks(lines), DAY, kinds) == merge([GOOD] * 30)
        held, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert held < KNOWN_BYTES * 1.5


@pytest.mark.parametrize("over", [0, 1])
@pytest.mark.parametrize(
    "make",
    [
        lambda size: event(spec="x" * (size - len(event(spec="")) + 1)),
        lambda size: b" " * size + b"\n",
    ],
    ids=["event", "blanks"],
)
@pytest.mark.parametrize("size", [10**5, 10**7])
def test_a_line_over_a_megabyte_is_no_event_however_it_comes(over, make, size):
    line = make(MAX_LINE_BYTES + over)
    assert len(line) == MAX_LINE_BYTES + over + 1
    expected = TOO_LONG if over else find(make(1000))
    for body in (line, line[:-1]):
        assert find(*(body[i : i + size] for i in range(0, len(body), size))) == expected
    around = event() + line + event()
    chunks = [around[i : i + size] for i in range(0, len(around), size)]
    assert find(*chunks).not_objects == over
    assert find(*chunks).versions["5"] == 2 + sum(expected.versions.values())


def test_each_line_that_is_too_long_is_counted():
    long = b"x" * (MAX_LINE_BYTES + 9) + b"\n"
    assert find(*(long[:-5], long[-5:]) * 3, event()) == findings(
        odd={"a line of more than 1,048,576 bytes": 3}, not_objects=3
    )


def test_a_line_that_comes_in_many_chunks_is_counted_once():
    found = find(*[b"x" * 65536] * 40, b"x\n" + event())
    assert found == findings(odd=TOO_LONG.odd, not_objects=1)


@pytest.mark.parametrize(
    ("field", "mapping", "key"),
    [
        ("origin", "origins", "value {}"),
        ("provider", "providers", "value {}"),
        ("status", "statuses", "value {}"),
        ("version", "odd", 'version "value {}"'),
    ],
)
def test_distinct_values_are_bounded_and_the_rest_is_counted_together(field, mapping, key):
    lines = [event(**{field: f"value {number}"}) for number in range(MAX_KEYS + 8)] * 2
    found = find(b"".join(lines))
    values = getattr(found, mapping)
    assert len(values) == MAX_KEYS + 1
    assert values[OTHERS] == 16
    assert all(values[key.format(number)] == 2 for number in range(MAX_KEYS))


def test_a_value_is_counted_under_a_short_and_harmless_key():
    found = find(event(origin="\x1b[2J" + "x" * 5000) + event(origin="a\nb"))
    assert set(found.origins) == {r"\x1b[2J" + "x" * (MAX_KEY_LENGTH - 8) + "…", r"a\nb"}
    assert max(map(len, found.origins)) == MAX_KEY_LENGTH


def test_a_huge_value_of_another_type_has_a_short_key_too():
    for start in ("", "x"):
        found = find(event(timestamp=[start + "é" * 1000] * 50))
        assert [len(key) for key in found.odd] == [MAX_KEY_LENGTH]


def test_values_are_told_in_order():
    found = find(event(origin="b") + event(origin="a") + event(origin="c"))
    assert list(found.origins) == ["a", "b", "c"]


def test_findings_of_many_days_add_up():
    more = findings(versions={"4": 2, "5": 3}, disordered=2, other_day=1)
    total = merge([GOOD, more, counted(), counted(not_objects=4)])
    assert total == findings(
        versions={"4": 2, "5": 4},
        providers={"GitHub": 2},
        origins={"gke.mybinder.org": 2},
        statuses={"success": 2},
        disordered=2,
        other_day=1,
        not_objects=4,
    )
    assert merge([]) == counted()


def test_a_sum_has_the_lowest_version_of_what_was_summed():
    old = Findings(origins={"a": 1})
    assert old.version == 1
    assert merge([GOOD, GOOD]).version == add_up([GOOD, GOOD]).version == FINDINGS_VERSION
    assert merge([GOOD, old, GOOD]).version == add_up([old, GOOD]).version == 1


def test_findings_recorded_before_they_had_a_version_are_of_the_first():
    old = msgspec.json.decode(b'{"versions": {"5": 1}}', type=Findings)
    assert old == Findings(versions={"5": 1}, version=1)
    assert msgspec.json.decode(msgspec.json.encode(GOOD), type=Findings) == GOOD


def test_the_sum_of_many_days_is_bounded_as_a_day_is_the_frequent_values_first():
    many = [counted(origins={f"{number:03}": number, OTHERS: 1}) for number in range(1, 101)]
    total = merge(many)
    assert len(total.origins) == MAX_KEYS + 1
    assert set(total.origins) == {OTHERS, *(f"{number:03}" for number in range(69, 101))}
    assert sum(total.origins.values()) == 5050 + 100
    equal = merge([counted(origins={f"{n:03}": 5}) for n in range(99, -1, -1)]).origins
    assert set(equal) == {OTHERS, *(f"{n:03}" for n in range(MAX_KEYS))}
    at_the_bound = merge([counted(origins={f"{n}": 1 for n in range(MAX_KEYS)})])
    assert OTHERS not in at_the_bound.origins


def test_merging_is_ordered_by_key():
    origins = list(merge([counted(origins={"b": 1}), counted(origins={"a": 1})]).origins)
    assert all(a < b for a, b in pairwise(origins))


@pytest.mark.parametrize(
    ("one", "named"),
    [
        ("2019-06-11", {"mybinder.org": 2, "gke.mybinder.org": 1}),
        ("2019-06-12", {"gke.mybinder.org": 1}),
    ],
)
def test_launches_without_an_origin_are_of_mybinder_org_before_there_were_origins(one, named):
    found = find(lacking("origin") * 2 + event() + event(schema="x"), b"no event")
    assert origins_of(day(one), found) == named
