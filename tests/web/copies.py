"""Data directories as years of mirroring leave them: real inventory, and files of holes on disk."""

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import msgspec

from mirror.archive.upstream import IndexFacts, Upstream
from mirror.events.findings import FINDINGS_VERSION
from mirror.model import Findings, Flag, IndexState, PollReport, Problem, ProblemKind, Record
from mirror.store.aside import Quarantined
from mirror.store.layout import DataDir
from mirror.store.polls import append_poll
from tests.mirrors import make_hollow_mirror, split

FIRST_DAY = date(2018, 11, 3)
_VERSIONS = {
    1: date(2018, 11, 3),
    2: date(2019, 4, 2),
    3: date(2019, 6, 12),
    4: date(2020, 6, 18),
    5: date(2021, 7, 2),
    6: date(2026, 3, 2),
}
_PROVIDERS = {
    "GitHub": (date(2018, 11, 3), 9200),
    "GitLab": (date(2018, 11, 3), 190),
    "Git": (date(2018, 11, 3), 280),
    "Gist": (date(2019, 4, 2), 160),
    "Zenodo": (date(2019, 6, 12), 70),
    "Figshare": (date(2019, 9, 1), 12),
    "Dataverse": (date(2019, 12, 1), 25),
    "Hydroshare": (date(2020, 2, 1), 6),
    "CKAN": (date(2024, 7, 1), 30),
}
_ORIGINS = {
    "gke.mybinder.org": (date(2019, 6, 12), date(2023, 4, 1), 60),
    "ovh.mybinder.org": (date(2019, 6, 12), date(2023, 1, 1), 20),
    "ovh2.mybinder.org": (date(2023, 1, 1), date(2025, 1, 9), 40),
    "gesis.mybinder.org": (date(2019, 9, 1), date(2022, 3, 1), 14),
    "notebooks.gesis.org": (date(2022, 3, 1), date(2027, 1, 1), 30),
    "turing.mybinder.org": (date(2020, 2, 1), date(2023, 1, 1), 8),
    "2i2c.mybinder.org": (date(2025, 1, 12), date(2027, 1, 1), 60),
    "bids.mybinder.org": (date(2025, 6, 1), date(2027, 1, 1), 15),
}


def seasonal_count(day: date) -> int:
    """Return events of a day as the archive has them: terms, weekends, the rise and the fall."""
    years = (day - FIRST_DAY).days / 365.25
    trend = 9000 + 17000 * math.exp(-(((years - 2.5) / 1.3) ** 2)) - 500 * max(0.0, years - 3)
    season = 1 + 0.22 * math.cos(4 * math.pi * (day.timetuple().tm_yday - 85) / 365.25)
    weekend = 0.58 if day.weekday() >= 5 else 1.0
    holidays = 0.55 if (day.month, day.day) >= (12, 22) or (day.month, day.day) <= (1, 2) else 1.0
    noise = 1 + 0.09 * math.sin(day.toordinal() * 12.9898)
    return round(trend * season * weekend * holidays * noise)


def findings_of(day: date, count: int) -> Findings:
    """Return what such a day's events are: by the versions, providers and hosts of its time."""
    version = max(number for number, begun in _VERSIONS.items() if begun <= day)
    origins = {
        name: weight for name, (begun, ended, weight) in _ORIGINS.items() if begun <= day < ended
    }
    providers = {name: weight for name, (begun, weight) in _PROVIDERS.items() if begun <= day}
    return Findings(
        versions={str(version): count},
        providers=split(count, providers),
        origins=split(count, origins),
        statuses={"success": count},
        version=FINDINGS_VERSION,
    )


class Copy:
    """A data directory in the making.

    Attributes:
        data: where it is.
        counts: events by day of what is held.
        findings: what was found of a day, where it is not what such a day has.
        upstream: what is kept of upstream; lists the days held when nothing else is said.
        polls: the polls, latest last.
        quarantined: what was refused.
    """

    def __init__(self, root: Path, counts: Mapping[date, int], *, now: datetime) -> None:
        self.data = DataDir(root)
        self.now = now
        self.counts = dict(counts)
        self.findings: dict[date, Findings] = {}
        self.upstream = Upstream(
            "https://archive.analytics.mybinder.org/",
            index=IndexFacts("00" * 32, now - timedelta(hours=2), last_modified=now - 3 * MINUTES),
            state_since=now - timedelta(days=40),
            accepted=self.counts,
        )
        self.polls: Sequence[PollReport] = [
            poll_report(now - number * timedelta(minutes=30)) for number in range(30, 0, -1)
        ]
        self.quarantined: Sequence[Quarantined] = ()
        self.flags: Mapping[date, tuple[Flag, ...]] = {}

    def write(self) -> DataDir:
        """Write it to disk; daily files are holes of the right size and time."""
        records = [self._record(day, count) for day, count in self.counts.items()]
        make_hollow_mirror(self.data.root, records, self.upstream)
        for poll in self.polls:
            append_poll(self.data, poll)
        for one in self.quarantined:
            reason = self.data.quarantine / f"{one.file}.reason.json"
            reason.write_bytes(msgspec.json.encode(one))
        return self.data

    def _record(self, day: date, count: int) -> Record:
        fetched_at = datetime(day.year, day.month, day.day, 9, tzinfo=UTC) + timedelta(days=1)
        return Record(
            date=day,
            name=f"events-{day}.jsonl",
            size=count * 287,
            sha256=f"{day.toordinal():064x}",
            lines=count,
            mtime_ns=int(fetched_at.timestamp() * 1e9),
            fetched_at=min(fetched_at, self.now),
            checked_at=min(fetched_at, self.now),
            index_count=count,
            etag=f'"{day.toordinal():032x}"',
            flags=self.flags.get(day, ()),
            findings=self.findings.get(day) or findings_of(day, count),
        )


MINUTES = timedelta(minutes=1)


def seasonal_counts(days: int, last: date) -> dict[date, int]:
    """Return so many days up to the last, with the gaps that the archive really has."""
    first = last - timedelta(days=days - 1)
    counts = {day: seasonal_count(day) for day in (first + timedelta(days=n) for n in range(days))}
    lost = [date(2022, 10, 20) + timedelta(days=number) for number in range(11)]
    for day in [*lost, date(2019, 2, 14), date(2023, 4, 9), date(2023, 4, 10)]:
        counts.pop(day, None)
    thin = (5216, 3489, 865, 799, 1310, 0, 28, 0)
    for number, count in enumerate(thin):
        day = date(2025, 1, 9) + timedelta(days=number)
        if day in counts:
            counts[day] = count
    return counts


def poll_report(
    started_at: datetime,
    *problems: Problem | str,
    exit_code: int | None = None,
    index_state: IndexState = IndexState.UNCHANGED,
    warnings: tuple[Problem, ...] = (),
) -> PollReport:
    """Return the report of a poll, complete where there is no problem."""
    return PollReport(
        exit_code=exit_code if exit_code is not None else 3 if problems else 0,
        index_state=index_state,
        listed=2900,
        held=2900,
        events=36_000_000,
        archive_bytes=10_000_000_000,
        outcomes={"unchanged": 1} if not problems else {"unchanged": 1, "refused": len(problems)},
        problems=tuple(
            Problem(ProblemKind.OTHER, one) if isinstance(one, str) else one for one in problems
        ),
        warnings=warnings,
        poll_id=f"{started_at:%Y%m%dT%H%M%S}",
        started_at=started_at,
        duration_s=0.4,
        requests=2,
        downloaded_bytes=1_730_000,
    )
