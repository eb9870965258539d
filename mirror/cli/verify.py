"""`binder-mirror verify`: reads the copy again, and with `--repair` repairs what is damaged."""

import math
import random
import re
from collections.abc import Iterator, Sequence
from datetime import UTC, date, datetime

import click
import msgspec
from msgspec.structs import replace

from mirror.archive.final_days import tell_changes
from mirror.cli import common
from mirror.cli.display import show_poll
from mirror.cli.options import given
from mirror.cli.streams import say
from mirror.config.address import identity_of
from mirror.config.settings import Config, UpstreamConfig
from mirror.errors import ExitCode
from mirror.model import DamageKind, Record, Repair
from mirror.progress import show_reading
from mirror.status.wording import problem_lines
from mirror.store.inventory import load_inventory, load_upstream
from mirror.store.layout import DataDir
from mirror.store.verification import VerifyReport
from mirror.store.verification import verify as verify_copy
from mirror.text import human_bytes, plural

_PERCENT = re.compile(r"([0-9]+(?:\.[0-9]+)?)%?")
_BY_HAND = {DamageKind.WRONG_KIND, DamageKind.STRANGER}


@common.option_type
def _parse_share(text: str) -> float:
    match = _PERCENT.fullmatch(text)
    if match is None or not 0 < float(match[1]) <= 100:
        raise ValueError("is not a part like 5%, above 0% and up to 100%")
    return float(match[1]) / 100


@click.command()
@common.on_mirror
@common.upstream_option
@click.option(
    "--sample",
    "share",
    type=_parse_share,
    default="100%",
    metavar="PERCENT",
    help="Read only this part of the files, drawn at random (all are compared by size and time).",
)
@click.option(
    "--repair",
    is_flag=True,
    help="Fetch what is damaged again, or take it from history; rebuild wrong listings.",
)
@common.json_option
def verify(place: common.Place, share: float, *, repair: bool, as_json: bool) -> int:
    """Read every published file again and compare it with the manifest.

    Exits 3 where damage is found and, with --repair, where some is left or a day was lost. With
    --json and --repair the object lists what was repaired, from where, which days are no longer
    held, and final days that upstream had changed.
    """
    report = found = _verify(place.data, share)
    lost: list[date] = []
    done = Repair()
    if repair and (found.damage or found.undated):
        if not as_json:
            say("\n".join(_render(found, repairs=True)))
        config = _with_known_upstream(*place)
        with show_poll(config.log) as (show, _):
            done = common.with_mirror(
                config, place.data, lambda mirror: mirror.repair(found.damage, show)
            )
        report = _verify(place.data)
        damaged = {one.day for one in found.damage if one.day is not None}
        held = load_inventory(place.data).records
        lost = sorted(damaged - held.keys() - {one.day for one in report.damage})
    facts, lines = msgspec.to_builtins(report), list(_render(report))
    if repair:
        left = {one.name for one in report.damage}
        repaired = [
            # what is of no day is a listing, made anew of what is held
            msgspec.to_builtins(one)
            | {"source": done.sources.get(one.day or date.min, "what is held")}
            for one in found.damage
            if one.name not in left and one.day not in lost
        ]
        facts |= {"repaired": repaired, "no_longer_held": lost, "final_changes": done.changes}
        if repaired and not left:
            lines.append(f"repaired: {len(repaired):,}")
        why = "neither upstream nor history has it; its rotten body, if any, is in quarantine/"
        lines += [f"no longer held: {day} ({why})" for day in lost]
        lines += problem_lines(tell_changes(done.changes), "warning:")
    code = ExitCode.INCOMPLETE if report.damage or lost else ExitCode.COMPLETE
    return common.conclude(code, facts, lines, as_json=as_json)


def _verify(data: DataDir, share: float = 1.0) -> VerifyReport:
    def choose(records: Sequence[Record]) -> Sequence[Record]:
        if share < 1:
            # the draw keeps no secret
            records = random.sample(records, math.ceil(len(records) * share))
        reading.total_bytes = sum(record.size for record in records)
        return records

    with show_reading(None, is_quiet=given().is_quiet) as reading:
        return verify_copy(data, choose=choose, progress=reading, today=datetime.now(UTC).date())


def _with_known_upstream(config: Config, data: DataDir) -> Config:
    """Return the settings with the upstream that the copy was made from, where none is named."""
    known = load_upstream(data, "").url
    if not known or identity_of(config.upstream.url) != UpstreamConfig().url:
        return config
    return replace(config, upstream=replace(config.upstream, url=known))


def _render(report: VerifyReport, *, repairs: bool = False) -> Iterator[str]:
    files, size = plural(report.checked, "file"), human_bytes(report.checked_bytes)
    unrecorded = sum(one.kind is DamageKind.UNRECORDED for one in report.damage)
    damaged = len(report.damage) - unrecorded
    counts = {"damaged": damaged, "not on record": unrecorded}
    found = [f"{count:,} {what}" for what, count in counts.items() if count]
    yield f"{files} of {report.held:,} read, {size}: {', '.join(found) or 'all as recorded'}"
    yield from (f"  {one.kind:<14} {one.name}: {one.detail}" for one in report.damage)
    if report.undated:
        yield f"  {plural(report.undated, 'file')} with another time than is recorded"
    kinds = {one.kind for one in report.damage}
    if not repairs and (report.undated or kinds - _BY_HAND - {DamageKind.UNRECORDED}):
        yield "  `binder-mirror verify --repair` puts right what can be put right"
    if DamageKind.UNRECORDED in kinds and not repairs:
        yield "  `binder-mirror sync` asks upstream about what is not on record"
    if kinds & _BY_HAND:
        yield "  what is none of ours is not touched: move it away by hand"
