"""Histories by chance: an upstream that lives and lies, a mirror in an odd world; all ends well.

A history is a row of steps drawn from a seed. Upstream publishes, grows, shrinks or rewrites final
days, drops them, freezes or shrinks its index, serves old versions of both, lies in dates and
ETags, and fails on the wire. Here polls, rechecks and repairs are made; they are cancelled or
killed, the disk is full, the clock jumps, bits rot in bodies and books, files and times are lost.
After each step nothing of a verified final day may be lost. Then the world is honest again, and two
polls, more than `disagree_after` apart, must bring the copy in step.

`make state-machine` makes 10,000 steps; `--history SEED` makes one history again, and tells it.
"""

import argparse
import asyncio
import os
import random
import shutil
import tempfile
import time
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field, replace
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

from mirror.archive.plan import DayRules, PollRange
from mirror.config.loading import load_config
from mirror.errors import MirrorError
from mirror.model import PollReport
from mirror.store.layout import DataDir
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.command import plain_environment
from tests.reliability import shim
from tests.reliability.figures import Figures, arguments, conclude
from tests.reliability.forking import Forks
from tests.reliability.shim import Fault
from tests.reliability.truth import (
    Truth,
    digest,
    kept_aside,
    listed_names,
    not_converged,
    published,
)
from tests.upstream.archive import StoredObject, UpstreamArchive, day_name
from tests.upstream.faults import Cut, Hangup, Reset, Status
from tests.upstream.server import ArchiveServer
from tests.upstream.wire import Exchange

STEPS = 40
"""Steps of a history."""
NOON = datetime(2024, 5, 15, 12, tzinfo=UTC)
_LONG = timedelta(hours=7)
"""More than `disagree_after`."""
_TOLD = 12
_WIRE_FAULTS = (Cut(), Hangup(), Reset(), Reset(at=0), Status(503), Status(404), Status(429))


@dataclass(slots=True)
class Front:
    """What stands before the bucket: old versions, lies, and failures.

    Attributes:
        archive: the bucket.
        rng: where chance comes from.
        stale: old versions that are served, by name.
        dates: by how much the Last-Modified of an object lies.
        etags: what is said to be the ETag of an object.
        faults: the share of requests that fail on the wire.
        on_request: called at each request.
    """

    archive: UpstreamArchive
    rng: random.Random
    stale: dict[str, StoredObject] = field(default_factory=dict)
    dates: dict[str, timedelta] = field(default_factory=dict)
    etags: dict[str, str] = field(default_factory=dict)
    faults: float = 0
    on_request: Callable[[], None] = lambda: None

    async def __call__(self, exchange: Exchange, /) -> None:
        self.on_request()
        if self.rng.random() < self.faults:
            await self.rng.choice(_WIRE_FAULTS)(exchange)
            return
        name, reply = exchange.request.name, exchange.reply
        stored = self.stale.get(name)
        if stored is None and (name in self.dates or name in self.etags):
            stored = self.archive.objects.get(name)
        if stored is not None:
            reply = exchange.render(
                replace(
                    stored,
                    last_modified=stored.last_modified + self.dates.get(name, timedelta()),
                    etag=self.etags.get(name, stored.etag),
                )
            )
        await exchange.send(reply)

    def calm(self) -> None:
        """Be honest."""
        self.stale.clear()
        self.dates.clear()
        self.etags.clear()
        self.faults = 0


class ViolatedError(Exception):
    """A promise did not hold."""


@dataclass(slots=True)
class History:
    """One history: the world, and what was done to it."""

    seed: int
    root: Path
    server: ArchiveServer
    front: Front
    forks: Forks
    tells: bool = False
    rng: random.Random = field(init=False)
    truth: Truth = field(default_factory=Truth)
    now: datetime = NOON
    """The true time."""
    skew: timedelta = timedelta()
    """By how much our clock is wrong."""
    old: list[tuple[str, StoredObject]] = field(default_factory=list)
    dropped: dict[date, bytes] = field(default_factory=dict)
    told: deque[str] = field(default_factory=lambda: deque(maxlen=_TOLD))
    environ: dict[str, str] = field(init=False)

    def __post_init__(self) -> None:
        self.rng = random.Random(self.seed)
        self.environ = plain_environment(self.root) | {
            "BINDER_MIRROR_UPSTREAM__URL": self.server.url,
            "BINDER_MIRROR_STORAGE__DATA_DIR": str(self.root),
            "BINDER_MIRROR_STORAGE__MIN_FREE": "0",
            "BINDER_MIRROR_HTTP__BACKOFF": "0.001",
            "BINDER_MIRROR_HTTP__RETRIES": "1",
            "BINDER_MIRROR_HTTP__READ_TIMEOUT": "5",
            "BINDER_MIRROR_LOG__LEVEL": "error",
        }

    @property
    def archive(self) -> UpstreamArchive:
        """Upstream's bucket."""
        return self.server.archive

    def clock(self) -> datetime:
        """Return what our clock says."""
        return self.now + self.skew

    def tell(self, what: str) -> None:
        """Remember a step."""
        self.told.append(what)
        if self.tells:
            print(f"{self.now:%m-%d %H:%M} {what}")

    def final_day(self) -> date:
        """Return one of upstream's days that is final."""
        final = [day for day in self.archive.days() if day < (self.now - timedelta(hours=8)).date()]
        return self.rng.choice(final)

    # -- upstream

    def _changed(self, *, index: bool = True) -> None:
        if index and not self.archive.index_frozen:
            self.archive.write_index(self.now)
        self.truth.serve(self.archive)

    def _put(self, day: date, body: bytes | int) -> None:
        if day_name(day) in self.archive.objects:
            self.old.append((day_name(day), self.archive[day_name(day)]))
        self.old.append(("index.jsonl", self.archive["index.jsonl"]))
        self.archive.put_day(day, body, self.now)
        self._changed(index=self.rng.random() < 0.8)

    async def publish(self) -> str:
        """Upstream goes on for two hours."""
        self.now += timedelta(hours=2)
        self.old.append(("index.jsonl", self.archive["index.jsonl"]))
        self.archive.publish(self.now)
        self.truth.serve(self.archive)
        return "upstream publishes"

    async def pass_time(self) -> str:
        """Hours or days go by, and upstream goes on."""
        for _ in range(self.rng.choice([1, 4, 13])):
            self.now += timedelta(hours=2)
            self.archive.publish(self.now)
            self.truth.serve(self.archive)
        return "time passes"

    async def grow(self) -> str:
        """A final day has more."""
        day = self.final_day()
        body = self.archive[day_name(day)].body
        self._put(day, body + body[: body.find(b"\n") + 1] * self.rng.randint(1, 5))
        return f"{day} grows"

    async def shrink(self) -> str:
        """A final day has less, or nothing."""
        day = self.final_day()
        lines = self.archive[day_name(day)].body.splitlines(keepends=True)
        self._put(day, b"".join(lines[: self.rng.randint(0, len(lines))]))
        return f"{day} shrinks"

    async def rewrite(self) -> str:
        """A final day has as many lines, and others."""
        day = self.final_day()
        body = self.archive[day_name(day)].body
        word = b'"status": "%d"' % self.rng.randrange(10**6)
        self._put(day, body.replace(b'"status": "success"', word))
        return f"{day} is rewritten"

    async def drop(self) -> str:
        """A day is gone."""
        if len(self.archive.days()) > 3:
            day = self.final_day()
            self.old.append((day_name(day), self.archive[day_name(day)]))
            self.dropped[day] = self.archive[day_name(day)].body
            self.archive.remove(day_name(day))
            self._changed()
            return f"{day} is dropped"
        return "nothing is dropped"

    async def freeze(self) -> str:
        """The index stands still, or goes on."""
        self.archive.index_frozen = not self.archive.index_frozen
        self._changed()
        return f"index frozen: {self.archive.index_frozen}"

    async def shrink_index(self) -> str:
        """The index has its last line alone, or all."""
        self.archive.index_shrunk = not self.archive.index_shrunk
        self._changed()
        return f"index shrunk: {self.archive.index_shrunk}"

    async def be_stale(self) -> str:
        """A cache serves an old version, or no longer does."""
        if self.front.stale and self.rng.random() < 0.5:
            name = self.rng.choice(sorted(self.front.stale))
            del self.front.stale[name]
            return f"{name} is fresh"
        if not self.old:
            return "nothing is stale"
        name, stored = self.rng.choice(self.old[-20:])
        self.front.stale[name] = stored
        return f"{name} is stale, of {stored.last_modified:%m-%d %H:%M}"

    async def lie(self) -> str:
        """A date or an ETag is wrong, or no longer is."""
        name = self.rng.choice(sorted(self.archive.objects))
        kind = self.rng.randrange(4)
        if kind == 0:
            self.front.dates.clear()
            self.front.etags.clear()
            return "no more lies"
        if kind == 1:
            self.front.etags[name] = self.rng.choice(["0" * 32, "opaque", digest(b"")[:32]])
            return f"{name} has ETag {self.front.etags[name]}"
        by = timedelta(days=self.rng.choice([-400, -1, 1, 400]))
        self.front.dates[name] = by
        return f"{name} is dated {by.days:+} days"

    async def fail(self) -> str:
        """The wire fails for a share of the requests, or not."""
        self.front.faults = self.rng.choice([0, 0.1, 0.5])
        return f"faults: {self.front.faults}"

    # -- the machine

    async def jump(self) -> str:
        """Our clock is wrong, or right again."""
        days = self.rng.choice([0, 0, -2, 1, 40, 365])
        self.skew = timedelta(days=days)
        return f"clock {days:+} days"

    def _some_file(self, pattern: str) -> Path | None:
        found = sorted(
            path for path in self.root.glob(pattern) if path.is_file() and path.stat().st_size
        )
        return self.rng.choice(found) if found else None

    async def rot(self) -> str:
        """A bit of a published body flips, or its end is gone, times being as they were."""
        path = self._some_file("archive/events-*")
        if path is None:
            return "nothing rots"
        self._spoil(path)
        self._not_lost_by_us(path.name)
        return f"{path.name} rots"

    async def rot_book(self) -> str:
        """A bit of a book flips, or its end is gone."""
        path = self._some_file("*.json*")
        if path is None:
            return "no book rots"
        self._spoil(path)
        return f"{path.name} rots"

    def _spoil(self, path: Path) -> None:
        stats, body = path.stat(), bytearray(path.read_bytes())
        if self.rng.random() < 0.7:
            body[self.rng.randrange(len(body))] ^= 1 << self.rng.randrange(8)
        else:
            del body[self.rng.randrange(len(body)) :]
        path.write_bytes(body)
        os.utime(path, ns=(stats.st_atime_ns, stats.st_mtime_ns))

    def _not_lost_by_us(self, name: str) -> None:
        """What was at a path is spoilt; only what history has must stay."""
        here = kept_aside(self.root).get(name, set())
        self.truth.kept[name] = self.truth.kept.get(name, set()) & here
        self.truth.spoilt.add(name)

    async def lose_file(self) -> str:
        """A published file, or a book, is gone."""
        path = self._some_file(self.rng.choice(["archive/events-*", "*.json*", "archive/*"]))
        if path is None:
            return "nothing is lost"
        path.unlink()
        if path.name.startswith("events-"):
            self._not_lost_by_us(path.name)
        return f"{path.name} is lost"

    async def lose_times(self) -> str:
        """The copy was copied, without times."""
        for path in self.root.glob("archive/*"):
            if path.is_file():
                os.utime(path)
        return "times are lost"

    # -- the mirror

    async def _polled(self, asked: PollRange, after: int | None = None) -> str:
        """Poll, and cancel it at a request if asked to; say how it ended."""
        config = load_config(None, self.environ)
        data = DataDir(self.root, DayRules.of(config))
        seen = 0

        async def poll() -> PollReport:
            rng = random.Random(self.seed)
            async with open_mirror(config, data, now=self.clock, rng=rng) as mirror:
                return await mirror.poll(asked)

        task = asyncio.create_task(poll())

        def count() -> None:
            nonlocal seen
            seen += 1
            if seen == after:
                task.cancel()

        self.front.on_request = count if after is not None else lambda: None
        try:
            report = await asyncio.wait_for(asyncio.shield(task), 60)
        except asyncio.CancelledError:
            return "cancelled"
        except MirrorError as error:
            return f"{type(error).__name__}: {error}"
        self._verified(report.exit_code)
        problems = "".join(f", {one.day or ''} {one.text}"[:160] for one in report.problems[:2])
        return f"exit {report.exit_code}{problems}"

    def _verified(self, code: int) -> None:
        """A complete poll says that all final days are verified: none of them may get lost."""
        if code == 0:
            # a day that a wrong clock alone takes for final may still grow
            last = (min(self.now, self.clock()) - timedelta(hours=8)).date()
            for name, found in published(self.root).items():
                is_final = date.fromisoformat(name[7:17]) < last
                if is_final and name not in self.truth.spoilt and found in self.truth.served[name]:
                    self.truth.kept.setdefault(name, set()).add(found)

    async def poll(self) -> str:
        """Poll."""
        return f"poll: {await self._polled(PollRange())}"

    async def recheck(self) -> str:
        """Poll, and ask about final days again."""
        return f"recheck: {await self._polled(PollRange(recheck=self.rng.randint(1, 9)))}"

    async def cancel(self) -> str:
        """Poll, until interrupted."""
        return f"interrupted poll: {await self._polled(PollRange(), self.rng.randint(1, 6))}"

    async def _faulty(self, fault: Fault) -> str:
        now = self.clock()
        ran = await self.forks.run((), self.environ, root=self.root, fault=fault, now=now)
        if ran.is_buggy:
            raise ViolatedError(f"a poll ends with {ran.code}: {ran.err[-500:]}")
        self._verified(ran.code)
        return f"poll, {fault}: {ran.code}"

    async def die(self) -> str:
        """Poll, and be killed."""
        action = self.rng.choice([shim.KILL_BEFORE, shim.KILL_AFTER])
        return await self._faulty(Fault(self.rng.randint(20, 600), action))

    async def be_full(self) -> str:
        """Poll on a disk that fills up."""
        fault = Fault(self.rng.randint(1, 500), 28, lasting=True)
        return await self._faulty(fault)

    async def repair(self) -> str:
        """Verify, and repair."""
        config = load_config(None, self.environ)
        data = DataDir(self.root, DayRules.of(config))
        if not data.archive.is_dir():
            return "nothing to repair"
        try:
            found = await asyncio.to_thread(verify, data, today=self.clock().date())
            async with open_mirror(config, data, now=self.clock) as mirror:
                await mirror.repair(found.damage)
            found = await asyncio.to_thread(verify, data, today=self.clock().date())
        except MirrorError as error:
            return f"repair: {type(error).__name__}: {error}"
        damaged = {one.name for one in found.damage}
        self.truth.spoilt -= {
            name
            for name, one in published(self.root).items()
            if one in self.truth.served.get(name, ()) and name not in damaged
        }
        return f"repair: {len(found.damage)} left"

    # -- the end

    async def live(self, steps: int) -> None:
        """Make steps; raise ViolatedError where one breaks a promise."""
        for _ in range(steps):
            (step,) = self.rng.choices(STEPS_BY_WEIGHT, WEIGHTS)
            self.tell(await step(self))
            self._require(self.truth.broken(self.root) if self.root.exists() else [])
        await self.converge()

    def _require(self, problems: Sequence[str]) -> None:
        # what rotted under a listing shows there until it is verified
        problems = [one for one in problems if not any(name in one for name in self.truth.spoilt)]
        if problems:
            raise ViolatedError("; ".join(problems[:4]))

    async def converge(self) -> None:
        """Be honest, poll twice with a long pause between, and look."""
        self.front.calm()
        self.archive.index_frozen = self.archive.index_shrunk = False
        self.skew = timedelta()
        self.now += timedelta(hours=2)
        for day in self.dropped.keys() - self.archive.days().keys():
            self.archive.put_day(day, self.dropped[day], self.now)
        self.archive.publish(self.now)
        self.truth.serve(self.archive)
        self.tell("all is honest")
        self.tell(await self.repair())
        for _ in range(2):
            self.tell(await self._polled(PollRange(recheck=100)))
            self._require(self.truth.broken(self.root))
            self.now += _LONG
        self.now -= _LONG
        self.tell(await self.repair())
        last = await self._polled(PollRange(recheck=100))
        self.tell(last)
        if last != "exit 0":
            raise ViolatedError(f"the last honest poll: {last}")
        self.truth.spoilt.clear()
        self._require(self.truth.broken(self.root) + self._out_of_step())

    def _out_of_step(self) -> list[str]:
        problems = not_converged(self.root, self.archive)
        held = published(self.root)
        if held.keys() > {name for name in self.archive.objects if name.startswith("events-")}:
            # days that upstream dropped stay held, and so are listed here
            problems = [one for one in problems if "the index is not upstream's" not in one]
            if sorted(listed_names(self.root)) != sorted(held):
                problems.append("the index does not list what is held")
        return problems


_Step = Callable[[History], Awaitable[str]]
_WEIGHED: Sequence[tuple[_Step, int]] = (
    (History.publish, 10),
    (History.pass_time, 4),
    (History.grow, 4),
    (History.shrink, 4),
    (History.rewrite, 4),
    (History.drop, 2),
    (History.freeze, 2),
    (History.shrink_index, 2),
    (History.be_stale, 8),
    (History.lie, 5),
    (History.fail, 3),
    (History.jump, 3),
    (History.rot, 2),
    (History.rot_book, 3),
    (History.lose_file, 2),
    (History.lose_times, 1),
    (History.poll, 22),
    (History.recheck, 6),
    (History.cancel, 4),
    (History.die, 5),
    (History.be_full, 3),
    (History.repair, 3),
)
STEPS_BY_WEIGHT = [step for step, _ in _WEIGHED]
WEIGHTS = [weight for _, weight in _WEIGHED]


async def live(seed: int, steps: int, forks: Forks, folder: Path, *, tells: bool = False) -> str:
    """Make one history; return what it violated, or nothing."""
    first = (NOON - timedelta(days=5)).date()
    archive = UpstreamArchive.with_days(
        first, (NOON - timedelta(days=1)).date(), events_per_day=12, now=NOON, seed=seed
    )
    front = Front(archive, random.Random(seed + 1))
    root = folder / f"history-{seed}" / "data"
    root.parent.mkdir()
    async with ArchiveServer(archive) as server:
        server.fail("*", front, times=None)
        history = History(seed, root, server, front, forks, tells)
        history.truth.serve(archive)
        try:
            await history.live(steps)
        except ViolatedError as violation:
            return f"{violation}\n    after: " + "; ".join(history.told)
        finally:
            await asyncio.to_thread(shutil.rmtree, root.parent)
    return ""


async def run(steps: int, seed: int, *, one: int | None = None) -> Figures:
    """Make histories until so many steps are made; or one, and tell it."""
    figures = Figures("state-machine", seed)
    base = Path("/dev/shm") if os.access("/dev/shm", os.W_OK) else None
    rng = random.Random(seed)
    with tempfile.TemporaryDirectory(dir=base, prefix="state-machine-") as scratch:
        folder = Path(scratch)
        async with Forks(folder, count=1) as forks:
            while figures.tried["steps"] < steps:
                chosen = rng.getrandbits(31) if one is None else one
                length = min(STEPS, steps - figures.tried["steps"])
                told = await live(chosen, length, forks, folder, tells=one is not None)
                figures.tried["steps"] += length
                figures.tried["histories"] += 1
                figures.violate(f"history {chosen}", [told] if told else [])
                if one is not None:
                    break
    return figures


def main() -> None:
    """Run the suite."""
    started = time.monotonic()
    asked: argparse.Namespace = arguments("state-machine", steps=10_000, history=-1)
    one = asked.history if asked.history >= 0 else None
    with suppress(KeyboardInterrupt):
        figures = asyncio.run(run(asked.steps, asked.seed, one=one))
        conclude(figures, started, write=asked.write)


if __name__ == "__main__":
    main()
