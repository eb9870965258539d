"""Loads a data directory as one frozen snapshot.

No lock is taken and nothing is written, so that a snapshot can be had of a read-only disk and while
a sync runs.
"""

from datetime import datetime
from pathlib import Path

from msgspec import Struct

from mirror.archive.headers import MAX_MIRRORS
from mirror.archive.manifest import Inventory
from mirror.archive.upstream import Upstream
from mirror.events.findings import merge
from mirror.events.series import Months, sum_months
from mirror.model import FinalChange, Findings, PollReport
from mirror.store.aside import Quarantined, list_quarantined, load_changes
from mirror.store.disk import kind_of, read_if_file
from mirror.store.inventory import load_inventory, load_upstream
from mirror.store.layout import DataDir
from mirror.store.polls import LOADED_POLLS, load_polls
from mirror.store.proof import prove


class Snapshot(Struct, frozen=True, eq=False):
    """What a data directory says at one moment; compared by identity."""

    inventory: Inventory
    upstream: Upstream
    mirrors: tuple[str, ...]
    """The identities of this mirror and of those that it follows, as `X-Binder-Mirror` has them."""
    polls: tuple[PollReport, ...]  # the last polls, latest last; at most `LOADED_POLLS`
    successes: tuple[datetime, ...]
    """When complete polls ended, ascending; the last one is there, however long ago that was."""
    quarantined: tuple[Quarantined, ...]
    final_changes: tuple[FinalChange, ...]  # what upstream has done to final days, oldest first
    months: Months  # what the held days come to, by month
    findings: Findings  # sums over the days that were looked into, the names bounded as a day's are
    is_proved: bool  # whether all was tried to prove files that are not as recorded
    unreadable: tuple[Path, ...]  # files of ours that are gone, no files, or cannot be read
    is_overstated: bool
    """Whether the listings on disk list a day whose file is gone, another, or yet to be proved."""


def load_snapshot(
    data: DataDir, before: Snapshot | None = None, *, proving: bool = True
) -> Snapshot:
    """Return the snapshot of now.

    The sums of an earlier one are taken over where nothing has changed. `proving` files that have
    lost their recorded time may take long.
    """
    inventory = load_inventory(data, looks=1)
    polls = load_polls(data, LOADED_POLLS)
    upstream = load_upstream(data, "")
    unreadable = [path for path in data.books if kind_of(path) not in (None, "file")]
    if not upstream.url and kind_of(data.upstream) == "file":
        unreadable.append(data.upstream)
    if kind_of(data.manifest) is None and (inventory.records or inventory.unverified):
        unreadable.append(data.manifest)
    is_proved = proving or not inventory.unverified
    if is_proved:
        prove(data, inventory)
    months = sum_months(inventory.records.values(), before.months if before else None)
    return Snapshot(
        inventory=inventory,
        upstream=upstream,
        mirrors=tuple(filter(None, (data.identity(), *upstream.mirrors)))[:MAX_MIRRORS],
        unreadable=tuple(unreadable),
        polls=polls.last,
        successes=polls.successes,
        quarantined=tuple(list_quarantined(data)),
        final_changes=load_changes(data),
        months=months,
        findings=merge(one.findings for one in months.values() if one.findings is not None),
        is_proved=is_proved,
        is_overstated=_is_overstated(data, inventory),
    )


def _is_overstated(data: DataDir, inventory: Inventory) -> bool:
    lost = (*inventory.missing, *inventory.unverified, *inventory.wrong_kind)
    names = [data.days.name_of(day).encode() for day in lost]
    paths = (data.sums, data.index) if names else ()
    listed = b"".join(read_if_file(path) or b"" for path in paths)
    return any(name in listed for name in names)
