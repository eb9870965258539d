"""What is known of the events, checked against lines made up for each era."""

import json
from datetime import date
from itertools import pairwise

import pytest

from mirror.events.schema import FIELD_TYPES, FIELDS, LAUNCH_SCHEMA, PROVIDERS, STATUSES
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
        assert event["status"] in STATUSES


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
