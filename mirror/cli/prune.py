"""`binder-mirror prune`: the only command that deletes for good, and only what it is told to."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from itertools import groupby

import click

from mirror.archive.manifest import Version
from mirror.cli.common import data_dir_option, load, say
from mirror.clock import utc_now
from mirror.store import history, quarantine
from mirror.store.layout import require_mirror, writer_lock
from mirror.store.quarantine import Quarantined
from mirror.text import human_bytes, parse_duration, plural


class _Duration(click.ParamType[timedelta]):
    name = "duration"

    def convert(
        self, value: object, param: click.Parameter | None, ctx: click.Context | None
    ) -> timedelta:
        if isinstance(value, timedelta):
            return value
        try:
            return timedelta(seconds=parse_duration(str(value)))
        except (ValueError, OverflowError) as error:
            self.fail(str(error), param, ctx)


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
    type=_Duration(),
    default="0",
    metavar="TIME",
    help='Only what has been there for longer, as "90d".',
)
@click.option("--dry-run", is_flag=True, help="Tell what would be deleted; delete nothing.")
@click.pass_context
def prune(
    ctx: click.Context,
    data_dir: str | None,
    keep: int,
    older_than: timedelta,
    *,
    of_history: bool,
    of_quarantine: bool,
    dry_run: bool,
) -> int:
    """Delete predecessors or refused bodies for good. Published files are never touched."""
    if not of_history and not of_quarantine:
        raise click.UsageError("say what to delete: --history, --quarantine or both")
    _, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    # a dry run writes nothing, so that it works on a read-only disk and beside a sync too
    with nullcontext() if dry_run else writer_lock(data):
        before = _ago(older_than)
        versions = _versions(history.list_versions(data), keep, before) if of_history else []
        bodies = _bodies(quarantine.list_quarantined(data), before) if of_quarantine else []
        if not dry_run:
            history.remove_versions(data, versions)
            quarantine.remove(data, bodies)
    size = sum(v.packed_size for v in versions) + sum(b.size for b in bodies)
    say(
        f"{'Would delete' if dry_run else 'Deleted'} {plural(len(versions), 'predecessor')} and "
        f"{len(bodies):,} from quarantine, {human_bytes(size)}"
    )
    return 0


def _versions(versions: list[Version], keep: int, before: datetime) -> list[Version]:
    """Return what may go: beyond the latest `keep` of its day, and kept before `before`."""
    chosen: list[Version] = []
    for _, group in groupby(versions, key=lambda version: version.date):
        of_day = list(group)
        chosen += of_day[: len(of_day) - keep] if keep else of_day
    return [version for version in chosen if version.kept_at <= before]


def _ago(span: timedelta) -> datetime:
    try:
        return utc_now() - span
    except OverflowError:
        return datetime.min.replace(tzinfo=UTC)


def _bodies(bodies: list[Quarantined], before: datetime) -> list[Quarantined]:
    return [body for body in bodies if body.at <= before]
