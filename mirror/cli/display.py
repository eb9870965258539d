"""What a terminal shows while a command works; with -q, and elsewhere, nothing."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager

from mirror.archive.ports import Asking, Observer, Proved, ignore
from mirror.cli.options import given
from mirror.config.settings import LogConfig
from mirror.logs import configure_logs
from mirror.progress import Reading, Shown, show_progress, takes_escapes
from mirror.status.poll_progress import PollProgress, Progress
from mirror.text import plural, shown

_SILENT_S = 5
_MAX_NOTE = 300


@contextmanager
def show_poll(log: LogConfig) -> Iterator[tuple[Observer, Reading]]:
    """Show how a poll or a repair goes; yield its observer, and what the data set's reading calls.

    Where the display says it all, only warnings and worse are logged.
    """
    live, reading = PollProgress(), Reading(label="data set: ")
    if given().is_quiet or not takes_escapes(sys.stderr):
        yield ignore, reading
        return
    if log.level != "debug":
        level = "warning" if log.level == "info" else log.level
        # how it ended is the command's answer
        configure_logs(LogConfig(format=log.format, level=level), without=("poll.finished",))
    with show_progress(lambda: _look(live, reading)):
        yield live.observe, reading


def _look(live: PollProgress, reading: Reading) -> Shown:
    poll = live.progress
    if reading.files:
        return reading.look()
    if poll is None:
        return _look_before(live)
    if poll.days_pending:
        # no longer than what is seen before: size, rate and time left have to fit beside it
        label = f"{poll.days_counted:,}/{poll.days_pending:,} counted"
        return Shown(label, poll.bytes_counted, poll.bytes_pending or None)
    # the estimate is only one: never show more done than there is
    total = max(poll.bytes_expected, poll.bytes_received)
    label = f"{poll.days_done:,} of {plural(poll.days_due, 'day')}"
    label += f", {poll.days_failed:,} failed" if poll.days_failed else ""
    return Shown(label, poll.bytes_received, total or None, _note(poll, live.moved_at))


def _note(poll: Progress, moved_at: float) -> str:
    notes = [shown(f"{day} {problem}", _MAX_NOTE) for day, problem in poll.retrying.items()]
    silent_s = time.monotonic() - moved_at
    days_ended = poll.days_done + poll.days_failed
    if not notes and days_ended < poll.days_due and silent_s > _SILENT_S:
        return f"nothing has come for {silent_s:.0f} s"
    return f"{plural(len(notes), 'day')} retried; {notes[0]}" if notes[1:] else "".join(notes)


def _look_before(live: PollProgress) -> Shown:
    left_s = max(0, live.until - time.monotonic())
    match live.before:
        case Asking() as asking:
            when = f" in {left_s:.0f} s" if asking.is_waiting else f", {left_s:.0f} s left"
            label = f"{asking.name}: try {asking.attempt} of {asking.attempts}"
            # its body may take longer than the answer's beginning
            label += when if left_s else ""
            return Shown(label, note=shown(asking.problem, _MAX_NOTE))
        case Proved() as proved:
            files = plural(proved.unverified, "file")
            return Shown(f"{proved.files:,} of {files} without a record compared with upstream's")
    return Shown("looking at what is held")
