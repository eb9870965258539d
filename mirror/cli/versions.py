"""`binder-mirror history` and `restore`: predecessors of published bodies, and putting one back."""

from datetime import date

import click

from mirror.archive.manifest import Version
from mirror.cli.common import (
    DAY,
    data_dir_option,
    json_option,
    load,
    print_json,
    run_until_signal,
    say,
)
from mirror.errors import ConfigError
from mirror.store import history as kept
from mirror.store.inventory import load_inventory
from mirror.store.layout import require_mirror
from mirror.text import human_bytes, plural


@click.command()
@click.argument("day", type=DAY, required=False, metavar="[DATE]")
@data_dir_option
@json_option
@click.pass_context
def history(ctx: click.Context, day: date | None, data_dir: str | None, *, as_json: bool) -> int:
    """List the predecessors kept, of one day or of all.

    A published body goes to history when it is replaced by one with fewer events, or when its day
    was final.
    """
    _, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    versions = kept.list_versions(data, day)
    if as_json:
        print_json({"versions": versions})
        return 0
    if not versions:
        say(f"No predecessors are kept{f' of {day}' if day else ''}.")
    for version in versions:
        say(_line(version))
    if day is not None:
        record = load_inventory(data).records.get(day)
        if record is not None:
            say(
                f"{day}  {record.sha256[:12]}  {record.lines:>9,} lines  "
                f"{human_bytes(record.size):>8}  published now"
            )
    return 0


def _line(version: Version) -> str:
    size = f"{version.lines:>9,} lines  {human_bytes(version.size):>8}"
    return (
        f"{version.date}  {version.sha256[:12]}  {size}  "
        f"replaced {version.kept_at:%Y-%m-%d %H:%M} UTC"
        + (", was final" if version.was_final else "")
    )


@click.command()
@click.argument("day", type=DAY, metavar="DATE")
@click.argument("digest", metavar="DIGEST")
@data_dir_option
@click.pass_context
def restore(ctx: click.Context, day: date, digest: str, data_dir: str | None) -> int:
    """Publish a predecessor of DATE again, named by the first digits of its SHA-256.

    What it replaces goes to history in its turn. The restored body stays until upstream's index
    says another count for the day.
    """
    config, data = load(ctx, data_dir=data_dir)
    require_mirror(data)
    found = [v for v in kept.list_versions(data, day) if v.sha256.startswith(digest.lower())]
    if not digest or len({version.sha256 for version in found}) != 1:
        problem = "no predecessor" if not found or not digest else "more than one predecessor"
        raise ConfigError(
            f"{problem} of {day} has a digest that begins with {digest!r}",
            hint=f"`binder-mirror history {day}` lists them",
        )

    # brings the HTTP client along, which `history` has no use for
    from mirror.sync.wiring import open_mirror  # noqa: PLC0415

    async def put_back() -> None:
        async with open_mirror(config, data) as mirror:
            await mirror.restore(found[0])

    run_until_signal(put_back())
    version = found[0]
    say(f"{day}: {version.sha256[:12]} is published again, {plural(version.lines, 'line')}")
    return 0
