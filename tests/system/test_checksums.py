"""`sha256sum -c SHA256SUMS` holds at every moment: while days change, and after a kill."""

import asyncio
import hashlib
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from mirror.archive.listings import parse_sums
from mirror.store.layout import DataDir
from tests.command import Shell, finish
from tests.system.test_kill import check_sums


@contextmanager
def watching(data: DataDir) -> Iterator[list[int]]:
    """Check the sums again and again meanwhile; count the rounds.

    A file counts that is listed with one digest before and after it was read: a line leaves before
    its file changes.
    """
    ended, rounds, wrong = threading.Event(), [0], list[str]()

    def sums() -> dict[str, str]:
        return parse_sums(data.sums.read_bytes())

    def watch() -> None:
        while not ended.is_set():
            for name, digest in sums().items():
                found = hashlib.sha256((data.archive / name).read_bytes()).hexdigest()
                if found != digest and sums().get(name) == digest:
                    wrong.append(name)
            rounds[0] += 1

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield rounds
    finally:
        ended.set()
        thread.join()
    assert wrong == []


def change_all(shell: Shell, moment: random.Random) -> None:
    """Have upstream rewrite every day."""
    at = shell.archive["index.jsonl"].last_modified
    for day in shell.days:
        shell.archive.put_day(day, moment.randrange(10, 90), at)
    shell.archive.write_index(at)


async def test_the_sums_hold_while_every_day_changes(shell: Shell) -> None:
    moment = random.Random(0)
    await shell.synced()
    with watching(shell.data) as rounds:
        for _ in range(4):
            change_all(shell, moment)
            done, verified = await asyncio.gather(shell.run("sync"), shell.run("verify"))
            assert (done.code, verified.code) == (0, 0), verified.out
            shell.assert_complete()

    assert rounds[0] > 10


async def test_the_sums_hold_while_a_day_is_restored_and_after_one_is_repaired(
    shell: Shell,
) -> None:
    await shell.synced()
    day, before = shell.days[2], shell.body(shell.days[2])
    change_all(shell, random.Random(1))
    await shell.synced()
    with watching(shell.data):
        digest = hashlib.sha256(before).hexdigest()
        assert (await shell.run("restore", str(day), digest)).code == 0
        assert shell.path(day).read_bytes() == before
    shell.path(shell.days[3]).unlink()
    assert (await shell.run("verify", "--repair")).code == 0
    check_sums(shell.data.archive)


@pytest.mark.parametrize("seed", range(4))
async def test_the_sums_hold_after_a_kill_and_come_back_though_nothing_is_due(
    shell: Shell, seed: int
) -> None:
    moment = random.Random(seed)
    await shell.synced()
    before = shell.archive.days()
    change_all(shell, moment)
    process = await shell.start("sync")
    journal: Path = shell.data.journal
    while process.returncode is None and not (journal.exists() and journal.stat().st_size > 1):
        await asyncio.sleep(0.001)
    with suppress(ProcessLookupError):
        process.send_signal(signal.SIGKILL)
    await finish(process)

    check_sums(shell.data.archive)
    # upstream is back at what it had, written anew, for what is older is taken for a stale cache's:
    # of most days nothing is due
    at = shell.archive["index.jsonl"].last_modified
    for day, stored in before.items():
        shell.archive.put_day(day, stored.body, at)
    shell.archive.write_index(at)
    await shell.synced()
    check_sums(shell.data.archive)
    assert len(parse_sums(shell.data.sums.read_bytes())) == len(shell.days)
