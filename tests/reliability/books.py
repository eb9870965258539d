"""Every file of ours is flipped, cut, emptied, nested, made naive: what it stands for heals.

A data directory has all the books there are: manifest and journal, what upstream said, the logs of
polls and of history, reasons of the quarantine, and the listings. One of them is spoilt in one way;
then commands run, upstream having all days or none. None of them may end as a bug, nothing sound
may leave the archive or be lost, and in the end all is as it was, and verified.

`make books` tries a fifth of all bytes; `python -m tests.reliability.books --share 100` each one.
"""

import asyncio
import json
import os
import random
import tempfile
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from tests.command import Shell, long_final_days, open_shell
from tests.reliability import shim
from tests.reliability.failpoints import Scenario, copied
from tests.reliability.figures import Figures, arguments, conclude
from tests.reliability.forking import Forks
from tests.reliability.shim import Fault
from tests.reliability.truth import Truth, digest, not_converged, published
from tests.upstream.faults import Corrupt, Status
from tests.upstream.wire import Exchange

_LISTINGS = ("archive/SHA256SUMS", "archive/index.jsonl", "archive/datapackage.json")
_AT_ONCE = 12
"""A run of `verify` that finds something looks again after a second: most of the time they wait."""
_GONE = "-gone"
"""How the user agent of a run ends to which upstream has no daily file."""


@dataclass(frozen=True, slots=True)
class Spoilt:
    """A file and what it is made to be.

    Attributes:
        name: the file, relative to the data directory.
        how: in words.
        body: its new bytes.
    """

    name: str
    how: str
    body: bytes

    def __str__(self) -> str:
        return f"{self.name} {self.how}"


@dataclass(frozen=True, slots=True)
class GoneForSome:
    """Answers 404 to those whose user agent says so, and others as is due."""

    async def __call__(self, exchange: Exchange, /) -> None:
        if exchange.request.headers.get("user-agent", "").endswith(_GONE):
            await Status(404)(exchange)
        else:
            await exchange.send(exchange.reply)


@dataclass(slots=True)
class Library:
    """A data directory with all books, and the one that a kill left before the manifest."""

    scenario: Scenario
    templates: dict[str, Path] = field(default_factory=dict)


@asynccontextmanager
async def library(folder: Path, forks: Forks) -> AsyncIterator[Library]:
    """Make the data directories: one at rest, one whose journal a killed poll left."""
    template = folder / "template"
    async with open_shell(template, long_final_days(3, events_per_day=12)) as shell:
        truth = Truth()
        truth.serve(shell.archive)
        await shell.synced()
        await _fill_quarantine(shell)
        _move_on(shell)
        truth.serve(shell.archive)
        truth.keep(shell.data.root)
        scenario = Scenario("books", shell, template, truth)
        killed = folder / "killed"
        async with copied(template, folder, "kill") as root:
            log = root.parent / "log"
            environ = scenario.environ(root)
            ran = await forks.run(("sync",), environ, root=root, log=log)
            assert ran.code == 0, ran
            calls = list(shim.read_calls(log, root))
        renames = [call for call in calls if call.name == "rename"]
        at = next(n for n, call in enumerate(renames, 1) if call.to == "manifest.jsonl")
        async with copied(template, folder, "kill") as root:
            fault = Fault(at, shim.KILL_BEFORE, kind="rename")
            await forks.run(("sync",), scenario.environ(root), root=root, fault=fault)
            root.rename(killed)
            root.mkdir()
        await shell.synced()
        truth.keep(shell.data.root)
        shell.server.requests.clear()
        shell.server.fail("events-*", GoneForSome(), times=None)
        yield Library(scenario, {"at rest": template, "killed": killed})


async def _fill_quarantine(shell: Shell) -> None:
    day = shell.days[0]
    at = shell.archive["index.jsonl"].last_modified + timedelta(seconds=30)
    shell.archive.put_day(day, 14, at)
    shell.archive.write_index(at)
    shell.server.fail(f"events-{day}.jsonl", Corrupt(), times=None)
    assert (await shell.run("sync")).code == 3
    shell.server.calm()
    await shell.synced()


def _move_on(shell: Shell) -> None:
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=1)
    shell.archive.put_day(shell.days[1], 5, at)
    shell.archive.write_index(at)


def books_of(root: Path) -> list[str]:
    """Return the books of a data directory."""
    found = [path for path in root.iterdir() if path.suffix in (".jsonl", ".json")]
    found += [*root.glob("history/*.jsonl"), *root.glob("quarantine/*.reason.json")]
    found += [root / name for name in _LISTINGS]
    return sorted(str(path.relative_to(root)) for path in found if path.stat().st_size)


def spoil(name: str, body: bytes, rng: random.Random, share: float) -> Iterator[Spoilt]:
    """Yield a share, in percent, of all flips and cuts, and all that is done to the whole."""
    for at in range(len(body)):
        if rng.random() * 100 < share:
            changed = bytearray(body)
            changed[at] ^= 1 << rng.randrange(8)
            yield Spoilt(name, f"flipped at {at}", bytes(changed))
        if rng.random() * 100 < share:
            yield Spoilt(name, f"cut at {at}", body[:at])
    whole = {
        "emptied": b"",
        "zeroed": bytes(len(body)),
        "nested": b"[" * 200_000,
        "nested objects": b'{"a":' * 200_000 + b"1" + b"}" * 200_000,
        "nested in its first value": body.replace(b":", b":" + b"[" * 100_000, 1),
        "naive": body.replace(b'Z"', b'"').replace(b'+00:00"', b'"'),
        "not UTF-8": body.replace(b'"', b'\xff"'),
        "with a byte order mark": b"\xef\xbb\xbf" + body,
        "twice": body + body,
        "backwards": b"\n".join(reversed(body.split(b"\n"))),
        "with CRLF": body.replace(b"\n", b"\r\n"),
        "another kind of value": b"7\n",
        "a list": b"[]\n",
        "null": b"null\n",
    }
    for how, changed in whole.items():
        if changed != body:
            yield Spoilt(name, how, changed)
    yield from _retyped(name, body, rng, share)


_ODD_VALUES: tuple[object, ...] = (
    None,
    -1,
    10**30,
    "",
    "\x00",
    [],
    {},
    True,
    "9999-12-31T23:59:59Z",
    "0001-01-01",
)


def _retyped(name: str, body: bytes, rng: random.Random, share: float) -> Iterator[Spoilt]:
    """Yield lines in each of which one value is another, or missing."""
    lines = body.split(b"\n")
    for number, line in enumerate(lines):
        try:
            value = json.loads(line)
        except ValueError:
            continue
        for key in value if isinstance(value, dict) else ():
            for odd in (*_ODD_VALUES, KeyError):
                if rng.random() * 100 >= share:
                    continue
                changed = {k: odd if k == key else v for k, v in value.items()}
                if odd is KeyError:
                    del changed[key]
                text = json.dumps(changed, separators=(",", ":")).encode()
                whole = b"\n".join([*lines[:number], text, *lines[number + 1 :]])
                yield Spoilt(name, f"line {number}: {key} is {odd!r}", whole)


_ORDERS = (
    (("status",), ("sync",), ("verify",)),
    (("status",), ("verify", "--repair"), ("sync",)),
    (("verify",), ("history",), ("sync",)),
    (("sync",), ("verify", "--repair"), ("status",)),
)
ALLOWED = {0, 3, 5}


async def try_spoilt(
    one: Library, forks: Forks, spoilt: Spoilt, kind: str, *, folder: Path, number: int
) -> list[str]:
    """Return what does not hold after a file is spoilt, and after commands that ran on it."""
    scenario, is_gone = one.scenario, number % 2 == 1
    place = f"run-{number}" + (_GONE if is_gone else "")
    async with copied(one.templates[kind], folder, place) as root:
        (root / spoilt.name).write_bytes(spoilt.body)
        environ, before = scenario.environ(root), published(root)
        is_listing = spoilt.name in _LISTINGS
        problems: list[str] = []
        for command in _ORDERS[number // 2 % len(_ORDERS)]:
            ran = await forks.run(command, environ)
            if ran.code == 2 and "upgrade binder-mirror" in ran.err:
                # it says that a later version wrote it: this one does as it is told
                (root / spoilt.name).unlink(missing_ok=True)
                continue
            said = f"`{' '.join(command)}`"
            if ran.is_buggy or ran.code not in ALLOWED:
                problems.append(f"{said} ends with {ran.code}: {ran.err[-300:]}")
            after = published(root)
            problems += [
                f"{said} changed {name}, which was sound"
                for name in before
                if before[name] != after.get(name)
                and before[name] in scenario.truth.served[name]
                and digest(scenario.shell.archive[name].body) != after.get(name)
            ]
            if command[0] == "sync" and not is_listing:
                problems += [f"after {said}: {one}" for one in scenario.truth.broken(root)]
            before = after
        problems += await _settle(scenario, forks, root, environ)
        return problems


async def _settle(
    scenario: Scenario, forks: Forks, root: Path, environ: dict[str, str]
) -> list[str]:
    """Return what honest runs do not put right."""
    honest = environ | {"BINDER_MIRROR_HTTP__USER_AGENT": root.parent.name.removesuffix(_GONE)}
    scenario.bodies_sent(root)
    for command in (("verify", "--repair"), ("sync",), ("sync",), ("verify",)):
        ran = await forks.run(command, honest)
    problems = [] if ran.code == 0 else [f"in the end `verify` gives {ran.code}: {ran.err[-300:]}"]
    problems += [f"in the end {one}" for one in not_converged(root, scenario.shell.archive)]
    return problems + [f"in the end {one}" for one in scenario.truth.broken(root)]


async def run(share: float, seed: int) -> Figures:
    """Spoil a share, in percent, of all there is."""
    figures = Figures("books", seed)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(dir=base, prefix="books-") as scratch:
        folder = Path(scratch)
        async with Forks(folder, count=_AT_ONCE) as forks, library(folder, forks) as one:
            await _try_all(one, forks, folder, figures, share)
    return figures


async def _try_all(
    one: Library, forks: Forks, folder: Path, figures: Figures, share: float
) -> None:
    rng = random.Random(figures.seed)
    slots = asyncio.Semaphore(_AT_ONCE)

    async def attempt(spoilt: Spoilt, kind: str, number: int) -> None:
        async with slots:
            problems = await try_spoilt(one, forks, spoilt, kind, folder=folder, number=number)
        figures.violate(f"{spoilt} ({kind}, {number})", problems)

    number = rng.randrange(8)
    async with asyncio.TaskGroup() as group:
        for kind, template in one.templates.items():
            for name in books_of(template):
                for spoilt in spoil(name, (template / name).read_bytes(), rng, share):
                    # of what is done to the whole, too, a slice takes a part
                    if share >= 10 or rng.random() * 10 < share:
                        number += 1
                        figures.tried["spoilt files"] += 1
                        group.create_task(attempt(spoilt, kind, number))


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked = arguments("books", share=20)
    figures = asyncio.run(run(asked.share, asked.seed))
    conclude(figures, started, write=asked.write)


if __name__ == "__main__":
    main()
