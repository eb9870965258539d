"""An archive behind https: trusted where its certificate is, and else refused with one line."""

import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trustme

from tests.command import Shell, long_final_days
from tests.upstream.server import ArchiveServer


@pytest.fixture
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
async def shell(tmp_path: Path, authority: trustme.CA) -> AsyncIterator[Shell]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    archive = long_final_days(3)
    async with ArchiveServer(archive, tls=context) as server:
        yield Shell(archive, server, tmp_path / "data")


async def test_a_certificate_that_the_system_trusts_is_trusted(
    shell: Shell, authority: trustme.CA, tmp_path: Path
) -> None:
    bundle = tmp_path / "authority.pem"
    authority.cert_pem.write_to_path(bundle)
    shell.environ["SSL_CERT_FILE"] = str(bundle)

    done = await shell.run("sync")

    assert done.code == 0, done.err
    shell.assert_complete()


async def test_any_other_certificate_is_refused(shell: Shell) -> None:
    done = await shell.run("sync")

    assert done.code == 4
    assert any("SSL_CERT_FILE" in line for line in (*done.said, *done.out.splitlines())), done
    assert shell.server.count() == 0
