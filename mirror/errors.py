"""The errors, sorted by who has to act.

`UpstreamError` is theirs or the wire's, `StorageError` is our disk's, `ConfigError` is the
operator's. An error says what and where in its message and what to do in its `hint`; edges
translate third-party errors into these once, with `from`. A normal outcome (nothing new, not
there) is a value.
"""

from enum import IntEnum, StrEnum
from typing import TypeVar

import msgspec

T = TypeVar("T")

BAD_JSON = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)
"""What a decoder raises for bytes that are no JSON, or not of its type."""


def decode_or_none(decoder: msgspec.json.Decoder[T], text: bytes) -> T | None:
    """Return what a line or a file says; None where it is torn or rotten."""
    try:
        return decoder.decode(text)
    except BAD_JSON:
        return None


class ExitCode(IntEnum):
    """What a command ends with; scripts and units depend on the numbers."""

    COMPLETE = 0
    BUG = 1
    USAGE = 2
    INCOMPLETE = 3
    UPSTREAM_UNUSABLE = 4
    STORAGE = 5
    LOCKED = 6
    INTERRUPTED = 130
    TERMINATED = 143


class MirrorError(Exception):
    """Base of every error that is not a bug."""

    exit_code = ExitCode.INCOMPLETE  # what the command ends with when nothing handles the error

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.hint = hint  # what the operator can do about it; may be empty

    def line(self) -> str:
        """Return message and hint as the one line that a person reads."""
        return f"{self} ({self.hint})" if self.hint else str(self)


class ConfigError(MirrorError):
    """The command line, the settings or the data directory are not usable as given."""

    exit_code = ExitCode.USAGE


class Failure(StrEnum):
    """What made a try fail: a closed set of words, for metrics; the message has the particulars."""

    DNS = "dns"  # its host was not found
    CONNECTION = "connection"  # refused, reset, or closed without an answer
    TLS = "tls"
    TIMEOUT = "timeout"  # no connection, or no byte, in time
    SLOW = "slow"  # below `http.min_speed`
    NOT_HTTP = "not_http"
    HTTP_4XX = "http_4xx"
    HTTP_429 = "http_429"
    HTTP_5XX = "http_5xx"
    HTTP_OTHER = "http_other"  # any other, unexpected status
    REDIRECT = "redirect"  # in circles, or to another host
    CUT = "cut"  # a body that ended early
    ENCODING = "encoding"  # a Content-Encoding that is damaged, does not end, or is not known
    TOO_LARGE = "too_large"
    DIGEST = "digest"  # a body whose digest is not the one offered
    COUNT = "count"  # a body with other than the listed number of lines
    PAGE = "page"  # a web page where events were asked for
    ROLLED_BACK = "rolled_back"  # a body, index or 304 of an older version than the one known
    INDEX = "index"  # an index from which nothing can be learnt
    OTHER = "other"


class UpstreamError(MirrorError):
    """Upstream or the way to it failed."""

    exit_code = ExitCode.UPSTREAM_UNUSABLE

    def __init__(
        self,
        message: str,
        *,
        hint: str = "",
        failure: Failure = Failure.OTHER,
        transient: bool = True,  # whether asking again may help
        retry_after_s: float | None = None,  # what upstream asked us to wait, if it did
        status: int | None = None,  # of its HTTP answer, if there was one
    ) -> None:
        super().__init__(message, hint=hint)
        self.failure = failure
        self.transient = transient
        self.retry_after_s = retry_after_s
        self.status = status


class IndexUnusableError(UpstreamError):
    """An index from which not one day can be learnt; it changes nothing."""


class StorageError(MirrorError):
    """The local disk refused: full, read-only, no permission, an input/output error."""

    exit_code = ExitCode.STORAGE


class DataDirGoneError(StorageError):
    """The data directory that is held for writing is not at its path any more."""


class WrongKindError(MirrorError):
    """Something other than a regular file stands where a file belongs; it costs that file only."""


class LockedError(MirrorError):
    """Another process is writing this data directory."""

    exit_code = ExitCode.LOCKED


class UnknownSchemaError(MirrorError):
    """A line of a daily file is not a launch of a version that is known."""


class UnrecordedError(MirrorError):
    """A daily file is gone, or is not the one that is on record."""


class SpecError(MirrorError, ValueError):
    """A launch's `spec` is not what its provider's specs are."""


class DatasetError(MirrorError):
    """The data set could not be made or read; the mirror itself is untouched."""


class QueryError(MirrorError):
    """A query that cannot be answered: wrong, not allowed, too long or too large."""

    exit_code = ExitCode.USAGE
