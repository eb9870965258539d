"""The settings: every key with its type, default, description and bounds.

`mirror.config.loading` reads them from a file, the environment and flags.
"""

from collections.abc import Callable
from datetime import timedelta
from typing import Annotated, Any, Literal, NamedTuple, TypeAlias

from msgspec import Meta, Struct

from mirror.text import format_duration, format_size, parse_duration, parse_size


class Unit(NamedTuple):
    """How a number with a unit is read and written."""

    read: Callable[[Any], float]
    write: Callable[[Any], str]


Duration: TypeAlias = Annotated[float, Unit(parse_duration, format_duration)]
Size: TypeAlias = Annotated[int, Unit(parse_size, format_size)]


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """The archive to mirror."""

    url: Annotated[str, "Base URL of the archive, where index.jsonl is found."] = (
        "https://archive.analytics.mybinder.org/"
    )
    name_template: Annotated[str, "Name of a daily file; {date} stands for YYYY-MM-DD."] = (
        "events-{date}.jsonl"
    )
    disagree_after: Annotated[
        Duration,
        "Publish a body in spite of the index's count or its ETag once upstream has served it "
        "unchanged for this long, and accept a body or index older than the last one once "
        "nothing newer has come for this long; the day is flagged then.",
    ] = 6 * 3600


class StorageConfig(Struct, frozen=True, kw_only=True):
    """Where the copy is kept."""

    data_dir: Annotated[
        str,
        "Data directory; in a file, as seen from its folder. Empty: $STATE_DIRECTORY, else "
        "$XDG_DATA_HOME/binder-mirror.",
    ] = ""
    since: Annotated[
        str, "The first day to keep, as 2024-01-01; earlier ones are not asked for. Empty: all."
    ] = ""
    min_free: Annotated[
        Size, "Free disk space to leave, in addition to what a poll is about to fetch."
    ] = 64 * 1024**2
    history_versions: Annotated[
        int,
        "Predecessors to keep of each day that was open when it was replaced "
        "(0: all); those of final days are kept until `prune --history`.",
        Meta(ge=0),
    ] = 0
    findings: Annotated[
        bool, "Count the versions, providers, origins and oddities of each day's events."
    ] = True


class HttpConfig(Struct, frozen=True, kw_only=True):
    """Requests to upstream."""

    concurrency: Annotated[int, "Downloads at the same time.", Meta(ge=1, le=64)] = 8
    connect_timeout: Annotated[
        Duration, "Longest wait for a connection to open.", Meta(ge=0.001)
    ] = 10
    read_timeout: Annotated[
        Duration,
        "Longest wait for the next byte, and for a whole head; a whole download may take an hour.",
        Meta(ge=0.001),
    ] = 30
    min_speed: Annotated[
        Size,
        "Slowest download, in bytes to keep a second over twice the read_timeout; a slower one "
        "is cut off and retried (0: only one that brings nothing).",
    ] = 100
    retries: Annotated[int, "Retries after a failed first try.", Meta(ge=0, le=100)] = 4
    backoff: Annotated[
        Duration, "Longest wait before the first retry; doubles with each retry."
    ] = 0.5
    max_backoff: Annotated[
        Duration,
        "Longest wait before any retry; caps a Retry-After too, which holds back all requests.",
    ] = 60
    max_file_size: Annotated[Size, "Largest daily file or index accepted, decoded.", Meta(ge=1)] = (
        256 * 1024**2
    )
    rate_limit: Annotated[Size, "Bytes a second for all downloads together (0: no limit)."] = 0
    user_agent: Annotated[str, "User-Agent header; empty: name and version."] = ""


class SyncConfig(Struct, frozen=True, kw_only=True):
    """How a poll works."""

    workers: Annotated[
        int,
        "Processes that download where much is due (0: one for each processor; 1: none beside "
        "the poll's own). Each takes some 45 MB.",
        Meta(ge=0, le=64),
    ] = 0


class ScheduleConfig(Struct, frozen=True, kw_only=True):
    """When the daemon polls, and when a day counts as final."""

    interval: Annotated[Duration, "Time between polls.", Meta(ge=1)] = 1800
    cron: Annotated[
        str, 'Crontab line (crontab(5)) in UTC, such as "5 */2 * * *", instead of interval.'
    ] = ""
    jitter: Annotated[Duration, "Longest random delay of each poll."] = 60
    final_after: Annotated[
        Duration, "A day is final this long after its end (UTC), and open until then."
    ] = 8 * 3600
    stale_after: Annotated[
        Duration, "The index is stale when it has not changed for this long."
    ] = 36 * 3600
    recheck: Annotated[
        Duration, "Time in which each final day is compared with upstream once.", Meta(ge=3600)
    ] = 14 * 86400
    verify: Annotated[
        Duration, "Time in which each published file is read and verified once.", Meta(ge=3600)
    ] = 30 * 86400

    @property
    def stale_span(self) -> timedelta:
        """`stale_after` as a span of time."""
        return timedelta(seconds=self.stale_after)


class ServerConfig(Struct, frozen=True, kw_only=True):
    """The web server."""

    listen: Annotated[str, "HOST:PORT to serve the copy on; empty: none."] = "127.0.0.1:8080"
    max_connections: Annotated[
        int,
        "Connections at the same time; fewer where the limit of open files is lower.",
        Meta(ge=1, le=1_000_000),
    ] = 4000
    idle_timeout: Annotated[
        Duration, "Close a connection without a request after this long.", Meta(ge=0.1)
    ] = 60
    min_speed: Annotated[
        Size,
        "Slowest client, in bytes a second on average over the idle_timeout; a slower one is "
        "disconnected (0: only one that takes nothing).",
    ] = 1024
    encoded_size: Annotated[
        Size,
        "Disk space for daily files compressed with gzip or zstd, for clients that accept "
        "them; the least recently used are deleted first (0: compress nothing).",
    ] = 512 * 1024**2


class DatasetConfig(Struct, frozen=True, kw_only=True):
    """The Parquet data set."""

    enabled: Annotated[bool, "Update the data set at the end of each poll."] = False


class LogConfig(Struct, frozen=True, kw_only=True):
    """The log, on standard error."""

    format: Annotated[
        Literal["auto", "console", "json"], "auto: console on a terminal, else json."
    ] = "auto"
    level: Annotated[Literal["debug", "info", "warning", "error"], "Least severe level to log."] = (
        "info"
    )


class Config(Struct, frozen=True, kw_only=True):
    """All settings."""

    upstream: UpstreamConfig = UpstreamConfig()
    storage: StorageConfig = StorageConfig()
    http: HttpConfig = HttpConfig()
    sync: SyncConfig = SyncConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    server: ServerConfig = ServerConfig()
    dataset: DatasetConfig = DatasetConfig()
    log: LogConfig = LogConfig()
