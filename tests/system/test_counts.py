"""What is asked of the machine, in counts that are the same on every machine, beside those kept.

`data/counts.toml` keeps them. One that grows by more than a tenth is a step back; one that falls to
half is to be written there, so that the gain is not lost again.
"""

import asyncio
import cProfile
import tomllib
from collections import Counter
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from multidict import CIMultiDict

from mirror import Archive
from mirror.archive.headers import parse_meta
from mirror.archive.intake import Intake
from mirror.events.findings import count_findings, remember_kinds
from tests.command import Shell, long_final_days, open_shell
from tests.mirrors import make_mirror
from tests.reliability import shim
from tests.reliability.forking import Forks
from tests.upstream.archive import day_name

KEPT = tomllib.loads(Path(__file__).with_name("data").joinpath("counts.toml").read_text())
FEW, MANY = 20, 40
SYNCS = ("first", "quiet", "changed")
CHUNK_BYTES = 64 * 1024

Counts = dict[tuple[str, int], Counter[str]]


@pytest.fixture(scope="module")
def counts(tmp_path_factory: pytest.TempPathFactory) -> Counts:
    """What syncs asked for: by which sync it was and how many days there were."""
    try:
        shim.build_shim()
    except shim.NoCompilerError as error:
        pytest.skip(str(error))
    return asyncio.run(count_syncs(tmp_path_factory.mktemp("counts")))


async def count_syncs(folder: Path) -> Counts:
    found: Counts = {}
    async with Forks(folder, count=1) as forks:
        for days in (FEW, MANY):
            archive = long_final_days(days, events_per_day=12)
            async with open_shell(folder / str(days), archive) as shell:
                for sync in SYNCS:
                    if sync == "changed":
                        change_a_day(shell)
                    found[sync, days] = await count_sync(forks, shell, folder / "log")
    return found


def change_a_day(shell: Shell) -> None:
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=1)
    shell.archive.put_day(shell.days[1], 15, at)
    shell.archive.write_index(at)


async def count_sync(forks: Forks, shell: Shell, log: Path) -> Counter[str]:
    root = shell.data.root
    environ = {**shell.environ, "BINDER_MIRROR_STORAGE__DATA_DIR": str(root)}
    shell.server.requests.clear()
    log.unlink(missing_ok=True)

    ran = await forks.run(("sync",), environ, root=root, log=log)

    assert ran.code == 0, ran
    calls = list(shim.read_calls(log, root))
    is_body = "staging/events-"
    return Counter(
        requests=len(shell.server.requests),
        calls=len(calls),
        flushes=sum(call.name == "fsync" for call in calls),
        bytes=sum(
            call.result
            for call in calls
            if call.name == "write" and not call.path.startswith(is_body)
        ),
    )


@pytest.mark.parametrize("kind", ["requests", "calls", "flushes", "bytes"])
def test_a_poll_asks_for_no_more_than_it_did(counts: Counts, kind: str) -> None:
    few, many = ({sync: counts[sync, days][kind] for sync in SYNCS} for days in (FEW, MANY))
    slope = {sync: (many[sync] - few[sync]) / (MANY - FEW) for sync in SYNCS}
    measured = {
        "a day of a first sync": slope["first"],
        "a quiet poll": few["quiet"],
        "a day held, in a quiet poll": slope["quiet"],
        "a poll with a changed day": few["changed"],
        "a day held, in a poll with a changed day": slope["changed"],
    }
    assert_as_kept(kind, measured)


def test_a_line_costs_no_more_functions_than_it_did(tmp_path: Path) -> None:
    ((day, stored),) = long_final_days(1, events_per_day=1000).days().items()
    body = stored.body
    lines = body.count(b"\n")
    copy = make_mirror(tmp_path, {day: body})

    def take_in() -> None:
        intake = Intake(parse_meta(CIMultiDict(), now=datetime.now(UTC)), max_bytes=len(body))
        for start in range(0, len(body), CHUNK_BYTES):
            list(intake.feed(body[start : start + CHUNK_BYTES]))
        assert intake.finish().lines == lines

    def count() -> None:
        with (copy.archive / day_name(day)).open("rb") as file:
            assert sum(count_findings(file, day, remember_kinds()).providers.values()) == lines

    def read() -> None:
        assert sum(1 for _ in Archive(copy.root).events()) == lines

    measured = {
        "a line taken in": calls_of(take_in) / lines,
        "a line counted": calls_of(count) / lines,
        "a line read": calls_of(read) / lines,
    }
    assert_as_kept("functions", measured)


def calls_of(work: Callable[[], None]) -> int:
    """Return how many functions a piece of work calls once it is warm."""
    work()
    profile = cProfile.Profile()
    profile.runcall(work)
    return sum(entry.callcount for entry in profile.getstats())


def assert_as_kept(kind: str, measured: dict[str, float]) -> None:
    kept: dict[str, float] = KEPT[kind]
    shown = {what: round(measured[what], 2) for what in kept}
    assert [what for what in kept if shown[what] > 1.1 * kept[what]] == [], (shown, kept)
    assert [what for what in kept if shown[what] < 0.5 * kept[what]] == [], ("keep these", shown)
