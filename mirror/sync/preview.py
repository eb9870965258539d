"""A dry run: what a poll would do, with nothing written."""

from collections.abc import Callable
from datetime import datetime

from msgspec import Struct

from mirror.archive.plan import DayRules, PollRange, make_plan
from mirror.archive.upstream import Upstream, days_to_ask, listed_counts
from mirror.config.settings import Config
from mirror.model import Plan, Problem
from mirror.store.inventory import Inventory
from mirror.sync.survey import Surveyor


class Preview(Struct, frozen=True):
    """What a poll would do."""

    plan: Plan
    unverified: int
    """Files that are there without a record: proved first, fetched only if that fails."""
    upstream: Upstream
    warnings: tuple[Problem, ...]


async def preview(
    surveyor: Surveyor,
    upstream: Upstream,
    inventory: Inventory,
    config: Config,
    asked: PollRange,
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
        inventory.records,
        DayRules.of(config),
        asked,
        now=now(),
        passed_over=inventory.wrong_kind,
        max_file_bytes=config.http.max_file_size,
        by_name=days_to_ask(survey.upstream, now=now()) if survey.searched else (),
    )
    return Preview(plan, len(inventory.unverified), survey.upstream, survey.warnings)
