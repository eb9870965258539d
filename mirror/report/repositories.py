"""Counts the repositories launched most, from the daily files."""

import heapq
from collections import Counter
from collections.abc import Iterable
from operator import attrgetter

from msgspec.structs import replace

from mirror.events.launch import Launch
from mirror.reading.reader import Events
from mirror.reading.selection import repository_of
from mirror.report.facts import Ranked, Ranking
from mirror.text import shown

MAX_REPOSITORIES = 500_000
"""Repositories counted by name, which take some 70 MB; names are upstream's, so they are bounded.
All years of mybinder.org have fewer."""
_MAX_NAME_LENGTH = 200
_place_of = attrgetter("provider", "spec")


def rank_repositories(events: Events[Launch], number: int) -> Ranking:
    """Return the repositories launched most among events, reading their files.

    Args:
        events: the launches; odd lines should be skipped.
        number: repositories at most.

    Raises:
        UnrecordedError, StorageError: a daily file cannot be read, or is not the one on record.
    """
    blocks = (Counter(map(_place_of, block)) for block in events.launch_blocks())
    launches = ((repository_of(*place), n) for block in blocks for place, n in block.items())
    ranking = rank(launches, number)
    return replace(ranking, unknown=ranking.unknown + events.odd.total())


def rank(
    launches: Iterable[tuple[str | None, int]], number: int, *, limit: int = MAX_REPOSITORIES
) -> Ranking:
    """Return the repositories launched most.

    Args:
        launches: keys of repositories, each with a number of launches; None where it is unknown.
        number: repositories to name, at most.
        limit: repositories counted by name; those that come later are counted as one.
    """
    counts: Counter[str] = Counter()
    unknown = unnamed = 0
    for key, count in launches:
        if key is None:
            unknown += count
        elif (name := shown(key, _MAX_NAME_LENGTH)) in counts or len(counts) < limit:
            counts[name] += count
        else:
            unnamed += count
    top = heapq.nsmallest(number, counts.items(), key=lambda one: (-one[1], one[0]))
    return Ranking(
        top=tuple(Ranked(name, count) for name, count in top),
        launches=counts.total() + unnamed,
        repositories=len(counts),
        uncertain_by=unnamed,
        unknown=unknown,
    )
