"""Reading index.jsonl: each real form, each hostile line, and nothing but our own error."""

import json
from datetime import date, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.listings import (
    KEPT_REFUSALS,
    MAX_COUNT,
    IndexEntry,
    ParsedIndex,
    Refusal,
    parse_index,
    render_index,
)
from mirror.errors import IndexUnusableError
from tests.making import TEMPLATE, day, entry

TODAY = day("2021-08-06")
FIRST, SECOND, THIRD = (entry(day(f"2021-08-0{n + 1}"), n * 100) for n in (1, 2, 3))
ENTRIES = (FIRST, SECOND, THIRD)


def parse(body: bytes, template: str = TEMPLATE) -> ParsedIndex:
    return parse_index(body, name_template=template, today=TODAY)


def line(
    one: str = "2021-08-03", *, name: str | None = None, count: object = "7", **more: object
) -> bytes:
    fields = {"name": f"events-{one}.jsonl" if name is None else name, "date": one, "count": count}
    return json.dumps(fields | more).encode()


def with_count(raw: bytes) -> bytes:
    """Make a line whose count is this piece of JSON."""
    return line(count=0).replace(b'"count": 0', b'"count": ' + raw)


LINES = [line("2021-08-02", count="100"), line(count="200"), line("2021-08-04", count="300")]
FORMS = {
    "as upstream writes it": b"\n".join(LINES),
    "with a last newline": b"\n".join(LINES) + b"\n",
    "with counts as integers": b"\n".join(line(str(x.date), count=x.count) for x in ENTRIES),
    "with CRLF": b"\r\n".join(LINES) + b"\r\n",
    "with a byte order mark": b"\xef\xbb\xbf" + b"\n".join(LINES),
    "with blank lines": b"\n \n\t\r\n" + b"\n\n".join(LINES) + b"\n\n\n",
    "with blanks around the lines": b"\n".join(b" \t" + one + b" \t" for one in LINES),
    "in another order": b"\n".join(reversed(LINES)),
    "with a line twice": b"\n".join([*LINES, LINES[1]]),
    "with a line twice, the count in another form": b"\n".join([*LINES, line(count=200)]),
    "with leading zeros": b"\n".join(LINES).replace(b'"100"', b'"0000000100"'),
    "with unknown fields": b"\n".join([*LINES[:2], line("2021-08-04", count=300, size=[{}])]),
    "with escaped letters": b"\n".join(LINES).replace(b"events", rb"\u0065vents"),
    "without spaces": b"\n".join(LINES).replace(b" ", b""),
}


@pytest.mark.parametrize("body", FORMS.values(), ids=FORMS)
def test_every_form_of_one_index_reads_the_same(body):
    assert parse(body) == ParsedIndex(ENTRIES)


@pytest.mark.parametrize("count", [0, 1, MAX_COUNT], ids=str)
@pytest.mark.parametrize("form", [str, int])
def test_counts_from_nought_to_a_thousand_million_are_read(count, form):
    assert parse(line(count=form(count))).entries == (entry(day("2021-08-03"), count),)


@pytest.mark.parametrize("one", ["2018-01-01", "2020-02-29", "2021-08-06", "2021-08-07"])
def test_days_from_2018_through_tomorrow_are_read(one):
    assert parse(line(one)).entries == (entry(day(one), 7),)


def test_the_template_says_what_a_file_is_called():
    body = line("2021-08-03", name="launches_2021-08-03.json")
    assert parse(body, "launches_{date}.json").entries == (
        IndexEntry(day("2021-08-03"), "launches_2021-08-03.json", 7),
    )


NOT_ASCII_DIGITS = "the count is not a whole number in ASCII digits"
OUT_OF_BOUNDS = "the count is not between 0 and 1000000000"
NOT_THE_NAME = "the name is not events-2021-08-03.jsonl"
NOT_A_DATE = "the date is not YYYY-MM-DD"
OUT_OF_RANGE = "the date is not between 2018-01-01 and tomorrow"
NOT_AN_ENTRY = "not an index entry: "

REFUSED = {
    # lines that are no entries
    "an array": (b"[1, 2]", NOT_AN_ENTRY),
    "a string": (b'"events-2021-08-03.jsonl"', NOT_AN_ENTRY),
    "a number": (b"5", NOT_AN_ENTRY),
    "null": (b"null", NOT_AN_ENTRY),
    "no JSON": (b"{name: events}", NOT_AN_ENTRY),
    "two objects": (LINES[1] + LINES[2], NOT_AN_ENTRY),
    "half an object": (LINES[1][:-1], NOT_AN_ENTRY),
    "100,000 brackets": (b"[" * 100_000, NOT_AN_ENTRY),
    "100,000 brackets in a field": (b'{"x": ' + b"[" * 100_000, NOT_AN_ENTRY),
    "100,000 braces": (b'{"x":' * 100_000, NOT_AN_ENTRY),
    "bytes that are no UTF-8": (LINES[1].replace(b"events", b"\xff\xfe"), NOT_AN_ENTRY),
    "half a surrogate pair": (LINES[1].replace(b"events", rb"\ud800"), NOT_AN_ENTRY),
    "a lonely field": (b'{"date": "2021-08-03"}', NOT_AN_ENTRY),
    "a date that is a number": (line().replace(b'"2021-08-03"', b"20210803"), NOT_AN_ENTRY),
    "other white space": (b"\x0b\x0c", NOT_AN_ENTRY),
    "an entry in letters": (b"X" + LINES[1] + b"X", NOT_AN_ENTRY),
    "NUL bytes": (b"\0" * 80, NOT_AN_ENTRY),
    # counts
    "a count of 1e999": (with_count(b"1e999"), NOT_AN_ENTRY),
    "a count with a fraction": (with_count(b"7.0"), NOT_AN_ENTRY),
    "a count with an exponent": (with_count(b"1e3"), NOT_AN_ENTRY),
    "a count of NaN": (with_count(b"NaN"), NOT_AN_ENTRY),
    "a count of true": (with_count(b"true"), NOT_AN_ENTRY),
    "a count of null": (with_count(b"null"), NOT_AN_ENTRY),
    "a count of 5,000 digits": (with_count(b"9" * 5000), NOT_AN_ENTRY),
    "a count of 30 digits": (with_count(b"9" * 30), OUT_OF_BOUNDS),
    "a negative count": (with_count(b"-3"), OUT_OF_BOUNDS),
    "a count over the limit": (with_count(b"1000000001"), OUT_OF_BOUNDS),
    "a count over the limit in digits": (with_count(b'"1000000001"'), OUT_OF_BOUNDS),
    "a negative count in digits": (with_count(b'"-3"'), NOT_ASCII_DIGITS),
    "a count with a sign": (with_count(b'"+3"'), NOT_ASCII_DIGITS),
    "a count in full-width digits": (line(count="\uff17"), NOT_ASCII_DIGITS),
    "a count in superscript": (line(count="\u00b2"), NOT_ASCII_DIGITS),
    "a count with an underscore": (line(count="1_0"), NOT_ASCII_DIGITS),
    "a count with a blank": (line(count="7 "), NOT_ASCII_DIGITS),
    "a count with a newline": (line(count="7\n"), NOT_ASCII_DIGITS),
    "an empty count": (line(count=""), NOT_ASCII_DIGITS),
    "a hexadecimal count": (line(count="0x7"), NOT_ASCII_DIGITS),
    "a count of 11 digits": (line(count="00000000007"), NOT_ASCII_DIGITS),
    "a count of 30 digits in a string": (line(count="9" * 30), NOT_ASCII_DIGITS),
    # dates
    "a day that no year has": (line("2021-02-30"), "no such date"),
    "a leap day that the year lacks": (line("2021-02-29"), "no such date"),
    "month 13": (line("2021-13-01"), "no such date"),
    "the year 0": (line("0000-01-01"), "no such date"),
    "a date without dashes": (line("20210803"), NOT_A_DATE),
    "a week date": (line("2021-W31-2"), NOT_A_DATE),
    "a date and time": (line("2021-08-03T00:00"), NOT_A_DATE),
    "a date in full-width digits": (line("\uff12\uff10\uff12\uff11-08-03"), NOT_A_DATE),
    "a date with a newline": (line("2021-08-03\n"), NOT_A_DATE),
    "an empty date": (line(""), NOT_A_DATE),
    "the day before 2018": (line("2017-12-31"), OUT_OF_RANGE),
    "the day after tomorrow": (line("2021-08-08"), OUT_OF_RANGE),
    "the year 9999": (line("9999-12-31"), OUT_OF_RANGE),
}
NAMES = {
    "of another day": "events-2021-08-02.jsonl",
    "of another case": "Events-2021-08-03.jsonl",
    "that goes up": "../events-2021-08-03.jsonl",
    "that goes up behind": "events-2021-08-03.jsonl/..",
    "with a folder": "a/events-2021-08-03.jsonl",
    "with the folder it is in": "./events-2021-08-03.jsonl",
    "that is absolute": "/events-2021-08-03.jsonl",
    "with a backslash": "..\\events-2021-08-03.jsonl",
    "with NUL": "events-2021-08-03.jsonl\0",
    "with a newline": "events-2021-08-03.jsonl\n",
    "with ESC": "\x1b]0;gone\x07events-2021-08-03.jsonl",
    "with percent": "%2e%2e/events-2021-08-03.jsonl",
    "with a scheme": "file:///etc/passwd",
    "with another host": "https://evil.example/events-2021-08-03.jsonl",
    "with a host alone": "//evil.example/events-2021-08-03.jsonl",
    "with a query": "events-2021-08-03.jsonl?x",
    "that is reserved": "index.jsonl",
    "that is reserved elsewhere": "CON",
    "that looks the same": "ev\u0435nts-2021-08-03.jsonl",
    "that writes backwards": "events-2021-08-03\u202e.jsonl",
    "that is a dot": ".",
    "that is empty": "",
    "of 5,000 characters": "e" * 5000,
}
REFUSED |= {f"a name {why}": (line(name=name), NOT_THE_NAME) for why, name in NAMES.items()}


@pytest.mark.parametrize(("raw", "reason"), REFUSED.values(), ids=REFUSED)
def test_a_bad_line_costs_itself_and_no_other(raw, reason):
    parsed = parse(b"\n".join([LINES[0], raw, LINES[2]]))
    assert parsed.entries == (FIRST, THIRD)
    assert parsed.conflicts == ()
    assert parsed.refused_lines == len(parsed.refused) == 1
    assert parsed.refused[0].line == 2
    if reason == NOT_AN_ENTRY:
        assert parsed.refused[0].reason.startswith(NOT_AN_ENTRY)
        assert len(parsed.refused[0].reason) > len(NOT_AN_ENTRY) + 10
    else:
        assert parsed.refused[0].reason == reason
    # and is told short and harmless
    assert (parsed.refused[0].text + parsed.refused[0].reason).isprintable()
    assert len(parsed.refused[0].text) <= 80
    assert len(parsed.refused[0].reason) <= 120


def test_a_refusal_tells_the_line_as_it_stands():
    body = b"\n\n" + LINES[0] + b"\n  5 \x1b[2J\xff\r\n"
    assert parse(body).refused == (Refusal(4, parse(body).refused[0].reason, r"5 \x1b[2J\xff"),)


def test_refusals_are_told_one_by_one_up_to_a_bound_and_counted_beyond():
    body = b"\n".join([b"garbage"] * (KEPT_REFUSALS + 5) + LINES)
    parsed = parse(body)
    assert [refusal.line for refusal in parsed.refused] == list(range(1, KEPT_REFUSALS + 1))
    assert parsed.refused_lines == KEPT_REFUSALS + 5
    assert parsed.entries == ENTRIES


def test_two_counts_for_a_day_refuse_that_day_alone():
    body = b"\n".join([*LINES, line(count="201"), line("2021-08-02", count=5), line(count="200")])
    parsed = parse(body)
    assert parsed == ParsedIndex((THIRD,), conflicts=(FIRST.date, SECOND.date))


def test_an_index_of_nothing_but_conflicts_is_usable():
    assert parse(line(count="1") + b"\n" + line(count="2")) == ParsedIndex(
        (), conflicts=(SECOND.date,)
    )


A_PAGE = "the index is a web page, not JSON Lines (a sign-in or error page?)"
NOT_ONE = "the index has not one good line; line 1 is refused: "
NO_JSON = NOT_ONE + "not an index entry: JSON is malformed: "
UNUSABLE = {
    "nothing": (b"", "the index is empty"),
    "blanks": (b" \r\n\t\n", "the index is empty"),
    "a byte order mark": (b"\xef\xbb\xbf", "the index is empty"),
    "a page": (b"\n <!DOCTYPE html><title>Sign in</title>", A_PAGE),
    "a page with a byte order mark": (b"\xef\xbb\xbf\r\n\t<html>", A_PAGE),
    "an error in JSON": (
        b' {"error": "\x1b[31m"}',
        NO_JSON + r'invalid character (byte 11): {"error": "\x1b[31m"}',
    ),
    "bad lines alone": (
        b"\n".join([line("2021-02-30"), line(name="x")]),
        NOT_ONE
        + 'no such date: {"name": "events-2021-02-30.jsonl", "date": "2021-02-30", "count": "7"}',
    ),
    "days that our clock has ahead": (
        b"\n" + line("2031-02-03"),
        NOT_ONE.replace("1", "2")
        + "the date is not between 2018-01-01 and tomorrow: "
        + '{"name": "events-2031-02-03.jsonl", "date": "2031-02-03", "count": "7"}',
    ),
    "a page behind letters": (b"X<html>", NO_JSON + "invalid character (byte 0): X<html>"),
    "two lines in one": (
        b"7" + b"\r".join(LINES[:2]),
        NOT_ONE
        + 'not an index entry: Expected `object`, got `int`: 7{"name": "events-2021-08-02.jsonl", '
        + '"date": "2021-08-02", "count": "100"}\\r{"n…',
    ),
}


@pytest.mark.parametrize(("body", "message"), UNUSABLE.values(), ids=UNUSABLE)
def test_an_index_without_one_good_line_is_unusable_and_stays_so(body, message):
    with pytest.raises(IndexUnusableError) as caught:
        parse(body)
    assert str(caught.value) == message
    assert caught.value.transient is False


def test_an_index_cut_anywhere_in_its_last_line_is_unusable_for_now():
    why = r"^the index is cut short in the middle of its last line$"
    for end in range(1, len(LINES[2])):
        with pytest.raises(IndexUnusableError, match=why) as error:
            parse(b"\n".join([*LINES[:2], LINES[2][:end]]) + b" \t\r")
        assert error.value.transient is True


@pytest.mark.parametrize(
    ("tail", "refused"),
    [
        (b"", 0),
        (b"\n", 0),
        (LINES[2][:20] + b"\n", 1),
        (b"trailer", 1),
        (b"  }", 1),
        (b"X{", 1),
        (b"\x0b{", 1),
    ],
    ids=["whole", "newline", "an ended line", "no object", "no beginning", "letter", "space"],
)
def test_an_index_is_cut_only_where_its_last_line_is_half_an_object(tail, refused):
    parsed = parse(b"\n".join([*LINES[:2], tail]))
    assert parsed.entries == (FIRST, SECOND)
    assert parsed.refused_lines == refused


PIECES = st.sampled_from(
    [*LINES, line(count=201), *(raw for raw, _ in REFUSED.values() if len(raw) < 500), b"", b"\xef"]
)


@given(st.one_of(st.binary(), st.lists(PIECES | st.binary(max_size=40)).map(b"\n".join)))
def test_no_bytes_raise_anything_but_that_the_index_is_unusable(body):
    try:
        parsed = parse(body)
    except IndexUnusableError as error:
        assert str(error).isprintable()  # noqa: PT017 - both ways out are right, each by its rule
        return
    listed = [one.date for one in parsed.entries]
    assert listed == sorted(set(listed))
    assert not set(listed) & set(parsed.conflicts)
    assert all(one.name == TEMPLATE.format(date=one.date) for one in parsed.entries)
    assert all(0 <= one.count <= MAX_COUNT for one in parsed.entries)
    assert len(parsed.refused) == min(parsed.refused_lines, KEPT_REFUSALS)


def test_the_canonical_index_is_ascending_with_counts_as_strings_and_newlines():
    assert render_index([SECOND, FIRST]) == (
        b'{"name": "events-2021-08-02.jsonl", "date": "2021-08-02", "count": "100"}\n'
        b'{"name": "events-2021-08-03.jsonl", "date": "2021-08-03", "count": "200"}\n'
    )
    assert render_index([]) == b""


DAYS = st.integers(0, (TODAY - date(2018, 1, 1)).days + 1).map(
    lambda number: date(2018, 1, 1) + timedelta(days=number)
)


@given(st.dictionaries(DAYS, st.integers(0, MAX_COUNT), min_size=1))
def test_what_is_rendered_reads_back_as_it_was(counts):
    entries = tuple(entry(one, counts[one]) for one in sorted(counts))
    assert parse(render_index(entries)) == ParsedIndex(entries)


def test_the_real_index_of_997_days_reads_and_renders_byte_for_byte(real_data):
    body = (real_data / "index-2021-07-26.jsonl").read_bytes()
    parsed = parse(body)
    assert len(parsed.entries) == 997
    assert (parsed.refused_lines, parsed.conflicts) == (0, ())
    assert parsed.entries[0] == entry(day("2018-11-03"), 7057)
    assert render_index(parsed.entries) == body
