"""An archive behind a proxy: the demo server answers for any host, as a proxy does."""

import base64

import pytest

from tests.command import Shell

_PASSWORD = "user:pass@"


@pytest.fixture
def behind_proxy(shell: Shell) -> Shell:
    shell.environ["http_proxy"] = shell.server.url.replace("//", f"//{_PASSWORD}").rstrip("/")
    shell.set(upstream__url="http://archive.invalid/")
    return shell


async def test_a_proxy_of_the_environment_is_asked_and_told_who_asks(behind_proxy: Shell) -> None:
    done = await behind_proxy.run("sync")

    assert done.code == 0, done.err
    behind_proxy.assert_complete()
    asked = behind_proxy.server.requests[0]
    assert asked.target == "http://archive.invalid/index.jsonl"
    credentials = base64.b64encode(b"user:pass").decode()
    assert asked.headers["proxy-authorization"] == f"Basic {credentials}"


async def test_hosts_that_need_no_proxy_are_asked_themselves(shell: Shell) -> None:
    shell.environ |= {"http_proxy": "http://127.0.0.1:1", "no_proxy": "localhost,127.0.0.1"}

    done = await shell.run("sync")

    assert done.code == 0, done.err
    assert shell.server.requests[0].target == "/index.jsonl"


async def test_a_proxy_that_is_no_url_is_told_and_its_password_is_not(shell: Shell) -> None:
    shell.environ["http_proxy"] = "http://user:secret@host:port/"

    line = (await shell.run("sync")).refused(2)

    assert "the proxy that the environment names is not a URL (see http_proxy)" in line
    assert "secret" not in line
