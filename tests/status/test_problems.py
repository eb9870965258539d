"""What to do about a problem follows from its kind, whatever upstream writes into its text."""

import pytest

from mirror.archive.listings import Refusal, parse_index
from mirror.archive.plan import PollRange
from mirror.archive.upstream import Upstream
from mirror.model import Flag, IndexState, Outcome, OutcomeKind, Problem, ProblemKind
from mirror.status.wording import ADVICE, facts_of, problem_lines
from mirror.sync.poll import LISTED_PROBLEMS, make_problems, make_warnings
from tests.making import TEMPLATE, at, day, record


def test_every_kind_has_its_advice() -> None:
    assert ADVICE.keys() == set(ProblemKind)
    assert all(ADVICE.values())


def test_what_upstream_must_put_right_is_reported_to_its_publishers() -> None:
    upstream = Upstream("", conflicts=(day("2024-01-01"),), refused=(Refusal(3, "no date", "x"),))
    refused, conflict = make_problems(upstream, [], {}, PollRange())
    assert (refused.kind, conflict.kind) == (ProblemKind.INDEX_LINE, ProblemKind.INDEX_CONFLICT)
    assert ADVICE[refused.kind] == ADVICE[conflict.kind]
    assert ADVICE[refused.kind].startswith("Nothing held is lost. Tell")


@pytest.mark.parametrize(
    "words",
    [
        "a 1 stands where its file belongs",
        "in quarantine",
        "No space left",
        "moved to",
        "max_file_size",
    ],
)
def test_no_words_of_upstreams_choose_the_advice(words: str) -> None:
    good = b'{"name": "events-2024-01-01.jsonl", "date": "2024-01-01", "count": "1"}\n'
    line = b'{"%s": 1}\n' % words.encode()
    parsed = parse_index(good + line, name_template=TEMPLATE, today=day("2024-01-02"))
    upstream = Upstream("", refused=parsed.refused, refused_lines=parsed.refused_lines)
    (problem,) = make_problems(upstream, [], {}, PollRange())
    assert words in problem.text
    assert facts_of([problem])[0]["advice"] == ADVICE[ProblemKind.INDEX_LINE]


def test_what_is_in_the_way_must_be_moved() -> None:
    (problem,) = make_problems(Upstream(""), [], {day("2024-01-01"): "directory"}, PollRange())
    assert (problem.kind, problem.day) == (ProblemKind.IN_THE_WAY, day("2024-01-01"))
    assert ADVICE[problem.kind].startswith("Move it away")


def test_days_that_failed_alike_are_joined() -> None:
    days = [day(f"2024-01-{number:02}") for number in range(9, 0, -1)]
    texts = ["gone"] * 7 + ["torn", "gone"]
    problems = [
        Problem(ProblemKind.OTHER, text, one) for text, one in zip(texts, days, strict=True)
    ]
    assert problem_lines(problems, "!") == [
        "  ! 2024-01-09, 2024-01-08, 2024-01-07, 2024-01-06, 2024-01-05 and 2 more days: gone",
        "  ! 2024-01-02: torn",
        "  ! 2024-01-01: gone",
        f"    {ADVICE[ProblemKind.OTHER]}",
    ]


def test_failed_days_come_newest_first_and_bounded() -> None:
    outcomes = [
        Outcome(one, OutcomeKind.FAILED, problem=Problem(ProblemKind.OTHER, "no", one))
        for one in (day(f"2024-01-{number:02}") for number in range(1, 31))
    ]
    problems = make_problems(Upstream(""), outcomes, {}, PollRange())
    assert problems[0].line() == "2024-01-30: no"
    assert len(problems) == LISTED_PROBLEMS + 1
    assert problems[-1].text == "and 10 more"


@pytest.mark.parametrize("state", [IndexState.SHRUNK, IndexState.STALE])
def test_an_index_in_trouble_is_its_publishers_business(state: IndexState) -> None:
    upstream = Upstream("", state=state, state_since=at("2024-01-01"))
    (warning,) = make_warnings(upstream, [], now=at("2024-01-02"))
    assert ADVICE[warning.kind].startswith("Nothing held is lost.")


def test_nothing_is_promised_that_no_poll_will_do() -> None:
    # whether anybody polls is not known here: the advice says what does
    waits = [text for text in ADVICE.values() if "next poll" in text]
    assert waits
    assert all("the daemon's or a `binder-mirror sync`" in text for text in waits)
    assert not any("Nothing to do: the next" in text for text in ADVICE.values())
    # what was never asked for has not failed
    assert "without --since and --until" in ADVICE[ProblemKind.MISSING_DAYS]
    assert ADVICE[ProblemKind.NO_FILE].startswith("Nothing can be done here")


def test_a_disputed_day_needs_nothing() -> None:
    disputed = record(day("2024-01-01"), flags=(Flag.DISPUTED,))
    (warning,) = make_warnings(Upstream(""), [disputed], now=at("2024-01-02"))
    assert ADVICE[warning.kind].startswith("Nothing to do")


def test_a_terminal_shows_once_what_to_do_about_neighbours_of_a_kind() -> None:
    lost = Problem(ProblemKind.MISSING_FILES, "1 file gone from archive/")
    first, second = (
        Problem(ProblemKind.BEHIND, "behind: 1 line", day(f"2024-01-0{one}")) for one in (1, 2)
    )
    assert problem_lines([first, second, lost], "!") == [
        "  ! 2024-01-01, 2024-01-02: behind: 1 line",
        f"    {ADVICE[ProblemKind.BEHIND]}",
        "  ! 1 file gone from archive/",
        f"    {ADVICE[ProblemKind.MISSING_FILES]}",
    ]
