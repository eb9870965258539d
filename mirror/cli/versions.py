"""`binder-mirror history` and `restore`: predecessors of published bodies, and putting one back."""

from datetime import date

import click

from mirror.archive.manifest import Version
from mirror.cli.common import (
    data_dir_option,
    json_option,
    load_mirror,
    parse_day,
    run_until_signal,
)
from mirror.cli.streams import answer, say
from mirror.errors import ConfigError
from mirror.model import Record
from mirror.store.aside import list_versions
from mirror.store.inventory import load_inventory
from mirror.text import human_bytes, plural


@click.command()
@click.argument("day", type=parse_day, required=False, metavar="[DATE]")
@data_dir_option
@json_option
@click.pass_context
def history(ctx: click.Context, day: date | None, *, as_json: bool) -> None:
    """List the predecessors kept, of one day or of all.

    A published body goes to history when it is replaced by one with fewer events, or when its day
    was final.
    """
    _, data = load_mirror(ctx)
    versions = list_versions(data, day)
    published = load_inventory(data).records.get(day) if day is not None else None
    lines = [_line(one) for one in versions]
    if not lines:
        lines.append(f"No predecessors are kept{f' of {day}' if day else ''}.")
    if published is not None:
        lines.append(f"{_body(published)}  published now")
    answer({"versions": versions}, "\n".join(lines), as_json=as_json)


def _line(version: Version) -> str:
    end = ", was final" if version.was_final else ""
    return f"{_body(version)}  replaced {version.kept_at:%Y-%m-%d %H:%M} UTC{end}"


def _body(one: Version | Record) -> str:
    """Return day, digest and size of a body, as columns."""
    size = f"{one.lines:>9,} lines  {human_bytes(one.size):>8}"
    return f"{one.date}  {one.sha256[:12]}  {size}"


@click.command()
@click.argument("day", type=parse_day, metavar="DATE")
@click.argument("digest", metavar="DIGEST")
@data_dir_option
@click.pass_context
def restore(ctx: click.Context, day: date, digest: str) -> None:
    """Publish a predecessor of DATE again, named by the first digits of its SHA-256.

    What it replaces goes to history in its turn. The restored body stays until upstream's index
    says another count for the day.
    """
    config, data = load_mirror(ctx)
    found = [v for v in list_versions(data, day) if v.sha256.startswith(digest.lower())]
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
    lines = plural(found[0].lines, "line")
    say(f"{day}: {found[0].sha256[:12]} is published again, {lines}")
