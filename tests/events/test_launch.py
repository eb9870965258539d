"""What a launch is, checked against lines made up for each era."""

import json
from datetime import date
from itertools import pairwise

import pytest

from mirror.events.launch import (
    COLUMNS,
    FIELD_TYPES,
    FIELDS,
    LAUNCH_SCHEMA,
    ORIGINS_SINCE,
    Launch,
)
from mirror.events.spec import PROVIDERS
from tests.upstream.launches import make_day

ERAS = [
    (1, date(2018, 11, 3), 6),
    (2, date(2019, 4, 2), 6),
    (3, date(2019, 6, 13), 7),
    (4, date(2020, 6, 19), 8),
    (5, date(2021, 7, 2), 9),
    (6, date(2026, 3, 2), 10),
]


def test_six_versions_are_known():
    assert list(FIELDS) == [version for version, _, _ in ERAS]


@pytest.mark.parametrize(("version", "one", "fields"), ERAS)
def test_an_event_of_a_version_has_its_fields_and_types(version, one, fields):
    assert len(FIELDS[version]) == fields
    for line in make_day(one, 500).splitlines():
        event = json.loads(line)
        event.pop("python_logger", None)
        assert set(event) == set(FIELDS[version])
        assert all(type(value) is FIELD_TYPES[name] for name, value in event.items())
        assert event["schema"] == LAUNCH_SCHEMA
        assert event["provider"] in PROVIDERS
        assert event["status"] in ("success", "failure")


def test_each_field_of_a_version_has_a_type():
    assert {name for names in FIELDS.values() for name in names} == set(FIELD_TYPES)


def test_fields_are_only_ever_added():
    versions = [set(FIELDS[version]) for version in sorted(FIELDS)]
    assert all(a <= b for a, b in pairwise(versions))


def test_every_provider_of_the_archive_is_known():
    assert set(PROVIDERS) == {
        *("GitHub", "GitLab", "Git", "Gist", "Zenodo", "Figshare"),
        *("Dataverse", "Hydroshare", "CKAN"),
    }


def test_columns_are_the_fields_in_order_and_tell_since_when():
    assert [column.name for column in COLUMNS] == list(Launch.__struct_fields__)
    assert {column.name: column.since for column in COLUMNS if column.since > 1} == {
        "origin": 3,
        "ref": 4,
        "build_token": 5,
        "request_origin": 6,
    }
    assert {column.type.value for column in COLUMNS} == {
        *("timestamp", "string", "integer", "boolean"),
    }
    assert all(column.doc.endswith(".") for column in COLUMNS)


def test_what_is_written_out_in_the_type_is_what_the_schema_says():
    assert LAUNCH_SCHEMA in repr(Launch.__annotations__["schema"])
    assert set(Launch.__struct_fields__) == set(FIELD_TYPES)
    assert date(2019, 6, 12) == ORIGINS_SINCE
    assert max(FIELDS) == 6
