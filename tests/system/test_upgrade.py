"""A data directory of version 0.1 is read and followed on, and nothing is fetched again.

`data/held-by-0.1.tar.gz` was written by 0.1.0: seven final days of May 2024 and an open one. One
day has a predecessor in history, one has lines that are no plain launches, and one is in dispute:
the index lists 40 lines for it, and a body of 22 lies in quarantine.
"""

import json
import tarfile
from collections.abc import AsyncIterator, Callable
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest

from mirror.events.findings import FINDINGS_VERSION
from mirror.model import Findings, Flag, Problem, ProblemKind
from mirror.store.aside import list_versions
from mirror.store.layout import DataDir
from mirror.store.polls import load_polls
from tests.command import Shell, open_shell
from tests.conftest import Clock, World
from tests.running import running
from tests.upstream.archive import OCTETS, UpstreamArchive, day_name
from tests.upstream.server import ArchiveServer

LEFT_AT = datetime(2024, 5, 15, 15, tzinfo=UTC)
"""When 0.1.0 polled last."""
CHANGED, ODD, DISPUTED, OPEN = (date(2024, 5, day) for day in (10, 11, 9, 15))


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """The data directory as it was left, and the upstream that it was made from."""
    root = tmp_path / "data"
    with tarfile.open(Path(__file__).parent / "data" / "held-by-0.1.tar.gz") as archive:
        archive.extractall(root, filter="data")
    async with ArchiveServer(upstream_of(root)) as server:
        known = json.loads((root / "upstream.json").read_text())
        (root / "upstream.json").write_text(json.dumps(known | {"url": server.url}))
        yield World(server.archive, server, Clock(LEFT_AT + timedelta(minutes=30)), root)


def upstream_of(root: Path) -> UpstreamArchive:
    """Return the upstream that a data directory is a copy of."""
    upstream = UpstreamArchive()
    known = json.loads((root / "upstream.json").read_text())
    index_at = datetime.fromisoformat(known["index"]["last_modified"])
    index = (root / "upstream-index.jsonl").read_bytes()
    upstream.put("index.jsonl", index, index_at, content_type="text/plain")
    for line in (root / "manifest.jsonl").read_text().splitlines()[1:]:
        record = json.loads(line)
        at = datetime.fromisoformat(record["last_modified"])
        body = (root / "archive" / record["name"]).read_bytes()
        meta = {"events-count": str(record["lines"]), "events-date": record["date"]}
        upstream.put(record["name"], body, at, content_type=OCTETS, meta=meta)
    refused = next((root / "quarantine").glob(f"{DISPUTED}.*.jsonl")).read_bytes()
    upstream.put_day(DISPUTED, refused, index_at)
    return upstream


async def test_what_is_held_is_not_fetched_again(world: World) -> None:
    held = world.published()

    await world.sync()

    assert world.names_asked(304) == ["index.jsonl", day_name(OPEN)]
    assert set(world.names_asked(200)) == {day_name(DISPUTED)}
    assert {name: body for name, body in world.published().items() if "events-" in name} == {
        name: body for name, body in held.items() if "events-" in name
    }
    world.assert_sound()


async def test_a_dispute_goes_on_and_ends_in_its_time(world: World) -> None:
    assert (await world.sync()).exit_code == 3
    world.clock.advance(hours=6)

    report = await world.sync()

    assert report.exit_code == 0
    assert world.records()[DISPUTED].flags == (Flag.DISPUTED,)
    assert [version.lines for version in world.predecessors(DISPUTED)] == [27]


async def test_history_quarantine_and_polls_are_read_on(world: World) -> None:
    status = world.status()

    assert status.held == 8
    assert status.last_poll is not None
    assert status.last_poll.started_at == LEFT_AT
    assert len(world.predecessors(CHANGED)) == 1
    assert len(world.quarantined(DISPUTED)) == 1


async def test_what_0_1_counted_is_counted_again_by_the_present_definition(world: World) -> None:
    before = world.records()
    assert {record.findings.version for record in before.values() if record.findings} == {1}
    assert world.status().pending_findings == len(before) == 8

    report = await world.sync()

    assert (report.pending_findings, world.status().pending_findings) == (0, 0)
    records = world.records()
    assert {day: record.sha256 for day, record in records.items()} == {
        day: record.sha256 for day, record in before.items()
    }
    assert all(
        record.findings is not None and record.findings.version == FINDINGS_VERSION
        for record in records.values()
    )
    # 5.0 is a version 5; a null ref deviates; a timestamp that is none makes its line an odd one
    assert records[ODD].findings == Findings(
        versions={"5": 13},
        providers={"GitHub": 13},
        origins={"gke.mybinder.org": 5, "notebooks.gesis.org": 6, "ovh.mybinder.org": 2},
        statuses={"success": 13},
        odd={"not one JSON object": 1, 'timestamp "nonsense"': 1},
        not_objects=1,
        bad_fields=1,
        deviating=1,
        missing_fields=1,
        version=FINDINGS_VERSION,
    )


async def test_the_problems_of_old_polls_are_read_as_text(world: World) -> None:
    await world.sync()

    *old, new = load_polls(world.data, 9).last

    text = f"{DISPUTED}: behind: it has 22 lines where 40 are listed"
    assert [poll.problems for poll in old] == [(), ()] + 2 * [(Problem(ProblemKind.OTHER, text),)]
    assert [(one.kind, one.day) for one in new.problems] == [(ProblemKind.BEHIND, DISPUTED)]
    # the old lines stay as they were written
    assert world.data.polls.read_bytes().count(b'"problems":["2024') == 2


@pytest.fixture
async def left(tmp_path: Path) -> AsyncIterator[Shell]:
    """What a poll that was killed left in format 1, and its upstream, for the command itself.

    `data/left-by-format-1.tar.gz`: five final days of May 2024, then one of them replaced and one
    new, with their records in the journal alone.
    """
    root = tmp_path / "data"
    with tarfile.open(Path(__file__).parent / "data" / "left-by-format-1.tar.gz") as archive:
        archive.extractall(root, filter="data")
    known = json.loads((root / "upstream.json").read_text())
    upstream = UpstreamArchive()
    at = datetime.fromisoformat(known["index"]["last_modified"])
    upstream.put("index.jsonl", (root / "upstream-index.jsonl").read_bytes(), at)
    for path in (root / "archive").glob("events-*"):
        at = datetime.fromtimestamp(path.stat().st_mtime, UTC)
        upstream.put(path.name, path.read_bytes(), at, content_type=OCTETS)
    async with open_shell(root, upstream) as shell:
        shell.set(server__listen="127.0.0.1:0")
        known["url"] = shell.server.url
        (root / "upstream.json").write_text(json.dumps(known, separators=(",", ":")))
        yield shell


async def test_what_was_left_in_format_1_is_shown_and_served_as_it_is(left: Shell) -> None:
    status = await left.run("status", "--json")
    verified = await left.run("verify", "--json")
    async with running(left, "serve") as daemon:
        served = await daemon.get("events-2024-05-14.jsonl")

    assert (status.code, status.json["held"]) == (0, 6)
    assert verified.code == 3
    # the last poll was killed: its listings are still to come
    assert {one["kind"] for one in verified.json["damage"]} == {"wrong-listing"}
    assert all("as an interrupted poll left it" in one["detail"] for one in verified.json["damage"])
    assert served.text == left.path(date(2024, 5, 14)).read_text()
    assert b'"version":1}' in left.data.manifest.read_bytes()


async def test_what_was_left_in_format_1_is_taken_over_without_a_fetch(left: Shell) -> None:
    done = await left.run("sync")

    assert done.code == 0, (done.out, done.err)
    fetched = [one.name for one in left.server.requests if (one.method, one.status) == ("GET", 200)]
    assert [name for name in fetched if name.startswith("events-")] == []
    assert (await left.run("verify")).code == 0
    head, *lines = left.data.manifest.read_bytes().splitlines()
    assert b'"version":2' in head
    assert len(lines) == 6
    assert all(b',"crc32":"' in line for line in (head, *lines, left.data.upstream.read_bytes()))
    assert not left.data.journal.exists()
    assert [version.lines for version in list_versions(left.data)] == [12]
    left.assert_complete()


COMMANDS = (
    ("sync",),
    ("sync", "--dry-run"),
    ("status",),
    ("verify",),
    ("verify", "--repair"),
    ("history",),
    ("restore", "2024-05-11", "d8535"),
    ("prune", "--history"),
    ("report",),
    ("events",),
    ("dataset", "build"),
    ("dataset", "verify"),
    ("query", "SELECT 1"),
    ("health",),
    ("run",),
    ("serve",),
)


def later_manifest(data: DataDir) -> None:
    _, *lines = data.manifest.read_bytes().splitlines(keepends=True)
    header = b'{"format":"binder-mirror manifest","version":3,"crc32":"00000000","more":1}\n'
    data.manifest.write_bytes(b"".join([header, *lines]))


def later_upstream(data: DataDir) -> None:
    known = json.loads(data.upstream.read_bytes())
    data.upstream.write_text(json.dumps(known | {"version": 3}))


def kept(data: DataDir) -> dict[Path, tuple[bytes, int]]:
    """Return all that is there, with its times."""
    files = (path for path in data.root.rglob("*") if path.is_file() and "lock" not in path.name)
    return {path: (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.mark.parametrize("arguments", COMMANDS, ids=" ".join)
@pytest.mark.parametrize("later", [later_manifest, later_upstream])
async def test_every_command_refuses_what_a_later_version_wrote(
    left: Shell, later: Callable[[DataDir], None], arguments: tuple[str, ...]
) -> None:
    later(left.data)
    before = kept(left.data)

    line = (await left.run(*arguments)).refused(2)

    assert "upgrade binder-mirror" in line
    assert kept(left.data) == before


@pytest.mark.parametrize(
    "arguments", [("dataset", "build"), ("dataset", "verify"), ("dataset", "export", "x.parquet")]
)
async def test_a_data_set_of_a_later_version_is_left_as_it_is(
    left: Shell, tmp_path: Path, arguments: tuple[str, ...]
) -> None:
    left.cwd = tmp_path
    await left.synced()
    assert (await left.run("dataset", "build")).code == 0
    left.data.dataset_provenance.write_text(json.dumps({"format": 2, "months": {}}))
    before = kept(left.data)

    line = (await left.run(*arguments)).refused(2)

    assert line.startswith("dataset.json is of format 2; ")
    assert kept(left.data) == before
