"""`binder-mirror history`, `restore` and `prune`: the bodies kept beside those published."""

from collections.abc import Sequence
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
from mirror.store.aside import Quarantined
from mirror.store.inventory import load_inventory
from mirror.store.layout import writer_lock
from mirror.text import ago, human_bytes, parse_duration, plural, printable, utc_minute


@click.command()
@common.on_mirror
@click.argument("day", type=common.DAY, required=False, metavar="[DATE]")
@common.json_option
def history(place: common.Place, day: date | None, *, as_json: bool) -> None:
    """List the predecessors kept, of one day or of all.

    A published body goes to history when it is replaced by one with fewer events, or when its day
    was final.
    """
    versions = aside.list_versions(place.data, day)
    records = load_inventory(place.data).records
    published = records.get(day) if day is not None else None
    lines = [f"{_columns(one)}  {_when(one)}" for one in versions]
    if not lines:
        lines.append(f"No predecessors are kept{f' of {day}' if day else ''}.")
    if published is not None:
        lines.append(f"{_columns(published)}  published now")
    digests = {one.date: one.sha256 for one in records.values()}
    others = [one for one in versions if one.sha256 != digests.get(one.date)]
    if others:
        of_one = f"restore {others[0].date} {others[0].sha256[:12]}"
        lines.append(f"`binder-mirror {of_one}` publishes that body again.")
    answer({"versions": versions}, lines, as_json=as_json)


def _columns(one: Version | Record) -> str:
    size = human_bytes(one.size)
    return f"{one.date}  {one.sha256[:12]}  {one.lines:>9,} lines  {size:>8}"


def _when(one: Version) -> str:
    return f"replaced {utc_minute(one.kept_at)}" + ", was final" * one.was_final


@click.command()
@common.on_mirror
@click.argument("day", type=common.DAY, metavar="DATE")
@click.argument("digest", metavar="DIGEST")
def restore(place: common.Place, day: date, digest: str) -> None:
    """Publish a predecessor of DATE again, named by the first digits of its SHA-256.

    What it replaces goes to history in its turn. The restored body stays until upstream's index
    says another count for the day.
    """
    found = [v for v in aside.list_versions(place.data, day) if v.sha256.startswith(digest.lower())]
    if not digest or len({version.sha256 for version in found}) != 1:
        problem = "no predecessor" if not found or not digest else "more than one predecessor"
        raise ConfigError(
            f"{problem} of {day} has a digest that begins with {digest!r}",
            hint=f"`binder-mirror history {day}` lists them",
        )
    held = load_inventory(place.data).records.get(day)
    # then too: the listings may lack it, and from now on it stays
    common.with_mirror(*place, lambda mirror: mirror.restore(found[0]))
    is_published = held is not None and held.sha256 == found[0].sha256
    lines, how = plural(found[0].lines, "line"), "already" if is_published else "again"
    say(f"{day}: {found[0].sha256[:12]} is published {how}, {lines}")


@common.option_type
def _parse_age(text: str) -> float:
    """Return seconds; what deletes for good takes no number whose unit is anybody's guess."""
    if text.strip().replace(".", "").isdigit():
        raise ValueError(f'has no unit: say "{text.strip()}d" for days')
    return parse_duration(text)


@click.command()
@common.on_mirror
@click.option("--history", "of_history", is_flag=True, help="Delete predecessors.")
@click.option("--quarantine", "of_quarantine", is_flag=True, help="Delete refused bodies.")
@click.option(
    "--keep",
    type=click.IntRange(min=0),
    metavar="N",
    help="Keep the N latest predecessors of each day.",
)
@click.option(
    "--older-than",
    type=_parse_age,
    metavar="TIME",
    help='Only what has been there for longer, with a unit, as "90d".',
)
@click.option("--all", "everything", is_flag=True, help="Delete all of them.")
@click.option(
    "--dry-run", is_flag=True, help="List what would be deleted, one a line; delete nothing."
)
def prune(
    place: common.Place,
    keep: int | None,
    older_than: float | None,
    *,
    of_history: bool,
    of_quarantine: bool,
    everything: bool,
    dry_run: bool,
) -> None:
    """Delete predecessors or refused bodies for good. Published files are never touched.

    Say what (--history, --quarantine), and how much of it (--older-than or --keep, or --all). What
    is deleted is listed, one a line; --keep is about predecessors alone.
    """
    if not of_history and not of_quarantine:
        raise click.UsageError("say what to delete: --history, --quarantine or both")
    if everything and (older_than is not None or keep is not None):
        raise click.UsageError("--all leaves nothing: leave out --keep and --older-than")
    # a dry run writes nothing, so that it works on a read-only disk and beside a sync too
    is_bounded = older_than is not None or (keep is not None and not of_quarantine)
    is_refused = not (everything or is_bounded or dry_run)
    with nullcontext() if dry_run or is_refused else writer_lock(place.data):
        now = datetime.now(UTC)
        versions = _beyond(keep or 0, aside.list_versions(place.data)) if of_history else []
        bodies = aside.list_quarantined(place.data) if of_quarantine else []
        if older_than is not None:
            before = now.timestamp() - older_than
            versions = [one for one in versions if one.kept_at.timestamp() <= before]
            bodies = [one for one in bodies if one.at.timestamp() <= before]
        if is_refused:
            bound = "--older-than TIME" + " or --keep N" * (not of_quarantine)
            raise click.UsageError(
                f"this would delete {_sum_up(versions, bodies)}: say --all, or how much by {bound}"
            )
        if not dry_run:
            aside.remove_versions(place.data, versions)
            aside.remove_quarantined(place.data, bodies)
    lines = [f"{'Would delete' if dry_run else 'Deleted'} {_sum_up(versions, bodies)}"]
    lines += [f"  {_columns(one)}  {_when(one)}, {ago(one.kept_at, now=now)}" for one in versions]
    lines += [
        f"  {one.date}  {one.sha256[:12]}  in quarantine  {human_bytes(one.size):>8}  "
        f"{ago(one.at, now=now)}: {printable(one.reason)}"
        for one in bodies
    ]
    say("\n".join(lines))


def _sum_up(versions: Sequence[Version], bodies: Sequence[Quarantined]) -> str:
    final = sum(version.was_final for version in versions)
    of_final = f" ({final:,} of final days)" if final else ""
    size = sum(one.packed_size for one in versions) + sum(one.size for one in bodies)
    return (
        f"{plural(len(versions), 'predecessor')}{of_final} and {len(bodies):,} from quarantine, "
        f"{human_bytes(size)}"
    )


def _beyond(keep: int, versions: list[Version]) -> list[Version]:
    """Return all versions but the latest `keep` of each day."""
    days = (list(some) for _, some in groupby(versions, key=lambda version: version.date))
    return [one for some in days for one in some[: max(0, len(some) - keep)]]
