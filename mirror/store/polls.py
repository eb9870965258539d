"""The log of polls, `polls.jsonl`: one line a poll; bounded, but keeps the last complete one."""

from collections.abc import Sequence
from contextlib import suppress
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from mirror.errors import ExitCode, decode_or_none
from mirror.model import Moment, PollReport, ProblemKind
from mirror.store.disk import append_line, read_if_file, write_durably
from mirror.store.layout import DataDir

KEPT_POLLS = 2000
LOADED_POLLS = 200  # so many of the last ones are shown
MAX_BYTES = 2_000_000
"""Over this the log is written anew, half as long at most, so that not every poll does so."""


class Polls(Struct, frozen=True):
    """What the log says."""

    last: tuple[PollReport, ...] = ()  # the last polls, latest last
    successes: tuple[datetime, ...] = ()
    """When complete polls of all days to keep ended, ascending, that of the last one however long
    ago; a clock that was wrong may have put some ahead."""


class _PollEnd(Struct, frozen=True, gc=False):
    """The part of a line by which complete polls are found, in a tenth of the time of the whole."""

    exit_code: int
    started_at: Moment
    duration_s: Annotated[float, Meta(ge=0, le=1e9)] = 0
    is_partial: bool = False


_decoder = msgspec.json.Decoder(PollReport)
_facts_decoder = msgspec.json.Decoder(dict[str, Any])
_end_decoder = msgspec.json.Decoder(_PollEnd)


def append_poll(data: DataDir, report: PollReport) -> None:
    """Add a poll."""
    size = append_line(data.polls, msgspec.json.encode(report) + b"\n", staging=data.staging)
    if size > MAX_BYTES:
        lines = _read_lines(data)
        latest = lines[-KEPT_POLLS:]
        sizes = accumulate(len(line) + 1 for line in reversed(latest))
        kept = latest[len(latest) - sum(size <= MAX_BYTES // 2 for size in sizes) :]
        if (complete := _find_complete(lines)) and complete[-1][1] not in kept:
            kept = [complete[-1][1], *kept]
        write_durably(data.polls, b"".join(line + b"\n" for line in kept), staging=data.staging)


def load_polls(data: DataDir, count: int) -> Polls:
    """Return the last `count` polls, and when any was complete; torn lines are passed over."""
    lines = _read_lines(data)
    last = tuple(poll for line in lines[-count:] if (poll := _decode(line)) is not None)
    return Polls(last, successes=tuple(at for at, _ in _find_complete(lines)))


def _read_lines(data: DataDir) -> list[bytes]:
    return list(filter(None, (read_if_file(data.polls) or b"").split(b"\n")))


def _find_complete(lines: Sequence[bytes]) -> list[tuple[datetime, bytes]]:
    """Return the complete polls by when they ended, not by place: a clock may have been wrong."""
    complete: list[tuple[datetime, bytes]] = []
    for line in lines:
        end = decode_or_none(_end_decoder, line)
        if end and end.exit_code == ExitCode.COMPLETE and not end.is_partial:
            # of a poll at the end of time nobody knows when it ended
            with suppress(OverflowError):
                complete.append((end.started_at + timedelta(seconds=end.duration_s), line))
    return sorted(complete)


def _decode(line: bytes) -> PollReport | None:
    return decode_or_none(_decoder, line) or _decode_before_0_2(line)


def _decode_before_0_2(line: bytes) -> PollReport | None:
    """Return a poll whose problems are lines of text, as they were before version 0.2."""
    facts = decode_or_none(_facts_decoder, line)
    if facts is None:
        return None
    try:
        for key in ("problems", "warnings"):
            facts[key] = [{"kind": ProblemKind.OTHER, "text": one} for one in facts.get(key, ())]
        return msgspec.convert(facts, PollReport)
    except (msgspec.ValidationError, TypeError):
        return None
