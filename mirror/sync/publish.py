"""What is published beside the daily files: checksums, page and index; then the manifest.

All of it blocks, and is called on a thread.
"""

import hashlib
from collections.abc import Mapping
from importlib import resources

from mirror.archive.listings import local_index, page_of, render_sums
from mirror.archive.plan import DayRules
from mirror.archive.ports import Destination, Listing, State
from mirror.archive.upstream import Upstream, indexed_counts, render_upstream
from mirror.errors import WrongKindError
from mirror.model import Problem, ProblemKind

_STYLE = resources.files("mirror.sync").joinpath("archive.css").read_bytes()
"""How the page looks, wherever `archive/` is served from."""


def publish(destination: Destination, upstream: Upstream) -> tuple[Problem, ...]:
    """Write SHA256SUMS, page and index, metadata, then the inventory: each where it differs.

    Return a problem for each listing at whose path something other than a file stands.
    """
    # only where something was published: a quiet poll does not pay for its import
    from mirror.archive.metadata import render_croissant, render_datapackage  # noqa: PLC0415

    records = destination.inventory.records.values()
    in_the_way = _write(
        destination,
        {Listing.SUMS: render_sums(records)}
        | _index_and_page(destination, upstream)
        | {
            Listing.DATAPACKAGE: render_datapackage(records),
            Listing.CROISSANT: render_croissant(records),
        },
    )
    destination.save_manifest()
    return in_the_way


def publish_index(destination: Destination, upstream: Upstream) -> None:
    """Write page and index alone, where files are gone or not yet proved.

    SHA256SUMS and the inventory stay: they are what such files are proved by.
    """
    _write(destination, _index_and_page(destination, upstream))


def remember(destination: Destination, upstream: Upstream, index: bytes | None = None) -> None:
    """Keep what upstream said, and its index where it is a new one."""
    if index is not None:
        destination.unsettle()
        destination.write(State.UPSTREAM_INDEX, index)
    if destination.read(State.UPSTREAM) != (content := render_upstream(upstream)):
        destination.write(State.UPSTREAM, content)


def index_body(body: bytes | None, upstream: Upstream, days: DayRules) -> bytes | None:
    """Return what is kept as the index accepted last, if it is that one and its names are ours."""
    facts = upstream.index
    if body is None or facts is None or facts.name_template != days.name_template:
        return None
    return body if hashlib.sha256(body).hexdigest() == facts.sha256 else None


def _write(destination: Destination, listings: Mapping[Listing, bytes]) -> tuple[Problem, ...]:
    """Write listings in order, where they differ; something in the way costs that one alone."""
    in_the_way: list[Problem] = []
    for name, content in listings.items():
        try:
            if destination.read(name) != content:
                destination.write(name, content)
        except WrongKindError as error:
            in_the_way.append(Problem(ProblemKind.IN_THE_WAY, str(error)))
    return tuple(in_the_way)


def _index_and_page(destination: Destination, upstream: Upstream) -> dict[Listing, bytes]:
    records = destination.inventory.records
    is_whole = upstream.index is not None and upstream.index.whole
    kept = destination.read(State.UPSTREAM_INDEX) if is_whole else None
    return {
        Listing.STYLE: _STYLE,
        Listing.PAGE: page_of(records.values()),
        Listing.INDEX: local_index(
            records, indexed_counts(upstream), index_body(kept, upstream, destination.days)
        ),
    }
