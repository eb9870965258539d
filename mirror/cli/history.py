"""`binder-mirror history`, `restore` and `prune`: the bodies kept beside those published."""

from contextlib import nullcontext
from datetime import UTC, date, datetime
from itertools import groupby

import click

from mirror.archive.manifest import Version
from mirror.cli import common
from mirror.cli.streams import answer, say
from mirror.errors import ConfigError
from mirror.model import Record
from mirror.store import aside
from mirror.store.inventory import load_inventory
from mirror.store.layout import writer_lock
from mirror.text import human_bytes, plural


@click.command()
@click.argument("day", type=common.parse_day, required=False, metavar="[DATE]")
@common.data_dir_option
@common.json_option
@click.pass_context
def history(ctx: click.Context, day: date | None, *, as_json: bool) -> None:
    """List the predecessors kept, of one day or of all.

    A published body goes to history when it is replaced by one with fewer events, or when its day
    was final.
    """
    _, data = common.load_mirror(ctx)
    versions = aside.list_versions(data, day)
    published = load_inventory(data).records.get(day) if day is not None else None
    lines = [
        f"{_columns(one)}  replaced {one.kept_at:%Y-%m-%d %H:%M} UTC"
        + (", was final" if one.was_final else "")
        for one in versions
    ]
    if not lines:
        lines.append(f"No predecessors are kept{f' of {day}' if day else ''}.")
    if published is not None:
        lines.append(f"{_columns(published)}  published now")
    answer({"versions": versions}, "\n".join(lines), as_json=as_json)


def _columns(one: Version | Record) -> str:
    size = human_bytes(one.size)
    return f"{one.date}  {one.sha256[:12]}  {one.lines:>9,} lines  {size:>8}"


@click.command()
@click.argument("day", type=common.parse_day, metavar="DATE")
@click.argument("digest", metavar="DIGEST")
@common.data_dir_option
@click.pass_context
def restore(ctx: click.Context, day: date, digest: str) -> None:
    """Publish a predecessor of DATE again, named by the first digits of its SHA-256.

    What it replaces goes to history in its turn. The restored body stays until upstream's index
    says another count for the day.
    """
    config, data = common.load_mirror(ctx)
    found = [v for v in aside.list_versions(data, day) if v.sha256.startswith(digest.lower())]
    if not digest or len({version.sha256 for version in found}) != 1:
        problem = "no predecessor" if not found or not digest else "more than one predecessor"
        raise ConfigError(
            f"{problem} of {day} has a digest that begins with {digest!r}",
            hint=f"`binder-mirror history {day}` lists them",
        )
    common.with_mirror(config, data, lambda mirror: mirror.restore(found[0]))
    lines = plural(found[0].lines, "line")
    say(f"{day}: {found[0].sha256[:12]} is published again, {lines}")


@click.command()
@common.data_dir_option
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
    type=common.DURATION,
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
    _, data = common.load_mirror(ctx)
    # a dry run writes nothing, so that it works on a read-only disk and beside a sync too
    with nullcontext() if dry_run else writer_lock(data):
        now = datetime.now(UTC)
        versions = _beyond(keep, aside.list_versions(data)) if of_history else []
        versions = [one for one in versions if (now - one.kept_at).total_seconds() >= older_than]
        refused = aside.list_quarantined(data) if of_quarantine else []
        bodies = [one for one in refused if (now - one.at).total_seconds() >= older_than]
        if not dry_run:
            aside.remove_versions(data, versions)
            aside.remove_quarantined(data, bodies)
    size = sum(v.packed_size for v in versions) + sum(b.size for b in bodies)
    say(
        f"{'Would delete' if dry_run else 'Deleted'} {plural(len(versions), 'predecessor')} and "
        f"{len(bodies):,} from quarantine, {human_bytes(size)}"
    )


def _beyond(keep: int, versions: list[Version]) -> list[Version]:
    """Return all versions but the latest `keep` of each day."""
    days = (list(some) for _, some in groupby(versions, key=lambda version: version.date))
    return [one for some in days for one in some[: max(0, len(some) - keep)]]
