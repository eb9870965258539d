"""What a day's body contains is counted and shown, never judged."""

import json

import msgspec
import pytest

from mirror.archive.manifest import read_claims
from mirror.events.findings import FINDINGS_VERSION
from mirror.model import Findings
from tests.conftest import World
from tests.upstream.archive import day_name

EVENT = {
    "timestamp": "2024-05-11T00:00:00+00:00",
    "schema": "binderhub.jupyter.org/launch",
    "version": 5,
    "provider": "GitHub",
    "spec": "binder-examples/requirements/HEAD",
    "ref": "50533eb470ee6c24e872043d30b2fee463d6943f",
    "status": "success",
    "build_token": False,
    "origin": "gke.mybinder.org",
}


def line(**changes: object) -> bytes:
    """Return an event of version 5 with some fields changed; None leaves one out."""
    event = {key: value for key, value in {**EVENT, **changes}.items() if value is not None}
    return json.dumps(event).encode() + b"\n"


async def find(world: World, body: bytes) -> Findings:
    """Publish a body as 2024-05-11, sync it, and return what was found in it."""
    day = world.day(4)
    count = sum(1 for one in body.split(b"\n") if one.strip(b" \t\r"))
    meta = {"events-count": str(count), "events-date": str(day)}
    world.archive.put(day_name(day), body, world.clock(), meta=meta)
    world.archive.write_index(world.clock())

    report = await world.sync()

    assert report.exit_code == 0, "content is no failure"
    assert world.body(day) == body
    findings = world.records()[day].findings
    assert findings is not None
    assert world.status().findings.versions
    return findings


async def test_ordinary_days_are_counted_by_their_fields(world: World) -> None:
    body = line() * 3 + line(provider="Gist") + line(status="failure", origin="x.org")

    assert await find(world, body) == Findings(
        versions={"5": 5},
        providers={"GitHub": 4, "Gist": 1},
        origins={"gke.mybinder.org": 4, "x.org": 1},
        statuses={"success": 4, "failure": 1},
        version=FINDINGS_VERSION,
    )


@pytest.mark.parametrize(
    ("body", "name", "expected"),
    [
        (line() + b"hello\n", "not_objects", 1),
        (line() + b"[]\n5\nnull\n" + b'"x"\n', "not_objects", 4),
        (line() + b'{"a": 1\n', "not_objects", 1),
        (line() + line()[:-1] + line(), "not_objects", 1),
        (line() + b"[" * 100_000 + b"\n", "not_objects", 1),
        (line() + b'{"a": ' + b"9" * 2_000_000 + b"}\n", "not_objects", 1),
        (line() + b"\xff\xfe\n", "not_objects", 1),
        (line() + line(schema="binderhub.jupyter.org/build"), "unknown_schema", 1),
        (line() + line(schema=None), "unknown_schema", 1),
        (line() + line(schema=5), "unknown_schema", 1),
        (line() + line(version=99), "unknown_version", 1),
        (line() + line(version="5"), "unknown_version", 1),
        (line() + line(version=5.5), "unknown_version", 1),
        (line() + line(version=True), "unknown_version", 1),
        (line() + line(provider="Sourcehut"), "unknown_provider", 1),
        (line() + line(provider=None), "bad_fields", 1),
        (line() + line(provider={"a": 1}), "bad_fields", 1),
        (line() + line(timestamp="2024-05-11T00:01:00+00:00") + line(), "disordered", 1),
        (line(timestamp="2024-05-10T23:59:00+00:00") + line(), "other_day", 1),
        (line() + line(timestamp="2024-05-12T00:00:00+00:00"), "other_day", 1),
        (line() + line(timestamp="yesterday"), "bad_fields", 1),
        (line() + line(ref=None), "missing_fields", 1),
        (line() + line(build_token="no"), "missing_fields", 1),
        (line() + line(timestamp=None), "bad_fields", 1),
        (line() + line(timestamp=5), "bad_fields", 1),
        (line() + line(python_logger=[1]), "missing_fields", 0),
        (line() + line(version=6), "missing_fields", 1),
        (line() + line(version=6, request_origin=""), "missing_fields", 0),
    ],
)
async def test_each_oddity_is_counted_and_the_body_kept(
    world: World, body: bytes, name: str, expected: int
) -> None:
    findings = await find(world, body)

    assert getattr(findings, name) == expected


async def test_identical_lines_are_all_kept_and_counted(world: World) -> None:
    assert (await find(world, line() * 50)).versions == {"5": 50}


async def test_strings_of_upstreams_are_bounded_in_number_and_length(world: World) -> None:
    evil = ["\x1b[2J" + "x" * 5000, "\u202e", "<script>alert(1)</script>", "\ud800", "a\nb"]
    body = b"".join(
        line(origin=text, provider=text, status=text) + line(schema=text)
        for text in [*evil, *(f"host-{n}" for n in range(500))]
    )

    findings = await find(world, line() + body)

    for counts, total in (
        (findings.origins, 505),
        (findings.providers, 505),
        (findings.statuses, 505),
        (findings.odd, 506),
    ):
        assert len(counts) <= 33
        assert sum(counts.values()) == total
        assert all(len(key) <= 64 and key.isprintable() for key in counts)
    assert findings.not_objects == 2, "half a surrogate is no JSON text"
    assert len(msgspec.json.encode(findings)) < 20_000
    found = read_claims(world.data.manifest.read_bytes(), None, world.data.days.name_of)
    assert (len(found.claims), found.unreadable_lines) == (10, 0)


async def test_a_spec_is_never_recorded(world: World) -> None:
    """A Git spec may hold a user's password."""
    secret = "https%3A%2F%2Fuser%3Apassword%40host.example/HEAD"

    await find(
        world, line() + line(provider="Git", spec=secret) + b'{"spec": "' + b"s" * 99 + b"\n"
    )

    for path in world.data.root.glob("*.json*"):
        assert b"password" not in path.read_bytes()


async def test_they_can_be_left_out(world: World) -> None:
    world.configure("storage", findings=False)

    assert (await world.sync()).exit_code == 0

    assert all(record.findings is None for record in world.records().values())
    world.assert_identical()
