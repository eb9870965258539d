"""The settings as values: every key with its type, default, bounds and meaning.

How they are read from a file, the environment and flags is the business of `mirror.config.loading`.
"""

from typing import Annotated, Any, Literal
from urllib.parse import urlsplit

from msgspec import Meta, Struct

_DURATION = {"unit": "duration"}
_SIZE = {"unit": "size"}


def _duration(description: str, *, ge: float = 0) -> Meta:
    return Meta(ge=ge, description=description, extra=_DURATION)


def _size(description: str, *, ge: int = 0) -> Meta:
    return Meta(ge=ge, description=description, extra=_SIZE)


class UpstreamConfig(Struct, frozen=True, kw_only=True):
    """Where the archive is."""

    url: Annotated[
        str, Meta(description="Base URL of the archive: where index.jsonl is found.")
    ] = "https://archive.analytics.mybinder.org/"
    name_template: Annotated[
        str, Meta(description="Name of a day's file; {date} stands for YYYY-MM-DD.")
    ] = "events-{date}.jsonl"
    disagree_after: Annotated[
        float,
        _duration(
            "A body that only the index's count, an ETag or its age speaks against is taken once "
            "upstream has served it unchanged for this long."
        ),
    ] = 6 * 3600


class StorageConfig(Struct, frozen=True, kw_only=True):
    """Where the copy is kept."""

    data_dir: Annotated[
        str,
        Meta(
            description="Data directory; where empty: $STATE_DIRECTORY, else "
            "$XDG_DATA_HOME/binder-mirror."
        ),
    ] = ""
    min_free: Annotated[
        int, _size("Room to leave free on the disk, beside what a poll is about to fetch.")
    ] = 64 * 1024**2
    history_versions: Annotated[
        int,
        Meta(
            ge=0,
            description="Predecessors kept of each day that was open when replaced (0: all); "
            "those of final days are kept until `prune`.",
        ),
    ] = 0
    findings: Annotated[
        bool,
        Meta(
            description="Count versions, providers, origins and oddities of each day's events "
            "as it is fetched."
        ),
    ] = True


class HttpConfig(Struct, frozen=True, kw_only=True):
    """How upstream is asked."""

    concurrency: Annotated[int, Meta(ge=1, le=64, description="Downloads at a time.")] = 8
    connect_timeout: Annotated[float, _duration("Longest wait for a connection.", ge=0.001)] = 10
    read_timeout: Annotated[
        float, _duration("Longest wait for the next byte; there is no limit in total.", ge=0.001)
    ] = 30
    min_speed: Annotated[
        int,
        _size(
            "Bytes a second that a download must reach over twice the read_timeout; a slower one "
            "counts as stalled (0: no limit)."
        ),
    ] = 100
    retries: Annotated[
        int, Meta(ge=0, le=100, description="Tries after the first that failed.")
    ] = 4
    backoff: Annotated[
        float, _duration("Ceiling of the first wait between tries; doubles with each.")
    ] = 0.5
    max_backoff: Annotated[
        float, _duration("Longest wait between tries; caps a Retry-After too.")
    ] = 60
    max_file_size: Annotated[
        int, _size("Largest body accepted, index and daily files, decoded.", ge=1)
    ] = 256 * 1024**2
    rate_limit: Annotated[int, _size("Bytes a second for all downloads together (0: none).")] = 0
    user_agent: Annotated[
        str, Meta(description="What we call ourselves; where empty: name, version and home page.")
    ] = ""


class ScheduleConfig(Struct, frozen=True, kw_only=True):
    """When the daemon polls, and when a day counts as final."""

    interval: Annotated[float, _duration("Time between polls.", ge=1)] = 1800
    cron: Annotated[
        str, Meta(description='Polls by a crontab line in UTC instead, as "5 */2 * * *".')
    ] = ""
    jitter: Annotated[float, _duration("Random delay of each poll, up to this.")] = 60
    final_after: Annotated[
        float, _duration("A day's file is final this long after the day's end (UTC).")
    ] = 8 * 3600
    stale_after: Annotated[
        float, _duration("The index is stale when it has not changed for this long.")
    ] = 36 * 3600
    recheck: Annotated[
        float, _duration("Time in which upstream is asked once about every final day.", ge=3600)
    ] = 14 * 86400
    verify: Annotated[
        float, _duration("Time in which our own copy is read through once.", ge=3600)
    ] = 30 * 86400


class ServerConfig(Struct, frozen=True, kw_only=True):
    """The web side."""

    listen: Annotated[str, Meta(description="HOST:PORT to serve the copy on; empty for none.")] = (
        "127.0.0.1:8080"
    )
    max_connections: Annotated[
        int,
        Meta(
            ge=1,
            le=1_000_000,
            description="Clients at a time; fewer where the limit of open files allows no more.",
        ),
    ] = 4000
    idle_timeout: Annotated[
        float,
        _duration("A connection on which nothing is asked for so long is closed.", ge=0.1),
    ] = 60
    min_speed: Annotated[
        int,
        _size(
            "Bytes a second that a client must take, on average over the idle_timeout; one that "
            "takes nothing for so long is dropped (0: any that takes something will do)."
        ),
    ] = 1024
    encoded_size: Annotated[
        int,
        _size(
            "Room for bodies encoded with gzip or zstd, for the clients that accept these; those "
            "used longest ago make room (0: none are made)."
        ),
    ] = 512 * 1024**2


class DatasetConfig(Struct, frozen=True, kw_only=True):
    """The Parquet data set."""

    enabled: Annotated[
        bool, Meta(description="Keep the data set in step as part of each poll.")
    ] = False


class LogConfig(Struct, frozen=True, kw_only=True):
    """What is logged, on standard error."""

    format: Annotated[
        Literal["auto", "console", "json"],
        Meta(description="auto: console on a terminal, else json."),
    ] = "auto"
    level: Annotated[
        Literal["debug", "info", "warning", "error"], Meta(description="The least that is logged.")
    ] = "info"


class Config(Struct, frozen=True, kw_only=True):
    """All settings."""

    upstream: UpstreamConfig = UpstreamConfig()
    storage: StorageConfig = StorageConfig()
    http: HttpConfig = HttpConfig()
    schedule: ScheduleConfig = ScheduleConfig()
    server: ServerConfig = ServerConfig()
    dataset: DatasetConfig = DatasetConfig()
    log: LogConfig = LogConfig()


def origin_of(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL: what a redirect may not leave."""
    parts = urlsplit(url)
    default: Any = {"http": 80, "https": 443}.get(parts.scheme, 0)
    return parts.scheme, (parts.hostname or "").lower(), parts.port or default
