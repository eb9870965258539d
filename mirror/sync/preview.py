"""A dry run: what a poll would do, with nothing written."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct
from msgspec.structs import replace

from mirror.archive.plan import PlanPolicy, make_plan
from mirror.archive.upstream import Upstream, days_to_ask, listed_counts
from mirror.model import Plan
from mirror.store.inventory import Books
from mirror.sync.survey import Surveyor


class Preview(Struct, frozen=True):
    """What a poll would do."""

    plan: Plan
    unproven: int
    """Files that are there without a record: proved first, fetched only if that fails."""
    upstream: Upstream
    warnings: tuple[str, ...]


async def preview(
    surveyor: Surveyor,
    upstream: Upstream,
    books: Books,
    policy: PlanPolicy,
    *,
    now: Callable[[], datetime],
) -> Preview:
    """Return the plan that a poll would make now.

    Raises:
        UpstreamError: there is no index to plan from.
    """
    survey = await surveyor.survey(upstream, has_body=True)
    plan = make_plan(
        listed_counts(survey.upstream, now=now()),
        books.records,
        replace(policy, passed_over=frozenset(books.wrong_kind)),
        now=now(),
        by_name=days_to_ask(survey.upstream, now=now()) if survey.searched else (),
    )
    return Preview(plan, len(books.unproven), survey.upstream, survey.warnings)
