"""nginx in front of a server, as an operator runs it."""

import asyncio
import re
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from tests.command import ROOT
from tests.running import free_port

NGINX = shutil.which("nginx", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
SAMPLE = ROOT / "config" / "nginx" / "binder-mirror.conf"
_PREFIXED = """server {
    listen 80;
    listen [::]:80;
    location PREFIX { proxy_pass http://127.0.0.1:8080/; }
}"""


@asynccontextmanager
async def proxied(url: str, folder: Path, *, prefix: str = "/") -> AsyncIterator[str]:
    """Run nginx; yield its base URL.

    Args:
        url: the base URL of the server behind it.
        folder: made for its files.
        prefix: the path that the server has there; else it is by the sample, but for addresses.
    """
    port, behind = free_port(), url.removeprefix("http://").removesuffix("/")
    folder.mkdir()
    sample = SAMPLE.read_text() if prefix == "/" else _PREFIXED.replace("PREFIX", prefix)
    assert "127.0.0.1:8080" in sample
    sample = sample.replace("127.0.0.1:8080", behind)
    sample, listens = re.subn(r"listen 80;\n    listen \[::\]:80;", f"listen {port};", sample)
    assert listens == 1
    paths = "".join(
        f"{name}_temp_path {folder / name};\n"
        for name in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
    )
    config = folder / "nginx.conf"
    config.write_text(
        f"daemon off; pid {folder}/pid; error_log stderr; worker_processes 1;\n"
        f"events {{}}\nhttp {{ access_log off;\n{paths}{sample}}}\n"
    )
    assert NGINX is not None
    nginx = await asyncio.create_subprocess_exec(
        NGINX, "-c", str(config), "-p", str(folder), stderr=asyncio.subprocess.DEVNULL
    )
    try:
        async with asyncio.timeout(10):
            while not await _answers(port):
                await asyncio.sleep(0.05)
        yield f"http://127.0.0.1:{port}{prefix}"
    finally:
        nginx.terminate()
        await nginx.wait()


async def _answers(port: int) -> bool:
    try:
        _, writer = await asyncio.open_connection("127.0.0.1", port)
    except OSError:
        return False
    writer.close()
    await writer.wait_closed()
    return True
