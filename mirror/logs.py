"""Structured logs on standard error: a console on a terminal, JSON lines otherwise.

Events are named in the dotted past tense (`file.published`) with fixed keys. Text from upstream
passes through an escape, so that nothing it sends can act on a terminal or forge a line.
"""

import logging
import sys
from typing import TYPE_CHECKING

from mirror.config.settings import LogConfig
from mirror.progress import takes_escapes
from mirror.text import shown

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, WrappedLogger

# structlog is imported where something is logged: who reads the events may have nothing to log.

_MAX_VALUE = 500


def configure_logs(config: LogConfig) -> None:
    """Set up logging for this process; the latest call holds."""
    import structlog  # noqa: PLC0415

    out = sys.stderr
    # of libraries only what is wrong: our own events say what happens
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    console = config.format == "console" or (config.format == "auto" and out.isatty())
    renderer = (
        structlog.dev.ConsoleRenderer(
            colors=takes_escapes(out),
            exception_formatter=structlog.dev.plain_traceback,
            pad_event_to=24,
        )
        if console
        else structlog.processors.JSONRenderer()
    )
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.format_exc_info,
            _escape_values,
            renderer,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[config.level.upper()]
        ),
        logger_factory=structlog.PrintLoggerFactory(out),
    )


class _Bridge(logging.Handler):
    """Passes what libraries log on as one event each; no traceback of theirs reaches a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        """Pass one on."""
        error = record.exc_info[1] if record.exc_info else None
        fields = {"problem": f"{type(error).__name__}: {error}"} if error is not None else {}
        # what a client sends malformed is its own business
        level = logging.DEBUG if type(error).__name__ in _CLIENTS_FAULTS else record.levelno
        get_logger().log(
            level, "library.said", library=record.name, text=record.getMessage(), **fields
        )


_CLIENTS_FAULTS = ("BadHttpMessage", "BadStatusLine", "BadHttpMethod", "LineTooLong")


def get_logger() -> "FilteringBoundLogger":
    """Return a logger; the poll's id and the file's name come from the context."""
    import structlog  # noqa: PLC0415

    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _escape_values(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
    return {
        key: shown(value, _MAX_VALUE) if isinstance(value, str) and key != "exception" else value
        for key, value in event.items()
    }
