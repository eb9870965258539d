"""`binder-mirror prune`: the one command that deletes predecessors and refused bodies for good."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import groupby

import click

from mirror.archive.manifest import Version
from mirror.cli.common import DURATION, data_dir_option, load_mirror
from mirror.cli.streams import say
from mirror.clock import utc_now
from mirror.store import aside
from mirror.store.layout import writer_lock
from mirror.text import human_bytes, plural


@click.command()
@data_dir_option
@click.option("--history", "of_history", is_flag=True, help="Delete predecessors.")
@click.option("--quarantine", "of_quarantine", is_flag=True, help="Delete refused bodies.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    default=0,
    metavar="N",
    help="Keep the N latest predecessors of each day.",
)
@click.option(
    "--older-than",
    type=DURATION,
    default="0",
    metavar="TIME",
    help='Only what has been there for longer, as "90d".',
)
@click.option("--dry-run", is_flag=True, help="Show what would be deleted; delete nothing.")
@click.pass_context
def prune(
    ctx: click.Context,
    keep: int,
    older_than: float,
    *,
    of_history: bool,
    of_quarantine: bool,
    dry_run: bool,
) -> None:
    """Delete predecessors or refused bodies for good. Published files are never touched."""
    if not of_history and not of_quarantine:
        raise click.UsageError("say what to delete: --history, --quarantine or both")
    _, data = load_mirror(ctx)
    # a dry run writes nothing, so that it works on a read-only disk and beside a sync too
    with nullcontext() if dry_run else writer_lock(data):
        before = _ago(older_than)
        versions = _versions(aside.list_versions(data), keep, before) if of_history else []
        refused = aside.list_quarantined(data) if of_quarantine else []
        bodies = [body for body in refused if body.at <= before]
        if not dry_run:
            aside.remove_versions(data, versions)
            aside.remove_quarantined(data, bodies)
    size = sum(v.packed_size for v in versions) + sum(b.size for b in bodies)
    say(
        f"{'Would delete' if dry_run else 'Deleted'} {plural(len(versions), 'predecessor')} and "
        f"{len(bodies):,} from quarantine, {human_bytes(size)}"
    )


def _versions(versions: list[Version], keep: int, before: datetime) -> list[Version]:
    """Return what may go: beyond the latest `keep` of its day, and kept before `before`."""
    chosen: list[Version] = []
    for _, group in groupby(versions, key=lambda version: version.date):
        of_day = list(group)
        chosen += of_day[: len(of_day) - keep] if keep else of_day
    return [version for version in chosen if version.kept_at <= before]


def _ago(seconds: float) -> datetime:
    try:
        return utc_now() - timedelta(seconds=seconds)
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)
