"""`binder-mirror sync`: one pass, its progress, and a closing summary."""

from collections.abc import Iterator
from contextlib import nullcontext, suppress
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from mirror.archive.plan import PollRange
from mirror.archive.ports import PollEvent
from mirror.cli import common
from mirror.cli.display import show_poll
from mirror.cli.streams import answer
from mirror.config.settings import Config
from mirror.errors import ExitCode, MirrorError
from mirror.logs import get_logger
from mirror.model import DayRange, PollEnd, PollReport, Problem, ProblemKind
from mirror.status.wording import facts_of, problem_lines, report_facts
from mirror.store.disk import storage_errors, write_durably
from mirror.store.layout import DataDir
from mirror.sync.wiring import Preview, open_mirror, preview
from mirror.text import counts_text, human_bytes, plural

if TYPE_CHECKING:
    from mirror.status.metrics import Metrics

_SHOWN_DAYS = 40


@click.command()
@common.on_data_dir
@common.upstream_option
@click.option(
    "--dry-run", is_flag=True, help="Show what would be asked for, and why; write nothing."
)
@common.days_options
@click.option(
    "--remember",
    is_flag=True,
    help="Keep days from --since on, from now on and for all commands; all days without it.",
)
@click.option(
    "--recheck",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Ask again about the N final days that were confirmed longest ago.",
)
@click.option(
    "--metrics-file",
    type=click.Path(path_type=Path, dir_okay=False),
    metavar="PATH",
    help="Leave metrics there for node_exporter, however it ends; the name ends in .prom.",
)
@common.json_option
def sync(
    place: common.Place,
    days: DayRange,
    recheck: int,
    *,
    remember: bool,
    dry_run: bool,
    metrics_file: Path | None,
    as_json: bool,
) -> int:
    """Bring the copy in step with upstream, once.

    Asks for the index; downloads, verifies and publishes the days that are new or changed; writes
    the local index and SHA256SUMS. Can be killed at any moment and goes on from there.
    """
    if metrics_file is not None and metrics_file.suffix != ".prom":
        raise click.UsageError(f"--metrics-file {metrics_file} does not end in .prom")
    if remember and days.until:
        raise click.UsageError("--remember goes with --since alone")
    asked = PollRange(days, recheck, remembers=remember)
    if dry_run:
        with show_poll(place.config.log) as (show, _):
            found = common.run_until_signal(preview(*place, asked, show))
        answer(_preview_facts(found), _render_preview(found), as_json=as_json)
        return ExitCode.COMPLETE
    if metrics_file is None:
        report = common.run_until_signal(_poll(*place, asked), place.data)
    else:
        report = _poll_measured(*place, asked, metrics_file)
    lines = _render(report, ranged=days != DayRange())
    return common.conclude(report.exit_code, report_facts(report), lines, as_json=as_json)


async def _poll(
    config: Config, data: DataDir, asked: PollRange, metrics: "Metrics | None" = None
) -> PollReport:
    with show_poll(config.log) as (show, reading):

        def observe(event: PollEvent) -> None:
            if metrics is not None:
                metrics.observe(event)
            show(event)

        async with open_mirror(config, data) as mirror:
            with metrics.following(mirror.traffic) if metrics is not None else nullcontext():
                report = await mirror.poll(asked, observe)
        if config.dataset.enabled and report.exit_code != ExitCode.UPSTREAM_UNUSABLE:
            # a poll without a data set is not to pay for what that imports
            from mirror.dataset.build import update_dataset  # noqa: PLC0415

            problem = await update_dataset(data, moved=reading)
            if problem is not None:
                text = f"the data set is not in step: {problem}"
                warning = Problem(ProblemKind.DATASET, text)
                report = replace(report, warnings=(*report.warnings, warning))
    return report


def _poll_measured(config: Config, data: DataDir, asked: PollRange, path: Path) -> PollReport:
    """Poll, and leave metrics for node_exporter's textfile collector, however it ends."""
    # prometheus_client is worth its start-up time only where it is asked for
    from mirror.status.metrics import Metrics  # noqa: PLC0415

    metrics = Metrics(shows_process=False)
    try:
        report = common.run_until_signal(_poll(config, data, asked, metrics), data)
    except BaseException as error:
        exit_code = getattr(error, "exit_code", ExitCode.BUG)  # of a MirrorError or click's Exit
        try:
            _write_metrics(path, metrics, exit_code, config, data)
        except MirrorError as second:
            # the error that ended the poll matters more, and goes on
            get_logger().error("metrics.not_written", problem=second.line())
        raise
    _write_metrics(path, metrics, report.exit_code, config, data)
    return report


def _write_metrics(
    path: Path, metrics: "Metrics", exit_code: int, config: Config, data: DataDir
) -> None:
    from prometheus_client import CollectorRegistry, Gauge, generate_latest  # noqa: PLC0415

    from mirror.status.standing import read_status  # noqa: PLC0415

    now = datetime.now(UTC)
    ending = CollectorRegistry()
    gauge = partial(Gauge, namespace="binder_mirror", registry=ending)
    gauge("last_exit_code", "How the last run ended.").set(exit_code)
    gauge("last_run_timestamp_seconds", "When the last run ended.").set(now.timestamp())
    body = generate_latest(ending)
    with suppress(MirrorError):  # without inventory nothing is known of the copy
        body += metrics.render(
            read_status(data, now=now),
            interval=timedelta(seconds=config.schedule.interval),
            free_bytes=data.free_bytes(),
            now=now,
        )[0]
    write_durably(path, body, staging=path.parent)
    with storage_errors(path):
        path.chmod(0o644)  # the collector is another user


def _render(report: PollReport, *, ranged: bool) -> Iterator[str]:
    yield _headline(report)
    if ranged:
        yield f"  only the days asked for were judged: {report.listed:,} of those listed"
    done, requests = counts_text(report.outcomes) or "none", plural(report.requests, "request")
    size = human_bytes(report.downloaded_bytes)
    yield f"  days asked for: {done}; {requests}, {size} in {report.duration_s:.1f} s"
    if report.pending_findings:
        yield f"  the content of {plural(report.pending_findings, 'day')} is still to be counted"
    yield from problem_lines(report.warnings, "warning:")
    yield from problem_lines(report.problems, "problem:")


def _headline(report: PollReport) -> str:
    how, listed = report.end.headline, ""
    if report.end is PollEnd.UNUSABLE:
        how += ", nothing changed"
    elif report.end is PollEnd.INCOMPLETE:
        listed = f", {plural(report.listed, 'day')} listed"
    elif not report.index_state.is_healthy:
        how += f" (index {report.index_state})"
    days, events = plural(report.held, "day"), plural(report.events, "event")
    return f"{how}: {days} held, {events}, {human_bytes(report.archive_bytes)}{listed}"


def _preview_facts(found: Preview) -> dict[str, object]:
    due = [
        {
            "date": due.date,
            "name": due.name,
            "reason": due.reason,
            "expected_lines": due.expected,
            "held_lines": due.held.lines if due.held else None,
            "estimated_bytes": due.estimated_bytes,
        }
        for due in found.plan.due
    ]
    return {
        "due": due,
        "reasons": found.plan.reasons(),
        "estimated_bytes": found.plan.estimated_bytes,
        "listed": found.plan.listed,
        "unproven_files": found.unverified,
        "index_state": found.index_state,
        "warnings": facts_of(found.warnings),
    }


def _render_preview(found: Preview) -> Iterator[str]:
    plan = found.plan
    reasons = counts_text(plan.reasons()) or "nothing is due"
    listed, size = plural(plan.listed, "listed day"), human_bytes(plan.estimated_bytes)
    yield f"Would ask for {len(plan.due):,} of {listed}, about {size}: {reasons}"
    if found.unverified:
        files = plural(found.unverified, "file")
        yield f"  would first compare {files} without a record with upstream's"
    for due in plan.due[:_SHOWN_DAYS]:
        held = f"{due.held.lines:,}" if due.held else "-"
        expected = f"{due.expected:,}" if due.expected is not None else "?"
        size = human_bytes(due.estimated_bytes)
        yield f"  {due.date}  {due.reason:<9} {held:>9} -> {expected:>9} lines  ~{size}"
    if (more := len(plan.due) - _SHOWN_DAYS) > 0:
        yield f"  and {more:,} more; --json lists them all"
    yield from problem_lines(found.warnings, "warning:")
