"""`binder-mirror sync`: one pass, its progress, and a closing summary."""

import sys
from contextlib import AbstractContextManager, nullcontext
from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING

import click
from msgspec.structs import replace

from mirror.archive.plan import PollRange
from mirror.archive.ports import Observer, PollEvent, ignore
from mirror.cli.common import (
    check_range,
    data_dir_option,
    json_option,
    load,
    range_options,
    run_until_signal,
    upstream_option,
)
from mirror.cli.progress import show_poll
from mirror.cli.streams import answer
from mirror.config.settings import Config, LogConfig
from mirror.dataset.update import update_dataset
from mirror.errors import ExitCode
from mirror.logs import configure_logs
from mirror.model import Due, PollEnd, PollReport, Problem, ProblemKind
from mirror.progress import takes_escapes
from mirror.status.problems import facts_of, problem_lines, report_facts
from mirror.store.layout import DataDir
from mirror.sync.wiring import Mirror, Preview, open_mirror, preview
from mirror.text import human_bytes, plural

if TYPE_CHECKING:
    from mirror.cli.textfile import Run

_SHOWN_DAYS = 40


@click.command()
@data_dir_option
@upstream_option
@click.option(
    "--dry-run", is_flag=True, help="Show what would be asked for, and why; write nothing."
)
@range_options
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
@json_option
@click.pass_context
def sync(
    ctx: click.Context,
    since: date | None,
    until: date | None,
    recheck: int,
    *,
    dry_run: bool,
    metrics_file: Path | None,
    as_json: bool,
) -> int:
    """Bring the copy in step with upstream, once.

    Asks for the index; downloads, verifies and publishes the days that are new or changed; writes
    the local index and SHA256SUMS. Can be killed at any moment and goes on from there.
    """
    check_range(since, until)
    if metrics_file is not None and metrics_file.suffix != ".prom":
        raise click.UsageError(f"--metrics-file {metrics_file} does not end in .prom")
    config, data = load(ctx)
    asked = PollRange(since, until, recheck)
    if dry_run:
        found = run_until_signal(preview(config, data, asked))
        answer(_preview_facts(found), _render_preview(found), as_json=as_json)
        return ExitCode.COMPLETE
    with _metrics_file(metrics_file, config, data) as run, _observer(config) as observer:
        report = run_until_signal(_sync(config, data, asked, observer, run))
    text = _render(report, ranged=since is not None or until is not None)
    answer(report_facts(report), text, as_json=as_json)
    return report.exit_code


async def _sync(
    config: Config, data: DataDir, asked: PollRange, observer: Observer, run: "Run | None"
) -> PollReport:
    async with open_mirror(config, data) as mirror:
        report = await _poll(mirror, asked, observer, run)
    if config.dataset.enabled and report.exit_code != ExitCode.UPSTREAM_UNUSABLE:
        problem = await update_dataset(data, moved=lambda _files, _bytes: None)
        if problem is not None:
            text = f"the data set is not in step: {problem}"
            warning = Problem(ProblemKind.DATASET, text)
            report = replace(report, warnings=(*report.warnings, warning))
    return report


async def _poll(
    mirror: Mirror, asked: PollRange, observer: Observer, run: "Run | None"
) -> PollReport:
    if run is None:
        return await mirror.poll(asked, observer)

    def observe(event: PollEvent) -> None:
        run.metrics.observe(event)
        observer(event)

    with run.metrics.following(mirror.traffic):
        report = await mirror.poll(asked, observe)
    run.exit_code = report.exit_code
    return report


def _metrics_file(
    path: Path | None, config: Config, data: DataDir
) -> AbstractContextManager["Run | None"]:
    if path is None:
        return nullcontext()
    # prometheus_client is worth its start-up time only where it is asked for
    from mirror.cli.textfile import metrics_file  # noqa: PLC0415

    return metrics_file(path, config, data)


def _observer(config: Config) -> AbstractContextManager[Observer]:
    if not takes_escapes(sys.stderr):
        return nullcontext(ignore)
    if config.log.level in ("debug", "info"):
        # the terminal is the bar's: only warnings and worse are logged
        configure_logs(LogConfig(format=config.log.format, level="warning"))
    return show_poll()


def _render(report: PollReport, *, ranged: bool) -> str:
    lines = [_headline(report)]
    if ranged:
        lines.append(f"  only the days asked for were judged: {report.listed:,} of those listed")
    done = ", ".join(f"{kind} {count:,}" for kind, count in report.outcomes.items())
    lines.append(
        f"  days asked for: {done or 'none'}; {plural(report.requests, 'request')}, "
        f"{human_bytes(report.downloaded_bytes)} in {report.duration_s:.1f} s"
    )
    if report.pending_findings:
        lines.append(
            f"  the content of {plural(report.pending_findings, 'day')} is still to be counted"
        )
    lines += problem_lines(report.warnings, "warning:")
    lines += problem_lines(report.problems, "problem:")
    return "\n".join(lines)


def _headline(report: PollReport) -> str:
    held = (
        f"{plural(report.held, 'day')} held, {plural(report.events, 'event')}, "
        f"{human_bytes(report.archive_bytes)}"
    )
    state, end = report.index_state, report.end
    if end is PollEnd.COMPLETE:
        index = "" if state.is_healthy else f" (index {state})"
        return f"{end.headline}{index}: {held}"
    if end is PollEnd.UNUSABLE:
        return f"{end.headline}, nothing changed: {held}"
    return f"{end.headline}: {held}, {plural(report.listed, 'day')} listed"


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


def _render_preview(found: Preview) -> str:
    plan = found.plan
    reasons = ", ".join(f"{reason} {count:,}" for reason, count in plan.reasons().items())
    due, size = len(plan.due), human_bytes(plan.estimated_bytes)
    listed = plural(plan.listed, "listed day")
    lines = [f"Would ask for {due:,} of {listed}, about {size}: {reasons or 'nothing is due'}"]
    if found.unverified:
        files = plural(found.unverified, "file")
        lines.append(f"  would first compare {files} without a record with upstream's")
    lines += map(_due_line, plan.due[:_SHOWN_DAYS])
    if (more := due - _SHOWN_DAYS) > 0:
        lines.append(f"  and {more:,} more; --json lists them all")
    return "\n".join([*lines, *problem_lines(found.warnings, "warning:")])


def _due_line(due: Due) -> str:
    held = f"{due.held.lines:,}" if due.held else "-"
    expected = f"{due.expected:,}" if due.expected is not None else "?"
    size = human_bytes(due.estimated_bytes)
    return f"  {due.date}  {due.reason:<9} {held:>9} -> {expected:>9} lines  ~{size}"
