"""The same request of nginx and of us, on the same files: the same answer, or a reason why not."""

import asyncio
import os
import shutil
import socket
from collections.abc import AsyncIterator
from email.utils import parsedate_to_datetime
from pathlib import Path

import pytest

from tests.command import Shell
from tests.web.wire import Answer, ask

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
pytestmark = pytest.mark.skipif(NGINX is None, reason="nginx is not installed")

CONFIG = """
daemon off; pid {home}/pid; error_log {home}/error.log; worker_processes 1;
{user}
events {{}}
http {{
    access_log off; sendfile on; types {{}} default_type application/octet-stream;
    client_body_temp_path {home}/a; proxy_temp_path {home}/b; fastcgi_temp_path {home}/c;
    uwsgi_temp_path {home}/d; scgi_temp_path {home}/e;
    server {{
        listen 127.0.0.1:{port}; root {root};
        location = /index.jsonl {{ default_type text/plain; }}
        location = /index.html {{ default_type "text/html; charset=utf-8"; }}
    }}
}}
"""
SAID = ("content-length", "content-range", "content-type", "last-modified")
"""The headers that have to agree where there is a body or a part of one."""


@pytest.fixture
async def nginx(shell: Shell, url: str, tmp_path: Path) -> AsyncIterator[str]:
    """Serve copies of the files, their times those that we tell of them; gives the base URL."""
    root = tmp_path / "root"
    shutil.copytree(shell.data.archive, root)
    for path in root.glob("*.jsonl"):
        told = (await ask(url, f"/{path.name}", "HEAD")).headers["last-modified"]
        at = parsedate_to_datetime(told).timestamp()
        os.utime(path, (at, at))
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = int(free.getsockname()[1])
    user = "user root;" if os.geteuid() == 0 else ""
    config = tmp_path / "nginx.conf"
    config.write_text(CONFIG.format(home=tmp_path, root=root, port=port, user=user))
    assert NGINX is not None
    process = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(config), "-p", str(tmp_path), stderr=asyncio.subprocess.DEVNULL
    )
    base = f"http://127.0.0.1:{port}/"
    try:
        async with asyncio.timeout(15):
            while not await answers(base):
                await asyncio.sleep(0.05)
        yield base
    finally:
        process.terminate()
        await process.wait()


async def answers(base: str) -> bool:
    try:
        return (await ask(base, "/index.jsonl")).status == 200
    except OSError:
        return False


# {etag} and {date} stand for what the server itself said of the file
OLD = "Thu, 01 Jan 1970 00:00:00 GMT"
CONDITIONS: list[dict[str, str]] = [
    {},
    {"If_None_Match": "{etag}"},
    {"If_None_Match": "W/{etag}"},
    {"If_None_Match": '"x", {etag}'},
    {"If_None_Match": '"x"'},
    {"If_None_Match": "*"},
    {"If_Modified_Since": "{date}"},
    {"If_Modified_Since": OLD},
    {"If_Modified_Since": "yesterday"},
    {"If_None_Match": '"x"', "If_Modified_Since": "{date}"},
    {"If_None_Match": "{etag}", "If_Modified_Since": OLD},
    {"If_Match": "{etag}"},
    {"If_Match": "*"},
    {"If_Match": '"x"'},
    {"If_Match": "W/{etag}"},
    {"If_Unmodified_Since": "{date}"},
    {"If_Unmodified_Since": OLD},
    {"If_Match": "{etag}", "If_None_Match": "{etag}"},
    {"If_Match": '"x"', "If_None_Match": "{etag}"},
]
RANGES: list[dict[str, str]] = [
    {"Range": "bytes=0-0"},
    {"Range": "bytes=10-99"},
    {"Range": "bytes=100-"},
    {"Range": "bytes=-50"},
    {"Range": "bytes=-99999999"},
    {"Range": "bytes=0-99999999"},
    {"Range": "bytes=99999999-"},
    {"Range": "bytes=99999999-100000000"},
    {"Range": "bytes=-0"},
    {"Range": "bytes=9-5"},
    {"Range": "bytes=5"},
    {"Range": "bytes=a-b"},
    {"Range": "bytes="},
    {"Range": "lines=0-9"},
    {"Range": "bytes=0-9,20-29"},
    {"Range": "bytes=0-9", "If_Range": "{etag}"},
    {"Range": "bytes=0-9", "If_Range": "{date}"},
    {"Range": "bytes=0-9", "If_Range": '"x"'},
    {"Range": "bytes=0-9", "If_Range": "W/{etag}"},
    {"Range": "bytes=0-9", "If_Range": OLD},
    {"Range": "bytes=0-9", "If_None_Match": "{etag}"},
    {"Range": "bytes=0-9", "If_Match": '"x"'},
    {"Range": "bytes=99999999-", "If_Range": '"x"'},
]
TARGETS = [
    "/index.jsonl",
    "/index.jsonl?a=b",
    "/index%2Ejsonl",
    "/%69ndex.jsonl",
    "http://elsewhere/index.jsonl",
    "/nothing",
    "/index.jsonl/",
    "/index.jsonl%00",
    "/%2e%2e/manifest.jsonl",
    "/../manifest.jsonl",
    "/..%2fmanifest.jsonl",
    "/%252e%252e/manifest.jsonl",
    "/./index.jsonl",
    "//index.jsonl",
    "/x/../index.jsonl",
    "/x/%2e%2E/index.jsonl",
    "/%2e/index.jsonl",
    "/%2f%2findex.jsonl",
    "/a//b/./../../index.jsonl",
    "/a/../../index.jsonl",
    "/index.jsonl/.",
    "/index.jsonl/..",
    "/index.jsonl/../index.jsonl",
    "/.../index.jsonl",
    "//",
    "/.",
    "/x/..",
    "/x/../",
    "/..",
    "index.jsonl",
    "*",
]
METHODS = ["POST", "PUT", "DELETE", "PATCH", "TRACE", "OPTIONS", "PROPFIND", "get"]

NO_RANGE = "what is no range is passed over (RFC 9110, 14.2)"
SEVERAL = "one range at a time: several are answered with the whole, as a server may"
HEAD_RANGE = "ranges are defined for GET alone (RFC 9110, 14.2)"
BOTH_CONDITIONS = "If-Modified-Since is not looked at beside If-None-Match (RFC 9110, 13.1.3)"
NO_SUCH_NAME = "paths are names to look up: one that is none of ours is not found, whatever it is"
DIFFERENT = {
    "GET Range=bytes=0-9,20-29": (200, 206, SEVERAL),
    "GET Range=bytes=9-5": (200, 416, NO_RANGE),
    "GET Range=bytes=5": (200, 416, NO_RANGE),
    "GET Range=bytes=a-b": (200, 416, NO_RANGE),
    "HEAD Range=bytes=0-0": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=10-99": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=100-": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=-50": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=-99999999": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=0-99999999": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=99999999-": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=99999999-100000000": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=-0": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=9-5": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=5": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=a-b": (200, 416, HEAD_RANGE),
    "HEAD Range=bytes=0-9,20-29": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=0-9&If_Range={etag}": (200, 206, HEAD_RANGE),
    "HEAD Range=bytes=0-9&If_Range={date}": (200, 206, HEAD_RANGE),
    **{
        f"{method} If_None_Match={{etag}}&If_Modified_Since={OLD}": (304, 200, BOTH_CONDITIONS)
        for method in ("GET", "HEAD")
    },
    "GET /index.jsonl%00": (404, 400, NO_SUCH_NAME),
    "OPTIONS plain": (204, 405, "a page of another origin may ask first"),
}
"""What was asked: our status, nginx's, and why it is meant to be so."""


def name_of(headers: dict[str, str]) -> str:
    return "&".join(f"{name}={value}" for name, value in headers.items()) or "plain"


async def both(nginx: str, url: str, target: str, **asked: str) -> tuple[Answer, Answer]:
    """Ask both servers the same, each by its own ETag and date."""
    found = []
    for base in (url, nginx):
        head = (await ask(base, "/index.jsonl", "HEAD")).headers
        fields = {
            name: value.format(etag=head["etag"], date=head["last-modified"])
            for name, value in asked.items()
        }
        found.append(await ask(base, target, **fields))
    return found[0], found[1]


def compare(name: str, ours: Answer, theirs: Answer) -> str:
    """Return what differs and is not meant to; empty where nothing does."""
    meant = DIFFERENT.get(name)
    if (ours.status, theirs.status) != (meant[:2] if meant else (theirs.status, theirs.status)):
        return f"{name}: status {ours.status}, nginx {theirs.status}\n"
    if ours.status != theirs.status:
        return ""
    said: tuple[str, ...] = ()
    if ours.status in (200, 206):
        if ours.body != theirs.body:
            return f"{name}: another body\n"
        said = SAID
    if ours.status == 416:
        said = ("content-range",)
    if ours.status == 304 and (ours.body or "etag" not in ours.headers):
        return f"{name}: a body, or no ETag\n"
    return "".join(
        f"{name}: {key} {ours.headers.get(key)}, nginx {theirs.headers.get(key)}\n"
        for key in said
        if ours.headers.get(key) != theirs.headers.get(key)
    )


@pytest.mark.parametrize("method", ["GET", "HEAD"])
async def test_conditions_and_ranges(nginx: str, url: str, method: str) -> None:
    found = ""
    for headers in CONDITIONS + RANGES:
        answers = await both(nginx, url, "/index.jsonl", method=method, **headers)
        found += compare(f"{method} {name_of(headers)}", *answers)
    assert found == ""


async def test_daily_files_and_their_parts(shell: Shell, nginx: str, url: str) -> None:
    found = ""
    for day in shell.days:
        for headers in ({}, {"Range": "bytes=-1000"}, {"Range": "bytes=5000-"}):
            answers = await both(nginx, url, f"/events-{day}.jsonl", **headers)
            found += compare(f"{day} {name_of(headers)}", *answers)
            assert answers[0].status in (200, 206)
    assert found == ""


async def test_targets(nginx: str, url: str) -> None:
    found = ""
    for target in TARGETS:
        found += compare(f"GET {target}", *await both(nginx, url, target))
    assert found == ""


async def test_methods(nginx: str, url: str) -> None:
    found = ""
    for method in METHODS:
        found += compare(f"{method} plain", *await both(nginx, url, "/index.jsonl", method=method))
    assert found == ""
