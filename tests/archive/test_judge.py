"""The decision table of a body: digests first, then its age, then its lines."""

from datetime import timedelta
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from mirror.archive.headers import ReplyMeta
from mirror.archive.intake import Evidence
from mirror.archive.judge import Expectation, Verdict, is_older, judge, make_record
from mirror.errors import Failure
from mirror.model import Flag, ProblemKind
from tests.making import at, day, record

DAY = day("2021-08-03")
NOW = at("2021-08-05 12:00")
HELD = record(DAY, 10, last_modified=at("2021-08-04 07:00"), generation=5)

OK = Verdict(publish=True)


def seen(
    lines: int,
    *,
    whole: bool = True,
    right: tuple[str, ...] = (),
    wrong: tuple[str, ...] = (),
    sha256: str = "0" * 64,
    is_page: bool = False,
) -> Evidence:
    return Evidence(
        size=lines * 100,
        digests={"sha256": sha256},
        lines=lines,
        ends_with_newline=whole,
        is_page=is_page,
        right=right,
        wrong=wrong,
    )


def ahead(lines: str, listed: str) -> Verdict:
    reason = f"it has {lines} where {listed} are listed"
    return Verdict(None, reason, publish=True, flags=(Flag.AHEAD,))


def too_many(lines: str, listed: str) -> Verdict:
    reason = f"it has {lines} where {listed} are listed"
    return Verdict(ProblemKind.MISMATCH, reason, Failure.COUNT, contestable=True)


def behind(lines: str, listed: str, *, publish: bool) -> Verdict:
    reason = f"it has {lines} where {listed} are listed"
    return Verdict(
        ProblemKind.BEHIND,
        reason,
        Failure.COUNT,
        publish=publish,
        contestable=True,
        flags=(Flag.BEHIND,),
    )


UNLISTED = Verdict(None, "no listing has a count for it", publish=True, flags=(Flag.UNLISTED,))
UNFINISHED = Verdict(
    ProblemKind.MISMATCH,
    "no listing has a count for it and its last line is unfinished",
    Failure.COUNT,
)
OPEN, FINAL = True, False
WHOLE, TORN = True, False

COUNTS = [
    # lines and last line; listed and x-goog-meta-events-count; day and lines held; verdict
    # as many as listed: right, whatever else
    ((10, WHOLE), (10, None), (FINAL, None), OK),
    ((10, WHOLE), (10, None), (OPEN, None), OK),
    ((10, TORN), (10, None), (FINAL, None), OK),
    ((10, TORN), (10, None), (OPEN, None), OK),
    ((10, WHOLE), (10, 12), (FINAL, None), OK),
    ((10, WHOLE), (10, 8), (OPEN, 12), OK),
    ((0, WHOLE), (0, None), (FINAL, None), OK),
    ((0, WHOLE), (0, 0), (OPEN, 5), OK),
    # more than listed: the publisher's own count or an open day with a whole last line will do
    ((11, WHOLE), (10, 11), (FINAL, None), ahead("11 lines", "10")),
    ((11, TORN), (10, 11), (FINAL, None), ahead("11 lines", "10")),
    ((11, TORN), (10, 11), (OPEN, None), ahead("11 lines", "10")),
    ((11, WHOLE), (10, None), (OPEN, None), ahead("11 lines", "10")),
    ((11, WHOLE), (10, 12), (OPEN, None), ahead("11 lines", "10")),
    ((1, WHOLE), (0, None), (OPEN, None), ahead("1 line", "0")),
    ((11, WHOLE), (10, None), (FINAL, None), too_many("11 lines", "10")),
    ((11, WHOLE), (10, 10), (FINAL, None), too_many("11 lines", "10")),
    ((11, WHOLE), (10, 12), (FINAL, None), too_many("11 lines", "10")),
    ((11, TORN), (10, None), (OPEN, None), too_many("11 lines", "10")),
    ((11, TORN), (10, 10), (OPEN, None), too_many("11 lines", "10")),
    ((1, WHOLE), (0, None), (FINAL, None), too_many("1 line", "0")),
    ((20_001, TORN), (20_000, None), (OPEN, None), too_many("20,001 lines", "20,000")),
    # fewer than listed: an open day is published as far as it goes, if that is further than held
    ((9, WHOLE), (10, None), (FINAL, None), behind("9 lines", "10", publish=False)),
    ((9, WHOLE), (10, 9), (FINAL, None), behind("9 lines", "10", publish=False)),
    ((9, WHOLE), (10, None), (FINAL, 8), behind("9 lines", "10", publish=False)),
    ((9, WHOLE), (10, None), (OPEN, None), behind("9 lines", "10", publish=True)),
    ((9, WHOLE), (10, None), (OPEN, 8), behind("9 lines", "10", publish=True)),
    ((9, WHOLE), (10, None), (OPEN, 9), behind("9 lines", "10", publish=False)),
    ((9, WHOLE), (10, None), (OPEN, 12), behind("9 lines", "10", publish=False)),
    ((9, TORN), (10, None), (OPEN, None), behind("9 lines", "10", publish=False)),
    ((9, TORN), (10, None), (OPEN, 8), behind("9 lines", "10", publish=False)),
    ((0, WHOLE), (10, None), (OPEN, None), behind("0 lines", "10", publish=True)),
    ((0, WHOLE), (10, None), (OPEN, 0), behind("0 lines", "10", publish=False)),
    # no listing has it: the publisher's own count is the one to have
    ((10, WHOLE), (None, 10), (FINAL, None), OK),
    ((10, TORN), (None, 10), (OPEN, None), OK),
    ((0, WHOLE), (None, 0), (FINAL, None), OK),
    ((11, WHOLE), (None, 10), (FINAL, None), too_many("11 lines", "10")),
    ((11, WHOLE), (None, 10), (OPEN, None), ahead("11 lines", "10")),
    ((9, WHOLE), (None, 10), (FINAL, None), behind("9 lines", "10", publish=False)),
    # no count at all
    ((10, WHOLE), (None, None), (FINAL, None), UNLISTED),
    ((10, WHOLE), (None, None), (OPEN, 12), UNLISTED),
    ((0, WHOLE), (None, None), (OPEN, None), UNLISTED),
    ((10, TORN), (None, None), (FINAL, None), UNFINISHED),
    ((10, TORN), (None, None), (OPEN, 8), UNFINISHED),
]


@pytest.mark.parametrize(("body", "counts", "known", "expected"), COUNTS)
def test_lines_against_what_is_listed(body, counts, known, expected):
    lines, whole = body
    listed, vouched = counts
    is_open, held = known
    expectation = Expectation(
        now=NOW, lines=listed, is_open=is_open, held=None if held is None else record(DAY, held)
    )
    evidence = seen(lines, whole=whole, right=("etag",))
    assert judge(evidence, ReplyMeta(events_count=vouched), expectation) == expected


A_PAGE = Verdict(
    ProblemKind.MISMATCH,
    "it is a web page, not JSON Lines (a sign-in or error page?)",
    Failure.PAGE,
)
PAGES = [
    # lines, listed, x-goog-meta-events-count, day: verdict
    (10, 10, None, FINAL, OK),
    (10, 12, 10, FINAL, behind("10 lines", "12", publish=False)),
    (10, 9, 10, FINAL, ahead("10 lines", "9")),
    (10, 9, None, OPEN, A_PAGE),
    (10, 9, 9, OPEN, A_PAGE),
    (10, 12, None, OPEN, A_PAGE),
    (10, 12, None, FINAL, A_PAGE),
    (10, None, None, OPEN, A_PAGE),
    (10, None, None, FINAL, A_PAGE),
    (10, None, 10, FINAL, OK),
]


@pytest.mark.parametrize("case", PAGES)
def test_a_web_page_is_taken_only_where_a_count_vouches_for_it(case):
    lines, listed, vouched, is_open, expected = case
    expectation = Expectation(now=NOW, lines=listed, is_open=is_open)
    meta = ReplyMeta(events_count=vouched)
    assert judge(seen(lines, is_page=True), meta, expectation) == expected


def corrupt(headers: str, *, contest: bool) -> Verdict:
    reason = f"its digest is not that of the {headers} header"
    return Verdict(ProblemKind.CORRUPT, reason, Failure.DIGEST, contestable=contest)


DIGESTS = [
    (("etag",), False, corrupt("etag", contest=True)),
    (("etag",), True, OK),
    (("x-goog-hash",), False, corrupt("x-goog-hash", contest=False)),
    (("x-goog-hash",), True, corrupt("x-goog-hash", contest=False)),
    (("content-md5", "etag"), False, corrupt("content-md5 and etag", contest=False)),
    (("content-md5", "etag"), True, corrupt("content-md5", contest=False)),
    ((), True, OK),
]


@pytest.mark.parametrize(("wrong", "opaque", "expected"), DIGESTS)
def test_a_wrong_digest_refuses_and_an_etag_alone_may_be_contested(wrong, opaque, expected):
    expectation = Expectation(now=NOW, lines=10, is_open=False, etags_are_opaque=opaque)
    assert judge(seen(10, right=("repr-digest",), wrong=wrong), ReplyMeta(), expectation) == (
        expected
    )


OLDER, SAME, NEWER = at("2021-08-04 06:59"), at("2021-08-04 07:00"), at("2021-08-04 07:01")
AGES = [
    # Last-Modified and generation of the answer, whether it is older than what is held
    (OLDER, None, True),
    (SAME, None, False),
    (NEWER, None, False),
    (None, None, False),
    (None, 4, True),
    (None, 5, False),
    (None, 6, False),
    # a generation is the better word
    (OLDER, 6, False),
    (NEWER, 4, True),
    (OLDER, 5, False),
]


@pytest.mark.parametrize(("modified", "generation", "older"), AGES)
def test_an_answer_is_older_by_its_generation_else_by_its_date(modified, generation, older):
    meta = ReplyMeta(last_modified=modified, generation=generation)
    assert is_older(meta, HELD, now=NOW) is older
    problem = judge(
        seen(10), meta, Expectation(now=NOW, lines=10, is_open=False, held=HELD)
    ).problem
    assert problem is (ProblemKind.ROLLED_BACK if older else None)


@pytest.mark.parametrize(
    ("held", "older"),
    [
        (record(DAY, generation=5), False),
        (record(DAY, generation=5, last_modified=SAME), True),
        (record(DAY, last_modified=SAME), True),
        (record(DAY), False),
    ],
)
def test_only_what_both_have_can_be_compared(held, older):
    assert is_older(ReplyMeta(last_modified=OLDER), held, now=NOW) is older
    assert is_older(ReplyMeta(generation=4), held, now=NOW) is (held.generation is not None)


def test_an_older_body_is_refused_and_asked_for_again_even_if_its_count_is_right():
    expectation = Expectation(now=NOW, lines=10, is_open=True, held=HELD)
    assert judge(seen(10), ReplyMeta(last_modified=OLDER), expectation) == Verdict(
        ProblemKind.ROLLED_BACK,
        "it is older than the version held: a stale cache?",
        Failure.ROLLED_BACK,
        contestable=True,
        is_older=True,
    )


def test_a_date_ahead_of_the_clock_orders_nothing():
    early, late = NOW - timedelta(hours=1), NOW + timedelta(seconds=1)
    assert is_older(ReplyMeta(last_modified=early), record(DAY, last_modified=NOW), now=NOW)
    assert not is_older(ReplyMeta(last_modified=early), record(DAY, last_modified=late), now=NOW)
    later = record(DAY, last_modified=late + timedelta(days=1))
    assert not is_older(ReplyMeta(last_modified=late), later, now=NOW)


def test_an_older_body_whose_age_is_settled_is_judged_by_the_rest_and_flagged():
    old = ReplyMeta(last_modified=OLDER)
    expectation = Expectation(now=NOW, lines=10, is_open=False, held=HELD, age_is_settled=True)
    assert judge(seen(10), old, expectation) == replace(OK, is_older=True, flags=(Flag.DISPUTED,))
    page = judge(seen(9, is_page=True), old, expectation)
    assert (page.publish, page.failure, page.is_older) == (False, Failure.PAGE, True)
    behind_too = judge(seen(9), old, expectation)
    assert (behind_too.publish, behind_too.contestable) == (False, True)
    assert judge(seen(10), ReplyMeta(last_modified=NEWER), expectation) == OK


def test_the_bytes_held_are_never_older_than_themselves():
    meta = ReplyMeta(last_modified=OLDER, generation=1)
    expectation = Expectation(now=NOW, lines=10, is_open=False, held=HELD)
    assert judge(seen(10, sha256=HELD.sha256), meta, expectation) == OK


def test_a_wrong_digest_is_told_before_age_and_age_before_count():
    old = ReplyMeta(last_modified=OLDER)
    expectation = Expectation(now=NOW, lines=12, is_open=False, held=HELD)
    assert judge(seen(9, wrong=("etag",)), old, expectation).problem is ProblemKind.CORRUPT
    assert judge(seen(9), old, expectation).problem is ProblemKind.ROLLED_BACK
    assert judge(seen(9), ReplyMeta(), expectation).problem is ProblemKind.BEHIND


NUMBERS = st.none() | st.integers(0, 3)


EVIDENCE = st.builds(
    seen,
    st.integers(0, 3),
    whole=st.booleans(),
    is_page=st.booleans(),
    wrong=st.sampled_from([(), ("etag",), ("etag", "x-goog-hash")]),
)
EXPECTATIONS = st.builds(
    Expectation,
    now=st.just(NOW),
    lines=NUMBERS,
    is_open=st.booleans(),
    held=st.none() | st.builds(record, st.just(DAY), st.integers(0, 3)),
)


@given(EVIDENCE, EXPECTATIONS, NUMBERS)
def test_a_body_not_published_says_why_and_may_be_mended(evidence, expectation, vouched):
    result = judge(evidence, ReplyMeta(events_count=vouched), expectation)
    assert result.publish or (result.problem and result.reason and result.failure)
    assert not (result.publish and evidence.wrong)
    assert (result == OK) == (not result.reason)


def test_an_open_day_never_loses_lines_to_a_body_that_is_behind():
    for lines, held in product(range(4), range(4)):
        expectation = Expectation(now=NOW, lines=4, is_open=True, held=record(DAY, held))
        assert judge(seen(lines), ReplyMeta(), expectation).publish is (lines > held)


def test_a_record_has_what_the_next_poll_asks_and_compares_by():
    modified = at("2021-08-04 07:00")
    meta = ReplyMeta(etag='"one"', last_modified=modified, generation=7)
    flags = (Flag.AHEAD,)

    made = make_record(DAY, "events.jsonl", seen(11), meta, index_count=10, flags=flags, now=NOW)

    assert made == record(
        DAY,
        11,
        name="events.jsonl",
        sha256="0" * 64,
        mtime_ns=0,
        fetched_at=NOW,
        checked_at=NOW,
        index_count=10,
        etag='"one"',
        last_modified=modified,
        generation=7,
        flags=flags,
    )
