"""The archive, served: whole bodies with their digests, and nothing but the archive."""

import asyncio
import base64
import hashlib
import os
import re
from contextlib import suppress
from datetime import timedelta
from pathlib import Path

import aiohttp
import pandas as pd
import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from mirror.archive.ports import Listing
from tests.command import PATIENCE_S, Shell


async def test_every_body_is_whole_with_its_digest(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    for day in shell.days:
        async with http.get(f"{url}events-{day}.jsonl") as answer:
            body = await answer.read()
        digest = hashlib.sha256(body)
        assert body == shell.body(day)
        assert answer.headers["ETag"] == f'"{digest.hexdigest()}"'
        assert answer.headers["Repr-Digest"] == (
            f"sha-256=:{base64.b64encode(digest.digest()).decode()}:"
        )
        assert answer.headers["x-goog-meta-events-count"] == str(body.count(b"\n"))
        assert answer.headers["Access-Control-Allow-Origin"] == "*"


async def test_each_file_has_its_content_type(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    for path, content_type in (
        ("index.jsonl", "text/plain"),
        (f"events-{shell.days[0]}.jsonl", "application/octet-stream"),
    ):
        async with http.get(url + path) as answer:
            assert answer.headers["Content-Type"] == content_type


@pytest.mark.parametrize("size", [0, 300_000, 3_000_000])
async def test_a_listing_of_any_size_is_whole_with_its_digest(
    shell: Shell, url: str, http: aiohttp.ClientSession, size: int
) -> None:
    listing = b"0123456789" * (size // 10)
    (shell.data.archive / "SHA256SUMS").write_bytes(listing)
    async with http.get(f"{url}SHA256SUMS") as answer:
        assert await answer.read() == listing
        assert answer.headers["ETag"] == f'"{hashlib.sha256(listing).hexdigest()}"'


@pytest.mark.parametrize(
    ("asked", "start", "stop"),
    [("0-0", 0, 1), ("10-99", 10, 100), ("100-", 100, None), ("-50", -50, None)],
)
async def test_a_range_is_that_part(
    shell: Shell, url: str, http: aiohttp.ClientSession, asked: str, start: int, stop: int | None
) -> None:
    day = shell.days[0]
    headers = {"Range": f"bytes={asked}"}
    async with http.get(f"{url}events-{day}.jsonl", headers=headers) as answer:
        assert answer.status == 206
        assert await answer.read() == shell.body(day)[start:stop]


async def test_what_lies_beyond_the_end_is_416(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    path = f"{url}events-{shell.days[0]}.jsonl"
    async with http.get(path, headers={"Range": "bytes=99999999-"}) as answer:
        assert answer.status == 416
        size = len(shell.body(shell.days[0]))
        assert answer.headers["Content-Range"] == f"bytes */{size}"


async def test_conditions_are_kept(shell: Shell, url: str, http: aiohttp.ClientSession) -> None:
    path = f"{url}events-{shell.days[0]}.jsonl"
    async with http.get(path) as whole:
        etag, modified = whole.headers["ETag"], whole.headers["Last-Modified"]
    for headers, status in (
        ({"If-None-Match": etag}, 304),
        ({"If-None-Match": f'"x", W/{etag}'}, 304),
        ({"If-None-Match": "*"}, 304),
        ({"If-None-Match": '"x"', "If-Modified-Since": modified}, 200),
        ({"If-Modified-Since": modified}, 304),
        ({"If-Match": '"x"'}, 412),
        ({"If-Match": etag}, 200),
        ({"Range": "bytes=0-9", "If-Range": etag}, 206),
        ({"Range": "bytes=0-9", "If-Range": modified}, 206),
        ({"Range": "bytes=0-9", "If-Range": '"x"'}, 200),
        ({"Range": "lines=0-9"}, 200),
        ({"Range": "bytes=0-9,20-29"}, 200),
    ):
        async with http.get(path, headers=headers) as answer:
            assert answer.status == status, headers
            if status == 304:
                assert await answer.read() == b""


@pytest.mark.parametrize(
    "target",
    [
        "/nothing",
        "/archive/",
        "/events-2019-01-01.jsonl",
        "/../manifest.jsonl",
        "/%2e%2e/manifest.jsonl",
        "/..%2fmanifest.jsonl",
        "/index.jsonl/",
        "/x/../../index.jsonl",
        "/.%2e/.%2e/manifest.jsonl",
        "/static/../../manifest.jsonl",
        "/index.jsonl%00",
        "/etc/passwd",
        "//etc/passwd",
        "/" + "a" * 7000,
        "/upstream.json",
        "/history/",
    ],
)
async def test_nothing_else_comes_out(shell: Shell, url: str, target: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    request = f"GET {target} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    writer.write(request.encode())
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()

    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split()[1] in (b"404", b"400")
    assert not body.lstrip().startswith((b"{", b"["))
    assert b"sha256" not in body
    assert b"root:" not in body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "TRACE"])
async def test_nothing_can_be_changed(url: str, http: aiohttp.ClientSession, method: str) -> None:
    async with http.request(method, f"{url}index.jsonl") as answer:
        assert answer.status == 405
        assert answer.headers["Allow"] == "GET, HEAD, OPTIONS"


async def test_a_browser_may_ask_first(url: str, http: aiohttp.ClientSession) -> None:
    async with http.options(f"{url}index.jsonl") as answer:
        assert answer.status == 204
        assert answer.headers["Access-Control-Allow-Methods"] == "GET, HEAD, OPTIONS"


async def test_a_head_is_that_of_a_get(shell: Shell, url: str, http: aiohttp.ClientSession) -> None:
    for name in ("", "index.jsonl", "SHA256SUMS", f"events-{shell.days[0]}.jsonl"):
        async with http.head(url + name) as head, http.get(url + name) as whole:
            body = await whole.read()
            assert await head.read() == b""
            assert {**head.headers, "Date": ""} == {**whole.headers, "Date": ""}
            assert int(whole.headers["Content-Length"]) == len(body)


async def test_a_replaced_body_comes_with_its_own_digest(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    day = shell.days[2]
    path = f"{url}events-{day}.jsonl"
    async with http.get(path) as answer:
        before = answer.headers["ETag"]
    at = shell.archive["index.jsonl"].last_modified + timedelta(minutes=30)
    shell.archive.put_day(day, 77, at)
    shell.archive.write_index(at)
    await shell.synced()

    async with http.get(path) as answer:
        body = await answer.read()

    assert answer.headers["ETag"] == f'"{hashlib.sha256(body).hexdigest()}"' != before
    assert body == shell.body(day)


async def test_a_file_that_is_not_the_one_on_record_is_not_served(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    shell.path(shell.days[1]).write_bytes(b'{"forged": true}\n')
    async with http.get(f"{url}events-{shell.days[1]}.jsonl") as answer:
        assert answer.status == 404


async def test_the_documented_programs_run_unchanged(shell: Shell, url: str) -> None:
    day = shell.days[0]

    def programs() -> None:
        index = pd.read_json(f"{url}index.jsonl", lines=True)
        assert index["count"].sum() == sum(shell.body(day).count(b"\n") for day in shell.days)
        assert str(index["date"].dtype).startswith("datetime64")
        table = pd.read_html(url)[0]
        assert list(table.columns) == ["Date", "Filename", "Number of Events"]
        events = pd.read_json(url + table["Filename"].iloc[-1], lines=True)
        assert len(events) == shell.body(day).count(b"\n")
        answer = requests.get(f"{url}events-{day}.jsonl", timeout=10)
        assert len(list(answer.iter_lines())) == len(events)

    await asyncio.to_thread(programs)


async def test_a_second_mirror_follows_and_checks_the_first(
    shell: Shell, url: str, tmp_path: Path
) -> None:
    copy = tmp_path / "copy"

    done = await shell.run("sync", "--upstream", url, "--data-dir", copy)

    assert done.code == 0, done.err
    for name in ("index.jsonl", *(f"events-{day}.jsonl" for day in shell.days)):
        assert (copy / "archive" / name).read_bytes() == (shell.data.archive / name).read_bytes()


async def test_the_metrics_tell_how_the_copy_stands(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(f"{url}metrics") as answer:
        text = await answer.text()
    samples = {
        (sample.name, *sample.labels.values()): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }
    assert samples["binder_mirror_days", "held"] == 6
    assert samples["binder_mirror_days", "missing"] == 0
    assert samples["binder_mirror_index_state", "fresh"] == 1
    assert samples["binder_mirror_index_state", "shrunk"] == 0
    assert samples["binder_mirror_polls_total", "crashed"] == 0
    assert samples["binder_mirror_archive_bytes",] == sum(
        len(shell.body(day)) for day in shell.days
    )
    assert samples["binder_mirror_last_success_timestamp_seconds",] > 1.7e9
    assert samples["binder_mirror_disk_free_bytes",] > 0


async def test_a_malformed_request_is_refused(shell: Shell, url: str) -> None:
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    writer.write(b"nonsense\r\n\r\n")
    answer = await asyncio.wait_for(reader.read(), 10)
    writer.close()
    await writer.wait_closed()

    assert answer.startswith(b"HTTP/1.0 400") or b" 400 " in answer.split(b"\r\n")[0]


async def test_a_copy_that_cannot_be_read_is_no_bug(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    shell.data.archive.rename(shell.data.root / "aside")
    async with asyncio.timeout(PATIENCE_S):  # it is noticed at the next look
        while (await http.get(f"{url}readyz")).status != 503:
            await asyncio.sleep(0.05)
    for path in ("status", "readyz", "metrics", f"events-{shell.days[0]}.jsonl"):
        async with http.get(url + path) as answer:
            assert answer.status == 503
            assert str(shell.data.root) not in await answer.text()
    async with http.get(f"{url}healthz") as answer:
        assert answer.status == 200


async def test_the_page_has_a_style_of_its_own(
    shell: Shell, url: str, http: aiohttp.ClientSession
) -> None:
    async with http.get(url) as page:
        (path,) = re.findall(r'<link rel="stylesheet" href="([^"]*)">', await page.text())
        assert "style=" not in await page.text()
    async with http.get(url + path) as answer:
        assert answer.status == 200
        assert answer.headers["Content-Type"] == "text/css; charset=utf-8"
        assert await answer.read() == (shell.data.archive / Listing.STYLE).read_bytes()
    # whoever serves the folder by other means has it too
    assert path == Listing.STYLE
    async with http.get(f"{url}static/") as folder:
        assert folder.status == 404


async def test_a_file_that_is_cut_while_it_is_sent_does_not_end_as_if_whole(
    shell: Shell, url: str
) -> None:
    shell.archive.put_day(shell.days[0], 60_000, shell.archive["index.jsonl"].last_modified)
    shell.archive.write_index(shell.archive["index.jsonl"].last_modified + timedelta(minutes=30))
    await shell.synced()
    path = shell.path(shell.days[0])
    host, port = url.removeprefix("http://").removesuffix("/").split(":")
    reader, writer = await asyncio.open_connection(host, int(port), limit=1024)
    writer.write(f"GET /{path.name} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    await reader.readline()
    os.truncate(path, 1000)

    received = 0
    with suppress(ConnectionError):
        while chunk := await asyncio.wait_for(reader.read(65536), 15):
            received += len(chunk)
    writer.close()
    assert received < len(shell.body(shell.days[0]))
