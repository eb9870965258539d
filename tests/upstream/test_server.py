"""The test upstream's server and each of its faults, seen by clients on a real socket."""

import asyncio
import base64
import gzip
import hashlib
import json
import random
import zlib
from collections.abc import AsyncIterator
from contextlib import suppress
from datetime import UTC, date, datetime, timedelta

import aiohttp
import pytest
from multidict import CIMultiDictProxy

from tests.upstream import faults
from tests.upstream.archive import StoredObject, UpstreamArchive
from tests.upstream.replies import ReplyStyle
from tests.upstream.server import ArchiveServer

NOW = datetime(2021, 8, 6, 12, tzinfo=UTC)
DAY = "events-2021-08-04.jsonl"
INDEX = "index.jsonl"


@pytest.fixture
def archive() -> UpstreamArchive:
    return UpstreamArchive.with_days(date(2021, 8, 3), date(2021, 8, 6), now=NOW)


@pytest.fixture
async def server(archive: UpstreamArchive) -> AsyncIterator[ArchiveServer]:
    async with ArchiveServer(archive) as server:
        yield server


@pytest.fixture
async def http(server: ArchiveServer) -> AsyncIterator[aiohttp.ClientSession]:
    async with aiohttp.ClientSession(
        server.url, auto_decompress=False, headers={"Accept-Encoding": "identity"}
    ) as session:
        yield session


Answer = tuple[int, CIMultiDictProxy[str], bytes]


async def ask(
    http: aiohttp.ClientSession, path: str, method: str = "GET", **headers: str
) -> Answer:
    sent = {name.replace("_", "-"): value for name, value in headers.items()}
    async with http.request(method, path, headers=sent, allow_redirects=False) as response:
        return response.status, response.headers, await response.read()


async def talk(server: ArchiveServer, *requests: str) -> bytes:
    """Send requests as they are, half-close, and read until the server closes."""
    host, port = server.url.removeprefix("http://").rstrip("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write("".join(requests).encode())
    answer = await reader.read()
    writer.close()
    await writer.wait_closed()
    return answer


async def raw_get(server: ArchiveServer, name: str) -> tuple[bytes, bytes]:
    """Get an object on a connection of its own: head and body as they came."""
    answer = await talk(server, f"GET /{name} HTTP/1.1\r\nConnection: close\r\n\r\n")
    head, _, body = answer.partition(b"\r\n\r\n")
    return head, body


class TestHonest:
    async def test_a_day_is_served_with_all_its_headers(self, archive, http):
        status, headers, body = await ask(http, DAY)
        stored = archive[DAY]
        assert (status, body) == (200, stored.body)
        assert headers["ETag"] == f'"{hashlib.md5(body).hexdigest()}"'
        assert headers["Last-Modified"] == "Thu, 05 Aug 2021 04:00:00 GMT"
        assert headers["Cache-Control"] == "public, max-age=3600"
        assert headers["Content-Type"] == "application/octet-stream"
        assert int(headers["Content-Length"]) == len(body)
        assert headers["x-goog-meta-events-count"] == str(body.count(b"\n"))
        assert headers["x-goog-meta-events-date"] == "2021-08-04"
        hidden = {"Accept-Ranges", "x-goog-hash", "x-goog-generation"}
        assert not any(name in headers for name in hidden)

    async def test_head_has_the_headers_alone(self, server, http):
        got = await ask(http, DAY)
        status, headers, body = await ask(http, DAY, "HEAD")
        assert (status, body) == (200, b"")
        assert headers["Content-Length"] == got[1]["Content-Length"]
        assert server.requests[-1].bytes_sent == 0

    @pytest.mark.parametrize("path", ["/", "/any/where/", "/index.html", "/?x=1"])
    async def test_a_path_that_ends_in_a_slash_is_the_page(self, archive, http, path):
        status, headers, body = await ask(http, path)
        assert (status, body) == (200, archive["index.html"].body)
        assert headers["Content-Type"] == "text/html"

    async def test_the_query_is_dropped(self, archive, http):
        assert (await ask(http, f"{DAY}?nocache=1"))[2] == archive[DAY].body

    async def test_only_the_page_is_gzipped_and_only_if_asked(self, archive, http):
        _, headers, body = await ask(http, "/", Accept_Encoding="gzip")
        assert headers["Content-Encoding"] == "gzip"
        assert headers["ETag"].startswith('W/"')
        assert gzip.decompress(body) == archive["index.html"].body
        _, headers, body = await ask(http, DAY, Accept_Encoding="gzip")
        assert "Content-Encoding" not in headers
        assert body == archive[DAY].body

    @pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
    async def test_other_methods_are_405(self, http, method):
        assert (await ask(http, DAY, method))[0] == 405
        assert (await ask(http, "nothing", method))[0] == 405

    async def test_a_request_body_is_read_and_dropped(self, http):
        async with http.post(DAY, data=b"x" * 100_000) as response:
            assert response.status == 405
        assert (await ask(http, DAY))[0] == 200

    @pytest.mark.parametrize("path", ["events-1999-01-01.jsonl", "../secret", "a%2Fb"])
    async def test_a_missing_file_is_404_in_xml(self, http, path):
        status, headers, body = await ask(http, path)
        assert status == 404
        assert headers["Content-Type"].startswith("application/xml")
        assert b"NoSuchKey" in body

    async def test_what_changes_in_the_archive_is_served_at_once(self, archive, http):
        old = await ask(http, INDEX)
        archive.publish(NOW + timedelta(hours=2))
        new = await ask(http, INDEX)
        assert old[1]["ETag"] != new[1]["ETag"]
        archive.remove(INDEX)
        assert (await ask(http, INDEX))[0] == 404

    async def test_a_stored_gzip_object_is_sent_as_the_client_likes(self, archive, http):
        packed = gzip.compress(b"hello\n")
        archive.objects["x"] = StoredObject(packed, NOW, encoding="gzip")
        _, headers, body = await ask(http, "x", Accept_Encoding="gzip")
        assert (headers["Content-Encoding"], body) == ("gzip", packed)
        _, headers, body = await ask(http, "x")
        assert ("Content-Encoding" in headers, body) == (False, b"hello\n")


class TestConditional:
    @pytest.mark.parametrize("form", ["{}", "W/{}", '"other", {}', "*"])
    async def test_a_matching_etag_is_304(self, archive, http, form):
        etag = f'"{archive[DAY].etag}"'
        status, headers, body = await ask(http, DAY, If_None_Match=form.format(etag))
        assert (status, body, headers["ETag"]) == (304, b"", etag)
        assert "Content-Length" not in headers

    async def test_another_etag_is_200_whatever_the_date_says(self, http):
        _, headers, _ = await ask(http, DAY)
        since = headers["Last-Modified"]
        answer = await ask(http, DAY, If_None_Match='"other"', If_Modified_Since=since)
        assert answer[0] == 200

    @pytest.mark.parametrize(
        ("since", "status"),
        [
            ("Thu, 05 Aug 2021 04:00:00 GMT", 304),
            ("Thu, 05 Aug 2021 03:59:59 GMT", 200),
            ("Thu, 05 Aug 2021 04:00:00 -0000", 200),
            ("yesterday", 200),
        ],
    )
    async def test_if_modified_since_compares_dates(self, http, since, status):
        assert (await ask(http, DAY, If_Modified_Since=since))[0] == status


class TestRanges:
    @pytest.mark.parametrize(
        ("wanted", "start", "stop"),
        [("0-9", 0, 10), ("5-", 5, 26), ("-3", 23, 26), ("20-99", 20, 26), ("-99", 0, 26)],
    )
    async def test_one_range_is_206(self, archive, http, wanted, start, stop):
        text = b"abcdefghijklmnopqrstuvwxyz"
        archive.put("x", text, NOW)
        status, headers, body = await ask(http, "x", Range=f"bytes={wanted}")
        assert (status, body) == (206, text[start:stop])
        assert headers["Content-Range"] == f"bytes {start}-{stop - 1}/26"

    @pytest.mark.parametrize("wanted", ["26-", "-0", "9-3"])
    async def test_a_range_outside_is_416(self, archive, http, wanted):
        archive.put("x", b"a" * 26, NOW)
        status, headers, _ = await ask(http, "x", Range=f"bytes={wanted}")
        assert (status, headers["Content-Range"]) == (416, "bytes */26")

    @pytest.mark.parametrize("value", ["bytes=0-1,3-4", "lines=0-1", "bytes=a-b", "bytes"])
    async def test_any_other_range_is_ignored(self, http, value):
        assert (await ask(http, DAY, Range=value))[0] == 200

    async def test_if_range_asks_for_the_whole_when_it_changed(self, archive, http):
        same = f'"{archive[DAY].etag}"'
        assert (await ask(http, DAY, Range="bytes=0-1", If_Range=same))[0] == 206
        assert (await ask(http, DAY, Range="bytes=0-1", If_Range='"x"'))[0] == 200


class TestStyle:
    @pytest.mark.parametrize("etag", ["opaque", "weak", "none"])
    async def test_etags_come_in_each_way(self, server, archive, http, etag):
        server.style = ReplyStyle(etag=etag)
        _, headers, _ = await ask(http, DAY)
        found = headers.get("ETag")
        md5 = archive[DAY].etag
        assert {"opaque": found and md5 not in found, "weak": found == f'W/"{md5}"'}.get(
            etag, found is None
        )
        if found:
            assert (await ask(http, DAY, If_None_Match=found))[0] == 304

    async def test_meta_can_be_hidden_and_the_hash_shown(self, server, http):
        server.style = ReplyStyle(hide_meta=True, goog_hash=True)
        _, headers, body = await ask(http, DAY)
        assert not any(name.lower().startswith("x-goog-meta") for name in headers)
        digest = base64.b64encode(hashlib.md5(body).digest()).decode()
        assert headers["x-goog-hash"] == f"md5={digest}"
        assert headers["x-goog-generation"].isdecimal()
        assert headers["x-goog-stored-content-encoding"] == "identity"

    async def test_answers_may_be_slow(self, server, http):
        server.delay = 0.05
        began = asyncio.get_running_loop().time()
        await asyncio.gather(*(ask(http, DAY) for _ in range(4)))
        assert 0.05 <= asyncio.get_running_loop().time() - began < 0.2
        assert server.peak == 4
        assert server.active == 0


class TestConnections:
    async def test_a_connection_is_kept_and_requests_recorded(self, server, archive, http):
        await ask(http, f"{DAY}?x=1", X_Test="a")
        await ask(http, "nothing", "HEAD")
        first, second = server.requests
        assert (first.method, first.path, first.target) == ("GET", f"/{DAY}", f"/{DAY}?x=1")
        assert (first.status, first.bytes_sent) == (200, len(archive[DAY].body))
        assert first.headers["x-test"] == "a"
        assert first.done
        assert first.fault is None
        assert (second.name, second.status) == ("nothing", 404)
        assert first.connection == second.connection == 1
        assert first.at <= second.at
        assert (server.count(), server.count(DAY), server.count(method="HEAD")) == (2, 1, 1)

    async def test_a_large_body_arrives_whole(self, archive, http):
        archive.put("x", random.Random(1).randbytes(3_000_000), NOW)
        assert (await ask(http, "x"))[2] == archive["x"].body

    async def test_requests_may_come_all_at_once(self, server):
        one = f"HEAD /{DAY} HTTP/1.1\r\n\r\n"
        last = f"HEAD /{DAY} HTTP/1.1\r\nConnection: close\r\n\r\n"
        assert (await talk(server, one, one, last)).count(b"HTTP/1.1 200 OK") == 3

    async def test_an_old_client_gets_its_connection_closed(self, server):
        assert b"Connection: close" in await talk(server, f"GET /{DAY} HTTP/1.0\r\n\r\n")

    async def test_a_proxy_is_asked_in_the_absolute_form(self, server):
        target = f"http://archive.invalid/{DAY}?x"
        answer = await talk(server, f"GET {target} HTTP/1.1\r\nConnection: close\r\n\r\n")
        assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
        assert server.requests[0].path == f"/{DAY}"

    @pytest.mark.parametrize(
        "nonsense",
        [
            "hello\r\n\r\n",
            "GET / SPDY/3\r\n\r\n",
            "GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n",
            "GET / HTTP/1.1\r\nContent-Length: many\r\n\r\n",
            "GET / HTTP/1.1\r\nX: " + "x" * 100_000 + "\r\n\r\n",
        ],
    )
    async def test_nonsense_is_hung_up_on(self, server, nonsense):
        with suppress(ConnectionResetError):  # it closes with some of the nonsense unread
            assert await talk(server, nonsense) == b""
        assert server.requests == []

    async def test_it_closes_at_once_with_clients_of_every_kind_and_opens_again(
        self, archive, caplog
    ):
        archive.put("x", bytes(20_000_000), NOW)
        async with ArchiveServer(archive) as server, aiohttp.ClientSession() as http:
            url = server.url
            server.fail("stalled", faults.Stall(), times=None)
            server.fail("delayed", faults.Delay(60), times=None)
            tasks = [asyncio.create_task(ask(http, url + n)) for n in ("stalled", "delayed")]
            deaf = await http.get(url + "x")
            await server.wait_active(3)
            began = asyncio.get_running_loop().time()
            await server.close()
            assert asyncio.get_running_loop().time() - began < 0.5
            results = await asyncio.gather(*tasks, return_exceptions=True)
            assert all(isinstance(result, aiohttp.ClientError) for result in results)
            assert caplog.records == []
            deaf.close()
            await server.close()
            async with server:
                assert server.url == url
                assert (await ask(http, url + DAY))[0] == 200


class TestPlanning:
    async def test_faults_are_taken_in_order_and_used_up(self, server, http):
        server.fail(DAY, faults.Status(503), times=2)
        server.fail("*", faults.Status(500))
        server.fail(f"/{DAY}", faults.Status(404))
        found = [(await ask(http, DAY))[0] for _ in range(5)]
        assert found == [503, 503, 500, 404, 200]
        assert [record.status for record in server.requests] == found
        assert server.requests[0].fault == faults.Status(503)

    async def test_a_fault_may_last_and_be_calmed(self, server, http):
        server.fail("events-*", faults.Status(503), times=None)
        assert [(await ask(http, DAY))[0] for _ in range(3)] == [503] * 3
        assert (await ask(http, INDEX))[0] == 200
        server.calm()
        assert (await ask(http, DAY))[0] == 200

    async def test_the_page_can_fail_at_its_path(self, server, http):
        server.fail("/", faults.Status(500))
        assert (await ask(http, INDEX))[0] == 200
        assert (await ask(http, "/"))[0] == 500

    async def test_chaos_is_as_reproducible_as_its_source(self, server, http):
        rounds = []
        for _ in range(2):
            server.chaos(random.Random(3), [faults.Status(500), faults.Status(503)], 0.5)
            rounds.append([(await ask(http, DAY))[0] for _ in range(30)])
        assert rounds[0] == rounds[1]
        assert set(rounds[0]) == {200, 500, 503}


class TestBrokenTransfers:
    @pytest.mark.parametrize("fault", [faults.Reset(), faults.Cut(), faults.WrongLength(10)])
    async def test_a_client_notices_a_body_cut_short(self, server, http, fault):
        server.fail(DAY, fault)
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(http, DAY)
        assert (await ask(http, DAY))[0] == 200

    async def test_a_hangup_says_nothing(self, server):
        server.fail(DAY, faults.Hangup())
        assert await raw_get(server, DAY) == (b"", b"")
        assert server.requests[0].status == 0

    async def test_a_reset_is_a_reset(self, server):
        server.fail(DAY, faults.Reset(0))
        with pytest.raises(ConnectionResetError):
            await raw_get(server, DAY)

    @pytest.mark.parametrize("at", [0, 1, 0.25, 1.0, 10**9])
    async def test_a_cut_is_where_it_was_asked_for(self, server, archive, at):
        server.fail(DAY, faults.Cut(at))
        head, body = await raw_get(server, DAY)
        whole = archive[DAY].body
        assert f"Content-Length: {len(whole)}\r\n".encode() in head
        assert body == whole[: at if isinstance(at, int) else int(at * len(whole))]
        assert server.requests[0].bytes_sent == len(body)

    async def test_a_stall_lasts_until_the_client_leaves(self, server, archive, http):
        server.fail(DAY, faults.Stall(10))
        response = await http.get(DAY)
        assert await response.content.readexactly(10) == archive[DAY].body[:10]
        with pytest.raises(TimeoutError):
            await asyncio.wait_for(response.content.readexactly(1), 0.05)
        assert server.active == 1
        response.close()
        await asyncio.wait_for(server.wait_active(0), 1)
        assert server.requests[0].done

    async def test_a_gate_opens_when_told(self, server, archive, http):
        gate = faults.Gate(10)
        server.fail(DAY, gate)
        task = asyncio.create_task(ask(http, DAY))
        await gate.reached.wait()
        assert server.requests[0].bytes_sent == 10
        gate.opened.set()
        assert (await task)[2] == archive[DAY].body

    @pytest.mark.parametrize("fault", [faults.Drip(10_000, 0.001), faults.Delay(0.01)])
    async def test_slow_answers_are_right_in_the_end(self, server, archive, http, fault):
        server.fail(DAY, fault)
        began = asyncio.get_running_loop().time()
        assert (await ask(http, DAY))[2] == archive[DAY].body
        assert asyncio.get_running_loop().time() - began > 0.004


class TestWrongBodies:
    async def test_one_byte_is_changed(self, server, archive):
        server.fail(DAY, faults.Corrupt(5, mask=0x20))
        _, body = await raw_get(server, DAY)
        whole = archive[DAY].body
        assert (body[:5], body[5], body[6:]) == (whole[:5], whole[5] ^ 0x20, whole[6:])
        archive.put("empty", b"", NOW)
        server.fail("empty", faults.Corrupt())
        assert (await raw_get(server, "empty"))[1] == b""

    @pytest.mark.parametrize("by", [7, -7])
    async def test_the_length_is_wrong(self, server, archive, by):
        server.fail(DAY, faults.WrongLength(by))
        head, body = await raw_get(server, DAY)
        assert f"Content-Length: {len(body) + by}\r\n".encode() in head
        assert body == archive[DAY].body

    async def test_the_body_changes_under_the_reader(self, server, archive, http):
        old, new = archive[DAY].body, archive["events-2021-08-05.jsonl"].body
        server.fail(DAY, faults.Changing(new))
        _, headers, body = await ask(http, DAY)
        assert body == old[: len(old) // 2] + new[len(new) // 2 :]
        assert headers["ETag"] == f'"{archive[DAY].etag}"'

    async def test_a_stale_answer_has_its_own_validators(self, server, archive, http):
        old = archive[INDEX]
        archive.publish(NOW + timedelta(hours=2))
        server.fail(INDEX, faults.Stale(old), times=2)
        _, headers, body = await ask(http, INDEX)
        assert (body, headers["ETag"]) == (old.body, f'"{old.etag}"')
        assert headers["Last-Modified"] == "Fri, 06 Aug 2021 12:00:00 GMT"
        assert (await ask(http, INDEX, If_None_Match=f'"{old.etag}"'))[0] == 304

    async def test_without_a_length_a_cut_body_looks_whole(self, server, archive, http):
        server.fail(DAY, faults.Unsized(100))
        status, headers, body = await ask(http, DAY)
        assert (status, body) == (200, archive[DAY].body[:100])
        assert "Content-Length" not in headers

    async def test_a_chunked_body_is_cut(self, server, archive, http):
        server.fail(DAY, faults.CutChunked(100), times=None)
        with pytest.raises(aiohttp.ClientPayloadError):
            await ask(http, DAY)
        _, body = await raw_get(server, DAY)
        assert body == b"64\r\n" + archive[DAY].body[:100] + b"\r\n"

    @pytest.mark.parametrize("line", [b'{"a": 1}\n', b"x"])
    async def test_an_endless_body_ends_with_the_client(self, server, http, line):
        server.fail(DAY, faults.Endless(line), times=None)
        async with http.get(DAY) as response:
            start = await response.content.readexactly(200_000)
        assert start.startswith(line * 1000)
        await asyncio.wait_for(server.wait_active(0), 1)
        assert (await ask(http, DAY, "HEAD"))[0] == 200


class TestOtherAnswers:
    @pytest.mark.parametrize(
        ("retry_after", "header"),
        [(None, None), (0, "0"), (7, "7"), (NOW, "Fri, 06 Aug 2021 12:00:00 GMT")],
    )
    async def test_a_status_may_say_when_to_come_again(self, server, http, retry_after, header):
        server.fail(DAY, faults.Status(429, retry_after))
        status, headers, _ = await ask(http, DAY)
        assert (status, headers.get("Retry-After")) == (429, header)

    @pytest.mark.parametrize(
        ("location", "expected"),
        [
            ("{path}", f"/{DAY}"),
            ("https://{host}{path}", "https://127.0.0.1:"),
            ("http://other.invalid{path}", f"http://other.invalid/{DAY}"),
        ],
    )
    async def test_redirects_lead_anywhere(self, server, http, location, expected):
        server.fail(DAY, faults.Redirect(location, 301))
        status, headers, _ = await ask(http, DAY)
        assert status == 301
        assert headers["Location"].startswith(expected)

    async def test_a_redirect_may_be_followed_or_loop(self, server, archive, http):
        server.fail(DAY, faults.Redirect("{path}?again"))
        async with http.get(DAY) as response:
            assert await response.read() == archive[DAY].body
        server.fail(DAY, faults.Redirect("{path}"), times=None)
        with pytest.raises(aiohttp.TooManyRedirects):
            await http.get(DAY)

    async def test_a_sign_in_page_is_200(self, server, http):
        server.fail(INDEX, faults.SignIn())
        status, headers, body = await ask(http, INDEX)
        assert (status, headers["Content-Type"]) == (200, "text/html; charset=utf-8")
        assert b"sign in" in body


class TestCodings:
    async def test_gzip_unasked_for_is_good_gzip(self, server, archive, http):
        server.fail(DAY, faults.Encoded())
        _, headers, body = await ask(http, DAY)
        assert headers["Content-Encoding"] == "gzip"
        assert headers["ETag"] == f'W/"{archive[DAY].etag}"'
        assert gzip.decompress(body) == archive[DAY].body

    async def test_gzip_cut_short_has_the_length_it_has(self, server, archive, http):
        server.fail(DAY, faults.Encoded(cut=9))
        _, headers, body = await ask(http, DAY)
        assert int(headers["Content-Length"]) == len(body)
        decoder = zlib.decompressobj(wbits=31)
        assert archive[DAY].body.startswith(decoder.decompress(body))
        assert not decoder.eof

    async def test_zstd_is_good_zstd(self, server, archive, http):
        zstd = pytest.importorskip("backports.zstd")
        server.style = ReplyStyle(etag="none")
        server.fail(DAY, faults.Encoded("zstd"))
        _, headers, body = await ask(http, DAY)
        assert headers["Content-Encoding"] == "zstd"
        assert zstd.decompress(body) == archive[DAY].body

    @pytest.mark.parametrize("coding", ["gzip", "zstd"])
    async def test_a_bomb_grows(self, server, http, coding):
        server.fail(DAY, faults.Bomb(5_000_000, coding))
        status, headers, body = await ask(http, DAY)
        assert (status, headers["Content-Encoding"]) == (200, coding)
        assert len(body) < 10_000
        if coding == "gzip":
            assert gzip.decompress(body) == bytes(5_000_000)


@pytest.mark.parametrize("method", ["GET", "HEAD"])
@pytest.mark.parametrize(
    "fault",
    [
        faults.Changing(b"new"),
        faults.Corrupt(),
        faults.Encoded(),
        faults.Bomb(10**9),
        faults.Endless(),
        faults.CutChunked(),
        faults.Drip(),
    ],
)
async def test_a_fault_of_the_body_sends_none_where_none_may_be(
    server, archive, http, fault, method
):
    server.fail(DAY, fault)
    headers = {"If_None_Match": "*"} if method == "GET" else {}
    assert (await ask(http, DAY, method, **headers))[2] == b""
    assert server.requests[0].bytes_sent == 0
    assert (await ask(http, DAY))[2] == archive[DAY].body


async def test_the_documented_examples_read_the_archive(archive, http):
    _, _, body = await ask(http, INDEX)
    entries = [json.loads(line) for line in body.splitlines()]
    assert len(entries) == 4
    for entry in entries:
        _, _, day = await ask(http, entry["name"])
        assert len([json.loads(line) for line in day.splitlines()]) == int(entry["count"])
