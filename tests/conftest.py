"""What the tests share: an archive behind a real socket, its mirror, and a clock set by hand."""

import os
import random
import signal
from collections.abc import AsyncIterator
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec
import pytest
from hypothesis import settings

from mirror.archive.manifest import Version
from mirror.archive.plan import PollRange
from mirror.archive.ports import Observer, ignore
from mirror.archive.upstream import Upstream
from mirror.config.settings import Config, HttpConfig, StorageConfig, UpstreamConfig
from mirror.model import PollReport, Record
from mirror.status.standing import Status, read_status
from mirror.store.aside import Quarantined, list_quarantined, list_versions
from mirror.store.inventory import load_inventory, load_upstream
from mirror.store.layout import DataDir
from mirror.store.verification import verify
from mirror.sync.wiring import open_mirror
from tests.command import Shell, open_shell
from tests.upstream.archive import UpstreamArchive, day_name
from tests.upstream.server import ArchiveServer
from tests.upstream.wire import RequestRecord

# hypothesis without deadlines: a busy machine makes no test wrong; and in CI with the same inputs
# each time, so that a change is judged by what it changes: new inputs are tried everywhere else
settings.register_profile("unit", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("unit")

NOON = datetime(2024, 5, 15, 12, tzinfo=UTC)
"""Where the clock of most tests begins."""


def pytest_configure() -> None:
    """Have Ctrl-C mean something to the commands under test, however the tests were started."""
    # a shell starts what it puts in the background with SIGINT ignored, and children inherit that
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what runs the installed command as such."""
    for item in items:
        if "shell" in getattr(item, "fixturenames", ()) or "system" in item.path.parts:
            item.add_marker("system")


class Clock:
    """The time, set by hand."""

    def __init__(self, now: datetime = NOON) -> None:
        self.now = now

    def __call__(self) -> datetime:
        return self.now

    def advance(self, **by: float) -> datetime:
        """Let time pass, as `timedelta` counts it."""
        self.now += timedelta(**by)
        return self.now


class World:
    """An upstream that lives, a server that may misbehave, and a mirror of it."""

    def __init__(
        self, archive: UpstreamArchive, server: ArchiveServer, clock: Clock, root: Path
    ) -> None:
        self.archive = archive
        self.server = server
        self.clock = clock
        self.data = DataDir(root)
        self.config = Config(
            upstream=UpstreamConfig(url=server.url),
            storage=StorageConfig(data_dir=str(root), min_free=0),
            http=HttpConfig(backoff=0.01, retries=2, read_timeout=2),
        )

    def configure(self, table: str, **values: object) -> None:
        """Change settings of one table."""
        changed = msgspec.structs.replace(getattr(self.config, table), **values)
        self.config = msgspec.structs.replace(self.config, **{table: changed})
        self.data = self.data.with_settings(self.config)

    async def sync(self, asked: PollRange | None = None, observer: Observer = ignore) -> PollReport:
        """Make one pass, as `binder-mirror sync` does."""
        rng = random.Random(0)
        async with open_mirror(self.config, self.data, now=self.clock, rng=rng) as mirror:
            return await mirror.poll(asked, observer)

    def names_asked(self, status: int | None = None) -> list[str]:
        """Return the names asked of the server since the last `forget`, in order."""
        return [
            request.name
            for request in self.server.requests
            if status is None or request.status == status
        ]

    def forget(self) -> None:
        """Begin a new list of requests."""
        self.server.requests.clear()

    def asked_for(self, day: date) -> list[RequestRecord]:
        """Return the requests for a day's file since the last `forget`, in order."""
        return [request for request in self.server.requests if request.name == day_name(day)]

    def day(self, back: int) -> date:
        """Return the day that lies `back` days behind the clock's."""
        return self.clock().date() - timedelta(days=back)

    def body(self, day: date) -> bytes | None:
        """Return what is published of a day, if anything."""
        path = self.data.archive / day_name(day)
        return path.read_bytes() if path.exists() else None

    def records(self) -> dict[date, Record]:
        """Return what is on record as held."""
        return load_inventory(self.data).records

    def upstream(self) -> Upstream:
        """Return what is kept of upstream."""
        return load_upstream(self.data, "")

    def status(self) -> Status:
        """Return what `binder-mirror status` knows."""
        return read_status(self.data, now=self.clock())

    def quarantined(self, day: date) -> list[Quarantined]:
        """Return the bodies of a day that were refused."""
        return [one for one in list_quarantined(self.data) if one.date == day]

    def predecessors(self, day: date) -> list[Version]:
        """Return what is in history of a day."""
        return list_versions(self.data, day)

    def published(self) -> dict[str, bytes]:
        """Return every published file."""
        return {
            path.name: path.read_bytes() for path in self.data.archive.rglob("*") if path.is_file()
        }

    def assert_sound(self) -> None:
        """Nothing is torn or left over, and the listings say just what is held."""
        report = verify(self.data, today=self.clock().date())
        assert report.damage == ()
        assert list(self.data.staging.iterdir()) == []

    def assert_identical(self) -> None:
        """Every daily file upstream has is held byte for byte, and the index with them."""
        for stored_name, stored in self.archive.objects.items():
            if stored_name.startswith("events-") or stored_name == "index.jsonl":
                assert (self.data.archive / stored_name).read_bytes() == stored.body, stored_name


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
async def world(tmp_path: Path, clock: Clock) -> AsyncIterator[World]:
    """Ten final days and their mirror-to-be."""
    archive = UpstreamArchive.with_days(
        (NOON - timedelta(days=10)).date(),
        (NOON - timedelta(days=1)).date(),
        events_per_day=60,
        now=NOON - timedelta(hours=1),
    )
    async with ArchiveServer(archive) as server:
        yield World(archive, server, clock, tmp_path / "data")


@pytest.fixture(scope="session")
def real_data() -> Path:
    """The folder of real indexes and launches, where there is one."""
    folder = os.environ.get("MIRROR_REAL_DATA")
    if not folder:
        pytest.skip("MIRROR_REAL_DATA is not set")
    return Path(folder)


@pytest.fixture
async def shell(tmp_path: Path) -> AsyncIterator[Shell]:
    """Six final days upstream, and nothing here yet."""
    async with open_shell(tmp_path / "data") as shell:
        yield shell
