"""Which 304s are an answer to what was asked."""

from datetime import UTC, datetime, timedelta

import pytest

from mirror.archive.headers import ReplyMeta
from mirror.archive.ports import Ask

DAY = datetime(2024, 5, 1, tzinfo=UTC)
LATER = DAY + timedelta(seconds=1)


def named(etag: str | None) -> ReplyMeta:
    return ReplyMeta(etag=etag, names_etag=True)


CASES = {
    "nothing asked, nothing named": (Ask(), ReplyMeta(), False),
    "nothing asked, one named": (Ask(), named('"a"'), False),
    "the ETag sent": (Ask(if_none_match='"a"'), named('"a"'), True),
    "another": (Ask(if_none_match='"a"'), named('"b"'), False),
    "its weak form": (Ask(if_none_match='"a"'), named('W/"a"'), True),
    "its strong form": (Ask(if_none_match='W/"a"'), named('"a"'), True),
    "the weak form of another": (Ask(if_none_match='"a"'), named('W/"b"'), False),
    "several that differ": (Ask(if_none_match='"a"'), named(None), False),
    "none named": (Ask(if_none_match='"a"'), ReplyMeta(), True),
    "none named, with a later date": (Ask(if_none_match='"a"'), ReplyMeta(last_modified=DAY), True),
    "by date": (Ask(if_modified_since=DAY), ReplyMeta(), True),
    "by date, of that date": (Ask(if_modified_since=DAY), ReplyMeta(last_modified=DAY), True),
    "by date, older": (Ask(if_modified_since=LATER), ReplyMeta(last_modified=DAY), True),
    "by date, later": (Ask(if_modified_since=DAY), ReplyMeta(last_modified=LATER), False),
    "by date, naming one": (Ask(if_modified_since=DAY), named('"a"'), False),
    "by date, naming several": (Ask(if_modified_since=DAY), named(None), False),
    "both, the ETag named": (
        Ask(if_none_match='"a"', if_modified_since=DAY),
        ReplyMeta(etag='"a"', names_etag=True, last_modified=LATER),
        True,
    ),
}


@pytest.mark.parametrize(("ask", "meta", "counts"), CASES.values(), ids=CASES)
def test_a_304_counts_where_it_answers_the_question(
    ask: Ask, meta: ReplyMeta, counts: bool
) -> None:
    assert ask.is_answered_by(meta) is counts
