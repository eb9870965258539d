"""Structured logs on standard error: a console on a terminal, JSON lines otherwise.

Events are named in the dotted past tense (`file.published`) with fixed keys; time, level and event
come first. Text from upstream passes through an escape, so that nothing it sends can act on a
terminal or forge a line.
"""

import logging
import os
import sys
from collections.abc import Callable, Collection
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING

from mirror.config.settings import LogConfig
from mirror.progress import takes_colours
from mirror.text import shown

if TYPE_CHECKING:
    from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

_MAX_VALUE = 500
_FIRST = ("timestamp", "level", "event", "file", "problem")
_PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3}
"""The journal's, see sd-daemon(3): `journalctl --priority warning` shows what is wrong."""
_CLIENTS_FAULTS = ("BadHttpMessage", "BadStatusLine", "BadHttpMethod", "LineTooLong")

_set_up: list[Callable[[], None]] = []
"""What is to be done before the first line: structlog is slow to import, and many log nothing."""


def configure_logs(config: LogConfig, *, without: Collection[str] = ()) -> None:
    """Say how this process logs from now on, and `without` which events; the latest call holds."""
    # of libraries only what is wrong: our own events say what happens
    logging.basicConfig(handlers=[_Bridge()], level=logging.WARNING, force=True)
    # as it is now: a display of progress puts itself before standard error
    console = config.format == "console" or (config.format == "auto" and sys.stderr.isatty())
    colours = takes_colours(sys.stderr)
    _set_up[:] = [partial(_configure_structlog, config.level, console, colours, without)]


def _configure_structlog(
    level: str, console: bool, colours: bool, without: Collection[str]
) -> None:
    import structlog  # noqa: PLC0415

    def make_fit(_logger: "WrappedLogger", _method: str, event: "EventDict") -> "EventDict":
        if event["event"] in without:
            raise structlog.DropEvent
        if console:
            # it is for whoever searches many polls, and fills a terminal
            event.pop("poll", None)
        fit = {name: event[name] for name in dict.fromkeys((*_FIRST, *event)) if name in event}
        for name, value in fit.items():
            if isinstance(value, str) and name != "exception":
                fit[name] = shown(value, _MAX_VALUE)
        return fit

    def lead_with_priority(_logger: "WrappedLogger", method: str, line: "EventDict | str") -> str:
        return f"<{_PRIORITIES.get(method, 3)}>{line}"

    renderers: list[Processor] = [structlog.processors.JSONRenderer()]
    if console:
        renderers = [
            structlog.dev.ConsoleRenderer(
                colors=colours,
                exception_formatter=structlog.dev.plain_traceback,
                pad_event_to=24,
                sort_keys=False,
            )
        ]
    elif _is_journal():
        renderers.append(lead_with_priority)
    structlog.configure(
        processors=[
            structlog.contextvars.merge_contextvars,
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="%H:%M:%SZ" if console else "iso", utc=True),
            structlog.processors.format_exc_info,
            make_fit,
            *renderers,
        ],
        wrapper_class=structlog.make_filtering_bound_logger(
            logging.getLevelNamesMapping()[level.upper()]
        ),
        # as it is when something is logged: a display of progress puts the lines above itself
        logger_factory=lambda *_: structlog.PrintLogger(sys.stderr),
    )


class _Bridge(logging.Handler):
    """Passes what libraries log on as one event each; no traceback of theirs reaches a terminal."""

    def emit(self, record: logging.LogRecord) -> None:
        error = record.exc_info[1] if record.exc_info else None
        fields = {"problem": f"{type(error).__name__}: {error}"} if error is not None else {}
        # what a client sends malformed is its own business
        level = logging.DEBUG if type(error).__name__ in _CLIENTS_FAULTS else record.levelno
        get_logger().log(
            level, "library.said", library=record.name, text=record.getMessage(), **fields
        )


def get_logger() -> "FilteringBoundLogger":
    """Return a logger; the poll's id and the file's name come from the context."""
    import structlog  # noqa: PLC0415

    while _set_up:
        _set_up.pop()()
    logger: FilteringBoundLogger = structlog.get_logger()
    return logger


def _is_journal() -> bool:
    """Return whether systemd says that standard error is a stream to the journal."""
    with suppress(OSError):
        found = os.fstat(2)
        return os.environ.get("JOURNAL_STREAM") == f"{found.st_dev}:{found.st_ino}"
    return False
