"""Headers that hold nonsense: passed over or refused, and never a failure of ours."""

import asyncio
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime, parsedate_to_datetime
from itertools import product

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mirror.archive.headers import parse_http_date
from tests.command import Shell
from tests.web.wire import ask, exchange, parse_answer

IMPOSSIBLE = [
    "Fri, 31 Dec 99999999999 23:59:59 GMT",
    "Fri, 30 Feb 2024 00:00:00 GMT",
    "Fri, 31 Dec 2024 24:61:61 GMT",
    "Fri, 31 Dec 2024 -1:-1:-1 GMT",
    "Fri, 31 Dec 2024 00:00:00 +99999999999999999999",
    "Fri, 31 Dec -2024 00:00:00 GMT",
    "31 Dec",
    ",,,,",
    "0" * 5000,
    "9" * 5000,
    "Fri, " + "9" * 5000 + " Dec 2024 00:00:00 GMT",
]
DATES = [
    "Fri, 31 Dec 9999 23:59:59 -2359",
    "Mon, 01 Jan 0001 00:00:00 +2359",
    "Mon, 01 Jan 0000 00:00:00 GMT",
    "Friday, 31-Dec-99 23:59:59 GMT",
    "Fri Dec 31 23:59:59 2024",
    *IMPOSSIBLE,
]
TEXTS = [
    "",
    "*",
    '"*"',
    '"',
    "W/",
    'W/"',
    ",",
    ";",
    ";;q=;",
    "=",
    "q=",
    "*/*;q=nan",
    "text/plain;version=;q=",
    "application/openmetrics-text;version=1e999;q=inf",
    "application/openmetrics-text; version=9.9.9; escaping=; charset=",
    "text/plain;version=0.0.4;escaping=nonsense",
    "gzip;q=2, zstd;q=-1, *;q=0.0000",
    "bytes=-",
    "bytes=" + "9" * 4000 + "-",
    "bytes=0-" + "0," * 2000,
    "bytes=--1",
    "none",
    "100-continue",
    "100-Continue, 100-continue",
    "a=b; c; =; \xff",
    "\xff\xfe\x80",
    "\u00e9",
    "%00%ff%",
    "\t",
    "(" * 2000,
    "-1",
    "1_000",
    "0x10",
    "+5",
    "\xb2",
    "chunked, chunked",
    "close, keep-alive",
    "x:99999999",
    "[::1",
    "http://a/b@c:d",
    "a b",
    "text/html; charset=nonsense",
    "multipart/form-data; boundary=",
]
HEADERS = [
    "If-Modified-Since",
    "If-Unmodified-Since",
    "If-Range",
    "If-Match",
    "If-None-Match",
    "Range",
    "Accept",
    "Accept-Encoding",
    "Accept-Language",
    "Expect",
    "Host",
    "Connection",
    "Content-Length",
    "Content-Type",
    "Content-Encoding",
    "Transfer-Encoding",
    "TE",
    "Trailer",
    "Upgrade",
    "Cookie",
    "Authorization",
    "Forwarded",
    "X-Forwarded-For",
    "X-Forwarded-Proto",
    "Origin",
    "Access-Control-Request-Method",
    "Referer",
    "User-Agent",
    "Date",
    "Sec-WebSocket-Key1",
]


@pytest.mark.parametrize("target", ["/events-{day}.jsonl", "/status", "/metrics"])
async def test_no_header_makes_a_request_fail(
    shell: Shell, url: str, target: str, caplog: pytest.LogCaptureFixture
) -> None:
    target = target.format(day=shell.days[0])

    async def status(name: str, value: str) -> tuple[int, str, str]:
        host = "" if name == "Host" else "Host: x\r\n"
        range_ = "Range: bytes=0-9\r\n" if name == "If-Range" else ""
        head = f"GET {target} HTTP/1.1\r\n{host}{range_}{name}: {value}\r\n"
        end = "" if name == "Connection" else "Connection: close\r\n"
        received = await exchange(url, f"{head}{end}\r\n".encode("latin-1"), ends=True)
        answer = parse_answer(received.replace(b"HTTP/1.1 100 Continue\r\n\r\n", b""))
        assert answer.headers["access-control-allow-origin"] == "*"
        return answer.status, name, value

    asked = list(product(HEADERS, DATES + TEXTS))
    for some in (asked[at : at + 50] for at in range(0, len(asked), 50)):
        for found in await asyncio.gather(*(status(*one) for one in some)):
            assert found[0] in (200, 206, 304, 400, 412, 416, 417, 431), found
    assert caplog.text == ""


@pytest.mark.parametrize("text", IMPOSSIBLE)
@pytest.mark.parametrize("name", ["If_Modified_Since", "If_Unmodified_Since", "If_Range"])
async def test_an_impossible_date_is_passed_over(
    shell: Shell, url: str, name: str, text: str
) -> None:
    asked = {"Range": "bytes=0-9"} if name == "If_Range" else {}
    answer = await ask(url, f"/events-{shell.days[0]}.jsonl", **{name: text}, **asked)
    assert answer.status == 200


@given(st.text() | st.from_regex(r"\w{3}, ?\d+ [A-Z][a-z]{2} -?\d+ \d+:\d+:\d+ ([A-Z]+|[+-]\d+)"))
def test_any_text_is_a_date_or_none(text: str) -> None:
    date = parse_http_date(text)
    if date is not None:
        assert (date < datetime.now(UTC)) in (True, False)


def test_dates_are_read_as_they_are_written() -> None:
    at = datetime(2024, 2, 29, 23, 59, 59, tzinfo=UTC)
    assert parse_http_date(format_datetime(at, usegmt=True)) == at
    assert parse_http_date("Thursday, 29-Feb-24 23:59:59 GMT") == at
    assert parse_http_date("Thu Feb 29 23:59:59 2024") == at
    assert parse_http_date(None) is None


async def test_a_body_that_takes_another_s_place_is_newer(shell: Shell, url: str) -> None:
    """Who asks by the date of the body that it has gets the other one, however old that is."""
    day = shell.days[2]
    target, name = f"/events-{day}.jsonl", f"events-{day}.jsonl"
    first = await ask(url, target)
    stored = shell.archive[name]

    def date_of(headers: dict[str, str]) -> datetime:
        return parsedate_to_datetime(headers["last-modified"])

    shell.archive.put_day(day, 70, stored.last_modified + timedelta(minutes=1))
    shell.archive.write_index(datetime.now(UTC))
    await shell.synced()
    second = await ask(url, target, If_Modified_Since=first.headers["last-modified"])
    assert second.status == 200
    assert date_of(second.headers) > date_of(first.headers)

    versions = (await shell.run("history", str(day), "--json")).json["versions"]
    assert (await shell.run("restore", str(day), versions[0]["sha256"])).code == 0
    third = await ask(url, target, If_Modified_Since=second.headers["last-modified"])
    assert (third.status, third.body) == (200, first.body)
    assert date_of(third.headers) > date_of(second.headers)
    unchanged = await ask(url, target, If_Modified_Since=third.headers["last-modified"])
    assert unchanged.status == 304

    shell.archive.put_day(day, 80, stored.last_modified + timedelta(minutes=2))
    shell.archive.write_index(datetime.now(UTC))
    await shell.synced()
    fourth = await ask(url, target, If_Modified_Since=third.headers["last-modified"])
    assert (fourth.status, fourth.body) == (200, shell.body(day))
    assert date_of(fourth.headers) > date_of(third.headers)
