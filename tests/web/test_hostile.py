"""Requests that no honest client makes: a plain refusal, and nothing but the archive."""

import json

import pytest

from mirror.archive.ports import Listing
from tests.command import Shell
from tests.web.wire import Answer, ask, exchange, parse_answer

INDEX = b"GET /index.jsonl HTTP/1.1\r\nHost: x\r\n"
LAST = b"Connection: close\r\n\r\n"


def assert_ours(answer: Answer) -> None:
    """An answer of whatever kind has our headers, and says nothing of what serves it."""
    assert answer.headers["access-control-allow-origin"] == "*"
    assert answer.headers["x-content-type-options"] == "nosniff"
    assert "date" in answer.headers
    assert "server" not in answer.headers
    if answer.status >= 400:
        assert answer.headers["content-type"] == "text/plain; charset=utf-8"
        assert len(answer.body) < 80


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nHost: x\r\n" + LAST,
        INDEX + b"X-Long: " + b"a" * 20_000 + b"\r\n" + LAST,
        INDEX + b"".join(b"X-%d: a\r\n" % number for number in range(500)) + LAST,
        INDEX + b"X-Bad\x00: a\r\n" + LAST,
        INDEX + b"X-Bad : a\r\n" + LAST,
        INDEX + b"X-Folded: a\r\n b\x00\r\n" + LAST,
        INDEX + b"Content-Length: -1\r\n" + LAST,
        INDEX + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n" + LAST,
        INDEX + b"Transfer-Encoding: chunked\r\n" + LAST + b"nonsense\r\n\r\n",
        b"GET /index.jsonl\x00 HTTP/1.1\r\nHost: x\r\n" + LAST,
        b"GET  HTTP/1.1\r\nHost: x\r\n" + LAST,
        b"GET /index.jsonl HTTP/9.9\r\nHost: x\r\n" + LAST,
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(60) + b"\r\n\r\n",
    ],
    ids=lambda text: text[:60].decode("latin-1").encode("unicode_escape").decode()[:40],
)
async def test_what_is_malformed_gets_a_refusal_or_the_archive(
    shell: Shell, url: str, request_: bytes
) -> None:
    answer = parse_answer(await exchange(url, request_))

    assert answer.status in (200, 400, 431)
    assert_ours(answer)
    if answer.status == 200:
        assert answer.body.startswith(shell.data.index.read_bytes())
    else:
        assert b"Traceback" not in answer.body
        assert b"sha256" not in answer.body
        assert str(shell.data.root).encode() not in answer.body
    assert (await ask(url, "/index.jsonl")).status == 200


async def test_a_body_with_a_get_is_not_taken_for_a_request(shell: Shell, url: str) -> None:
    smuggled = b"GET /SHA256SUMS HTTP/1.1\r\nHost: x\r\n\r\n"
    chunk = b"%x\r\n%s\r\n0\r\n\r\n" % (len(smuggled), smuggled)
    for head, body in (
        (b"Content-Length: %d\r\n" % len(smuggled), smuggled),
        (b"Transfer-Encoding: chunked\r\n", chunk),
    ):
        received = await exchange(url, INDEX + head + LAST + body)
        assert received.count(b"HTTP/1.1 ") == 1
        assert parse_answer(received).body == shell.data.index.read_bytes()


async def test_requests_sent_together_are_answered_in_turn(shell: Shell, url: str) -> None:
    days = shell.days[:4]
    requests = b"".join(
        f"GET /events-{day}.jsonl HTTP/1.1\r\nHost: x\r\n\r\n".encode() for day in days
    )
    received = await exchange(url, requests + INDEX + LAST)

    for day in days:
        head, _, rest = received.partition(b"\r\n\r\n")
        body = shell.body(day)
        assert head.startswith(b"HTTP/1.1 200 ")
        assert rest.startswith(body)
        received = rest[len(body) :]
    assert parse_answer(received).body == shell.data.index.read_bytes()


async def test_http_1_0_without_a_host_is_answered_and_ended(shell: Shell, url: str) -> None:
    answer = parse_answer(await exchange(url, b"GET /index.jsonl HTTP/1.0\r\n\r\n"))
    assert (answer.status, answer.body) == (200, shell.data.index.read_bytes())
    assert int(answer.headers["content-length"]) == len(answer.body)


@pytest.mark.parametrize("target", ["http://x/index.jsonl", "HTTP://y:99/index.jsonl?a=/b"])
async def test_the_absolute_form_is_taken(shell: Shell, url: str, target: str) -> None:
    assert (await ask(url, target)).body == shell.data.index.read_bytes()


@pytest.mark.parametrize(
    "target",
    [
        "http://x/../manifest.jsonl",
        "http://x",
        "http://x/manifest.jsonl",
        "file:///etc/passwd",
        "/%2e%2e%2fmanifest.jsonl",
        "/events-2024-01-01.jsonl%00.png",
        "/%ff%fe",
        "/%",
        "/%zz",
        "/index.jsonl;a",
        "/index.jsonl\\",
        "/static/",
        "/static/../manifest.jsonl",
        "/encoded/",
        "/lock",
    ],
)
async def test_no_spelling_leads_anywhere_else(shell: Shell, url: str, target: str) -> None:
    answer = await ask(url, target)

    assert answer.status in (200, 400, 404)
    if answer.status == 200:
        # without a path it is the page
        assert target == "http://x"
        assert answer.body == (shell.data.archive / Listing.PAGE).read_bytes()
    else:
        with pytest.raises(ValueError):
            json.loads(answer.body)
        assert b"root:" not in answer.body


async def test_a_body_that_is_never_sent_is_not_waited_for(shell: Shell, url: str) -> None:
    received = await exchange(url, INDEX + b"Content-Length: 100000\r\n\r\nonly this")
    assert parse_answer(received).body == shell.data.index.read_bytes()


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /echo-me HTTP/1.1\r\nHost: x\r\n" + LAST,
        b"GET /echo-me HTTP/1.1\r\n" + LAST,
        INDEX + b"Expect: echo-me\r\n" + LAST,
        b"OPTIONS * HTTP/1.1\r\nHost: x\r\nExpect: echo-me\r\n" + LAST,
        INDEX + b"echo-me\r\n" + LAST,
        b"ECHO-ME / HTTP/1.1\r\nHost: x\r\n" + LAST,
        b"POST /echo-me HTTP/1.1\r\nHost: x\r\nContent-Length: 7\r\n" + LAST + b"echo-me",
        b"DELETE /status HTTP/1.1\r\nHost: echo-me\r\n" + LAST,
        b"GET /index.jsonl HTTP/1.1\r\nHost: echo-me\r\nHost: b\r\n" + LAST,
        INDEX + b"Content-Length: echo-me\r\n" + LAST,
        INDEX + b"Transfer-Encoding: echo-me\r\n" + LAST,
        INDEX + b"X-Long: echo-me" + b"a" * 20_000 + b"\r\n" + LAST,
        b"CONNECT echo-me:443 HTTP/1.1\r\nHost: x\r\n" + LAST,
    ],
    ids=lambda text: text.partition(b"echo-me")[0][:60].decode(),
)
async def test_a_refusal_repeats_nothing_of_the_request(
    shell: Shell, url: str, request_: bytes
) -> None:
    received = await exchange(url, request_)

    answer = parse_answer(received)
    assert answer.status == 204 or answer.status >= 400 or answer.body == index_of(shell)
    assert answer.status < 500
    assert_ours(answer)
    assert b"echo-me" not in received.lower()


def index_of(shell: Shell) -> bytes:
    return shell.data.index.read_bytes()


async def test_no_request_is_answered_before_the_one_before_it(shell: Shell, url: str) -> None:
    upgrade = b"Connection: upgrade\r\nUpgrade: websocket\r\n\r\n"
    chunked = b"Transfer-Encoding: chunked\r\n\r\n5;a=b\r\n\r\n\r\n\n\r\n0\r\n\r\n"
    requests = [
        b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        b"HEAD /healthz HTTP/1.1\r\nHost: x\r\n\r\n",
        INDEX + b"Content-Length: 8\r\n\r\n\r\n\r\n\r\n\r\n",
        INDEX + chunked,
        INDEX + upgrade,
    ]
    sent = b"".join(requests) * 20 + INDEX + LAST
    # before the first snapshot there are answers without X-Binder-Mirror
    assert (await ask(url, "/readyz")).status == 200

    received = await exchange(url, sent)

    assert received.count(b"HTTP/1.1 200 OK\r\n") == received.count(b"HTTP/1.1 ") == 101
    assert received.count(index_of(shell)) == 61
    for size in (1, 7, 1000):
        slices = [sent[start : start + size] for start in range(0, len(sent), size)]
        assert len(await exchange(url, *slices)) == len(received)
