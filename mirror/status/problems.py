"""The advice for each kind of problem, and problems as JSON. Pure.

The advice follows from the kind alone, for the text may quote upstream.
"""

from collections.abc import Iterable
from itertools import groupby

import msgspec

from mirror.model import PollReport, Problem, ProblemKind

_WAIT = "Nothing to do: the next poll asks again."
_UPSTREAMS = "Nothing held is lost. Tell the archive's publishers; nobody else may have noticed."
_DISPUTE = (
    "Nothing to do: the next poll asks again, and what upstream goes on serving unchanged is taken "
    "as it is, and flagged."
)
ADVICE = {
    ProblemKind.UPSTREAM_UNUSABLE: f"{_WAIT} If it lasts, check upstream.url and the network.",
    ProblemKind.MOVED: "If upstream has moved, set upstream.url and reload.",
    ProblemKind.INDEX_LINE: _UPSTREAMS,
    ProblemKind.INDEX_CONFLICT: _UPSTREAMS,
    ProblemKind.INDEX_SHRUNK: _UPSTREAMS,
    ProblemKind.INDEX_STALE: _UPSTREAMS,
    ProblemKind.INDEX_ROLLED_BACK: (
        f"{_WAIT} If upstream goes on serving it, it is accepted after upstream.disagree_after."
    ),
    ProblemKind.CORRUPT: f"{_WAIT} If it lasts, a proxy on the way may alter bytes.",
    ProblemKind.MISMATCH: _DISPUTE,
    ProblemKind.BEHIND: _DISPUTE,
    ProblemKind.ROLLED_BACK: _DISPUTE,
    ProblemKind.TOO_LARGE: "If the file is as it should be, raise http.max_file_size and reload.",
    ProblemKind.DISPUTED: "Nothing to do: upstream has served these bytes for hours.",
    ProblemKind.IN_THE_WAY: "Move it away, for it is not followed; the next poll does the rest.",
    ProblemKind.MISSING_DAYS: f"{_WAIT} What failed, and why, is listed above, or in the log.",
    ProblemKind.MISSING_FILES: "Nothing to do: the next poll fetches them again.",
    ProblemKind.UNVERIFIED_FILES: "Nothing to do: the next poll proves or replaces them.",
    ProblemKind.UNREADABLE_RECORDS: (
        "Nothing to do: the next poll mends it. If it comes back, look at the disk."
    ),
    ProblemKind.QUARANTINE: (
        "Read its reason in quarantine/; `binder-mirror prune` deletes what is old."
    ),
    ProblemKind.DATASET: "The copy is untouched; the next poll tries again.",
    ProblemKind.OTHER: f"{_WAIT} If it lasts for a day, look at the log.",
}


def facts_of(problems: Iterable[Problem]) -> list[dict[str, object]]:
    """Return problems as programs read them: kind, day, text, advice."""
    return [
        {"kind": one.kind, "day": one.day, "text": one.text, "advice": ADVICE[one.kind]}
        for one in problems
    ]


def report_facts(report: PollReport) -> dict[str, object]:
    """Return a poll's report as programs read it."""
    facts: dict[str, object] = msgspec.structs.asdict(report)
    return facts | {
        "problems": facts_of(report.problems),
        "warnings": facts_of(report.warnings),
    }


def problem_lines(problems: Iterable[Problem], label: str) -> list[str]:
    """Return problems as a terminal shows them, what to do below those that share it."""
    lines: list[str] = []
    for advice, some in groupby(problems, key=lambda one: ADVICE[one.kind]):
        lines += [f"  {label} {one.line()}" for one in some]
        lines.append(f"    {advice}")
    return lines
