"""Renders the progress of a running poll, for the status page and its live events. Pure."""

from html import escape

from mirror.status.poll_progress import Progress
from mirror.status.standing import told
from mirror.text import human_bytes, plural

_TOLD_DAYS = 8
_TOLD_RETRIES = 5


def render_progress(progress: Progress | None, *, is_writing: bool) -> str:
    """Return how the running poll stands; nothing where none runs.

    Args:
        progress: the poll of this process, once it knows what to ask for.
        is_writing: whether anybody writes the data directory, this process or another.
    """
    if progress is not None and progress.days_pending:
        return _section("The content of the days is being counted", _counted(progress))
    if progress is not None:
        return _section("A poll is running", _bar(progress) + _days(progress))
    if is_writing:
        return _section("A sync is running", "<p>What it will ask for is not known here.</p>")
    return ""


def _section(title: str, inside: str) -> str:
    return f'<section aria-labelledby="running"><h2 id="running">{title}</h2>{inside}</section>'


def _bar(progress: Progress) -> str:
    due = plural(progress.days_due, "day")
    failed = f", {progress.days_failed:,} failed" if progress.days_failed else ""
    return (
        f'<p><progress aria-labelledby="running" max="{max(1, progress.days_due)}" '
        f'value="{progress.days_done}"></progress> {progress.days_done:,} of {due}{failed}; '
        f"{_received(progress)}</p>"
    )


def _counted(progress: Progress) -> str:
    days = plural(progress.days_pending, "day")
    return (
        f'<p><progress aria-labelledby="running" max="{progress.days_pending}" '
        f'value="{progress.days_counted}"></progress> {progress.days_counted:,} of {days}</p>'
    )


def _received(progress: Progress) -> str:
    received = f"{human_bytes(progress.bytes_received)} in {progress.seconds:.0f} s"
    left = progress.bytes_expected - progress.bytes_received
    if progress.bytes_received and left > 0 and progress.seconds >= 1:
        rate = progress.bytes_received / progress.seconds
        received += f", {human_bytes(rate)}/s, about {_span(left / rate)} left"
    return received


def _span(seconds: float) -> str:
    return f"{seconds:.0f} s" if seconds < 120 else f"{seconds / 60:.0f} min"


def _days(progress: Progress) -> str:
    parts = []
    if progress.active:
        more = len(progress.active) - _TOLD_DAYS
        days = ", ".join(map(str, progress.active[:_TOLD_DAYS]))
        rest = f" and {more} more" if more > 0 else ""
        parts.append(f'<p class="soft">On their way: {days}{rest}</p>')
    if progress.retrying:
        items = "".join(
            f"<li>{escape(day)}: {escape(told(problem))}"
            for day, problem in list(progress.retrying.items())[:_TOLD_RETRIES]
        )
        parts.append(f'<p class="soft">To be tried again</p><ul>{items}</ul>')
    return "".join(parts)
